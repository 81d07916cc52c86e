"""Completions that a threshold does not change: they are stored and judged already, under keys without it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from alttrain_cli.evaluation.completion import StoredCompletion
from alttrain_cli.evaluation.judge_run import JudgeRun
from alttrain_cli.evaluation.judgement import JudgementState
from alttrain_cli.evaluation.plan import EvalPlan, SuiteDir
from alttrain_cli.evaluation.suites.suite import SampleRequest
from alttrain_cli.storage.journal import Journal
from alttrain_cli.structure.verdict_score import VerdictScore


def same_at_threshold(
    folder: SuiteDir, plan: EvalPlan, wanted: Sequence[SampleRequest]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the completions that are stored without the plan's threshold and are the same with it.

    Each is its key without it, and the line of completions.jsonl that generating would write. A threshold
    acts only where the verdict is, by the score that is stored. All before that place is the same without
    it, and so are the draws of a sample (`engine/draws.py`). So a threshold that decides as is written
    changes nothing: as the model did, or as the threshold that a server has for all requests. In a thinking
    ablation a completion may be made in several rounds, and has only one score.
    """
    threshold = plan.settings.threshold
    if threshold is None or plan.mode != "normal":
        return
    own_keys = dict(zip(plan.sample_keys, _keys_without(plan), strict=True))
    keys = [own_keys[one.key] for one in wanted]
    lines = Journal(folder.completions.path).aligned(keys)  # as they are written
    for one, found, line in zip(wanted, folder.aligned(keys, plan.order), lines, strict=True):
        if found and line and _decides_alike(found.score, threshold):
            yield line["key"], {**line, "key": one.key, "item": one.item.id, "sample": one.sample}


def same_judgements(folder: SuiteDir, plan: EvalPlan, run: JudgeRun) -> Iterator[dict[str, Any]]:
    """Yield the judgements of completions that are stored without the plan's threshold, and the same with it.

    Each is a line of the judge's file, with the key that judging again would give it.
    """
    if plan.settings.threshold is None or plan.mode != "normal":
        return
    own_keys = _keys_without(plan)
    mine, others = folder.aligned(plan.sample_keys, plan.order), folder.aligned(own_keys, plan.order)
    pairs = zip(own_keys, plan.requests, strict=True)
    keys = (run.key(key, request.item, plan) for key, request in pairs)
    judged = Journal(folder.judgements(run.name).path).aligned(keys)
    for request, one, other, line in zip(plan.requests, mine, others, judged, strict=True):
        if line and line["state"] != JudgementState.UNPARSED and _is_same(one, other):
            key = run.key(request.key, request.item, plan)
            yield {**line, "key": key, "completion": request.key}


def _keys_without(plan: EvalPlan) -> Sequence[str]:
    """Return the keys that the samples of a plan would have without its threshold."""
    return replace(plan, settings=plan.settings.without_threshold(), saved_keys=()).sample_keys


def _is_same(one: StoredCompletion | None, other: StoredCompletion | None) -> bool:
    """Whether two completions are there and a judge sees the same of them."""
    if one is None or other is None:
        return False
    return (one.asked, one.trace, one.ending) == (other.asked, other.trace, other.ending)


def _decides_alike(score: VerdictScore | None, threshold: float) -> bool:
    """Whether a verdict is the same at a threshold. It is not known without a score."""
    return score is not None and score.value is not None and score.decide(threshold) is score.written
