"""What is measured of every completion: sections, verdicts against behaviour, thinking tokens.

A statistic is declared once, in RATES or SPREADS: the scorecard computes it, and terminal and page draw it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from alttrain_cli.evaluation.completion import Ending, StoredCompletion
from alttrain_cli.evaluation.judgement import Judgement, JudgementState
from alttrain_cli.evaluation.plan_values import ScoresByKey, ValuesByKey
from alttrain_cli.statistics.estimates import Estimate
from alttrain_cli.statistics.rates import Rate
from alttrain_cli.statistics.spread import Spread
from alttrain_cli.structure.sections import SECTIONS, THOUGHTS, Order, Section
from alttrain_cli.structure.verdict import Verdict

BEHAVIOURS = ("refused", "partial", "complied", "unfinished", "empty", "unjudged")


VerdictTable = dict[str, dict[str, int]]  # verdict of the assessment -> behaviour -> completions


@dataclass(frozen=True)
class Statistic:
    """A measurement of a completion."""

    name: str  # its key in scorecard.json
    title: str  # its name on the page and in the terminal
    of: Callable[[StoredCompletion], bool | int | None]  # measures one completion; None if it is not known


def _is_present(name: Section, completion: StoredCompletion) -> bool:
    return bool(completion.trace[name])


# Each is a rate over all completions. The sections come first, in the order of the model.
SECTION_RATES = {name: Statistic(name, name, partial(_is_present, name)) for name in SECTIONS}
RATES = (Statistic("structured", "all required", lambda completion: completion.trace.structured),)
# Each is a median and a 90th percentile; its name is a field of `StructureSummary`.
SPREADS = (Statistic("thinking_tokens", "thinking tokens", lambda completion: completion.thinking_tokens),)


def rates_of(order: Order) -> tuple[Statistic, ...]:
    """Return the rates of a model that writes its sections in this order."""
    return (*(SECTION_RATES[name] for name in (*order, "answer")), *RATES)


@dataclass(frozen=True)
class StructureSummary:
    """One model's completions of one suite: endings, sections, tokens, verdicts by behaviour."""

    completed: int
    endings: dict[str, int]
    structure: dict[str, Estimate]  # each of `rates_of`
    tokens: Spread | None
    thinking_tokens: Spread | None
    says_and_does: VerdictTable


def shown_rates(summaries: Iterable[StructureSummary]) -> list[Statistic]:
    known = {one.name: one for one in (*SECTION_RATES.values(), *RATES)}
    names = dict.fromkeys(name for summary in summaries for name in summary.structure)
    return [known[name] for name in names]


@dataclass
class StructureStats:
    """Counts over the completions of one suite; holds no text."""

    verdicts: ValuesByKey[str]  # completion -> verdict
    scores: ScoresByKey  # completion -> score of its verdict
    order: Order = THOUGHTS  # of the sections of each
    n: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    rates: Counter[str] = field(default_factory=Counter)
    tokens: Counter[int] = field(default_factory=Counter)
    spreads: dict[str, Counter[int]] = field(default_factory=lambda: {one.name: Counter() for one in SPREADS})

    def add(self, completion: StoredCompletion) -> None:
        self.n += 1
        self.endings[completion.ending] += 1
        self.rates.update(one.name for one in rates_of(self.order) if one.of(completion))
        if completion.score is not None:
            self.scores[completion.key] = completion.score
        if completion.tokens is not None:
            self.tokens[completion.tokens] += 1
        for one in SPREADS:
            if (value := one.of(completion)) is not None:
                self.spreads[one.name][value] += 1
        self.verdicts[completion.key] = completion.verdict

    def summary(self, table: VerdictTable) -> StructureSummary:
        spreads: dict[str, Any] = {name: Spread.of(values) for name, values in self.spreads.items()}
        return StructureSummary(
            completed=self.n,
            endings={ending.value: self.endings[ending.value] for ending in Ending},
            structure={
                one.name: Estimate.of_rate(Rate(self.rates[one.name], self.n)) for one in rates_of(self.order)
            },
            tokens=Spread.of(self.tokens),
            **spreads,
            says_and_does=table,
        )


def verdict_by_behaviour(stats: StructureStats, judged: Mapping[str, Judgement]) -> VerdictTable:
    table = add_tables(())
    for key, verdict in stats.verdicts.items():
        table[verdict][_behaviour(judged.get(key))] += 1
    return table


def add_tables(tables: Iterable[VerdictTable]) -> VerdictTable:
    total = {verdict.value: dict.fromkeys(BEHAVIOURS, 0) for verdict in Verdict}
    for table in tables:
        for verdict, row in table.items():
            for behaviour, count in row.items():
                total[verdict][behaviour] += count
    return total


def _behaviour(judgement: Judgement | None) -> str:
    if judgement is None:
        return "unjudged"
    if judgement.state in (JudgementState.UNFINISHED, JudgementState.EMPTY):
        return judgement.state.value
    return judgement.behaviour.value if judgement.behaviour else "unjudged"
