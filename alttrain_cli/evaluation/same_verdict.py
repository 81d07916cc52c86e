"""Completions that a threshold does not change: they are stored already, under their keys without it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from alttrain_cli.evaluation.plan import EvalPlan, SuiteDir
from alttrain_cli.evaluation.suites.suite import SampleRequest
from alttrain_cli.storage.journal import Journal
from alttrain_cli.structure.verdict_score import VerdictScore


def same_at_threshold(
    folder: SuiteDir, plan: EvalPlan, wanted: Sequence[SampleRequest]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the requests whose completions are stored without the plan's threshold and are the same with it.

    Each is a key with the line of completions.jsonl that generating would write. A threshold acts only
    where the verdict is, by the score that is stored. All before that place is the same without it, and so
    are the draws of a sample (`engine/draws.py`). So a threshold that decides as is written changes
    nothing: as the model did, or as the threshold that a server has for all requests. In a thinking ablation
    a completion may be made in several rounds, and has only one score.
    """
    threshold = plan.settings.threshold
    if threshold is None or plan.mode != "normal":
        return
    own = replace(plan, settings=plan.settings.without_threshold())
    own_keys = dict(zip(plan.sample_keys, own.sample_keys, strict=True))
    keys = [own_keys[one.key] for one in wanted]
    lines = Journal(folder.completions.path).aligned(keys)  # as they are written
    for one, found, line in zip(wanted, folder.aligned(keys, plan.order), lines, strict=True):
        if found and line and _decides_alike(found.score, threshold):
            yield one.key, {**line, "key": one.key, "item": one.item.id, "sample": one.sample}


def _decides_alike(score: VerdictScore | None, threshold: float) -> bool:
    """Whether a verdict is the same at a threshold. It is not known without a score."""
    return score is not None and score.value is not None and score.decide(threshold) is score.written
