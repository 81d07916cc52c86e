"""Programming problems in LiveCodeBench's published form: the prompt of a row, and its tests.

The tests of one problem can have many megabytes. So an item has only their place, and a judge reads them
from the published file when it needs them.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from itertools import dropwhile
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.suites.suite import ProblemPlace
from alttrain_cli.storage.pickled_text import NotText, packed_text
from alttrain_cli.storage.tables import read_table
from alttrain_cli.text import quoted

# The questions are LiveCodeBench's, the words around them are ours.
_STDIN = (
    "{question}\n\nSolve this problem in Python. The program reads its input from stdin and writes the "
    "answer to stdout. Give the whole program in one code block."
)
_FUNCTION = (
    "{question}\n\nSolve this problem in Python. Complete this code, and give all of it in one code block."
    "\n\n```python\n{starter}\n```"
)
_TESTS = ("public_test_cases", "private_test_cases")


class Case(NamedTuple):
    """What a program gets, and what it must give back; of a function both are JSON, an argument per line."""

    given: str
    wanted: str


class Problem(NamedTuple):
    """The tests of a problem; without a function they are for a program that reads stdin."""

    function: str | None
    cases: list[Case]


class _Test(BaseModel, frozen=True):
    input: str
    output: str


def program_prompt(row: Mapping[str, Any], place: str) -> str:
    """Return the prompt of a row: the question, the form of the answer, and the code to complete if any."""
    question, starter = _text(row, "question_content", place), _text(row, "starter_code", place)
    wording = _FUNCTION if starter.strip() else _STDIN
    return wording.format(question=question.strip(), starter=starter.rstrip())


def problem_place(path: Path, number: int, row: Mapping[str, Any], place: str) -> ProblemPlace:
    """Return where the tests of a row are."""
    digest = _digest([_text(row, name, place) for name in _TESTS])
    function = _function(_text(row, "metadata", place), place)
    return ProblemPlace(file=str(path.resolve()), row=number, sha256=digest, function=function)


class Problems:
    """Reads the problems of items. Items come in the order of their file, so each file is read once."""

    def __init__(self) -> None:
        self._file = ""
        self._rows: Iterator[tuple[int, Mapping[str, Any]]] = iter(())
        self._at = 0

    def problem(self, place: ProblemPlace) -> Problem:
        """Return the problem of an item.

        Raises:
            NotText: if its tests cannot be read, with the reason.
        """
        texts = self._texts(place)
        if _digest(texts) != place.sha256:
            raise NotText(f"{place.file} was changed since the evaluation")
        return Problem(place.function, [case for text in texts for case in _cases(text)])

    def _texts(self, place: ProblemPlace) -> list[str]:
        if place.file != self._file or place.row <= self._at:
            self._file, self._rows = place.file, read_table(Path(place.file))
        try:
            self._at, row = next(dropwhile(lambda one: one[0] < place.row, self._rows), (0, {}))
        except DataError as error:
            self._file = ""
            raise NotText(f"its tests cannot be read: {error}") from None
        return [str(row.get(name)) for name in _TESTS]


def _cases(text: str) -> list[Case]:
    """Return the tests of a column; the public ones are JSON, the others are packed."""
    if not text.lstrip().startswith("["):
        text = packed_text(text)
    try:
        found = [_Test.model_validate(one) for one in json.loads(text)]
    except (ValueError, TypeError) as error:
        raise NotText(f"the tests are not in LiveCodeBench's form ({type(error).__name__})") from None
    return [Case(one.input, one.output) for one in found]


def _function(metadata: str, place: str) -> str | None:
    try:
        values = json.loads(metadata or "{}")
    except ValueError:
        values = None
    name = values.get("func_name") if isinstance(values, dict) else metadata
    if name is not None and not (isinstance(name, str) and name.isidentifier()):
        shown = quoted(metadata)[:200]
        raise DataError(f"{place}: metadata: {shown} names no function. Use the published file.")
    return name


def _text(row: Mapping[str, Any], name: str, place: str) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        raise DataError(
            f"{place}: no text in the column {name}; the row has {', '.join(map(str, row))}. "
            "Use the published file."
        )
    return value


def _digest(texts: list[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()
