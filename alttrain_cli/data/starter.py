"""The starter set: contrast pairs that we wrote, with a held-out part that training never sees."""

from importlib import resources
from typing import Any, Literal

from alttrain_cli.storage.reading import read_jsonl
from alttrain_cli.structure.row import Label, Row

Split = Literal["train", "heldout"]
LABELS: tuple[Label, ...] = ("harmful", "benign")


def starter_rows(split: Split) -> list[Row]:
    """Return the rows of one split; the rows of a pair are adjacent and in the same split."""
    return [
        Row(
            id=f"starter-{pair['pair']}-{label}",
            prompt=pair[label]["prompt"],
            label=label,
            category=pair["category"],
            source="starter",
            style="alttrain",
            understanding=pair[label]["understanding"],
            assessment=pair[label]["assessment"],
            reasoning=pair[label]["reasoning"],
            answer=pair[label]["answer"],
        )
        for pair in starter_pairs()
        if pair["split"] == split
        for label in LABELS
    ]


def starter_pairs() -> list[dict[str, Any]]:
    """Return the pairs as they are in the file: {pair, split, category, kind, harmful, benign}."""
    with resources.as_file(resources.files("alttrain_cli.data") / "starter.jsonl") as path:
        return [pair for _, pair in read_jsonl(path)]
