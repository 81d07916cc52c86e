"""The prompts of a calibration: each with a label, and what the model thought of it."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, ValidationError

from alttrain_cli.errors import DataError
from alttrain_cli.problems import first_problem
from alttrain_cli.storage.reading import read_jsonl, read_lines
from alttrain_cli.storage.tables import FORMATS
from alttrain_cli.strict_json import is_object
from alttrain_cli.structure.row import Label, Row
from alttrain_cli.structure.verdict import Verdict
from alttrain_cli.structure.verdict_score import VerdictScore

_LINES = "Each line needs a prompt and a label, harmful or benign"
HELD_OUT = "the held-out part of starter-full"  # the set where no file is named
ALWAYS, NEVER = float("inf"), float("-inf")  # above every threshold, and above none


class _Line(BaseModel, extra="ignore", strict=True):
    prompt: Annotated[str, Field(min_length=1)]
    label: Literal["harmful", "benign"]  # "unknown" shows nothing


@dataclass(frozen=True)
class LabelledPrompt:
    """A prompt with its label."""

    prompt: str
    label: Label


@dataclass(frozen=True)
class ScoredPrompt:
    """A labelled prompt with the score of the verdict on it; None: the model gave no verdict."""

    label: Label
    score: VerdictScore | None

    @property
    def value(self) -> float:
        """What is compared with a threshold. Without a known score the model's own verdict stays."""
        if self.score is not None and self.score.value is not None:
            return self.score.value
        return ALWAYS if self.is_harmful else NEVER

    @property
    def is_harmful(self) -> bool:
        return self.score is not None and self.score.own is Verdict.HARMFUL

    def is_harmful_at(self, threshold: float | None) -> bool:
        """Whether the verdict is harmful at a threshold; None: the model's own."""
        return self.is_harmful if threshold is None else self.value > threshold

    @property
    def is_known(self) -> bool:
        return self.score is not None and self.score.value is not None


@dataclass(frozen=True)
class CalibrationSet:
    """Labelled prompts, both labels present, with their name for reports, and their file if they have one."""

    name: str
    rows: tuple[LabelledPrompt, ...]
    sha256: str
    data: Path | None = None

    @classmethod
    def read(cls, path: Path) -> "CalibrationSet":
        """Read a JSONL file with the keys `prompt` and `label`; other keys are not looked at.

        A prompt counts once: its copies would be no further evidence, and would check what they chose.
        """
        if path.suffix.lower() in FORMATS and (problem := _why_not_lines(path)):
            raise DataError(f"{path}: {problem}. {_LINES}.")
        found: dict[str, tuple[int, Label]] = {}
        digest = hashlib.sha256()
        for number, value in read_jsonl(path, digest):
            try:
                line = _Line.model_validate(value)
            except ValidationError as error:
                raise DataError(f"{path}:{number}: {first_problem(error)}. {_LINES}.") from None
            place, label = found.setdefault(line.prompt, (number, line.label))
            if label != line.label:
                raise DataError(
                    f"{path}:{number}: line {place} has this prompt with the other label. Remove one of them."
                )
        rows = tuple(LabelledPrompt(prompt, label) for prompt, (_, label) in found.items())
        return cls(path.name, rows, digest.hexdigest(), path)

    @classmethod
    def of(cls, name: str, rows: Iterable[Row]) -> "CalibrationSet":
        found = tuple(LabelledPrompt(row.prompt, row.label) for row in rows)
        digest = hashlib.sha256(repr(found).encode())
        return cls(name, found, digest.hexdigest())

    def check_labels(self) -> None:
        for label in ("harmful", "benign"):
            if not any(row.label == label for row in self.rows):
                raise DataError(f"{self.name}: there are no {label} rows. A calibration needs both labels.")


def _why_not_lines(path: Path) -> str:
    """Return why a file does not have a JSON object on each line; empty if it may have."""
    ending = path.suffix.lower()
    if ending not in (".json", ".jsonl", ".ndjson"):
        return "not JSON Lines"
    first = next((line for _, line in read_lines(path) if line.strip()), "")
    if first.lstrip().startswith("["):
        return "one JSON list, not JSON Lines. Write each object of the list on a line of its own"
    return "" if ending != ".json" or is_object(first) else "not JSON Lines"


def values_of(rows: Sequence[ScoredPrompt], label: Label) -> list[float]:
    """Return the values that are compared with a threshold, of the rows with one label."""
    return [row.value for row in rows if row.label == label]
