"""What only a structured reasoner has: its sections, what it says against what it does, thinking tokens."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from statistics import fmean, median
from typing import Any

from alttrain_cli.evaluation.completion import Ending
from alttrain_cli.evaluation.judgement import Judgement, State
from alttrain_cli.statistics.estimates import Estimate
from alttrain_cli.statistics.rates import Rate
from alttrain_cli.structure.verdict import Verdict

SECTIONS = ("understanding", "assessment", "reasoning", "answer")
DOINGS = ("refused", "partial", "complied", "unfinished", "empty", "unjudged")


@dataclass
class StructureStats:
    """Counts over the completions of one suite; holds no text."""

    n: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    sections: Counter[str] = field(default_factory=Counter)
    tokens: list[int] = field(default_factory=list)
    thinking_tokens: list[int] = field(default_factory=list)
    said: dict[str, str] = field(default_factory=dict)  # completion -> verdict

    def add(self, completion: Mapping[str, Any]) -> None:
        """Take one completion in."""
        self.n += 1
        self.endings[completion["ending"]] += 1
        self.sections.update(name for name in SECTIONS if completion[name])
        self.sections["structured"] += _structured(completion)
        self.tokens.append(completion["tokens"])
        if completion["thinking_tokens"] is not None:
            self.thinking_tokens.append(completion["thinking_tokens"])
        self.said[completion["key"]] = completion["verdict"]

    def share(self, ending: Ending) -> float:
        """Return the share of completions with this ending."""
        return self.endings[ending.value] / self.n if self.n else 0.0

    def facts(self) -> dict[str, Any]:
        """Return {endings, structure: {section: estimate}, tokens, thinking_tokens}."""
        return {
            "endings": {ending.value: self.endings[ending.value] for ending in Ending},
            "structure": {
                name: asdict(Estimate.of_rate(Rate(self.sections[name], self.n)))
                for name in (*SECTIONS, "structured")
            },
            "tokens": _spread(self.tokens),
            "thinking_tokens": _spread(self.thinking_tokens),
        }


def verdict_by_behaviour(
    profile: StructureStats, judgements: Iterable[tuple[str, Judgement]]
) -> dict[str, dict[str, int]]:
    """Return {verdict of the assessment: {what it did: completions}}."""
    table = {verdict.value: dict.fromkeys(DOINGS, 0) for verdict in Verdict}
    done = {key: _doing(judgement) for key, judgement in judgements}
    for key, verdict in profile.said.items():
        table[verdict][done.get(key, "unjudged")] += 1
    return table


def add_tables(tables: Iterable[dict[str, dict[str, int]]]) -> dict[str, dict[str, int]]:
    """Return the sum of such tables."""
    total = {verdict.value: dict.fromkeys(DOINGS, 0) for verdict in Verdict}
    for table in tables:
        for verdict, row in table.items():
            for doing, count in row.items():
                total[verdict][doing] += count
    return total


def _doing(judgement: Judgement) -> str:
    if judgement.state in (State.UNFINISHED, State.EMPTY):
        return judgement.state.value
    return judgement.behaviour.value if judgement.behaviour else "unjudged"


def _structured(completion: Mapping[str, Any]) -> bool:
    judged = completion["verdict"] != Verdict.MISSING.value
    ended = completion["ending"] in (Ending.WHOLE.value, Ending.CUT.value)
    return bool(completion["understanding"] and judged and ended)


def _spread(values: list[int]) -> dict[str, float] | None:
    if not values:
        return None
    ordered = sorted(values)
    return {
        "mean": round(fmean(values), 1),
        "median": median(values),
        "p90": ordered[min(len(ordered) - 1, 9 * len(ordered) // 10)],
        "max": ordered[-1],
    }
