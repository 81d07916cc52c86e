"""A conversation: its turns, what the model sees of them, and the file that keeps them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from alttrain_cli.errors import AlttrainError, DataError
from alttrain_cli.storage.files import read_jsonl, write_jsonl
from alttrain_cli.structure.markers import THINK
from alttrain_cli.structure.template import Message
from alttrain_cli.structure.trace import State, Trace, compose, parse


class ContextError(AlttrainError):
    """A question alone is too long for the model."""


@dataclass(frozen=True)
class Turn:
    """A question and what came back, with whatever else was noted about it."""

    prompt: str
    response: str  # <think>, thoughts, </think> and answer, whatever the model's own markers are
    notes: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, prompt: str, trace: Trace, **notes: Any) -> "Turn":
        """Return the turn that a completion makes."""
        return cls(prompt, _response(trace), notes)

    @cached_property
    def answer(self) -> str:
        """The response without its thoughts."""
        return parse(self.response, THINK, prefilled=False).answer


@dataclass
class Conversation:
    """The turns so far. Earlier ones reach the model without their thoughts, as it was trained."""

    system: str | None = None  # None: what the recipe or the model's template says
    turns: list[Turn] = field(default_factory=list)
    forgotten: int = 0  # how many of the oldest turns the model no longer sees

    def messages(self, prompt: str) -> list[Message]:
        """Return what the model shall continue."""
        head = [] if self.system is None else [{"role": "system", "content": self.system}]
        for turn in self.turns[self.forgotten :]:
            head.append({"role": "user", "content": turn.prompt})
            head.append({"role": "assistant", "content": turn.answer})
        return [*head, {"role": "user", "content": prompt}]

    def fit(self, prompt: str, count: Callable[[Sequence[Message]], int], limit: int) -> int:
        """Forget the oldest turns until the prompt has at most `limit` tokens; return how many went.

        Raises:
            ContextError: if the question alone is longer.
        """
        before = self.forgotten
        while (tokens := count(self.messages(prompt))) > limit:
            if self.forgotten == len(self.turns):
                self.forgotten = before
                raise ContextError(
                    f"The question has {tokens} tokens, but only {max(limit, 0)} are left for it. "
                    "Shorten it, or lower max_new_tokens."
                )
            self.forgotten += 1
        return self.forgotten - before

    def drop_oldest(self, count: int) -> int:
        """Forget so many more of the oldest turns; return how many there were to forget."""
        before = self.forgotten
        self.forgotten = min(before + count, len(self.turns))
        return self.forgotten - before

    def add(self, turn: Turn) -> None:
        """Append a turn."""
        self.turns.append(turn)

    def undo(self) -> Turn | None:
        """Take the last turn back."""
        turn = self.turns.pop() if self.turns else None
        self.forgotten = min(self.forgotten, len(self.turns))
        return turn

    def forget(self) -> None:
        """Let the model see no turn so far; the file keeps them."""
        self.forgotten = len(self.turns)

    def before_last(self) -> "Conversation":
        """Return the conversation as it was before the last turn."""
        turns = self.turns[:-1]
        return Conversation(self.system, turns, min(self.forgotten, len(turns)))

    def save(self, path: Path) -> None:
        """Write one line a turn, in columns that `alttrain build-data` reads, atomically."""
        system = {} if self.system is None else {"system": self.system}
        lines = ({"prompt": turn.prompt, "response": turn.response, **turn.notes} for turn in self.turns)
        write_jsonl(path, [line | system for line in lines])

    @classmethod
    def load(cls, path: Path) -> "Conversation":
        """Read a saved conversation; the system text is the last line's.

        Raises:
            DataError: naming the line that is no turn.
        """
        conversation = cls()
        for number, values in read_jsonl(path):
            prompt, response = values.pop("prompt", None), values.pop("response", None)
            system = values.pop("system", None)
            if not isinstance(prompt, str) or not isinstance(response, str):
                raise DataError(f"{path}:{number}: not a turn: prompt and response are needed.")
            conversation.add(Turn(prompt, response, values))
            conversation.system = system if isinstance(system, str) else conversation.system
        return conversation


def _response(trace: Trace) -> str:
    if trace.state is State.ABSENT:
        return trace.answer
    if trace.state is State.UNCLOSED:
        return THINK.open + trace.thinking
    return compose(trace, THINK, prefilled=False)
