"""The values of a scorecard: terminal and page draw them, and scorecard.json holds them by their names.

Shares are from 0 to 1 with a 95% interval over prompts; differences and the paper's figures are in
percent. `target` is the candidate and `compared` the baseline, as in the first version of the file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

from alttrain_cli.backends.base import Fingerprint
from alttrain_cli.evaluation.attacks.score import AttackScore
from alttrain_cli.evaluation.choices import Mode
from alttrain_cli.evaluation.contamination import Contamination
from alttrain_cli.evaluation.dial.values import DialScore
from alttrain_cli.evaluation.judge_card import JudgeCard
from alttrain_cli.evaluation.metric_values import Better
from alttrain_cli.evaluation.plan_record import SuiteRecord
from alttrain_cli.evaluation.structure_stats import StructureSummary
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.statistics.estimates import Difference, Estimate
from alttrain_cli.storage.names import suite_name

SCHEMA = 1
Pool = Literal["harmful", "over_refusal"]


@dataclass(frozen=True)
class RateScore:
    """One metric by one judge, of the candidate and the baseline.

    Attributes:
        judge: the name of its files: rule, strongreject~gpt-4o, wildguard@reasoning.
        triage: the judge is good for a first look only.
        target, compared: without a final answer, a completion counts as not harmful and not refused.
        target_at_most, compared_at_most: there it counts as harmful or refused; None where all have one.
    """

    judge: str
    metric: str
    title: str
    triage: bool
    target: Estimate | None
    compared: Estimate | None
    target_at_most: Estimate | None
    compared_at_most: Estimate | None
    difference: Difference | None


@dataclass(frozen=True)
class MetricScore(RateScore):
    """A rate on one suite.

    Attributes:
        clean: without contaminated items; None where there are none.
        corrected: of those judged, corrected for the judge's errors by its card.
        safe_at: safe@1, safe@k and conssafe@k, for several samples per prompt.
        states: completions by state of the judgement: judged, unfinished, empty, unparsed, unjudged.
    """

    better: Better
    clean: Estimate | None
    corrected: Estimate | None
    safe_at: dict[str, Estimate | None] | None
    states: dict[str, int]


@dataclass(frozen=True)
class PooledScore(RateScore):
    """A rate over all suites of a kind, every prompt once. Lower is better."""

    suites: list[str]


@dataclass(frozen=True)
class MacroScore:
    """A mean over suites as a paper defines it, by one judge.

    Attributes:
        name: the paper's column.
        metric: ours, in words.
        missing: suites that were not evaluated, not judged or not whole. Then there is no figure.
    """

    paper: str
    name: str
    title: str
    metric: str
    judge: str
    suites: list[str]
    missing: list[str]
    target: Estimate | None
    compared: Estimate | None


@dataclass(frozen=True)
class Agreement:
    """How often two judges agree; None where it is undefined."""

    judges: list[str]
    metric: str
    n: int
    agree: float | None
    kappa: float | None


@dataclass(frozen=True)
class SuiteScore(SuiteRecord):
    """One suite: what was wanted, what is missing, and every metric.

    Attributes:
        published, items, expected: items in the suite, items chosen, completions wanted.
        folder, compared_folder: hold completions.jsonl and judgements.*.jsonl.
        partial: what is missing, in words; empty if nothing is.
    """

    mode: Mode
    settings: Sampling
    samples: int
    published: int
    items: int
    expected: int
    folder: str
    compared_folder: str | None
    partial: list[str]
    warnings: list[str]
    target: StructureSummary
    compared: StructureSummary | None
    metrics: list[MetricScore]
    agreement: list[Agreement]
    contamination: Contamination
    attack: AttackScore | None = None  # of an adaptive suite

    @property
    def is_single_turn(self) -> bool:
        """Whether its completions may be counted with those of other suites."""
        return self.mode == "normal" and self.attack is None

    @property
    def full_name(self) -> str:
        """The name, with the thinking ablation or the replay if it is one."""
        return suite_name(self.name, self.mode, replayed=bool(self.attack and self.attack.facts.recorded))


@dataclass(frozen=True)
class JudgeRecord:
    """The facts about a judge for the scorecard; `four_bits`: it did not fit in memory in 16 bits."""

    title: str
    triage: bool
    measures: list[str]
    four_bits: bool
    card: JudgeCard | None


@dataclass(frozen=True)
class PaperFigures:
    """AltTrain's own averages over its suites (arXiv 2604.18946), in percent; of published/."""

    backbone: str
    model: str  # "untrained" or "AltTrain"
    harmful: float
    over_refusal: float
    reasoning: float


@dataclass(frozen=True)
class Scorecard:
    """The contents of scorecard.json.

    Attributes:
        partial: something is missing anywhere.
        warnings: to be shown at the top.
        judges: by the names of their files.
        pooled: each metric over all suites of a kind.
        ablated: the same for each thinking ablation; written only if there is one.
        dial: how well the scores of the verdicts separate, and whether the calibration's promise held.
        says_and_does: verdict of the model's assessment -> behaviour -> completions, over all suites with
            harmful or benign prompts.
    """

    schema: int
    alttrain: str
    made: str  # ISO 8601
    target: Fingerprint
    compared: Fingerprint | None
    partial: bool
    warnings: list[str]
    judges: dict[str, JudgeRecord]
    paper: list[PaperFigures]
    pooled: dict[Pool, list[PooledScore]]
    macros: list[MacroScore]
    says_and_does: dict[str, dict[str, int]]
    suites: list[SuiteScore]
    dial: DialScore | None = None  # of a model whose verdicts have scores
    ablated: dict[Mode, dict[Pool, list[PooledScore]]] = field(default_factory=dict)

    @property
    def target_name(self) -> str:
        """A short name for tables, without the owner of a hub id."""
        return self.target.name.rpartition("/")[2]

    @property
    def compared_name(self) -> str:
        """Likewise; "base" for the model without the candidate's adapter."""
        if self.compared is None:
            return ""
        is_base = (
            self.target.adapter and not self.compared.adapter and self.target.model == self.compared.model
        )
        return "base" if is_base else self.compared.name.rpartition("/")[2]

    def record(self) -> dict[str, Any]:
        values = {one.name: _record(getattr(self, one.name)) for one in fields(self)}
        absent = {name for name in ("dial", "ablated") if not values[name]}
        return {name: one for name, one in values.items() if name not in absent}


def _record(value: Any) -> Any:
    if isinstance(value, Fingerprint | Sampling):
        return value.record()
    if is_dataclass(value):
        return {one.name: _record(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {key: _record(one) for key, one in value.items()}
    return [_record(one) for one in value] if isinstance(value, list | tuple) else value
