"""The options of `alttrain eval`."""

from pathlib import Path
from typing import Annotated

import typer

from alttrain_cli.commands.options import expanded

Target = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="A run, an adapter, a model folder, a recipe's name (its base) or a hub id."
    ),
]
Suite = Annotated[
    str,
    typer.Option(
        "--suite",
        help="Suites or groups, with commas: smoke, safety, over-refusal, reasoning, general, all.",
    ),
]
SuiteFile = Annotated[
    list[str] | None,
    typer.Option("--suite-file", metavar="NAME=FILE", help="Read a suite from its published file."),
]
Compare = Annotated[
    str | None, typer.Option("--compare", help="base (what a run gets), another run, or none.")
]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, help="Items a suite, evenly spread; the result is PARTIAL.")
]
Samples = Annotated[int, typer.Option("--samples", min=1, help="Completions a prompt (K), with --sample.")]
Sample = Annotated[bool, typer.Option("--sample", help="Draw tokens instead of greedy decoding.")]
Temperature = Annotated[float, typer.Option("--temperature", min=0.01, help="With --sample.")]
TopP = Annotated[float, typer.Option("--top-p", min=0.01, max=1.0, help="With --sample.")]
MaxNewTokens = Annotated[
    int | None,
    typer.Option("--max-new-tokens", min=1, help="Instead of what recipe and suite ask for."),
]
Think = Annotated[
    str, typer.Option("--think", help="Thinking ablation: normal, zero, less or more (see the README).")
]
PresetName = Annotated[
    str | None,
    typer.Option(
        "--preset", help="Generate as r1-act, star-1, safechain or lrm-safety-study do; says its caveats."
    ),
]
RecipeName = Annotated[
    str | None, typer.Option("--recipe", help="Whose settings to use for a model that has no run.")
]
BaseUrl = Annotated[
    str | None, typer.Option("--base-url", help="Measure what is behind an OpenAI-compatible server.")
]
Model = Annotated[str | None, typer.Option("--model", help="Which of the server's models.")]
Concurrency = Annotated[int, typer.Option("--concurrency", min=1, help="Requests in flight to a server.")]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", help="Where to keep the files; default RUN/eval or evals/MODEL.", callback=expanded
    ),
]
Judge = Annotated[
    str,
    typer.Option(
        "--judge",
        help="Judges, with commas: rule, llama-guard-3, harmbench, wildguard, qwen3guard (on this "
        "machine), strongreject, xstest (by a server's model).",
    ),
]
JudgePart = Annotated[str, typer.Option("--judge-part", help="What judges see: answer, reasoning or full.")]
JudgeUrl = Annotated[str | None, typer.Option("--judge-url", help="The server of the judging model.")]
JudgeModel = Annotated[
    str | None,
    typer.Option("--judge-model", help="Which model judges; for a local judge a folder or hub id."),
]
AllowCode = Annotated[
    bool, typer.Option("--allow-code", help="Run code that the model wrote, fenced in as the system allows.")
]
NoCard = Annotated[
    bool, typer.Option("--no-card", help="Do not try the judges on human labels (531 answers a judge).")
]
ShowCompletions = Annotated[
    bool, typer.Option("--show-completions", help="Put harmful completions into the page too, folded.")
]
