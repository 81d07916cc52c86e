"""Judges stored completions; what was judged already is not judged again."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from alttrain_cli.errors import AlttrainError
from alttrain_cli.evaluation.completion import part_of
from alttrain_cli.evaluation.judgement import Judgement, State, from_record, record, without_answer
from alttrain_cli.evaluation.judges.judge import InstantJudge, Judge, Part
from alttrain_cli.evaluation.plan import Plan, SuiteDir, hash_of
from alttrain_cli.evaluation.suites.suite import Item
from alttrain_cli.storage.names import safe_name
from alttrain_cli.text import visible


@dataclass(frozen=True)
class JudgeRun:
    """A judge, the model that it judges with if that is not its own, and the part that it is shown."""

    judge: InstantJudge | Judge
    part: Part = "answer"
    model: str | None = None

    @property
    def name(self) -> str:
        """What its files are called: rule, strongreject~gpt-4o, wildguard@reasoning."""
        model = "~" + safe_name(self.model, "--") if self.model else ""
        return self.judge.name + model + ("" if self.part == "answer" else f"@{self.part}")

    def key(self, completion: str) -> str:
        """Return the key of its judgement of a completion."""
        return hash_of(self.judge.name, self.judge.version, self.model, self.part, completion)

    def unjudged(self, place: SuiteDir, plan: Plan) -> Iterator[tuple[str, dict[str, Any], Item]]:
        """Yield (key of the judgement, completion, item) of what is not judged yet.

        An unparsed judgement is none: it is asked for again.
        """
        lines = place.judgements(self.name)
        judged = {line["key"] for line in lines if line["state"] is not State.UNPARSED}
        items = {job.key: job.item for job in plan.requests}
        for completion in place.completions.latest(list(items)):
            key = self.key(completion["key"])
            if key not in judged:
                yield key, completion, items[completion["key"]]

    def settle(self, place: SuiteDir, plan: Plan) -> None:
        """Put the judgements into the order of the plan."""
        place.judgements(self.name).settle([self.key(job.key) for job in plan.requests])


def judge_instantly(place: SuiteDir, plan: Plan, judge: InstantJudge, part: Part = "answer") -> int:
    """Judge all that is not judged yet; return how many were."""
    sitting = JudgeRun(judge, part)
    journal = place.judgements(sitting.name)
    count = 0
    for key, completion, item in sitting.unjudged(place, plan):
        judgement = without_answer(completion) if part == "answer" else None
        judgement = judgement or _judgement(judge, part_of(completion, part), item)
        journal.append(record(key, completion["key"], judgement))
        count += 1
    sitting.settle(place, plan)
    return count


def _judgement(judge: InstantJudge, text: str, item: Item) -> Judgement:
    """Return the judgement; one item on which a judge fails is unparsed, and the others are judged."""
    try:
        return judge.judge(text, item)
    except AlttrainError:
        raise
    except Exception as error:
        return Judgement(State.UNPARSED, raw=visible(f"{type(error).__name__}: {error}")[:200])


def judgements(place: SuiteDir, plan: Plan, name: str) -> Iterator[tuple[str, Judgement]]:
    """Yield (key of the completion, judgement) of all that a judge's file holds for the plan.

    Of two judgements of one completion the later one counts.
    """
    wanted = set(plan.keys)
    for line in place.judgements(name):
        if line["completion"] in wanted:
            yield line["completion"], from_record(line)
