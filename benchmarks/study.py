"""How far the plan of the study `smoke` is off, and what the study itself costs beside its steps.

    python benchmarks/study.py FOLDER

FOLDER is new: the study is run in it, for about ten minutes on a laptop. If it holds a study that has ended,
its journal is shown. The aim: within 25% before the first step, and within 10% after three of a kind.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from alttrain_cli.engine.machine import Machine
from alttrain_cli.study.history import StepEnd, history_of
from alttrain_cli.study.place import open_study
from alttrain_cli.study.plan import plan_study
from alttrain_cli.study.run import Events


def main(folder: Path) -> None:
    """Plan, run and compare."""
    place = open_study("smoke", (), folder)
    started = time.monotonic()  # with the speed test, if this machine was not measured before
    plan = plan_study(place.grid, folder, Machine.detect())
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
    sys.exit(f"{len(failures)} steps failed" if failures else 0)


def _off(expected: float, one: StepEnd) -> str:
    return f"{expected:.1f} ({expected / one.seconds - 1:+.0%})"


def _worst(ended: Sequence[StepEnd], expected: Mapping[str, float]) -> float:
    return max(abs(expected[one.key] / one.seconds - 1) for one in ended)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
