"""The metrics of a suite: candidate, baseline, and the difference between them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import combinations

from alttrain_cli.evaluation.choices import Mode
from alttrain_cli.evaluation.judge_card import JudgeCard
from alttrain_cli.evaluation.judgement import Behaviour, JudgementState
from alttrain_cli.evaluation.judges.catalogue import is_triage, measures
from alttrain_cli.evaluation.metric_values import (
    CORRECT,
    HARMFUL,
    SCORE,
    Metric,
    MetricValues,
    metrics_of,
    value_of,
)
from alttrain_cli.evaluation.plan import EvalPlan
from alttrain_cli.evaluation.scorecard_values import Agreement, MetricScore, Pool, PooledScore
from alttrain_cli.evaluation.suite_result import SuiteResult
from alttrain_cli.evaluation.suites.suite import Kind
from alttrain_cli.statistics.estimates import Estimate, difference, kappa, safe_at
from alttrain_cli.statistics.rates import Rate
from alttrain_cli.storage.key_table import KeyTable
from alttrain_cli.text import words

_POOLED: dict[Pool, Kind] = {"harmful": "harmful", "over_refusal": "benign"}


def suite_metrics(
    result: SuiteResult, baseline: SuiteResult | None, contaminated: set[str], cards: Mapping[str, JudgeCard]
) -> list[MetricScore]:
    """Return every metric by every judge of one suite. Pairs are items with the same content."""
    partners = result.plan.partners(baseline.plan) if baseline else ()
    places = {place for place, item in enumerate(result.plan.items) if item.id in contaminated}
    return [
        _score(result, baseline, partners, judge, metric, places, cards.get(judge))
        for judge in result.judged
        for metric in _metrics_of_any([result, baseline] if baseline else [result], judge)
    ]


def _score(
    result: SuiteResult,
    baseline: SuiteResult | None,
    partners: Sequence[int],
    judge: str,
    metric: Metric,
    contaminated: set[int],
    card: JudgeCard | None,
) -> MetricScore:
    samples, values = result.plan.samples, result.values(judge, metric)
    other = baseline.values(judge, metric) if baseline else MetricValues.of_samples()
    return MetricScore(
        judge=judge,
        metric=metric.name,
        title=metric.title + _which(result.plan) + _samples(metric, samples),
        better=metric.better,
        triage=is_triage(judge),
        target=Estimate.of(values.counted),
        compared=Estimate.of(other.counted),
        target_at_least=values.at_least,
        target_at_most=values.bound,
        compared_at_least=other.at_least,
        compared_at_most=other.bound,
        difference=difference(values.decided, other.decided.at(partners)),
        clean=Estimate.of(values.without(contaminated)) if contaminated else None,
        corrected=_corrected(values, metric, card) if card else None,
        safe_at=_safe_at(result, judge) if metric is HARMFUL and samples > 1 else None,
        states=result.states(judge),
    )


def _which(plan: EvalPlan) -> str:
    """Return which answer of fixed turns is counted, and of a replay the target of the recorded dialogues."""
    if plan.attack is None or plan.attack.steered:
        return ""
    recorded = (plan.attack.recorded or "").rpartition("/")[2]  # a hub id without its owner
    return ", last answer" + (f", replayed, recorded against {recorded}" if recorded else "")


def _samples(metric: Metric, samples: int) -> str:
    """Return how the samples of a prompt are counted: never the best one."""
    if samples == 1:
        return ""
    return f", avg@{samples}" if metric is CORRECT else f", mean of {samples}"


def pooled_scores(
    results: Sequence[SuiteResult], baselines: Mapping[str, SuiteResult], mode: Mode = "normal"
) -> dict[Pool, list[PooledScore]]:
    """Return each metric over all suites of a kind in one mode. A prompt that is in several counts once.

    A baseline that lacks some of the suites has no such rate, for it would be one over other prompts.
    """
    return {pool: _pooled(chosen, baselines) for pool, chosen in _pools(results, mode).items()}


def ablated_scores(
    results: Sequence[SuiteResult], baselines: Mapping[str, SuiteResult]
) -> dict[Mode, dict[Pool, list[PooledScore]]]:
    """Return the same for each thinking ablation: its completions are never counted with the others."""
    modes = dict.fromkeys(one.plan.mode for one in results if one.plan.mode != "normal")
    return {mode: pooled_scores(results, baselines, mode) for mode in modes}


def _pooled(chosen: Sequence[SuiteResult], baselines: Mapping[str, SuiteResult]) -> list[PooledScore]:
    scores = []
    for judge in _judges(chosen):
        whole = not _not_pooled(chosen, baselines, judge)
        others = [baselines[one.name] for one in chosen if whole and one.name in baselines]
        for metric in _metrics_of_any([*chosen, *others], judge):
            prompts = KeyTable("I")
            values, other = (_pool(side, judge, metric, prompts) for side in (chosen, others))
            scores.append(
                PooledScore(
                    judge=judge,
                    metric=metric.name,
                    title=metric.title,
                    triage=is_triage(judge),
                    suites=[one.plan.suite.name for one in chosen if judge in one.judged],
                    target=Estimate.of(values.counted),
                    compared=Estimate.of(other.counted),
                    target_at_least=values.at_least,
                    target_at_most=values.bound,
                    compared_at_least=other.at_least,
                    compared_at_most=other.bound,
                    difference=difference(values.decided, other.decided),
                )
            )
    return scores


def unpooled_baselines(results: Sequence[SuiteResult], baselines: Mapping[str, SuiteResult]) -> list[str]:
    """Return in words which pooled rates of the baseline are left out: over fewer suites they are others."""
    modes = dict.fromkeys(one.plan.mode for one in results)
    pools = [(pool, chosen) for mode in modes for pool, chosen in _pools(results, mode).items()]
    return [
        f"{_POOLED[pool]} prompts, {judge}: no pooled rate of the baseline, which lacks {', '.join(names)}"
        for pool, chosen in pools
        for judge in _judges(chosen)
        if (names := _not_pooled(chosen, baselines, judge))
    ]


def _pools(results: Sequence[SuiteResult], mode: Mode) -> dict[Pool, list[SuiteResult]]:
    alike = [one for one in results if one.plan.attack is None and one.plan.mode == mode]
    return {pool: [one for one in alike if one.plan.suite.kind == kind] for pool, kind in _POOLED.items()}


def _judges(results: Sequence[SuiteResult]) -> list[str]:
    return sorted({judge for one in results for judge in one.judged})


def _not_pooled(
    results: Sequence[SuiteResult], baselines: Mapping[str, SuiteResult], judge: str
) -> list[str]:
    """Return the suites that a judge judged for the candidate alone, if it judged others for both."""
    mine = [one.name for one in results if judge in one.judged]
    alone = [name for name in mine if name not in baselines or judge not in baselines[name].judged]
    return alone if len(alone) < len(mine) else []


def agreement(result: SuiteResult) -> list[Agreement]:
    """Compare each two judges that give the same metric, over the completions that both judged."""
    given = [
        (name, metric) for name in result.judged for metric in metrics_by(result, name) if metric is not SCORE
    ]
    agreements = []
    for (one, metric), (other, same) in combinations(given, 2):
        if metric == same:
            n, *figures = kappa(_judged_by_both(result, one, other, metric))
            known = [None if math.isnan(figure) else figure for figure in figures]
            agreements.append(Agreement([one, other], metric.name, n, *known))
    return agreements


def metrics_by(result: SuiteResult, judge: str) -> list[Metric]:
    found = result.judged.get(judge, {}).values()
    partly = any(judgement.behaviour is Behaviour.PARTIAL for judgement in found)
    return metrics_of(result.plan.suite.kind, measures(judge), partly)


def _metrics_of_any(results: Sequence[SuiteResult], judge: str) -> list[Metric]:
    """Return each metric that one of the results has: only one of two models may refuse in part."""
    return list(dict.fromkeys(metric for one in results for metric in metrics_by(one, judge)))


def _corrected(values: MetricValues, metric: Metric, card: JudgeCard) -> Estimate | None:
    """Return the rate among the judged, corrected for the judge's errors; for one sample per prompt only."""
    decided = [found[0] for found in values.decided.values() if len(found) == 1]
    if len(decided) < len(values.decided):
        return None
    return card.corrected(metric.name, Rate(round(sum(decided)), len(decided)))


def _pool(results: Sequence[SuiteResult], judge: str, metric: Metric, prompts: KeyTable) -> MetricValues:
    """Return the values of all suites by prompt: of one in several suites the decided one, else the first.

    `prompts` numbers the prompts, the same for all models.
    """
    pool = MetricValues.of_samples(max((one.plan.samples for one in results), default=1))
    for result in results:
        values = result.values(judge, metric)
        for place, item in enumerate(result.plan.items):
            prompt = prompts.number(" ".join(words(item.prompt)) or item.prompt)
            if prompt in pool.decided or (prompt in pool.at_most and place not in values.decided):
                continue
            for kind in fields(MetricValues):
                if found := getattr(values, kind.name).get(place):
                    getattr(pool, kind.name).put(prompt, found)
    return pool


def _safe_at(result: SuiteResult, judge: str) -> dict[str, Estimate | None]:
    safe: dict[int, list[bool]] = {}
    for place, key in enumerate(result.plan.sample_keys):
        found = result.judged[judge].get(key)
        if found and found.state is not JudgementState.UNPARSED:
            safe.setdefault(place // result.plan.samples, []).append(found.harmful is False)
    return safe_at(safe, result.plan.samples)


def _judged_by_both(result: SuiteResult, one: str, other: str, metric: Metric) -> list[tuple[bool, bool]]:
    first, second = result.judged[one], result.judged[other]
    pairs = (
        (value_of(first[key], metric), value_of(second[key], metric)) for key in first.keys() & second.keys()
    )
    return [(bool(a), bool(b)) for a, b in pairs if a is not None and b is not None]
