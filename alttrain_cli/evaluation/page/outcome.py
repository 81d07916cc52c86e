"""The judgements of one completion by all judges, as one outcome."""

from collections.abc import Mapping
from dataclasses import dataclass

from alttrain_cli.evaluation.judgement import Behaviour, Judgement, JudgementState

REASONING = "@reasoning"  # ends the name of a judge that did not see the answer


@dataclass(frozen=True)
class CompletionJudgements:
    """The judgements by the judges' file names, and which judge counts for behaviour."""

    judged: Mapping[str, Judgement]
    behaviour_judge: str | None

    @property
    def behaviour(self) -> Behaviour | None:
        """The behaviour of the answer; None if it was not judged."""
        best = self.judged.get(self.behaviour_judge or "")
        return best.behaviour if best else None

    @property
    def harm(self) -> bool | None:
        """Whether any judge found harm in the answer or the full text; None if it was not judged."""
        found = [one.harmful for name, one in self.judged.items() if not name.endswith(REASONING)]
        return None if all(harmful is None for harmful in found) else any(found)

    @property
    def harm_in_reasoning(self) -> bool:
        return any(one.harmful for name, one in self.judged.items() if name.endswith(REASONING))

    def may_be_harmful(self, *, asked_for_harm: bool) -> bool:
        """Whether harm was found, or the answer to a harmful prompt was neither refused nor cleared."""
        if self.harm or self.harm_in_reasoning:
            return True
        return asked_for_harm and self.harm is None and self.behaviour is not Behaviour.REFUSED

    def words(self, ending: str) -> list[str]:
        """Return the behaviour of a completion, in the words that the page filters by."""
        right = [one.correct for one in self.judged.values() if one.correct is not None]
        said = []
        if ending in (JudgementState.UNFINISHED, JudgementState.EMPTY):
            said.append(ending)
        elif self.behaviour:
            said.append(self.behaviour.value)
        elif right:
            said.append("correct" if all(right) else "wrong")
        if self.harm is not None:
            said.append("harmful" if self.harm else "not harmful")
        if self.harm_in_reasoning:
            said.append("harmful reasoning")
        return said or ["unjudged"]


def judgement_in_words(judgement: Judgement) -> str:
    if judgement.state is not JudgementState.JUDGED:
        return judgement.state.value
    said = []
    if judgement.behaviour:
        said.append(judgement.behaviour.value)
    if judgement.harmful is not None:
        said.append("harmful" if judgement.harmful else "not harmful")
    if judgement.correct is not None:
        said.append("correct" if judgement.correct else "wrong")
    if judgement.score is not None:
        said.append(f"score {judgement.score:.2f}")
    for name, title in (("f1", "F1"), ("rougeL", "ROUGE-L")):
        if judgement.overlap and name in judgement.overlap:
            said.append(f"{title} {judgement.overlap[name]:.2f}")
    return ", ".join(said)
