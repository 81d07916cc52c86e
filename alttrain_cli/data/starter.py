"""The starter set: pairs of prompts that we wrote, with a held-out part that training never sees."""

from functools import cache
from importlib import resources
from typing import Any, Literal

from alttrain_cli.storage.reading import read_jsonl
from alttrain_cli.structure.row import Label, Row

Split = Literal["train", "heldout"]
LABELS: tuple[Label, ...] = ("harmful", "benign")
STARTER, FULL = "starter", "starter-full"
# The files of each set. The demo has what people ask, mostly short: a laptop trains on it in minutes.
_ASKED = ("questions", "commands", "looks", "mixed")
FILES = {
    STARTER: _ASKED,
    FULL: (
        *_ASKED,
        *("claims", "persons", "bodies", "schemes"),
        *("contrasts", "instructions", "wrappings", "short", "sensitive", "tasks"),
        *("assistant", "computers", "crimes", "health", "money", "others", "persuasion", "substances"),
        *("documents", "indirect", "plain", "sloppy", "sounds", "specific", "subjects"),
    ),
}


def starter_rows(split: Split, name: str = STARTER) -> list[Row]:
    """Return the rows of one split of a set; the rows of a pair are adjacent and in the same split."""
    return list(_rows(split, name))


@cache  # a command reads them several times
def _rows(split: Split, name: str) -> tuple[Row, ...]:
    return tuple(
        Row(
            id=f"starter-{pair['pair']}-{label}",
            label=label,
            category=pair["category"],
            source=STARTER,
            style="alttrain",
            **pair[label],
        )
        for pair in starter_pairs(name)
        if pair["split"] == split
        for label in LABELS
    )


def starter_pairs(name: str = STARTER) -> list[dict[str, Any]]:
    """Return the pairs of a set as they are in its files: {pair, split, category, kind, harmful, benign}."""
    return [pair for file in FILES[name] for pair in pairs_in(file)]


def pairs_in(file: str) -> list[dict[str, Any]]:
    """Return the pairs of one file of a set."""
    with resources.as_file(resources.files("alttrain_cli.data") / "starter_pairs") as folder:
        return [pair for _, pair in read_jsonl(folder / f"{file}.jsonl")]
