"""plan.json as it is read back: every key that judging and reporting need, and what must fit together."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter
from typing_extensions import TypedDict

from alttrain_cli.backends.base import Fingerprint
from alttrain_cli.evaluation.attacks.attack_record import AttackRecord
from alttrain_cli.evaluation.choices import Mode
from alttrain_cli.evaluation.suites.items import LoadedSuite
from alttrain_cli.evaluation.suites.suite import Grader, Kind, ProblemPlace, Suite
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.storage.record_reader import IGNORE, MOST, Count, Many, NonEmpty, check_finite
from alttrain_cli.structure.sections import Order, check_order

VERSION = 3  # of plan.json


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


def _without_new_fields(values: Any) -> Any:
    known = Sampling.model_fields
    return {key: one for key, one in values.items() if key in known} if isinstance(values, dict) else values


class ItemRecord(TypedDict):
    """One prompt."""

    __pydantic_config__ = IGNORE  # type: ignore[misc]

    id: NonEmpty
    prompt: NonEmpty
    category: NotRequired[str | None]
    goal: NotRequired[str | None]
    turns: NotRequired[Annotated[list[str], Field(min_length=1)] | None]
    answer: NotRequired[str | None]
    stub: NotRequired[str | None]
    tests: NotRequired[str | None]
    problem: NotRequired[ProblemPlace | None]
    task: NotRequired[str | None]
    document: NotRequired[Annotated[dict[str, Any], AfterValidator(check_finite)] | None]


class EvalPlanRecord(TypedDict):
    """The whole file."""

    __pydantic_config__ = IGNORE  # type: ignore[misc]

    suite: SuiteRecord
    target: Fingerprint
    settings: Annotated[Sampling, BeforeValidator(_without_new_fields)]
    mode: Mode
    samples: Many
    published: Count
    items: Annotated[list[ItemRecord], Field(min_length=1)]
    caveats: list[str]
    saved_keys: list[NonEmpty]
    version: Annotated[int, Field(ge=VERSION, le=MOST)]
    order: NotRequired[Annotated[Order, AfterValidator(check_order)]]
    attack: NotRequired[AttackRecord]


def _fits_together(plan: EvalPlanRecord) -> EvalPlanRecord:
    """Return the plan if its parts belong to one another.

    Raises:
        ValueError: naming the key that does not fit.
    """
    kind, grader = plan["suite"].kind, plan["suite"].grader
    if (kind == "ability") != (grader is not None):
        raise ValueError(f"suite.grader: {grader!r} does not fit suite.kind {kind!r}")
    ids = Counter(item["id"] for item in plan["items"])
    twice = next((name for name, times in ids.items() if times > 1), None)
    if twice is not None:
        raise ValueError(f"items: the id {twice!r} is given twice")
    if plan["published"] < len(plan["items"]):
        raise ValueError(f"published: {plan['published']} is less than the {len(plan['items'])} items")
    if len(plan["saved_keys"]) != len(plan["items"]) * plan["samples"]:
        raise ValueError("saved_keys: there must be one for each sample of each item")
    for place, item in enumerate(plan["items"]):
        if problem := _ungradable(item, grader):
            raise ValueError(f"items.{place}.{problem}, the suite's grader needs it")
    return plan


def _ungradable(item: ItemRecord, grader: str | None) -> str:
    """Return which key a grader lacks in an item, and nothing if it has all."""
    match grader:
        case None:
            return ""
        case "code":
            return "" if item.get("tests") else "tests: must be text"
        case "program":
            return "" if item.get("problem") else "problem: must be a JSON object"
        case "word" | "math":
            return "" if item.get("answer") else "answer: must be text"
    if not item.get("task"):
        return "task: must be text"
    return "" if item.get("document") is not None else "document: must be a JSON object"


PLAN = TypeAdapter(Annotated[EvalPlanRecord, AfterValidator(_fits_together)])
