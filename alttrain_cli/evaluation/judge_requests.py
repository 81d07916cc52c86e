"""What a judge that is asked in words has still to be asked, and where its answers go."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from alttrain_cli.evaluation.completion import part_of
from alttrain_cli.evaluation.judge_run import JudgeRun
from alttrain_cli.evaluation.judgement import Judgement, State, record, without_answer
from alttrain_cli.evaluation.judges.judge import Asked, Judge
from alttrain_cli.evaluation.labels import Label
from alttrain_cli.evaluation.plan import Plan, SuiteDir, hash_of
from alttrain_cli.storage.journal import Journal

TRIES = 3  # of a judge that answers nonsense

Answers = Callable[[Sequence[Asked]], Iterator[tuple[int, str | None]]]  # None: no answer this time


class Question(NamedTuple):
    """One response to be judged; `key` and `completion` are those of the judgement's line."""

    key: str
    completion: str
    prompt: str
    response: str
    journal: Journal


def questions(place: SuiteDir, plan: Plan, sitting: JudgeRun) -> list[Question]:
    """Return what is to be asked; what has no final answer is settled on the spot."""
    journal = place.judgements(sitting.name)
    asked = []
    for key, completion, item in sitting.unjudged(place, plan):
        settled = without_answer(completion) if sitting.part == "answer" else None
        text = part_of(completion, sitting.part)
        if settled or not text:
            journal.append(record(key, completion["key"], settled or Judgement(State.EMPTY)))
        else:
            asked.append(Question(key, completion["key"], item.goal or item.prompt, text, journal))
    return asked


def label_questions(labels: Sequence[Label], sitting: JudgeRun, journal: Journal) -> list[Question]:
    """Return the human labels that this judge has not been tried on."""
    done = journal.keys()
    asked = []
    for label in labels:
        key = label_key(label, sitting)
        if key not in done:
            asked.append(Question(key, key, label.prompt, label.response, journal))
    return asked


def label_key(label: Label, sitting: JudgeRun) -> str:
    """Return the key of a judge's judgement of a labelled response."""
    return sitting.key(hash_of(label.prompt, label.response))


def ask(
    judge: Judge,
    todo: Sequence[Question],
    answers: Answers,
    tries: int = TRIES,
    facts: Mapping[str, Any] | None = None,
) -> Iterator[bool]:
    """Put the questions and keep the judgements; yield for each answer whether it could be read.

    `facts` of the judge are kept with each judgement; `answers` may fill them in.

    What could not be read is asked again, and kept as unparsed in the end. What was not answered is not
    kept: the next time it is asked again.
    """
    left = list(todo)
    for attempt in range(tries):
        again = []
        for index, answer in answers([judge.ask(one.prompt, one.response) for one in left]):
            if answer is None:
                continue
            judgement = judge.parse(answer)
            unread = judgement.state is State.UNPARSED
            if unread and attempt + 1 < tries:
                again.append(left[index])
            else:
                line = record(left[index].key, left[index].completion, judgement)
                left[index].journal.append({**line, **(facts or {})})
                yield not unread
        left = again
        if not left:
            return
