"""What the browser of completions shows: one entry a completion, with the other's beside it."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from alttrain_cli.evaluation.completion import StoredCompletion
from alttrain_cli.evaluation.page.outcome import Outcome, words
from alttrain_cli.evaluation.plan import SampleRequest
from alttrain_cli.evaluation.suite_result import SuiteResult

Entry = dict[str, Any]  # one completion, as the page's script reads it
KINDS = ("harmful", "benign", "ability")  # the order in which suites are read
LONGEST = 6_000  # characters of a section; thoughts of 100,000 would make a page of gigabytes


def entries(
    sides: Sequence[SuiteResult], compared: Mapping[str, SuiteResult], *, show: bool
) -> Iterator[Entry]:
    """Yield the completions of all suites, one in memory at a time.

    {suite, item, sample, prompt, target: SHOWN, compared: SHOWN | null, changed, crossed}; changed: the
    two do different things; crossed: it counts in the table of what the target says and does. SHOWN is
    {says, does: [TEXT], ending, tokens, thinking_tokens, judged: [[judge, TEXT]], harmful,
    sections: {name: text} | null}. `show` lets the sections of harmful completions in; else they are null.
    """
    ordered = sorted(sides, key=lambda side: KINDS.index(side.plan.suite.kind))
    return chain.from_iterable(_suite(side, compared.get(side.name), show) for side in ordered)


def _suite(side: SuiteResult, other: SuiteResult | None, show: bool) -> Iterator[Entry]:
    jobs = side.plan.requests
    for job, mine, its in zip(jobs, _written(side, jobs), _partners(side, other), strict=True):
        if mine is None:
            continue
        target = _shown(side, mine, show)
        beside = _shown(other, its, show) if other and its else None
        yield {
            "suite": side.name,
            "item": job.item.id,
            "sample": job.sample,
            "prompt": job.item.prompt,
            "target": target,
            "compared": beside,
            "crossed": side.plan.suite.kind != "ability" and side.plan.mode == "normal",
            "changed": bool(beside and beside["does"] != target["does"]),
        }


def _partners(side: SuiteResult, other: SuiteResult | None) -> Iterator[StoredCompletion | None]:
    """Yield what the other wrote for the same sample of the same item."""
    theirs = {(job.item.id, job.sample): job for job in other.plan.requests} if other else {}
    jobs = [theirs.get((job.item.id, job.sample)) for job in side.plan.requests]
    return _written(other, jobs) if other else iter([None] * len(jobs))


def _written(side: SuiteResult, jobs: Sequence[SampleRequest | None]) -> Iterator[StoredCompletion | None]:
    """Yield the completion of each job, None where there is none."""
    found = side.folder.stored([job.key for job in jobs if job], side.plan.order)
    waiting = next(found, None)
    for job in jobs:
        if job and waiting and waiting.key == job.key:
            yield waiting
            waiting = next(found, None)
        else:
            yield None


def _shown(side: SuiteResult, completion: StoredCompletion, show: bool) -> Entry:
    key = completion.key
    outcome = Outcome(
        {name: found[key] for name, found in side.judged.items() if key in found}, side.behaviour_judge
    )
    harmful = outcome.may_be_harmful(asked_for_harm=side.plan.suite.kind == "harmful")
    return {
        "says": completion.verdict,
        "does": outcome.does(completion.ending),
        "ending": completion.ending,
        "tokens": completion.tokens,
        "thinking_tokens": completion.thinking_tokens,
        "judged": [[name, words(judgement)] for name, judgement in outcome.judged.items()],
        "harmful": harmful,
        "sections": None
        if harmful and not show
        else {name: _short(completion.trace[name]) for name in completion.trace.sections},
    }


def _short(text: Any) -> str:
    whole = str(text)
    left = len(whole) - LONGEST
    return whole if left <= 0 else f"{whole[:LONGEST]}\n[{left:,} more characters stand in completions.jsonl]"
