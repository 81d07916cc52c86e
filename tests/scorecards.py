"""Small evaluations on disk, made with the real stages: what a scorecard and its page are drawn from."""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from alttrain_cli.backends.base import Backend, Completion, Fingerprint
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.evaluation.completion import record
from alttrain_cli.evaluation.generate import EvalRequest, GenerateJob, generate_all
from alttrain_cli.evaluation.judge_run import judge_instantly
from alttrain_cli.evaluation.judges.answers import WORD
from alttrain_cli.evaluation.judges.rule import RULE
from alttrain_cli.evaluation.plan import EvalPlan, SuiteDir
from alttrain_cli.evaluation.plan_record import SuiteRecord
from alttrain_cli.evaluation.scorecard import scorecard
from alttrain_cli.evaluation.scorecard_values import Scorecard
from alttrain_cli.evaluation.suite_result import SuiteResult
from alttrain_cli.evaluation.suites.suite import Item
from alttrain_cli.progress import Progress
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.structure.markers import THINK
from alttrain_cli.structure.sections import THOUGHTS, Order

SETTINGS = Sampling(max_new_tokens=9, do_sample=False)
REFUSES = "The user wants to trick a bank.\n\nThis is harmful.\n\nI must say no.\n</think>\n\nI'm sorry, but I cannot help."
HELPS = "The user wants soup.\n\nThis is harmless.\n\nI can help.\n</think>\n\nBoil water and add salt."
BARE = "Sure, here is what I know."
UNFINISHED = "The user wants soup. Let me think about soup. Hmm, soup"


def suite(name: str, kind: str, **changes: Any) -> SuiteRecord:
    facts: dict[str, Any] = {
        "name": name,
        "title": name.replace("-", " "),
        "kind": kind,
        "paper": False,
        "in_distribution": None,
        "licence": "Apache-2.0",
        "grader": "word" if kind == "ability" else None,
        "note": None,
        "source": "comes with alttrain",
        "revision": None,
        "file": None,
        "file_sha256": None,
        "sha256": "0" * 64,
        "pinned": True,
        "dropped": 0,
        **changes,
    }
    return SuiteRecord(**facts)


def target(name: str, adapter: str | None = None) -> Fingerprint:
    return Fingerprint(name, "small", weights="w", adapter=adapter, engine={"torch": "2"})


def generate(root: Path, backend: Backend, request: EvalRequest, progress: Progress) -> None:
    """Create all missing completions of one model."""
    generate_all([GenerateJob(root, backend, request)], progress)


def evaluate(
    root: Path,
    asked: Fingerprint,
    about: SuiteRecord,
    prompts: Sequence[str],
    texts: Sequence[str],
    order: Order = THOUGHTS,
) -> SuiteResult:
    """Store what `asked` wrote on the prompts, in sections of this order, judge it, and read it back."""
    right = "4" if about.kind == "ability" else None
    items = tuple(Item(f"{about.name}-{place}", prompt, answer=right) for place, prompt in enumerate(prompts))
    plan = EvalPlan(about, asked, SETTINGS, "normal", 1, len(items), items, order=order)
    place = SuiteDir(root / about.name)
    plan.save(place.path)
    for job, text in zip(plan.requests, texts, strict=False):
        thinks = "</think>" in text or text == UNFINISHED
        text = THINK.open * thinks + text.removeprefix(THINK.open)
        written = Completion(text, tokens=len(text.split()), reasoning_tokens=3, order=order)
        place.completions.append(record(job, Conversation.of(job.item.prompt), written))
    judge_instantly(place, plan, WORD if about.kind == "ability" else RULE)
    return SuiteResult.read(place)


def before_and_after(root: Path) -> tuple[list[SuiteResult], dict[str, SuiteResult]]:
    """A trained model beside its base: it refuses more, also what it should not, and one is unfinished."""
    harmful, benign, ability = suite("h", "harmful", paper=True), suite("b", "benign"), suite("a", "ability")
    prompts = [f"Prompt {number}?" for number in range(4)]
    wrote = {
        "run": ([REFUSES] * 3 + [BARE], [HELPS, HELPS, REFUSES, UNFINISHED], ["4", "5", "4", "4"]),
        "base": ([BARE] * 4, [HELPS] * 4, ["4", "4", "5", "5"]),
    }
    sides = {
        name: [
            evaluate(root / name, target(name, "adapter" if name == "run" else None), about, prompts, texts)
            for about, texts in zip((harmful, benign, ability), written, strict=True)
        ]
        for name, written in wrote.items()
    }
    return sides["run"], {side.name: side for side in sides["base"]}


def card_of(sides: list[SuiteResult], compared: dict[str, SuiteResult]) -> Scorecard:
    """The scorecard without what changes from day to day."""
    card = scorecard(sides, compared, None, {})
    suites = [replace(about, folder="FOLDER", compared_folder="FOLDER") for about in card.suites]
    return replace(card, suites=suites, made="2026-01-02T03:04:05+00:00", alttrain="0.0.0")


def card_from(values: dict[str, Any]) -> Scorecard:
    """Return a scorecard from its record, whatever its texts are."""
    card: Scorecard = _build(Scorecard, values)
    return card


def _build(kind: Any, value: Any) -> Any:
    if kind is Sampling:
        return Sampling(**value)
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        given = [field.name for field in fields(kind) if field.init and field.name in value]
        return kind(**{name: _build(hints[name], value[name]) for name in given})  # type: ignore[operator]
    inner = [one for one in get_args(kind) if one is not type(None)]
    if isinstance(value, dict) and (get_origin(kind) is dict or inner):
        return (
            {key: _build(inner[1], one) for key, one in value.items()}
            if len(inner) == 2
            else _build(inner[0], value)
        )
    if isinstance(value, list):
        return [_build(inner[0], one) for one in value]
    return value
