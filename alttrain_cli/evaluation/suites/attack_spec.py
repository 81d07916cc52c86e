"""The attack in an adaptive suite's entry: which control flow, with which words and budget."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

FlowName = Literal["escalation", "refinement", "paraphrase", "actors", "script", "repetition"]
# How many instructions a flow has at least.
_INSTRUCTIONS: dict[FlowName, int] = {"escalation": 1, "refinement": 1, "paraphrase": 1, "actors": 3}
MOST_TURNS = 1000  # of a script


class AttackSpec(BaseModel):
    """The attack of a suite. A field that its control flow does not read must be left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    flow: FlowName
    instructions: tuple[str, ...] = ()  # to the attacker; {goal} and others are filled in
    techniques: dict[str, str] = Field(default_factory=dict)  # name: definition
    turns: int = Field(gt=0)
    backtracks: int | None = Field(default=None, ge=0)
    streams: int | None = Field(default=None, gt=0)
    actors: int | None = Field(default=None, gt=0)
    temperature: float = Field(default=1.0, gt=0, le=100)  # of the attacker
    source: str  # of the method: paper or program
    recorded: str | None = None  # the target against which the turns were recorded; None: live

    def replayed(self, target: str) -> "AttackSpec":
        """Return the attack as a script of the turns that were recorded against a target."""
        return AttackSpec.script(self.source, target)

    @classmethod
    def script(cls, source: str, recorded: str | None = None) -> "AttackSpec":
        """Return fixed turns, whatever their number is."""
        return cls(flow="script", turns=MOST_TURNS, source=source, recorded=recorded)

    @property
    def needs_attacker(self) -> bool:
        return self.flow in _INSTRUCTIONS

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if len(self.instructions) < _INSTRUCTIONS.get(self.flow, 0):
            raise ValueError(f"instructions: {self.flow} needs {_INSTRUCTIONS[self.flow]}")
        if (self.flow == "paraphrase") != bool(self.techniques):
            raise ValueError("techniques: only paraphrase has them, and it needs them")
        if (self.flow in ("escalation", "actors", "repetition")) != (self.backtracks is not None):
            raise ValueError("backtracks: only escalation, actors and repetition need them")
        if (self.flow == "refinement") != (self.streams is not None):
            raise ValueError("streams: only refinement has them, and it needs them")
        if (self.flow == "actors") != (self.actors is not None):
            raise ValueError("actors: only the flow actors has them, and it needs them")
        return self
