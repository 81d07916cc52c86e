"""The options of `alttrain eval`, and the rules which of them have an effect beside which."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from alttrain_cli.commands.options import Rule, expanded, is_given, recipe_rule
from alttrain_cli.evaluation.judges.catalogue import AnyJudge, judges_for
from alttrain_cli.evaluation.judges.judge import Judge as AskedJudge
from alttrain_cli.evaluation.suites.suite import Kind

Graded = tuple[Kind, str | None]  # what is to be judged: a suite's kind and its grader


def _folder(text: str) -> Path:
    if not text.strip():
        raise typer.BadParameter("is empty. Give a folder.")
    return Path(text)


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
Samples = Annotated[
    int, typer.Option("--samples", min=1, max=1000, help="Completions a prompt (K), with --sample.")
]
Sample = Annotated[bool, typer.Option("--sample", help="Draw tokens instead of greedy decoding.")]
Temperature = Annotated[float, typer.Option("--temperature", min=0.01, max=10.0, help="With --sample.")]
TopP = Annotated[float, typer.Option("--top-p", min=0.01, max=1.0, help="With --sample.")]
MaxNewTokens = Annotated[
    int | None,
    typer.Option("--max-new-tokens", min=1, max=1_000_000, help="Instead of what recipe and suite ask for."),
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
Concurrency = Annotated[
    int, typer.Option("--concurrency", min=1, max=1024, help="Requests in flight to a server.")
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        parser=_folder,
        metavar="PATH",
        help="Where to keep the files; default RUN/eval or evals/MODEL.",
        callback=expanded,
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
    bool, typer.Option("--allow-code", help="Run code that the model wrote, confined by the kernel (Linux).")
]
NoCard = Annotated[
    bool, typer.Option("--no-card", help="Do not try the judges on human labels (531 answers a judge).")
]
ShowCompletions = Annotated[
    bool, typer.Option("--show-completions", help="Put harmful completions into the page too, folded.")
]


def run_rules(ctx: typer.Context) -> list[Rule]:
    """Return the rules of `eval run` that the command line alone decides."""
    values = ctx.params
    sampled, served, target = values["sample"], values["base_url"] is not None, values["target"]
    beside = "beside --base-url"
    return [
        Rule("--temperature", is_given(ctx, "temperature"), sampled, "without --sample"),
        Rule("--top-p", is_given(ctx, "top_p"), sampled, "without --sample"),
        Rule("RUN", bool(target), not served, f"{beside}: give one of the two"),
        Rule("--recipe", values["recipe"] is not None, not served, beside),
        Rule(
            "--think", values["think"] != "normal", not served, f"{beside}: a server takes no begun thought"
        ),
        Rule("--model", values["model"] is not None, served, "without --base-url"),
        Rule("--concurrency", is_given(ctx, "concurrency"), served, "without --base-url"),
        recipe_rule(target, values["recipe"]),
    ]


def found_rules(ctx: typer.Context, *, is_evaluation: bool) -> list[Rule]:
    """Return the rules of `eval judge` and `eval report`; `is_evaluation`: RUN itself holds evaluations."""
    target, recipe, out = (ctx.params[name] for name in ("target", "recipe", "out"))
    by_folder = is_evaluation or (out is not None and not target)
    return [
        Rule("--out", out is not None, not is_evaluation, f"beside {target}: give one of the two"),
        Rule("--recipe", recipe is not None, not by_folder, "on a folder of evaluations"),
        recipe_rule(target, recipe),
    ]


def judge_rules(ctx: typer.Context, judges: Sequence[AnyJudge], graded: Iterable[Graded]) -> list[Rule]:
    """Return the rules for the options of judges; `graded` is what there will be to judge."""
    values, kinds = ctx.params, set(graded)
    asked = [judge for judge in judges if isinstance(judge, AskedJudge)]
    by_url = [judge.name for judge in asked if judge.model is None]
    own = [judge.name for judge in asked if judge.model is not None]
    free = any(grader is None for _, grader in kinds)
    no_url = "without a judge that a server's model is: --judge strongreject or xstest"
    several = f"for {' and '.join([*by_url[:1], *own])} at once: judge by one after the other"
    return [
        Rule("--judge-url", values["judge_url"] is not None, bool(by_url), no_url),
        Rule(
            "--judge-model", values["judge_model"] is not None, bool(asked), "without a judge that is a model"
        ),
        Rule("--judge-model", values["judge_model"] is not None, len([*by_url[:1], *own]) < 2, several),
        Rule("--judge-part", is_given(ctx, "judge_part"), free, "on suites that are graded by right answers"),
        Rule(
            "--allow-code", values["allow_code"], any(grader == "code" for _, grader in kinds), "without code"
        ),
        *(
            Rule(f"--judge {judge.name}", is_given(ctx, "judge"), _judges_some(judge, kinds), _judged(judge))
            for judge in judges
        ),
    ]


def _judges_some(judge: AnyJudge, kinds: Iterable[Graded]) -> bool:
    return any(judge in judges_for(kind, grader, [judge]) for kind, grader in kinds)


def _judged(judge: AnyJudge) -> str:
    return f"here: it judges {' and '.join(judge.kinds)} prompts, and there are none"
