"""The entries of the list of completions: one per completion, with the one of the baseline."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from alttrain_cli.evaluation.attacks.dialogue import StoredDialogue
from alttrain_cli.evaluation.completion import Ending, StoredCompletion
from alttrain_cli.evaluation.page.outcome import CompletionJudgements, judgement_in_words
from alttrain_cli.evaluation.plan import NONE, EvalPlan
from alttrain_cli.evaluation.suite_result import SuiteResult
from alttrain_cli.structure.trace import Trace

KINDS = ("harmful", "benign", "ability")  # the order in which suites are read
LONGEST = 6_000  # characters of a section; reasoning of 100,000 characters would make a page of gigabytes


@dataclass(frozen=True)
class ShownTurn:
    """One exchange of a dialogue."""

    turn: int
    message: str
    sections: dict[str, str]
    verdict: str
    refused: bool
    score: int | None
    kept: bool
    decides: bool


@dataclass(frozen=True)
class ShownCompletion:
    """One completion, as the page's script reads it."""

    verdict: str
    behaviour: list[str]
    finish: str
    tokens: int | None
    thinking_tokens: int | None
    judged: list[tuple[str, str]]  # judge, its judgement in words
    harmful: bool
    sections: dict[str, str] | None  # None: harmful, and not to be shown
    outcome: str | None = None  # of a dialogue, by the judge in the loop
    turns: list[ShownTurn] | None = None  # of a dialogue that is shown


@dataclass(frozen=True)
class Entry:
    """One sample of one item: the completions of candidate and baseline."""

    suite: str
    item: str
    sample: int
    prompt: str
    target: ShownCompletion
    compared: ShownCompletion | None
    crossed: bool  # it counts in the table of verdicts and behaviours
    changed: bool  # the behaviours differ


def entries(
    sides: Sequence[SuiteResult], compared: Mapping[str, SuiteResult], *, show: bool
) -> Iterator[Entry]:
    """Yield the completions of all suites, one in memory at a time.

    `show` includes the sections of harmful completions.
    """
    ordered = sorted(sides, key=lambda side: KINDS.index(side.plan.suite.kind))
    return chain.from_iterable(_suite(side, compared.get(side.name), show) for side in ordered)


def _suite(side: SuiteResult, other: SuiteResult | None, show: bool) -> Iterator[Entry]:
    written = _written(side, side.plan.sample_keys)
    for job, mine, its in zip(side.plan.requests, written, _partners(side, other), strict=True):
        target = _shown(side, mine, show) if mine else _undecided(side, job.key, show)
        if target is None:
            continue
        beside = _shown(other, its, show) if other and its else None
        yield Entry(
            suite=side.name,
            item=job.item.id,
            sample=job.sample,
            prompt=job.item.prompt,
            target=target,
            compared=beside,
            crossed=side.plan.suite.kind != "ability" and side.plan.is_single_turn,
            changed=bool(beside and beside.behaviour != target.behaviour),
        )


def _partners(side: SuiteResult, other: SuiteResult | None) -> Iterator[StoredCompletion | None]:
    """Yield the other model's completion for the same sample of an item with the same content."""
    if other is None:
        return (None for _ in side.plan.requests)
    return _written(other, _partner_keys(side.plan, other.plan))


def _written(side: SuiteResult, keys: Iterable[str | None]) -> Iterator[StoredCompletion | None]:
    """Yield the completion of each key, None where there is none."""
    return side.folder.aligned((key if key and side.counts(key) else None for key in keys), side.plan.order)


def _partner_keys(plan: EvalPlan, other: EvalPlan) -> Iterator[str | None]:
    """Yield for each of our samples the key of the other plan's completion."""
    partners, samples = plan.partners(other), other.samples
    if partners == range(len(other.items)) and samples == plan.samples:
        yield from other.sample_keys
        return
    theirs = list(other.sample_keys)  # of other data, in any order
    for place in partners:
        mine = [None] * plan.samples if place == NONE else theirs[place * samples : (place + 1) * samples]
        yield from [*mine, *[None] * plan.samples][: plan.samples]


def _shown(side: SuiteResult, completion: StoredCompletion, show: bool) -> ShownCompletion:
    key = completion.key
    outcome = CompletionJudgements(
        {name: found[key] for name, found in side.judged.items() if key in found}, side.behaviour_judge
    )
    is_attack = side.plan.suite.kind == "harmful"
    harmful = outcome.may_be_harmful(asked_for_harm=is_attack)
    dialogue = _dialogue(side, key)
    steered = side.plan.attack is not None and side.plan.attack.steered
    # What an attacker wrote, and the answers that no judge saw, are shown only with harmful completions.
    turns = _turns(dialogue) if dialogue and (show or not is_attack) else None
    trace = completion.trace
    return ShownCompletion(
        verdict=completion.verdict,
        behaviour=outcome.words(completion.ending),
        finish=Ending(completion.ending).label,
        tokens=completion.tokens,
        thinking_tokens=completion.thinking_tokens,
        judged=[(name, judgement_in_words(judgement)) for name, judgement in outcome.judged.items()],
        harmful=harmful or (is_attack and turns is not None),
        sections=None if harmful and not show else _sections(trace),
        outcome=dialogue.outcome.label if dialogue and steered else None,
        turns=turns,
    )


def _undecided(side: SuiteResult, key: str, show: bool) -> ShownCompletion | None:
    """Return a dialogue that shows nothing about the model; None if there is none."""
    dialogue = _dialogue(side, key)
    if dialogue is None:
        return None
    harmful = side.plan.suite.kind == "harmful" and bool(dialogue.attempts)
    label = dialogue.outcome.label
    return ShownCompletion(
        verdict="missing",
        behaviour=[label],
        finish=label,
        tokens=None,
        thinking_tokens=None,
        judged=[],
        harmful=harmful,
        sections=None if harmful and not show else {},
        turns=None if harmful and not show else _turns(dialogue),
    )


def _dialogue(side: SuiteResult, key: str) -> StoredDialogue | None:
    return side.folder.dialogue(key, side.plan.order) if side.plan.attack else None


def _sections(trace: Trace) -> dict[str, str]:
    return {name: _short(trace[name]) for name in trace.sections}


def _turns(dialogue: StoredDialogue) -> list[ShownTurn]:
    return [
        ShownTurn(
            turn=one.turn,
            message=_short(one.message),
            sections=_sections(one.trace),
            verdict=one.verdict,
            refused=one.refused,
            score=one.score,
            kept=one.kept,
            decides=one.number == dialogue.deciding,
        )
        for one in dialogue.attempts
    ]


def _short(text: str) -> str:
    left = len(text) - LONGEST
    return text if left <= 0 else f"{text[:LONGEST]}\n[{left:,} more characters are in completions.jsonl]"
