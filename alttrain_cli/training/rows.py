"""The rows of a training run: read and hashed in one pass, then encoded for the trainer."""

import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alttrain_cli.errors import DataError
from alttrain_cli.recipe.model import Train
from alttrain_cli.structure.row import Row, iter_rows
from alttrain_cli.structure.sections import Order, merge_orders
from alttrain_cli.structure.template import EncodedRow, RenderError, Template
from alttrain_cli.structure.verdict_words import end_of_verdict

SHOWN_PROBLEMS = 5
_LESSONS = {"benign": "refuse everything", "harmful": "answer everything"}  # of rows without this label


@dataclass(frozen=True)
class TrainingRows:
    """The rows of a data file, with the SHA-256 of its bytes. Both labels are there, or one is allowed.

    `order` is that of the sections, which all rows have or leave some out of.
    """

    path: Path
    sha256: str
    rows: tuple[Row, ...]
    order: Order

    @classmethod
    def read(cls, path: Path, *, allow_one_label: bool = False) -> "TrainingRows":
        digest = hashlib.sha256()
        rows = tuple(iter_rows(path, digest))
        try:
            order = merge_orders(row.order for row in rows)
        except ValueError as both:
            raise DataError(
                f"{path}: rows have different orders of sections: {both}. A model learns one order, so keep "
                "only the rows of one style."
            ) from None
        found = cls(path, digest.hexdigest(), rows, order)
        if found.lesson and not allow_one_label:
            absent = next(label for label in _LESSONS if not found.labels[label])
            raise DataError(
                f"{path}: {found.lesson} Add {absent} rows: alttrain build-data --source FILE --source "
                "starter. To train without them: --allow-one-label"
            )
        return found

    @property
    def lesson(self) -> str:
        """What rows without one of the labels teach; empty if both labels are present."""
        for label, lesson in _LESSONS.items():
            if not self.labels[label] and (unknown := self.labels["unknown"]):
                return f"the label of {unknown:,} rows is unknown, and no row is labelled {label}."
            if not self.labels[label]:
                return f"there are no {label} rows. The model would learn to {lesson}."
        return ""

    @property
    def labels(self) -> Counter[str]:
        return Counter(row.label for row in self.rows)


def training_rows(rows: Sequence[Row], template: Template, settings: Train) -> list[EncodedRow]:
    """Return the rows as a recipe trains on them: some may end with their verdict."""
    encoded = encode_rows(rows, template, settings.max_length)
    chosen = ends_at_verdict(len(rows), settings)
    return [
        _until_verdict(one, row, template) if cut else one
        for one, row, cut in zip(encoded, rows, chosen, strict=True)
    ]


def ends_at_verdict(count: int, settings: Train) -> list[bool]:
    """Return for each of `count` rows whether it ends with its verdict. The recipe's seed draws them."""
    generator = random.Random(settings.seed)
    return [generator.random() < settings.until_verdict for _ in range(count)]


def longest_completion(encoded: Sequence[EncodedRow], settings: Train) -> int | None:
    """Return the tokens of the longest completion that is trained to its end, None if there is none."""
    cut = ends_at_verdict(len(encoded), settings)
    return max((row.trained for row, ends in zip(encoded, cut, strict=True) if not ends), default=None)


def _until_verdict(encoded: EncodedRow, row: Row, template: Template) -> EncodedRow:
    """Return a row without what follows its verdict; the whole row if it has none."""
    end = end_of_verdict(row.assessment) if row.assessment else None
    if end is None:
        return encoded
    completion = template.completion(row.trace)
    kept = template.encode_text(completion[: completion.index(row.assessment) + end])
    given = len(encoded.input_ids) - encoded.trained
    is_prefix = encoded.input_ids[given : given + len(kept)] == kept
    return encoded.ending_at(given + len(kept)) if is_prefix else encoded


def encode_rows(rows: Sequence[Row], template: Template, max_length: int) -> list[EncodedRow]:
    """Render, tokenise and check every row. None is cut or dropped: those that do not pass are an error."""
    encoded: list[EncodedRow] = []
    problems: list[str] = []
    advice = "Fix or remove them."
    for row in rows:
        try:
            example = template.encode(row.prompt, row.trace)
        except RenderError as error:
            problems.append(f"row {row.id!r}: {error}")
            continue
        if len(example.input_ids) > max_length:
            advice = "Fix or remove them, or raise the limit: --set train.max_length=N"
            problems.append(
                f"row {row.id!r}: {len(example.input_ids)} tokens, but train.max_length is {max_length}"
            )
        encoded.append(example)
    if problems:
        raise DataError(f"{_listed(problems, len(rows))}. {advice}")
    return encoded


def _listed(problems: Sequence[str], rows: int) -> str:
    more = len(problems) - SHOWN_PROBLEMS
    rest = [f"and {more} more"] if more > 0 else []
    return (
        f"{len(problems)} of {rows} rows cannot be used, so training did not start: "
        f"{'; '.join([*problems[:SHOWN_PROBLEMS], *rest])}"
    )
