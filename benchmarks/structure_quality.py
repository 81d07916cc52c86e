"""How well completions are taken apart, measured on completions labelled by hand.

    python benchmarks/structure_quality.py [--show]

The rules of alttrain_cli/verdict.py were tuned on the dev half only; the test half is the claim.
`understanding` and `assessment` count when their text is equal to the labelled one, `reasoning` and
`answer` when they are there. Every share stands with its Wilson 95% interval.
"""

import argparse
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from alttrain_cli.structure import Trace, parse
from alttrain_cli.template import S1, THINK

LABELLED = Path(__file__).parent.parent / "tests" / "assets" / "labelled_completions.jsonl"
MARKERS = {"think": THINK, "s1": S1}
TEXTS = ("understanding", "assessment")
PRESENCES = ("reasoning", "answer")
VERDICTS = ("harmful", "benign")

Item = dict[str, Any]
Share = tuple[int, int]  # so many of so many


def load(path: Path = LABELLED) -> list[Item]:
    """Read the labelled completions."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read(item: Item) -> Trace:
    """Take one labelled completion apart."""
    return parse(item["text"], MARKERS[item["markers"]], prefilled=item["prefilled"])


def measure(items: Iterable[Item]) -> dict[str, Share]:
    """Count: name of the measure -> (right ones, all that count)."""
    pairs = [(item, read(item)) for item in items]
    counts = {"state accuracy": (sum(t.state == item["state"] for item, t in pairs), len(pairs))}
    for name in TEXTS:
        counts |= _precision_and_recall(name, [(item[name], getattr(t, name)) for item, t in pairs])
    for name in PRESENCES:
        there = [(item[f"has_{name}"], bool(getattr(t, name))) for item, t in pairs]
        counts |= _precision_and_recall(name, there)
    for name in VERDICTS:
        said = [(item["verdict"] == name, t.verdict == name) for item, t in pairs]
        counts |= _precision_and_recall(name, said)
    return counts


def _precision_and_recall(name: str, pairs: list[tuple[Any, Any]]) -> dict[str, Share]:
    """Compare labels with readings; an empty or false one means that it is not there."""
    right = sum(bool(label) and label == reading for label, reading in pairs)
    return {
        f"{name} precision": (right, sum(bool(reading) for _, reading in pairs)),
        f"{name} recall": (right, sum(bool(label) for label, _ in pairs)),
    }


def wilson(share: Share, z: float = 1.96) -> tuple[float, float]:
    """Return the Wilson score interval of a share (95% at z = 1.96)."""
    right, n = share
    if not n:
        return 0.0, 1.0
    p, z2n = right / n, z * z / n
    middle = (p + z2n / 2) / (1 + z2n)
    half = z * math.sqrt(p * (1 - p) / n + z2n / n / 4) / (1 + z2n)
    return max(0.0, middle - half), min(1.0, middle + half)


def mistakes(item: Item) -> dict[str, tuple[Any, Any]]:
    """Return what was read otherwise than labelled: name -> (label, reading)."""
    trace = read(item)
    label = {name: item[name] for name in ("state", *TEXTS, "verdict")}
    label |= {name: item[f"has_{name}"] for name in PRESENCES}
    reading = {name: getattr(trace, name) for name in ("state", *TEXTS, "verdict")}
    reading |= {name: bool(getattr(trace, name)) for name in PRESENCES}
    return {k: (label[k], str(reading[k])) for k in label if label[k] != reading[k]}


def _print_table(title: str, items: list[Item]) -> None:
    print(f"\n{title}: n = {len(items)}")
    for name, share in measure(items).items():
        low, high = wilson(share)
        value = share[0] / share[1] if share[1] else math.nan
        print(f"  {name:<24} {share[0]:>3}/{share[1]:<3} {value:6.1%}  ({low:.1%} to {high:.1%})")


def _print_mistakes(items: list[Item]) -> None:
    for item in items:
        for name, (label, reading) in mistakes(item).items():
            print(f"{item['id']} {name}\n  labelled {label!r}\n  read     {reading!r}")


def main() -> None:
    """Print the figures of both halves and of each origin; with --show also the wrong ones."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--show", action="store_true", help="list what was read wrongly")
    parser.add_argument("--split", choices=("dev", "test"), help="only this half")
    arguments = parser.parse_args()
    items = load()
    for split in [arguments.split] if arguments.split else ["dev", "test"]:
        part = [item for item in items if item["split"] == split]
        _print_table(split, part)
        for origin in sorted({item["origin"] for item in part} if split == "test" else ()):
            _print_table(f"{split}, {origin}", [i for i in part if i["origin"] == origin])
        if arguments.show:
            _print_mistakes(part)


if __name__ == "__main__":
    main()
