"""Means over suites as papers define them; our pooled rates are others. An incomplete mean has no figure."""

from collections.abc import Iterable, Sequence

from alttrain_cli.evaluation.published_tables import Macro, PublishedPaper, PublishedTable, all_published
from alttrain_cli.evaluation.scorecard_values import MacroScore, MetricScore, Scorecard, SuiteScore
from alttrain_cli.evaluation.suites.suite import Kind
from alttrain_cli.statistics.estimates import Estimate, mean_of

GRADED = "right answers"  # in place of a judge
Chosen = dict[str, tuple[SuiteScore, MetricScore]]
# Our metrics that correspond to a paper's figure for one suite.
_METRICS: dict[Kind, tuple[str, ...]] = {
    "harmful": ("harmful", "not_refused"),
    "benign": ("refused",),
    "ability": ("correct",),
}


def macro_scores(suites: Sequence[SuiteScore]) -> list[MacroScore]:
    """Return the means of all papers of which at least one suite was evaluated and judged."""
    normal = _normal(suites)
    return [
        score
        for published in all_published().values()
        for macro in published.macros
        for score in _scores(published, macro, normal)
    ]


def our_scores(card: Scorecard, published: PublishedPaper, table: PublishedTable) -> list[MacroScore]:
    """Return our figures for the columns of a table: the means that the paper defines, and single suites."""
    means = [one for one in card.macros if one.paper == published.title and one.name in table.columns]
    normal = _normal(card.suites)
    singles = [
        Macro(name=column, title=table.columns[column], metrics=_METRICS[normal[name].kind], suites=(name,))
        for column, name in table.suites.items()
        if name in normal
    ]
    return [*means, *(score for one in singles for score in _scores(published, one, normal))]


def _normal(suites: Sequence[SuiteScore]) -> dict[str, SuiteScore]:
    """Return what a paper may name, also an attack that is played live.

    A thinking ablation and a replay are other suites.
    """
    return {suite.name: suite for suite in suites if suite.full_name == suite.name}


def _scores(published: PublishedPaper, macro: Macro, suites: dict[str, SuiteScore]) -> Iterable[MacroScore]:
    mine = [suites[name] for name in macro.suites if name in suites]
    for metric in macro.metrics:
        found = [(suite, one) for suite in mine for one in suite.metrics if one.metric == metric]
        graded = metric == "correct"  # right answers are compared in each suite's own way
        for judge in [GRADED] if graded else sorted({one.judge for _, one in found}):
            chosen = {suite.name: (suite, one) for suite, one in found if graded or one.judge == judge}
            if chosen:
                yield _score(published, macro, judge, chosen)


def _score(published: PublishedPaper, macro: Macro, judge: str, chosen: Chosen) -> MacroScore:
    missing = [name for name in macro.suites if name not in chosen or chosen[name][1].target is None]
    missing += [f"parts of {name}" for name in macro.suites if name in chosen and chosen[name][0].partial]
    scores = [one for _, one in chosen.values()]
    return MacroScore(
        paper=published.title,
        name=macro.name,
        title=f"{macro.title}, mean of {published.title}'s {len(macro.suites)} suites"
        if len(macro.suites) > 1
        else f"{macro.title}, {published.title}'s suite",
        metric=scores[0].title,
        judge=judge,
        suites=list(macro.suites),
        missing=missing,
        target=None if missing else _mean([one.target for one in scores]),
        compared=None if missing else _mean([one.compared for one in scores]),
    )


def _mean(found: Sequence[Estimate | None]) -> Estimate | None:
    whole = [one for one in found if one is not None]
    if len(whole) < len(found):
        return None
    return whole[0] if len(whole) == 1 else mean_of(whole)
