"""Judges stored completions; what was judged already is not judged again."""

from collections.abc import Iterator
from typing import Any

from alttrain_cli.evaluation.completion import part_of
from alttrain_cli.evaluation.judgement import Judgement, State, from_record, record, without_answer
from alttrain_cli.evaluation.judges.judge import InstantJudge, Judge, Part
from alttrain_cli.evaluation.plan import Place, Plan, hash_of


def file_name(judge: Judge | InstantJudge, part: Part) -> str:
    """Return the name under which judgements are kept: the part only where it is not the answer."""
    return judge.name if part == "answer" else f"{judge.name}@{part}"


def judgement_key(judge: Judge | InstantJudge, part: Part, completion: str, model: str = "") -> str:
    """Return the key of a judgement: judge, version, model, part and completion."""
    return hash_of(judge.name, judge.version, model, part, completion)


def unjudged(
    place: Place, plan: Plan, judge: Judge | InstantJudge, part: Part, model: str = ""
) -> Iterator[tuple[str, dict[str, Any], str | None]]:
    """Yield (key of the judgement, completion, right answer) of what this judge has not judged.

    An unparsed judgement is none: it is asked for again.
    """
    judged = {
        line["key"]
        for line in place.judgements(file_name(judge, part))
        if line["state"] != State.UNPARSED.value
    }
    answers = {job.key: job.item.answer for job in plan.jobs}
    for completion in place.completions.latest(list(answers)):
        key = judgement_key(judge, part, completion["key"], model)
        if key not in judged:
            yield key, completion, answers[completion["key"]]


def judge_instantly(place: Place, plan: Plan, judge: InstantJudge, part: Part = "answer") -> int:
    """Judge all that is not judged yet; return how many were."""
    journal = place.judgements(file_name(judge, part))
    count = 0
    for key, completion, answer in unjudged(place, plan, judge, part):
        text = part_of(completion, part)
        judgement = without_answer(completion) if part != "reasoning" else None
        journal.append(record(key, completion["key"], judgement or judge.judge(completion, text, answer)))
        count += 1
    settle(place, plan, judge, part)
    return count


def settle(place: Place, plan: Plan, judge: Judge | InstantJudge, part: Part, model: str = "") -> None:
    """Put a judge's judgements into the order of the plan."""
    keys = [judgement_key(judge, part, job.key, model) for job in plan.jobs]
    place.judgements(file_name(judge, part)).settle(keys)


def judgements(place: Place, plan: Plan, name: str) -> Iterator[tuple[str, Judgement]]:
    """Yield (key of the completion, judgement) of all that a judge's file holds for the plan."""
    wanted = {job.key for job in plan.jobs}
    for line in place.judgements(name):
        if line["completion"] in wanted:
            yield line["completion"], from_record(line)
