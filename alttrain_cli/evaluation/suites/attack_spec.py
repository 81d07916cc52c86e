"""The attack in an adaptive suite's entry: which control flow, with which words and budget."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, Field, model_validator

FlowName = Literal["escalation", "refinement", "paraphrase", "actors", "script", "repetition"]
IN_TURNS: tuple[FlowName, ...] = ("escalation", "actors", "script")  # their dialogues have a history
# Those that check each answer for a refusal. The others only look at its score.
SEE_REFUSALS = IN_TURNS
MOST_TURNS = 1000  # of a script
# What each instruction of a flow may hold in braces. A refinement takes any number of instructions.
_PLACES: dict[FlowName, tuple[tuple[str, ...], ...]] = {
    "escalation": (("goal", "turns"),),
    "refinement": (("goal",),),
    "paraphrase": (("goal", "technique", "definition"),),
    "actors": (("goal", "actors"), ("goal", "actor", "turns"), ("goal", "question")),
}
# What an entry need not state: the budget of the paper that introduced the method. docs/attacks.md has a
# table with the source of each number.
_USUAL: dict[str, dict[str, float]] = {
    "escalation": {"turns": 10, "backtracks": 10, "temperature": 0.7},
    "refinement": {"turns": 3, "streams": 30},
    "paraphrase": {"turns": 10},
    "actors": {"turns": 5, "backtracks": 1, "actors": 3, "temperature": 0.7},
    "script": {"turns": MOST_TURNS},
    "repetition": {"turns": 10, "backtracks": 10},
}

Names = Annotated[
    tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
]


class AttackSpec(BaseModel, frozen=True, extra="forbid"):
    """The attack of a suite. A field that its control flow does not read must be left out."""

    flow: FlowName
    instructions: Names = ()  # to the attacker; {goal} and others are filled in
    techniques: dict[str, str] = Field(default_factory=dict)  # name: definition
    turns: int = Field(gt=0, le=MOST_TURNS)
    backtracks: int | None = Field(default=None, ge=0, le=MOST_TURNS)
    streams: int | None = Field(default=None, gt=0, le=MOST_TURNS)
    actors: int | None = Field(default=None, gt=0, le=MOST_TURNS)
    temperature: float = Field(default=1.0, gt=0, le=100)  # of the attacker
    source: str = ""  # of the method: paper or program
    recorded: str | None = None  # the target against which the turns were recorded; None: live

    def replayed(self, target: str) -> "AttackSpec":
        """Return the attack as a script of the turns that were recorded against a target."""
        return AttackSpec.script(self.source, target)

    @classmethod
    def script(cls, source: str, recorded: str | None = None) -> "AttackSpec":
        """Return fixed turns, whatever their number is."""
        return cls.model_validate({"flow": "script", "source": source, "recorded": recorded})

    @property
    def needs_attacker(self) -> bool:
        return self.flow in _PLACES

    @property
    def sees_refusals(self) -> bool:
        return self.flow in SEE_REFUSALS

    @model_validator(mode="before")
    @classmethod
    def _with_usual(cls, values: Any) -> Any:
        flow = values.get("flow") if isinstance(values, Mapping) else None
        return {**_USUAL.get(flow, {}), **values} if isinstance(flow, str) else values

    @model_validator(mode="after")
    def _fits_flow(self) -> Self:
        for name in ("backtracks", "streams", "actors"):
            if getattr(self, name) is not None and name not in _USUAL[self.flow]:
                raise ValueError(f"{name}: has no effect with flow {self.flow}")
        if (self.flow == "paraphrase") != bool(self.techniques):
            raise ValueError("techniques: only paraphrase has them, and it needs them")
        if self.recorded is not None and self.flow != "script":
            raise ValueError("recorded: only a script was recorded")
        places = _PLACES.get(self.flow, ())
        if self.flow == "refinement":
            places *= max(1, len(self.instructions))
        if len(self.instructions) != len(places):
            raise ValueError(f"instructions: {self.flow} needs {len(places)}, not {len(self.instructions)}")
        for text, known in zip(self.instructions, places, strict=True):
            _check_places(text, known)
        return self


def _check_places(text: str, known: tuple[str, ...]) -> None:
    """Make sure that an instruction names the goal, and nothing in braces that would not be filled in."""
    found = re.findall(r"\{(\w+)\}", text)
    shown = " and ".join(f"{{{name}}}" for name in known)
    if unknown := [name for name in found if name not in known]:
        raise ValueError(f"instructions: {{{unknown[0]}}} is not known here; known: {shown}")
    if "goal" not in found:
        raise ValueError("instructions: must hold {goal}, or the attacker does not know what it is after")
