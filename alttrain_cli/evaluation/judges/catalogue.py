"""All judges by name, and which of them a suite gets."""

import re

from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.judges import guards, rubrics
from alttrain_cli.evaluation.judges.answers import MATH, WORD
from alttrain_cli.evaluation.judges.code import CODE
from alttrain_cli.evaluation.judges.harness import EXACT, F1, ROUGE
from alttrain_cli.evaluation.judges.judge import InstantJudge, Judge
from alttrain_cli.evaluation.judges.programs import PROGRAM
from alttrain_cli.evaluation.judges.rule import RULE
from alttrain_cli.evaluation.suites.suite import Kind, split_words
from alttrain_cli.text import suggest

AnyJudge = InstantJudge | Judge

GRADERS: dict[str, InstantJudge] = {
    judge.name: judge for judge in (WORD, MATH, CODE, PROGRAM, EXACT, F1, ROUGE)
}
CHOSEN: dict[str, AnyJudge] = {judge.name: judge for judge in (RULE, *rubrics.JUDGES, *guards.JUDGES)}


def find_judges(words: str) -> list[AnyJudge]:
    """Return the judges of a list like rule,wildguard."""
    names = split_words("--judge", words)
    for name in names:
        if name not in CHOSEN:
            hint = suggest(name, CHOSEN, "To list them: alttrain eval judges")
            raise DataError(f"--judge {name}: no such judge. {hint}")
    return [CHOSEN[name] for name in names]


def judges_for(kind: Kind, grader: str | None, chosen: list[AnyJudge]) -> list[AnyJudge]:
    """Return the judges of a suite: the comparison with the right answers, or the chosen judges."""
    if grader is not None:
        return [GRADERS[grader]]
    return [judge for judge in chosen if kind in judge.kinds]


def judge_named(file_name: str) -> AnyJudge:
    """Return the judge whose judgements are in judgements.<file_name>.jsonl."""
    name = re.split("[~@]", file_name)[0]
    judge = GRADERS.get(name) or CHOSEN.get(name)
    if judge is None:
        raise DataError(
            f"judgements.{file_name}.jsonl: this version of alttrain has no judge named {name!r}. "
            "Remove the file."
        )
    return judge


def measures(file_name: str) -> tuple[str, ...]:
    """Return the metrics of a judge: behaviour, harmful, score, correct, f1, rouge1, rouge2, rougeL."""
    return judge_named(file_name).measures


def is_triage(file_name: str) -> bool:
    judge = judge_named(file_name)
    return isinstance(judge, InstantJudge) and judge.triage
