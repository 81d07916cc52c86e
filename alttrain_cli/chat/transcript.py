"""The transcript of a chat: its turns, which of them a model still gets, and the file that keeps them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from alttrain_cli.backends.base import ContextFullError
from alttrain_cli.backends.conversation import Conversation, Message
from alttrain_cli.errors import DataError
from alttrain_cli.storage.files import write_jsonl
from alttrain_cli.storage.reading import read_jsonl
from alttrain_cli.structure.markers import THINK
from alttrain_cli.structure.trace import Trace, TraceState, compose, parse


@dataclass(frozen=True)
class Turn:
    """A message and its response, with notes (verdict, tokens, seconds, ...).

    The response is <think>, reasoning, </think> and answer, whatever the family's own markers are.
    """

    prompt: str
    response: str
    notes: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, prompt: str, trace: Trace, **notes: Any) -> "Turn":
        return cls(prompt, _response(trace), notes)

    @cached_property
    def answer(self) -> str:
        return parse(self.response, THINK, prefilled=False).answer


@dataclass
class Transcript:
    """The turns so far. A model gets earlier ones without their reasoning, as in training."""

    system: str | None = None  # None keeps the system prompt of the recipe or of the chat template
    turns: list[Turn] = field(default_factory=list)
    dropped_turns: int = 0  # how many of the oldest turns are no longer sent; the file keeps them

    def conversation(self, prompt: str) -> Conversation:
        """Return the conversation that a model gets for a new message."""
        conversation = (
            Conversation() if self.system is None else Conversation((Message("system", self.system),))
        )
        for turn in self.turns[self.dropped_turns :]:
            conversation = conversation.user(turn.prompt).assistant(turn.answer)
        return conversation.user(prompt)

    def truncate_to_context(
        self, prompt: str, count: Callable[[Conversation], int | None], limit: int
    ) -> int:
        """Drop the oldest turns until the prompt has at most `limit` tokens; return how many were dropped.

        Nothing is dropped if `count` returns None: then only the backend itself can tell.

        Raises:
            ContextFullError: if the message alone is longer; no turn is dropped then.
        """
        before = self.dropped_turns
        while (tokens := count(self.conversation(prompt))) is not None and tokens > limit:
            if not self.drop_oldest_turns(1):
                self.dropped_turns = before
                raise ContextFullError(
                    f"The message has {tokens} tokens, but only {max(limit, 0)} fit in the context. "
                    "Shorten the message or lower max_new_tokens."
                )
        return self.dropped_turns - before

    def drop_oldest_turns(self, count: int) -> int:
        """Drop up to `count` more of the oldest turns; return how many were dropped."""
        before = self.dropped_turns
        self.dropped_turns = min(before + count, len(self.turns))
        return self.dropped_turns - before

    def undo(self) -> Turn | None:
        """Remove and return the last turn; None if there is none."""
        turn = self.turns.pop() if self.turns else None
        self.dropped_turns = min(self.dropped_turns, len(self.turns))
        return turn

    def before_last(self) -> "Transcript":
        turns = self.turns[:-1]
        return Transcript(self.system, turns, min(self.dropped_turns, len(turns)))

    def save(self, path: Path) -> None:
        """Write one line per turn, with columns that `alttrain build-data` reads, atomically."""
        system = {} if self.system is None else {"system": self.system}
        lines = ({"prompt": turn.prompt, "response": turn.response, **turn.notes} for turn in self.turns)
        write_jsonl(path, [line | system for line in lines])

    @classmethod
    def load(cls, path: Path) -> "Transcript":
        """Read a saved chat; the system prompt is that of the last line."""
        transcript = cls()
        for number, values in read_jsonl(path):
            prompt, response = values.pop("prompt", None), values.pop("response", None)
            system = values.pop("system", None)
            if not isinstance(prompt, str) or not isinstance(response, str):
                raise DataError(f"{path}:{number}: not a turn: prompt and response are needed.")
            transcript.turns.append(Turn(prompt, response, values))
            transcript.system = system if isinstance(system, str) else transcript.system
        return transcript


def _response(trace: Trace) -> str:
    if trace.state is TraceState.ABSENT:
        return trace.answer
    if trace.state is TraceState.UNCLOSED:
        return THINK.open + trace.thinking
    return compose(trace, THINK, prefilled=False)
