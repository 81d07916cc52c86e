"""How well completions are taken apart, measured on completions labelled by hand.

    python benchmarks/structure_quality.py [--show]

The rules of alttrain_cli/verdict.py were run on the dev half only while they were tuned. But one
hand wrote the "written" texts, all labels and the rules, and had some test items in mind (SHAPED):
read the test figures as optimistic, and those without SHAPED beside them.
`understanding` and `assessment` count when their text is equal to the labelled one, `reasoning` and
`answer` when they are there. Every share stands with its Wilson 95% interval.
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from alttrain_cli.statistics.rates import Rate
from alttrain_cli.structure.markers import S1, THINK
from alttrain_cli.structure.trace import Trace, parse

LABELLED = Path(__file__).parent.parent / "tests" / "assets" / "labelled_completions.jsonl"
MARKERS = {"think": THINK, "s1": S1}
TEXTS = ("understanding", "assessment")
PRESENCES = ("reasoning", "answer")
VERDICTS = ("harmful", "benign")
# Items of the test half that a rule was made with in mind: they show nothing about unseen text.
SHAPED = frozenset({"trained-050"} | {f"written-{n:03d}" for n in (12, 20, 22, 38, 50, 84, 94, 96, 114, 124)})

Item = dict[str, Any]


def load(path: Path = LABELLED) -> list[Item]:
    """Read the labelled completions."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read(item: Item) -> Trace:
    """Take one labelled completion apart."""
    return parse(item["text"], MARKERS[item["markers"]], prefilled=item["prefilled"])


def measure(items: Iterable[Item]) -> dict[str, Rate]:
    """Count: name of the measure -> right ones of all that count."""
    pairs = [(item, read(item)) for item in items]
    counts = {"state accuracy": Rate(sum(t.state == item["state"] for item, t in pairs), len(pairs))}
    for name in TEXTS:
        counts |= _precision_and_recall(name, [(item[name], getattr(t, name)) for item, t in pairs])
    for name in PRESENCES:
        there = [(item[f"has_{name}"], bool(getattr(t, name))) for item, t in pairs]
        counts |= _precision_and_recall(name, there)
    for name in VERDICTS:
        said = [(item["verdict"] == name, t.verdict == name) for item, t in pairs]
        counts |= _precision_and_recall(name, said)
    return counts


def _precision_and_recall(name: str, pairs: list[tuple[Any, Any]]) -> dict[str, Rate]:
    """Compare labels with readings; an empty or false one means that it is not there."""
    right = sum(bool(label) and label == reading for label, reading in pairs)
    return {
        f"{name} precision": Rate(right, sum(bool(reading) for _, reading in pairs)),
        f"{name} recall": Rate(right, sum(bool(label) for label, _ in pairs)),
    }


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
    for name, rate in measure(items).items():
        print(f"  {name:<24} {rate}")


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
        if split == "test":
            _print_table("test, without SHAPED", [i for i in part if i["id"] not in SHAPED])
        if arguments.show:
            _print_mistakes(part)


if __name__ == "__main__":
    main()
