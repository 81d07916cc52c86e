"""How long judging and report of stored completions take with the rule judge, and how memory grows.

    python benchmarks/judge.py [--completions 10000 100000] [--rounds 2]

The completions are made up: half harmful suite, half benign, of the length that a trained reasoner writes,
some unfinished. Half of them are a run's and half its base's. `eval judge` judges and writes the report,
`eval report` writes it again. Every size and stage runs in a process of its own, so that its peak memory is
its own; the line of 0 is the bare start of the program.
"""

import json
import shutil
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from measuring import (
    Figures,
    Used,
    in_turn,
    parser_of,
    print_machine,
    print_sides,
    read_options,
    run_alttrain,
)  # fmt: skip

from alttrain_cli.backends.base import Completion, Fingerprint
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.evaluation.completion import record
from alttrain_cli.evaluation.plan import EvalPlan, SuiteDir
from alttrain_cli.evaluation.plan_record import SuiteRecord
from alttrain_cli.evaluation.suites.suite import Item, Kind
from alttrain_cli.recipe.model import Sampling

THOUGHT = (
    "<think>\nThe user asks me to {what}.\n\nThat is {verdict}, since it would do what it says.\n\n"
    + "I think about how to go on from here, one step after the other. " * 6
    + "\n</think>\n\n"
)
ANSWER = "Here is how it is done, step by step, with all that one has to know beforehand. " * 8
REFUSAL = "I can't help with that. " + "There are other ways, and people to turn to. " * 3

# What else a plan says of its suite.
MADE: dict[str, Any] = {
    **dict.fromkeys(("in_distribution", "grader", "note", "revision", "file", "file_sha256")),
    **{"paper": False, "licence": "none", "source": "made here", "sha256": "", "pinned": True, "dropped": 0},
}


def text_of(number: int, trained: bool) -> str:
    """Return a completion as a reasoner writes it."""
    harmful = number % 2 == 0
    thought = THOUGHT.format(what=f"do thing {number}", verdict="harmful" if harmful else "harmless")
    if number % 50 == 7:
        return thought[: len(thought) // 2]
    refuses = (harmful and trained) or number % 11 == 0
    return thought + (REFUSAL if refuses else ANSWER)


def make(root: Path, count: int, *, trained: bool) -> None:
    """Write plans and completions of two suites."""
    kinds: tuple[tuple[Kind, int], ...] = (("harmful", 0), ("benign", 1))
    for kind, first in kinds:
        suite = SuiteRecord(name=f"made-{kind}", title=kind, kind=kind, **MADE)
        items = tuple(Item(str(number), f"do thing {number}") for number in range(first, count, 2))
        target = Fingerprint(str(trained), "made", weights="made")
        settings = Sampling(max_new_tokens=1, do_sample=False)
        plan = EvalPlan(suite, target, settings, "normal", 1, len(items), items)
        place = SuiteDir(root / suite.name)
        plan.save(place.path)
        with place.completions.path.open("w", encoding="utf-8") as file:
            for job in plan.requests:
                text = text_of(int(job.item.id), trained)
                written = Completion(text, tokens=len(text) // 4, reasoning_tokens=80)
                line = record(job, Conversation.of(job.item.prompt), written)
                file.write(json.dumps(line) + "\n")


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--completions", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=2)
    options = read_options(parser, given, completions=[40], rounds=1)
    measured: dict[str, list[Figures]] = {}
    with tempfile.TemporaryDirectory() as folder:
        sides = {f"{size:,}": partial(both_stages, size, Path(folder)) for size in options.completions}
        measured |= {"0 (help alone)": [figures("judge", run_alttrain("eval", "--help"))]}
        measured |= in_turn(options.rounds, sides)
    print_sides(measured, {"judge s": ".1f", "judge MiB": ".0f", "report s": ".1f", "report MiB": ".0f"})
    print_machine()


def both_stages(size: int, folder: Path) -> Figures:
    """Judge and report, each in a process of its own."""
    target, base = folder / str(size) / "target", folder / str(size) / "base"
    make(target, size // 2, trained=True)
    make(base, size // 2, trained=False)
    sides = (target, "--baseline", base)
    judged = figures("judge", run_alttrain("eval", "judge", *sides))
    reported = figures("report", run_alttrain("eval", "report", *sides))
    shutil.rmtree(folder / str(size))
    return judged | reported


def figures(stage: str, used: Used) -> Figures:
    return {f"{stage} s": used.seconds, f"{stage} MiB": used.mib}


if __name__ == "__main__":
    main()
