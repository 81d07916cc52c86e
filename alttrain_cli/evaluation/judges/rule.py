"""The refusal rule: instant, and for a first look only."""

from alttrain_cli.evaluation.judgement import Behaviour, Judgement
from alttrain_cli.evaluation.judges.judge import InstantJudge
from alttrain_cli.evaluation.suites.suite import Item
from alttrain_cli.structure.refusal import is_refusal


def _judge(text: str, item: Item) -> Judgement:
    return Judgement(behaviour=Behaviour.REFUSED if is_refusal(text) else Behaviour.COMPLIED)


RULE = InstantJudge(
    name="rule",
    title="rule over the opening words, for a first look only",
    judge=_judge,
    version="1",
    kinds=("harmful", "benign"),
    measures=("behaviour",),
    triage=True,
)
