"""One model's results on one suite, ready to be counted."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from alttrain_cli.evaluation.attacks.stats import AttackStats
from alttrain_cli.evaluation.judge_run import judgements
from alttrain_cli.evaluation.judgement import Judgement, JudgementState
from alttrain_cli.evaluation.judges.catalogue import is_triage, measures
from alttrain_cli.evaluation.metric_values import Metric, MetricValues
from alttrain_cli.evaluation.plan import EvalPlan, SuiteDir
from alttrain_cli.evaluation.plan_values import ScoresByKey, ValuesByKey
from alttrain_cli.evaluation.structure_stats import (
    StructureStats,
    StructureSummary,
    VerdictTable,
    verdict_by_behaviour,
)


@dataclass(frozen=True)
class SuiteResult:
    """The plan, counts over the completions, and every judgement; holds no completion's text."""

    folder: SuiteDir
    plan: EvalPlan
    stats: StructureStats
    judged: dict[str, Mapping[str, Judgement]]  # judge's file name -> completion -> judgement
    attack: AttackStats | None = None  # of an adaptive suite

    @property
    def name(self) -> str:
        """The name of its folder: the suite, and the thinking ablation if it is one."""
        return self.folder.path.name

    @classmethod
    def read(cls, folder: SuiteDir) -> "SuiteResult":
        """Read a suite's files one line at a time."""
        plan = EvalPlan.load(folder.path)
        attack = AttackStats.of(folder.played(plan.keys)) if plan.attack else None
        stats = StructureStats(ValuesByKey(plan.keys), ScoresByKey(plan.keys), plan.order)
        # Without its dialogue it is not known what a completion decides.
        keys = (key for key in plan.keys if attack is None or key in attack.ends)
        for completion in folder.stored(keys, plan.order):
            stats.add(completion)
        judged = {name: _judged_by(name, folder, plan, stats) for name in folder.judges()}
        return cls(folder, plan, stats, {name: found for name, found in judged.items() if found}, attack)

    def counts(self, key: str) -> bool:
        """Whether a completion is in the rates; that of an attack needs its dialogue."""
        return self.attack is None or key in self.attack.ends

    @property
    def is_empty(self) -> bool:
        """Whether nothing was stored yet. Completions whose dialogues were lost are something."""
        lost = self.attack is not None and self.folder.completions.path.is_file()
        return not (self.stats.n or (self.attack and self.attack.ends) or lost)

    def values(self, judge: str, metric: Metric) -> MetricValues:
        values = MetricValues.of_samples(self.plan.samples)
        found = self.judged.get(judge, {})
        failed = self.attack.failed if self.attack else set()
        unsure = self.attack.unsure if self.attack else set()
        for place, key in enumerate(self.plan.sample_keys):
            item = place // self.plan.samples
            if judgement := found.get(key):
                values.add(item, judgement, metric, sure=key not in unsure)
            elif key in failed:
                values.add_failed(item)
        return values

    def states(self, judge: str) -> dict[str, int]:
        """Count the states of the judgements by one judge, and the completions without one."""
        counts = Counter(judgement.state.value for judgement in self.judged.get(judge, {}).values())
        states = {state.value: counts[state.value] for state in JudgementState}
        return states | {"unjudged": self.stats.n - sum(states.values())}

    @property
    def behaviour_judge(self) -> str | None:
        """The judge whose judgement of behaviour counts: the best that there is."""
        able = [name for name in self.judged if "behaviour" in measures(name) and "@" not in name]
        return min(able, key=lambda name: (is_triage(name), name), default=None)

    def verdict_by_behaviour(self) -> VerdictTable:
        best = self.behaviour_judge
        return verdict_by_behaviour(self.stats, self.judged[best] if best else {})

    def summary(self) -> StructureSummary:
        return self.stats.summary(self.verdict_by_behaviour())

    def missing(self) -> list[str]:
        """Return in words what is not there; empty if all is."""
        plan, expected = self.plan, len(self.plan.keys)
        reasons = []
        if len(plan.items) < plan.published:
            reasons.append(f"{len(plan.items)} of {plan.published} items were chosen")
        if self.attack and len(self.attack.ends) < expected:
            path, stored = self.folder.dialogues.path, len(self.attack.ends)
            held = f"holds {stored} of {expected} dialogues, and only these are in the rates"
            reasons.append(f"{path}: {held}. {self.folder.again()}")
        elif self.attack and (lost := self.attack.decided - self.stats.n) > 0:
            path = self.folder.completions.path
            reasons.append(f"{path}: lacks {lost} of the deciding answers. {self.folder.again()}")
        elif not self.attack and self.stats.n < expected:
            again = self.folder.again()
            reasons.append(f"only {self.stats.n} of {expected} completions exist. {again}")
        if not self.judged and self.stats.n:
            reasons.append("there are no judgements")
        for name in self.judged:
            states = self.states(name)
            for state, words in (
                ("unjudged", "are not judged"),
                ("unparsed", "are unparsed (the judge's answer could not be read)"),
            ):
                if states[state]:
                    reasons.append(f"{name}: {states[state]} of {self.stats.n} {words}")
        return reasons


def _judged_by(name: str, folder: SuiteDir, plan: EvalPlan, stats: StructureStats) -> Mapping[str, Judgement]:
    found = ValuesByKey[Judgement](plan.keys)
    for key, judgement in judgements(folder, plan, name):
        if key in stats.verdicts:
            found[key] = judgement
    return found
