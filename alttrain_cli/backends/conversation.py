"""A conversation: an immutable list of messages, with reasoning separate from the answers.

Knows no model, no tokenizer and no file. Every method returns a new conversation, so a dialogue can
branch and step back without copying anything by hand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from alttrain_cli.storage.record_reader import IGNORE

MessageRole = Literal["system", "user", "assistant"]


@dataclass(frozen=True)
class Message:
    """One message. `reasoning` is None if there was none, or if it was not reported."""

    __pydantic_config__ = IGNORE  # a completion is read back with it

    role: MessageRole
    content: str
    reasoning: str | None = None


@dataclass(frozen=True)
class Conversation:
    """The messages so far.

    A conversation that ends in a user's message asks for a completion. One that ends in an assistant's
    message asks the model to continue that message: prefilled answers, thinking budgets and thinking
    ablations are all this one case. The text to continue holds <think> markers, whatever markers the
    model family itself uses.
    """

    messages: tuple[Message, ...] = ()

    @classmethod
    def of(cls, prompt: str, system: str | None = None) -> "Conversation":
        """Return a conversation of one user's message; `system` None keeps the backend's own."""
        head = () if system is None else (Message("system", system),)
        return cls((*head, Message("user", prompt)))

    @property
    def started(self) -> str:
        """The beginning of the assistant's message that the model continues; empty if there is none."""
        last = self.messages[-1] if self.messages else None
        return last.content if last is not None and last.role == "assistant" else ""

    @property
    def prompt(self) -> str:
        """The last user's message; empty if there is none."""
        return next((one.content for one in reversed(self.messages) if one.role == "user"), "")

    def user(self, text: str) -> "Conversation":
        return Conversation((*self.messages, Message("user", text)))

    def assistant(self, answer: str, reasoning: str | None = None) -> "Conversation":
        return Conversation((*self.messages, Message("assistant", answer, reasoning)))

    def start(self, text: str) -> "Conversation":
        """Return the conversation with a partial message of the assistant, or with a longer one."""
        if not text:
            return self
        kept = self.messages[:-1] if self.started else self.messages
        return Conversation((*kept, Message("assistant", self.started + text)))

    def wire(self) -> list[dict[str, str]]:
        """Return the messages as chat APIs and chat templates take them: without any reasoning."""
        return [{"role": one.role, "content": one.content} for one in self.messages]

    def record(self) -> list[dict[str, str]]:
        """Return the messages as they are stored, with the reasoning where there is some."""
        return [
            {"role": one.role, "content": one.content}
            | ({} if one.reasoning is None else {"reasoning": one.reasoning})
            for one in self.messages
        ]

    @classmethod
    def from_record(cls, messages: Sequence[Mapping[str, Any]]) -> "Conversation":
        """Return a stored conversation. Raises KeyError or TypeError for what is no message."""
        return cls(tuple(Message(one["role"], one["content"], one.get("reasoning")) for one in messages))
