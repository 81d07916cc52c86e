"""The tokenizer of a server, where it offers one (vLLM, SGLang, llama.cpp), and its chat template (vLLM)."""

from contextlib import closing
from typing import Any, TypeVar

from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.endpoint import Body, Endpoint
from alttrain_cli.structure.markers import THINK
from alttrain_cli.structure.probing import WireMessage

Got = TypeVar("Got")


class ServerTokenizer:
    """Counts and renders with a server's own tokenizer. None is the result where the server cannot."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    @property
    def renders(self) -> bool:
        return self._endpoint.dialect.renders and self._answers

    @property
    def _answers(self) -> bool:
        return "tokenize" not in self._endpoint.refused

    def count(self, conversation: Conversation) -> int | None:
        if conversation.started:
            text = self.rendered(conversation)
            return None if text is None else self.count_text(text)
        return _size(self._token_ids(conversation.wire()))

    def count_text(self, text: str) -> int | None:
        if not (names := self._endpoint.dialect.counts) or not self._answers:
            return None
        field, special = names
        return _size(self._ask("/tokenize", {field: text, special: False}, "tokens", list)) if text else 0

    def rendered(self, conversation: Conversation) -> str | None:
        """Return a prompt as the server's chat template renders it, with the partial message at its end.

        The template would drop or rewrite reasoning in an assistant's message, so that is appended.
        """
        messages = conversation.wire()[:-1] if conversation.started else conversation.wire()
        if not (prompt := self.rendered_whole(messages)):
            return None
        started = conversation.started
        if self.opens_block(prompt) and started.startswith(THINK.bare_open):
            return prompt.rstrip() + started.removeprefix(THINK.bare_open)
        return prompt + started

    def rendered_whole(self, messages: list[WireMessage]) -> str | None:
        """Return messages as the server's chat template renders them, before the model's turn."""
        tokens = self._token_ids(messages)
        return self._ask("/detokenize", {"tokens": tokens}, "prompt", str) if tokens else None

    @staticmethod
    def opens_block(prompt: str) -> bool:
        """Whether a rendered prompt already holds the opening marker of the reasoning."""
        return prompt.rstrip().endswith(THINK.bare_open)

    def _token_ids(self, messages: list[WireMessage]) -> list[Any] | None:
        """Return the tokens of messages as the server's chat template renders them."""
        return self._ask("/tokenize", {"messages": messages}, "tokens", list) if self.renders else None

    def _ask(self, path: str, body: Body, name: str, kind: type[Got]) -> Got | None:
        """Return a value of the server's answer; a server that once had none is not requested again."""
        if not self._answers:
            return None
        with closing(self._endpoint.connect()) as connection:
            value = (self._endpoint.ask(connection, path, body) or {}).get(name)
        if isinstance(value, kind):
            return value
        self._endpoint.refused.add("tokenize")
        return None


def _size(tokens: list[Any] | None) -> int | None:
    """Return how many there are; llama.cpp sends an empty list for a request that it does not know."""
    return len(tokens) if tokens else None
