"""plan.json as it is read back: every key that judging and reporting need, and what must fit together."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from alttrain_cli.evaluation.attacks.attack_record import AttackRecord
from alttrain_cli.evaluation.choices import Mode
from alttrain_cli.evaluation.suites.items import LoadedSuite
from alttrain_cli.evaluation.suites.suite import Grader, Kind, ProblemPlace, Suite
from alttrain_cli.recipe.strict import MOST as MOST_TOKENS
from alttrain_cli.storage.record_reader import AS_WRITTEN, IGNORE, KEEP, Count, Many, NonEmpty, check_finite
from alttrain_cli.structure.sections import Order, check_order

_DOCUMENT = TypeAdapter(dict[str, Any])


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


class TargetRecord(TypedDict):
    """A fingerprint; of its other facts nothing is computed."""

    __pydantic_config__ = KEEP  # type: ignore[misc]

    name: NonEmpty
    model: NonEmpty
    weights: NonEmpty
    adapter: NotRequired[str | None]
    template: NotRequired[str | None]
    dtype: NotRequired[str | None]
    quantised: NotRequired[bool]
    device: NotRequired[str | None]
    engine: NotRequired[dict[str, str]]
    server: NotRequired[str | None]


class SettingsRecord(TypedDict):
    """A sampling."""

    __pydantic_config__ = KEEP  # type: ignore[misc]

    max_new_tokens: Annotated[int, Field(ge=1, le=MOST_TOKENS)]
    do_sample: bool
    temperature: NotRequired[Annotated[float, Field(gt=0, le=100)]]
    top_p: NotRequired[Annotated[float, Field(gt=0, le=1)]]
    top_k: NotRequired[Annotated[int, Field(ge=1, le=MOST_TOKENS)]]
    repetition_penalty: NotRequired[Annotated[float, Field(gt=0, le=100)]]
    threshold: NotRequired[Annotated[float, Field(ge=0, le=1)]]


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
    target: Annotated[TargetRecord, AS_WRITTEN, AfterValidator(check_finite)]
    settings: Annotated[SettingsRecord, AS_WRITTEN, AfterValidator(check_finite)]
    mode: Mode
    samples: Many
    published: Count
    items: Annotated[list[ItemRecord], Field(min_length=1)]
    caveats: NotRequired[list[str]]
    saved_keys: NotRequired[list[NonEmpty]]  # plans of the first versions have none
    version: NotRequired[Many]
    order: NotRequired[Annotated[Order, AfterValidator(check_order)]]
    attack: NotRequired[AttackRecord]
    instruction: NotRequired[str]


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
    if "saved_keys" in plan and len(plan["saved_keys"]) != len(plan["items"]) * plan["samples"]:
        raise ValueError("saved_keys: there must be one for each sample of each item")
    for place, item in enumerate(plan["items"]):
        if problem := _upgrade(item, grader) or _ungradable(item, grader):
            raise ValueError(f"items.{place}.{problem}, the suite's grader needs it")
    return plan


def _upgrade(item: ItemRecord, grader: str | None) -> str:
    """Give what plans before version 3 have in `answer` or `tests` its own key; return what is wrong."""
    try:
        match grader, item:
            case "code", {"answer": str(stub)}:
                item["stub"], item["answer"] = stub, None
            case "program", {"tests": str(text)}:
                item["problem"], item["tests"] = ProblemPlace.model_validate_json(text), None
            case "lm-eval" | "lm-eval-f1" | "lm-eval-rouge", {"answer": str(text)}:
                item["document"], item["answer"] = _DOCUMENT.validate_json(text), None
    except ValidationError:
        return f"{'tests' if grader == 'program' else 'answer'}: must be a JSON object"
    return ""


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
