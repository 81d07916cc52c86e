"""What a plan keeps of its suite: the facts, and items as their grader needs them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from alttrain_cli.evaluation.suites.items import LoadedSuite
from alttrain_cli.evaluation.suites.suite import Grader, Item, Kind, ProblemPlace, Suite
from alttrain_cli.storage.record_reader import IGNORE, Count, NonEmpty, only


@dataclass(frozen=True)
class SuiteRecord:
    """The facts about a suite and its data, for the scorecard."""

    __pydantic_config__ = IGNORE

    name: NonEmpty
    title: NonEmpty
    kind: Kind
    paper: bool
    in_distribution: str | None
    licence: str
    grader: Grader | None
    note: str | None
    source: str
    revision: str | None
    file: str | None
    file_sha256: str | None
    sha256: str
    pinned: bool
    dropped: Count

    @classmethod
    def of(cls, suite: Suite, reading: LoadedSuite) -> "SuiteRecord":
        """Return the facts of a suite and of its data. Another file than the published one is named."""
        other = reading.given and not reading.pinned and not suite.source.own
        instead = f"your file {Path(reading.file).name} in place of " if other else ""
        return cls(
            name=suite.name,
            title=suite.title,
            kind=suite.kind,
            paper=suite.paper,
            in_distribution=suite.in_distribution,
            licence=suite.licence,
            grader=suite.grader,
            note=suite.note,
            source=reading.source or f"{instead}{suite.source}",
            revision=suite.source.revision,
            file=reading.file,
            file_sha256=reading.file_sha256,
            sha256=reading.sha256,
            pinned=reading.pinned,
            dropped=reading.dropped,
        )


StoredItem = Annotated[Item, only(Item._fields)]
_ITEM = TypeAdapter(StoredItem, config=IGNORE)


def item_record(item: Item) -> dict[str, Any]:
    values = {name: value for name, value in item._asdict().items() if value is not None}
    return {**values, "problem": item.problem.model_dump()} if item.problem else values


def read_item(grader: str | None, text: bytes) -> Item:
    """Return the item in a JSON text, with what its grader needs.

    Raises:
        ValueError: if it is no such item.
    """
    return gradable(_ITEM.validate_json(text), grader)


def gradable(item: Item, grader: str | None) -> Item:
    """Return an item with what its grader needs, also of plans before version 3.

    These have the stub and the document in `answer`, and the place of a problem in `tests`.

    Raises:
        ValueError: naming what it lacks.
    """
    match grader:
        case None:
            return item
        case "code":
            item = item._replace(stub=item.answer, answer=None) if item.answer is not None else item
            _check("tests: must be text", item.tests)
        case "program":
            if item.tests is not None:
                item = item._replace(problem=_from_json(ProblemPlace, "tests", item.tests), tests=None)
            _check("problem: must be a JSON object", item.problem)
        case "word" | "math":
            _check("answer: must be text", item.answer)
        case _:
            if item.answer is not None:
                item = item._replace(document=_from_json(dict[str, Any], "answer", item.answer), answer=None)
            _check("task: must be text", item.task)
            _check("document: must be a JSON object", item.document is not None)
    return item


def _check(lacks: str, found: object) -> None:
    if not found:
        raise ValueError(lacks)


def _from_json(kind: Any, name: str, text: str) -> Any:
    """Return the object that plans before version 3 have as text in a field."""
    try:
        return TypeAdapter(kind).validate_json(text)
    except ValidationError:
        raise ValueError(f"{name}: must be a JSON object") from None
