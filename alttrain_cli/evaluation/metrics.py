"""The metrics of a suite: target, compared, and what may be said of the difference."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from itertools import combinations

from alttrain_cli.evaluation.judge_card import corrected_by
from alttrain_cli.evaluation.judgement import Behaviour, State
from alttrain_cli.evaluation.judges.catalogue import is_triage, measures
from alttrain_cli.evaluation.metric_values import HARMFUL, SCORE, Metric, Values, metrics_of
from alttrain_cli.evaluation.plan import Facts
from alttrain_cli.evaluation.suite_result import SuiteResult
from alttrain_cli.statistics.estimates import Estimate, difference, kappa, safe_at
from alttrain_cli.statistics.rates import Rate
from alttrain_cli.text import words


def suite_metrics(
    side: SuiteResult, other: SuiteResult | None, contaminated: set[str], cards: Mapping[str, Facts]
) -> list[Facts]:
    """Return every metric by every judge of one suite."""
    return [
        {
            "judge": name,
            "metric": metric.name,
            "title": metric.title + (f", mean of {side.plan.samples}" if side.plan.samples > 1 else ""),
            "better": metric.better,
            "triage": is_triage(name),
            **_both_sides(side.values(name, metric), other.values(name, metric) if other else Values()),
            "clean": _clean(side.values(name, metric), contaminated),
            "corrected": _corrected(side.values(name, metric), metric, cards.get(name)),
            "safe_at": _safe_at(side, name) if metric is HARMFUL and side.plan.samples > 1 else None,
            "states": side.states(name),
        }
        for name in side.judged
        for metric in _metrics(side, name)
    ]


def pooled(sides: list[SuiteResult], compared: Mapping[str, SuiteResult]) -> dict[str, list[Facts]]:
    """Return each metric over all suites of a kind. A prompt that stands in several counts once."""
    result: dict[str, list[Facts]] = {"harmful": [], "over_refusal": []}
    for kind, name in (("harmful", "harmful"), ("benign", "over_refusal")):
        chosen = [side for side in sides if side.plan.suite["kind"] == kind and side.plan.mode == "normal"]
        for judge in sorted({judge for side in chosen for judge in side.judged}):
            for metric in dict.fromkeys(metric for side in chosen for metric in _metrics(side, judge)):
                others = [compared[side.folder] for side in chosen if side.folder in compared]
                result[name].append(
                    {
                        "judge": judge,
                        "metric": metric.name,
                        "title": metric.title,
                        "triage": is_triage(judge),
                        "suites": [side.plan.suite["name"] for side in chosen if judge in side.judged],
                        **_both_sides(_pool(chosen, judge, metric), _pool(others, judge, metric)),
                    }
                )
    return result


def agreement(side: SuiteResult) -> list[Facts]:
    """Compare each two judges that give the same metric, over the completions that both judged."""
    given = [(name, metric) for name in side.judged for metric in _metrics(side, name) if metric is not SCORE]
    agreements = []
    for (one, metric), (other, same) in combinations(given, 2):
        if metric == same:
            n, agree, k = kappa(_judged_by_both(side, one, other, metric))
            agreements.append(
                {
                    "judges": [one, other],
                    "metric": metric.name,
                    "n": n,
                    "agree": None if math.isnan(agree) else agree,
                    "kappa": None if math.isnan(k) else k,
                }
            )
    return agreements


def _metrics(side: SuiteResult, judge: str) -> list[Metric]:
    found = side.judged.get(judge, {}).values()
    partly = any(judgement.behaviour is Behaviour.PARTIAL for judgement in found)
    return metrics_of(side.plan.suite["kind"], measures(judge), 3 if partly else 2)


def _both_sides(mine: Values, theirs: Values) -> Facts:
    found = difference(mine.decided, theirs.decided)
    return {
        "target": _facts(Estimate.of(mine.counted)),
        "compared": _facts(Estimate.of(theirs.counted)),
        "difference": asdict(found) | {"distinguishable": found.distinguishable, "words": found.words}
        if found
        else None,
    }


def _clean(values: Values, contaminated: set[str]) -> Facts | None:
    return _facts(Estimate.of(values.without(contaminated))) if contaminated else None


def _corrected(values: Values, metric: Metric, card: Facts | None) -> Facts | None:
    """Return the rate among the judged, freed from the judge's errors; for one sample a prompt only."""
    decided = [found[0] for found in values.decided.values() if len(found) == 1]
    if len(decided) < len(values.decided):
        return None
    return _facts(corrected_by(card, metric.name, Rate(round(sum(decided)), len(decided))))


def _pool(sides: list[SuiteResult], judge: str, metric: Metric) -> Values:
    pool = Values()
    for side in sides:
        values = side.values(judge, metric)
        for item in side.plan.items:
            prompt = " ".join(words(item.prompt))
            for mine, own in ((pool.counted, values.counted), (pool.decided, values.decided)):
                if item.id in own:
                    mine.setdefault(prompt, own[item.id])
    return pool


def _safe_at(side: SuiteResult, judge: str) -> Facts:
    safe: dict[str, list[bool]] = {}
    for job in side.plan.requests:
        found = side.judged[judge].get(job.key)
        if found and found.state is not State.UNPARSED:
            safe.setdefault(job.item.id, []).append(found.harmful is False)
    return {name: _facts(estimate) for name, estimate in safe_at(safe).items()}


def _judged_by_both(side: SuiteResult, one: str, other: str, metric: Metric) -> list[tuple[bool, bool]]:
    first, second = side.values(one, metric).decided, side.values(other, metric).decided
    return [
        (bool(a), bool(b))
        for item in first.keys() & second.keys()
        if len(first[item]) == len(second[item])
        for a, b in zip(first[item], second[item], strict=True)
    ]


def _facts(estimate: Estimate | None) -> Facts | None:
    return asdict(estimate) if estimate else None
