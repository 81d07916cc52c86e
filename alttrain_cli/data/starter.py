"""The starter set: contrast pairs that we wrote, with a held-out part that training never sees."""

from importlib import resources
from typing import Any, Literal

from alttrain_cli.files import read_jsonl
from alttrain_cli.row import Row

Split = Literal["train", "heldout"]


def starter_rows(split: Split) -> list[Row]:
    """Return the rows of one split; both rows of a pair are in the same split."""
    return [
        Row(
            id=f"starter-{pair['pair']}-{label}",
            prompt=side["prompt"],
            label=label,
            category=pair["category"],
            source="starter",
            style="alttrain",
            understanding=side["understanding"],
            assessment=side["assessment"],
            reasoning=side["reasoning"],
            answer=side["answer"],
        )
        for pair in starter_pairs()
        if pair["split"] == split
        for label, side in (("harmful", pair["harmful"]), ("benign", pair["benign"]))
    ]


def starter_pairs() -> list[dict[str, Any]]:
    """Return the pairs as they stand in the file: {pair, split, category, kind, harmful, benign}."""
    with resources.as_file(resources.files("alttrain_cli.data") / "starter.jsonl") as path:
        return [pair for _, pair in read_jsonl(path)]
