"""One target's results on one suite, ready to be counted."""

from collections import Counter
from dataclasses import dataclass

from alttrain_cli.evaluation.judge_run import judgements
from alttrain_cli.evaluation.judgement import Judgement, State
from alttrain_cli.evaluation.judges.catalogue import is_triage, measures
from alttrain_cli.evaluation.metric_values import Metric, Values
from alttrain_cli.evaluation.plan import Facts, Plan, SuiteDir
from alttrain_cli.evaluation.structure_stats import StructureStats, verdict_by_behaviour


@dataclass(frozen=True)
class SuiteResult:
    """The plan, counts over the completions, and every judgement; holds no completion's text."""

    place: SuiteDir
    plan: Plan
    profile: StructureStats
    judged: dict[str, dict[str, Judgement]]  # judge's file name -> completion -> judgement

    @property
    def folder(self) -> str:
        """The name of its folder: the suite, and the thinking ablation if it is one."""
        return self.place.folder.name

    @classmethod
    def read(cls, place: SuiteDir) -> "SuiteResult":
        """Read a side's files one line at a time."""
        plan = Plan.load(place.folder)
        profile = StructureStats()
        for completion in place.completions.latest(plan.keys):
            profile.add(completion)
        there = profile.said.keys()
        judged = {
            name: {key: found for key, found in judgements(place, plan, name) if key in there}
            for name in place.judges()
        }
        return cls(place, plan, profile, {name: found for name, found in judged.items() if found})

    def values(self, judge: str, metric: Metric) -> Values:
        """Return a metric's values by one judge."""
        values = Values()
        found = self.judged.get(judge, {})
        for job in self.plan.requests:
            if job.key in found:
                values.add(job.item.id, found[job.key], metric)
        return values

    def states(self, judge: str) -> dict[str, int]:
        """Count what became of the completions with one judge."""
        counts = Counter(judgement.state.value for judgement in self.judged.get(judge, {}).values())
        states = {state.value: counts[state.value] for state in State}
        return states | {"unjudged": self.profile.n - sum(states.values())}

    @property
    def behaviour_judge(self) -> str | None:
        """The judge whose word on behaviour counts: the best that there is."""
        told = [name for name in self.judged if "behaviour" in measures(name) and "@" not in name]
        return min(told, key=lambda name: (is_triage(name), name), default=None)

    def verdict_by_behaviour(self) -> dict[str, dict[str, int]]:
        """Set what the target says against what it does."""
        best = self.behaviour_judge
        return verdict_by_behaviour(self.profile, self.judged[best].items() if best else ())

    def facts(self) -> Facts:
        """Return what the scorecard says of this side."""
        return {
            "completed": self.profile.n,
            **self.profile.facts(),
            "says_and_does": self.verdict_by_behaviour(),
        }

    def missing(self) -> list[str]:
        """Return in words what is not there; empty if all is."""
        plan, reasons, expected = self.plan, [], len(self.plan.keys)
        if len(plan.items) < plan.published:
            reasons.append(f"{len(plan.items)} of {plan.published} items were chosen")
        if self.profile.n < expected:
            reasons.append(f"{self.profile.n} of {expected} completions are there")
        if not self.judged:
            reasons.append("nothing is judged")
        for name in self.judged:
            states = self.states(name)
            for state, words in (
                ("unjudged", "not judged"),
                ("unparsed", "judged in words that say nothing"),
            ):
                if states[state]:
                    reasons.append(f"{name}: {states[state]} of {self.profile.n} are {words}")
        return reasons
