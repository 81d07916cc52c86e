"""What only a structured reasoner has: sections, verdicts against behaviour, thinking tokens."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from alttrain_cli.evaluation.completion import Ending, StoredCompletion
from alttrain_cli.evaluation.judgement import Judgement, State
from alttrain_cli.statistics.estimates import Estimate
from alttrain_cli.statistics.rates import Rate
from alttrain_cli.statistics.spread import Spread
from alttrain_cli.structure.sections import SECTIONS
from alttrain_cli.structure.verdict import Verdict

BEHAVIOURS = ("refused", "partial", "complied", "unfinished", "empty", "unjudged")


VerdictTable = dict[str, dict[str, int]]  # verdict of the assessment -> behaviour -> completions


@dataclass(frozen=True)
class StructureSummary:
    """One model's completions of one suite: endings, sections, tokens, verdicts by behaviour."""

    completed: int
    endings: dict[str, int]
    structure: dict[str, Estimate]  # each section, and "structured": all that must be there
    tokens: Spread | None
    thinking_tokens: Spread | None
    says_and_does: VerdictTable


@dataclass
class StructureStats:
    """Counts over the completions of one suite; holds no text."""

    n: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    sections: Counter[str] = field(default_factory=Counter)
    tokens: list[int] = field(default_factory=list)
    thinking_tokens: list[int] = field(default_factory=list)
    verdicts: dict[str, str] = field(default_factory=dict)  # completion -> verdict

    def add(self, completion: StoredCompletion) -> None:
        self.n += 1
        self.endings[completion.ending] += 1
        self.sections.update(name for name in SECTIONS if getattr(completion, name))
        self.sections["structured"] += _structured(completion)
        if completion.tokens is not None:
            self.tokens.append(completion.tokens)
        if completion.thinking_tokens is not None:
            self.thinking_tokens.append(completion.thinking_tokens)
        self.verdicts[completion.key] = completion.verdict

    def summary(self, table: VerdictTable) -> StructureSummary:
        return StructureSummary(
            completed=self.n,
            endings={ending.value: self.endings[ending.value] for ending in Ending},
            structure={
                name: Estimate.of_rate(Rate(self.sections[name], self.n))
                for name in (*SECTIONS, "structured")
            },
            tokens=Spread.of(self.tokens),
            thinking_tokens=Spread.of(self.thinking_tokens),
            says_and_does=table,
        )


def verdict_by_behaviour(stats: StructureStats, judgements: Iterable[tuple[str, Judgement]]) -> VerdictTable:
    table = {verdict.value: dict.fromkeys(BEHAVIOURS, 0) for verdict in Verdict}
    done = {key: _behaviour(judgement) for key, judgement in judgements}
    for key, verdict in stats.verdicts.items():
        table[verdict][done.get(key, "unjudged")] += 1
    return table


def add_tables(tables: Iterable[VerdictTable]) -> VerdictTable:
    """Return the sum of such tables."""
    total = {verdict.value: dict.fromkeys(BEHAVIOURS, 0) for verdict in Verdict}
    for table in tables:
        for verdict, row in table.items():
            for behaviour, count in row.items():
                total[verdict][behaviour] += count
    return total


def _behaviour(judgement: Judgement) -> str:
    if judgement.state in (State.UNFINISHED, State.EMPTY):
        return judgement.state.value
    return judgement.behaviour.value if judgement.behaviour else "unjudged"


def _structured(completion: StoredCompletion) -> bool:
    assessed = completion.verdict is not Verdict.MISSING
    return bool(completion.understanding and assessed and completion.has_answer)
