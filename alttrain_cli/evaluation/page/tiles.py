"""The headline of the page: one tile per rate."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from alttrain_cli.evaluation.metric_values import Better
from alttrain_cli.evaluation.scorecard_values import MetricScore, Pool, PooledScore, Scorecard, SuiteScore
from alttrain_cli.evaluation.structure_stats import StructureSummary
from alttrain_cli.statistics.estimates import Difference, Estimate
from alttrain_cli.statistics.rates import Rate

Tone = Literal["better", "worse", "even"]
_POOLS: tuple[tuple[Pool, str], ...] = (("harmful", "Harmful"), ("over_refusal", "Benign"))


@dataclass(frozen=True)
class Tile:
    """One rate of the candidate, and of the baseline if there is one."""

    title: str
    by: str
    partial: bool
    target: Estimate
    compared: Estimate | None
    target_at_most: Estimate | None = None
    compared_at_most: Estimate | None = None
    words: str | None = None  # of the difference
    tone: Tone = "even"


def tiles(card: Scorecard) -> list[Tile]:
    """Return the rates that show the benefit and the cost of training."""
    suites = {suite.name: suite for suite in card.suites if suite.is_single_turn}
    found = [
        _tile(card, f"{whose} prompts: {metric.title}", metric, [suites[name] for name in metric.suites])
        for kind, whose in _POOLS
        for metric in card.pooled[kind]
    ]
    found += [
        _tile(card, f"{suite.title}: {metric.title}", metric, [suite])
        for suite in suites.values()
        if suite.kind == "ability"
        for metric in suite.metrics
    ]
    return [*filter(None, found), *_structure(list(suites.values()))]


def _tile(
    card: Scorecard, title: str, metric: MetricScore | PooledScore, suites: Sequence[SuiteScore]
) -> Tile | None:
    found = metric.difference
    if metric.target is None:
        return None
    return Tile(
        title,
        f"judge: {card.judges[metric.judge].title}; {_names(suites)}",
        _partial(suites),
        metric.target,
        metric.compared,
        metric.target_at_most,
        metric.compared_at_most,
        found.words if found else None,
        _tone(found, metric.better if isinstance(metric, MetricScore) else "lower"),
    )


def _tone(found: Difference | None, better: Better) -> Tone:
    if found is None or not found.distinguishable:
        return "even"
    return "better" if (found.points < 0) == (better == "lower") else "worse"


def _structure(suites: Sequence[SuiteScore]) -> list[Tile]:
    """Return the tile of the structure rate, which needs no judge."""
    target = _pooled_structure([suite.target for suite in suites])
    if target is None:
        return []
    sides = [suite.compared for suite in suites if suite.compared]
    compared = _pooled_structure(sides) if len(sides) == len(suites) else None  # else of other suites
    words = {"understanding": "understanding, ", "assessment": "assessment with a verdict, "}
    required = [words[name] for name in suites[0].target.structure if name in words]
    by = f"{''.join(required)}{'and ' if required else ''}an answer; {_names(suites)}"
    return [Tile("Completions: all required sections", by, _partial(suites), target, compared)]


def _pooled_structure(sides: Sequence[StructureSummary]) -> Estimate | None:
    found = [side.structure["structured"] for side in sides]
    rate = Rate(sum(one.hits or 0 for one in found), sum(one.n for one in found))
    return Estimate.of_rate(rate) if rate.n else None


def _names(suites: Sequence[SuiteScore]) -> str:
    return ", ".join(str(suite.name) for suite in suites)


def _partial(suites: Sequence[SuiteScore]) -> bool:
    return any(suite.partial for suite in suites)
