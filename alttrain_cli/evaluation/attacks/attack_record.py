"""The facts of an attack in plan.json: all that shapes its dialogues, except the target."""

from dataclasses import asdict, dataclass
from typing import Any

from alttrain_cli.evaluation.suites.attack_spec import SEE_REFUSALS, FlowName
from alttrain_cli.storage.record_reader import IGNORE, Many


@dataclass(frozen=True)
class AttackRecord:
    """The attack of an adaptive suite, as it was played.

    Attributes:
        settings: a hash of budget, wording and everything else that shapes a dialogue.
        target_calls: how often the target is called at most in one dialogue.
        attacker, judge: their models, by name; the judge is the one in the loop.
        refusal_judge: the model that looks for refusals, by name; None: the judge.
        recorded: the target against which the turns were recorded; None for a live attack.
    """

    __pydantic_config__ = IGNORE

    name: str
    settings: str
    target_calls: Many
    attacker: str | None
    judge: str
    flow: FlowName
    recorded: str | None = None
    refusal_judge: str | None = None

    @property
    def steered(self) -> bool:
        """Whether a judge in the loop ends a dialogue; a script is played to its end."""
        return self.flow != "script"

    @property
    def sees_refusals(self) -> bool:
        return self.flow in SEE_REFUSALS

    @property
    def in_loop(self) -> str:
        """The judges in the loop, in words."""
        return self.judge + (f", refusals by {self.refusal_judge}" if self.refusal_judge else "")

    @property
    def refusals_by(self) -> str:
        """Who decides whether an answer refuses, in words."""
        return f"the refusal judge {self.refusal_judge}" if self.refusal_judge else "the judge in the loop"

    def record(self) -> dict[str, Any]:
        return asdict(self)
