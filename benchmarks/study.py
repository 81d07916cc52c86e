"""How far the plan of the study `smoke` is off, and what the study itself costs beside its steps.

    python benchmarks/study.py FOLDER

FOLDER is new: the study is run in it, for about ten minutes on a laptop.
"""

import sys
import time
from pathlib import Path

from alttrain_cli.study.history import History
from alttrain_cli.study.place import open_study
from alttrain_cli.study.run import Events


def main(folder: Path) -> None:
    place = open_study("smoke", (), folder)
    started = time.monotonic()
    failures = place.run(1, Events())
    place.table()
    wall = time.monotonic() - started
    ended = History(folder).all()
    print("| step | expected, s | took, s | off |\n|---|---|---|---|")
    for one in ended:
        off = f"{one.expected / one.seconds - 1:+.0%}" if one.expected else "-"
        print(f"| {one.kind}: {one.title} | {one.expected or 0:.0f} | {one.seconds:.0f} | {off} |")
    for kind in dict.fromkeys(one.kind for one in ended):
        mine = [one for one in ended if one.kind == kind]
        first = mine[0].expected or 0
        print(f"{kind}: first plan {first / mine[0].seconds - 1:+.0%}, then {_off(mine[1:])}")
    steps = sum(one.seconds for one in ended)
    print(f"all: {wall:.0f} s, of which {wall - steps:.1f} s ({1 - steps / wall:.1%}) are not the steps'")
    sys.exit(f"{len(failures)} steps failed" if failures else 0)


def _off(ended: list) -> str:  # type: ignore[type-arg]
    took = sum(one.seconds for one in ended)
    return f"{sum(one.expected or 0 for one in ended) / took - 1:+.0%}" if took else "-"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
