"""How far the plan of the study `smoke` is off, and what the study itself costs beside its steps.

    python benchmarks/study.py FOLDER [--again 4]

FOLDER is new: the study is run in it, for about ten minutes on a laptop. If it holds a study that has ended,
its journal is shown. The aim: within 25% before the first step, and within 10% after three of a kind.
`--again 4` does one training four times more. How far these differ, though they compute the same, no plan
can foresee.
"""

import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from measuring import parser_of, run_alttrain

from alttrain_cli.engine.machine import Machine
from alttrain_cli.study.history import StepEnd, history_of
from alttrain_cli.study.place import open_study
from alttrain_cli.study.plan import plan_study
from alttrain_cli.study.run import Events
from alttrain_cli.study.steps import TrainStep
from alttrain_cli.training.time_plan import renew_rate


def main(given: Sequence[str] | None = None) -> None:
    """Read the command line."""
    parser = parser_of(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--again", type=int, default=0)
    options = parser.parse_args(given)
    measure(options.folder)
    if options.again:
        repeat(options.folder, options.again)


def measure(folder: Path) -> None:
    """Plan, run and compare."""
    place = open_study("smoke", (), folder)
    started = time.monotonic()  # with the speed test, if the last one is old
    renew_rate(machine := Machine.detect())
    plan = plan_study(place.grid, folder, machine)
    before = {one.step.key: one.cost.seconds or 0.0 for one in plan.steps}
    failures = place.run(1, Events())
    place.table()
    wall = time.monotonic() - started
    ended: list[StepEnd] = list(history_of(folder))
    print("| step | before the first, s | corrected, s | took, s | of which |\n|---|---|---|---|---|")
    for one in ended:
        parts = ", ".join(f"{part} {seconds:.1f}" for part, seconds in one.parts.items())
        first, last = before[one.key], one.expected or 0.0
        figures = f"{_off(first, one)} | {_off(last, one)} | {one.seconds:.1f} | {parts}"
        print(f"| {one.kind}: {one.title} | {figures} |")
    later: list[StepEnd] = []  # after three of their kind
    for kind in dict.fromkeys(one.kind for one in ended):
        mine = [one for one in ended if one.kind == kind]
        later += mine[3:]
        print(f"{kind}: at most {_worst(mine, before):.0%} off before the first step", end="")
        after = {one.key: one.expected or 0.0 for one in mine[3:]}
        print(f", {_worst(mine[3:], after):.0%} after three" if after else "")
    steps = sum(one.seconds for one in ended)
    print(f"all steps: {sum(before.values()) / steps - 1:+.0%} before the first step", end="")
    corrected = sum(one.expected or 0.0 for one in later) / sum(one.seconds for one in later)
    print(f"; those after three of their kind, as corrected: {corrected - 1:+.0%}")
    if plan.seconds:
        print(f"all: {wall:.0f} s, of which {wall - steps:.1f} s ({1 - steps / wall:.1%}) are not the steps'")
    if failures:
        sys.exit(f"{len(failures)} steps failed")


def repeat(folder: Path, times: int) -> None:
    """Train the first model of the study again, each time in a new folder."""
    grid = open_study("smoke", (), folder).grid
    first = next(step for step in grid.steps if isinstance(step, TrainStep))
    new = (folder / "again" / f"{time.time():.0f}-{number}" for number in range(times))
    seconds = [run_alttrain(*replace(first, out=out).words()).seconds for out in new]
    middle = statistics.median(seconds)
    off = max(abs(one / middle - 1) for one in seconds)
    print(f"one training, {times} times: {', '.join(f'{one:.1f}' for one in seconds)} s", end="")
    print(f"; at most {off:.0%} from their median")


def _off(expected: float, one: StepEnd) -> str:
    return f"{expected:.1f} ({expected / one.seconds - 1:+.0%})"


def _worst(ended: Sequence[StepEnd], expected: Mapping[str, float]) -> float:
    return max(abs(expected[one.key] / one.seconds - 1) for one in ended)


if __name__ == "__main__":
    main()
