"""Lets a server continue a partial message of the assistant, and recognises whether it did."""

from collections.abc import Callable, Generator, Mapping
from typing import Any, TypeVar, cast

from alttrain_cli.backends.base import BackendError, Completion
from alttrain_cli.structure.markers import THINK
from alttrain_cli.structure.trace import TraceState, parse

Pieces = Generator[str, None, Completion]

# Request parameters that let servers continue a message: vLLM and SGLang; llama.cpp, which continues every
# assistant's message, but refuses to while the model may think.
_CONTINUE: Mapping[str, Any] = {"continue_final_message": True, "add_generation_prompt": False}
_WITHOUT_THINKING: Mapping[str, Any] = {"chat_template_kwargs": {"enable_thinking": False}}
_REFUSALS = (400, 413, 422, 500, 501)  # 500: how llama.cpp reports a template that objects

Got = TypeVar("Got")


class ContinuationError(Exception):
    """A server does not continue an assistant's message, and why."""


def accepted(ask: Callable[[Mapping[str, Any]], Got], address: str) -> Got:
    """Return the result of `ask` for the first way to continue that the server at an address accepts.

    Raises:
        ContinuationError: if it accepts none.
    """
    try:
        return ask(_CONTINUE)
    except BackendError as refusal:
        if refusal.status not in _REFUSALS:
            raise
        first = refusal
    if "think" in str(first).lower():
        try:
            return ask(_WITHOUT_THINKING)
        except BackendError as refusal:
            if refusal.status not in _REFUSALS:
                raise
    said = str(first).removeprefix(f"{address}: ")
    raise ContinuationError(f"the server does not continue a partial message ({said})")


def added_text(text: str, started: str) -> str:
    """Return the text that a server added to `started`.

    A server that parses reasoning marks a block that is open already once more; that marker is dropped.

    Raises:
        ContinuationError: if it starts a new reasoning block after text that has none, or a closed one.
    """
    bare = text.lstrip()
    if bare.startswith(THINK.bare_open):
        if parse(started, THINK, prefilled=False).state is not TraceState.UNCLOSED:
            raise ContinuationError("the server starts to reason again instead of continuing the message")
        return bare.removeprefix(THINK.bare_open).lstrip("\n")
    return bare if started.endswith("\n") else text


def added_pieces(first: str, pieces: Pieces, started: str) -> Pieces:
    """Yield the text that a server adds to `started`, from its first word, and return its completion.

    Raises:
        ContinuationError: before anything is yielded; also if nothing is added.
    """
    held, decided, completion = first, False, None
    while completion is None:
        bare = held.lstrip()
        if not decided and not THINK.bare_open.startswith(bare):
            decided, held = True, added_text(held, started)
        if decided and held:
            yield held
            held = ""
        try:
            held += next(pieces)
        except StopIteration as end:
            completion = cast(Completion, end.value)
    if not decided:
        if not held.strip():
            raise ContinuationError("the server adds nothing to the message")
        yield held
    return completion
