"""How long judging and report of stored completions take with the rule judge, and how memory grows.

    python benchmarks/judge.py [--completions 1000 10000 40000]

The completions are made up: half harmful suite, half benign, of the length that a trained reasoner writes,
some unfinished. A base is compared, so a size of N means 2 N completions on disk, N of each side. Every
size and stage runs in a process of its own, so that its peak memory is its own; the bare start of Python
with the program's imports is the line of 0.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from alttrain_cli.backends.base import Completion, Fingerprint
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.console import print_table
from alttrain_cli.evaluation.completion import record
from alttrain_cli.evaluation.plan import Plan, SuiteDir
from alttrain_cli.evaluation.plan_record import SuiteFacts
from alttrain_cli.evaluation.suites.suite import Item
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
    for kind, first in (("harmful", 0), ("benign", 1)):
        suite = SuiteFacts(name=f"made-{kind}", title=kind, kind=kind, **MADE)
        items = tuple(Item(str(number), f"do thing {number}") for number in range(first, count, 2))
        target = Fingerprint(str(trained), "made", weights="made")
        settings = Sampling(max_new_tokens=1, do_sample=False)
        plan = Plan(suite, target, settings, "normal", 1, len(items), items)
        place = SuiteDir(root / suite.name)
        plan.save(place.path)
        with place.completions.path.open("w", encoding="utf-8") as file:
            for job in plan.requests:
                text = text_of(int(job.item.id), trained)
                written = Completion(text, tokens=len(text) // 4, reasoning_tokens=80)
                line = record(job, Conversation.of(job.item.prompt), written)
                file.write(json.dumps(line) + "\n")


def run(*arguments: str) -> tuple[float, float]:
    """Run one stage in a process of its own; return seconds and peak MiB."""
    code = (
        "import resource; from alttrain_cli.cli import app\n"
        f"try: app({list(arguments)!r})\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print('PEAK', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return time.monotonic() - begun, int(done.stdout.rsplit("PEAK ", 1)[1]) / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--completions", type=int, nargs="+", default=[1_000, 10_000, 40_000])
    sizes = parser.parse_args().completions
    rows = [("0", *(f"{figure:.1f}" for figure in run("eval", "--help")), "", "")]
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            target, base = Path(folder) / "target", Path(folder) / "base"
            make(target, size, trained=True)
            make(base, size, trained=False)
            judging = run("eval", "judge", str(target), "--baseline", str(base))
            report = run("eval", "report", str(target), "--baseline", str(base))
            rows.append((f"2 x {size:,}", *(f"{figure:.1f}" for figure in (*judging, *report))))
    print_table(("completions", "judge and report, s", "peak MiB", "report again, s", "peak MiB"), rows)


if __name__ == "__main__":
    main()
