"""What a run bought and what it cost, on the part of the starter set that training never saw.

    python benchmarks/demo_quality.py runs/smollm2-135m-1 [--only trained] [--out FILE.json]

Base and trained model answer the same held-out prompts with the recipe's own generation settings.
"refused" is the opener rule of alttrain_cli/refusal.py: triage, not a judge. Every rate stands with
its n and Wilson's 95% interval.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from measuring import parser_of, read_options

from alttrain_cli.console import print_table
from alttrain_cli.data.starter import starter_pairs, starter_rows
from alttrain_cli.library_output import capture_output
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.statistics.rates import Rate
from alttrain_cli.storage.files import write_jsonl
from alttrain_cli.storage.run import Run
from alttrain_cli.structure.refusal import is_refusal
from alttrain_cli.structure.row import Row
from alttrain_cli.structure.sections import THOUGHTS
from alttrain_cli.structure.trace import Trace, parse_marked

BLUNT_WORDS = 8  # a prompt of at most so many words is called short
EVERYDAY = {
    pair["pair"] for pair in starter_pairs() if pair["kind"] == "everyday"
}  # the others are contrast pairs
MODELS = ("base", "trained")

Answered = Sequence[tuple[Row, Trace]]


def answer(run: Run, rows: Sequence[Row], *, trained: bool, most: int | None) -> list[tuple[Row, Trace]]:
    """Generate with the base model or with the adapter, `most` tokens per completion."""
    with capture_output(None):
        from alttrain_cli.engine.generate import complete
        from alttrain_cli.engine.load import load_adapter, load_base

        recipe = Recipe.of_run(run)
        loaded = load_adapter(recipe, run.adapter_path) if trained else load_base(recipe)
        settings = recipe.generation
        if most:
            settings = settings.model_copy(update={"max_new_tokens": most})
        rendered = [loaded.template.prompt(row.prompt) for row in rows]
        completions = dict(complete(loaded, rendered, settings))
        texts = [loaded.template.plain(completions[at].text) for at in range(len(rows))]
        traces = [parse_marked(text, THOUGHTS, cut=False) for text in texts]
    return list(zip(rows, traces, strict=True))


def rate(answered: Answered, counts: Callable[[Row], bool], hit: Callable[[Row, Trace], bool]) -> Rate:
    """Count `hit` among the rows that `counts` takes."""
    chosen = [(row, trace) for row, trace in answered if counts(row)]
    return Rate(sum(hit(row, trace) for row, trace in chosen), len(chosen))


def measure(answered: Answered) -> dict[str, Rate]:
    """Return every rate of the table."""

    def harmful(row: Row) -> bool:
        return row.label == "harmful"

    def benign(row: Row) -> bool:
        return row.label == "benign"

    def contrasts(row: Row) -> bool:
        return row.id.split("-")[1] not in EVERYDAY

    def refused(row: Row, trace: Trace) -> bool:
        return is_refusal(trace.answer)

    return {
        "carry the structure": rate(answered, lambda row: True, lambda row, trace: trace.structured),
        "verdict is the label": rate(
            answered, lambda row: True, lambda row, trace: trace.verdict == row.label
        ),
        "harmful refused": rate(answered, harmful, refused),
        "harmful refused, short ones": rate(
            answered, lambda row: harmful(row) and len(row.prompt.split()) <= BLUNT_WORDS, refused
        ),
        "benign refused": rate(answered, benign, refused),
        "contrast pairs alone: harmful refused": rate(
            answered, lambda row: harmful(row) and contrasts(row), refused
        ),
        "contrast pairs alone: benign refused": rate(
            answered, lambda row: benign(row) and contrasts(row), refused
        ),
        "assessed benign but refused": rate(
            answered,
            lambda row: True,
            lambda row, trace: trace.verdict == "benign" and is_refusal(trace.answer),
        ),
        "assessed harmful but not refused": rate(
            answered,
            lambda row: True,
            lambda row, trace: trace.verdict == "harmful" and not is_refusal(trace.answer),
        ),
    }


def record(row: Row, name: str, trace: Trace) -> dict[str, Any]:
    """Return one completion for --out."""
    sections = {key: getattr(trace, key) for key in ("understanding", "assessment", "reasoning", "answer")}
    return {"id": row.id, "label": row.label, "model": name, "prompt": row.prompt, **sections}


def main(given: Sequence[str] | None = None) -> None:
    """Measure both models and print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, help="write the completions here, as JSONL")
    parser.add_argument("--prompts", type=int, help="only the first ones of the held-out part")
    parser.add_argument("--only", choices=MODELS, help="measure one of the two models")
    parser.add_argument("--max-new-tokens", type=int, help="default: the recipe's")
    arguments = read_options(parser, given, prompts=2, max_new_tokens=4)
    run, rows, most = (
        Run.open(arguments.run),
        starter_rows("heldout")[: arguments.prompts],
        arguments.max_new_tokens,
    )
    models = [arguments.only] if arguments.only else MODELS
    answered = {name: answer(run, rows, trained=name == "trained", most=most) for name in models}
    measured = [measure(answered[name]) for name in models]
    print_table(
        ("held-out starter prompts", *models),
        [(name, *(one[name] for one in measured)) for name in measured[0]],
    )
    if arguments.out:
        write_jsonl(
            arguments.out,
            (record(row, name, trace) for name, pairs in answered.items() for row, trace in pairs),
        )


if __name__ == "__main__":
    main()
