"""Renders a conversation with a model's chat template, which is a program of its author's and may fail."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from alttrain_cli.errors import ModelError, raise_in

DIGITS = 6  # of a number in a chat template, at most
SECONDS = 10  # that a chat template may take to render one conversation


def render(tokenizer: Any, messages: list[dict[str, str]], *, add_generation_prompt: bool) -> str:
    try:
        with deadline(SECONDS):
            rendered = tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=add_generation_prompt
            )
    except Exception as error:  # a template is a program of its author's: it may fail in any way
        raise ModelError(_why_not_rendered(error)) from None
    if not isinstance(rendered, str):
        raise ModelError("the chat template renders nothing.")
    return rendered


def check_bounded(source: Any) -> None:
    """Refuse numbers in a template that are computed in one call into C, which no deadline ends."""
    from jinja2 import Environment, TemplateSyntaxError

    before = ""
    try:
        for _, kind, value in Environment().lex(source) if isinstance(source, str) else ():
            power = value == "**" and kind == "operator" and before not in ("(", ",")  # f(**options) is none
            if power or (kind == "integer" and len(value) > DIGITS):
                raise ModelError(f"the chat template computes huge numbers ({value}). Use another model.")
            before = before if kind == "whitespace" else value
    except TemplateSyntaxError:
        return  # rendering reports the problem


def _why_not_rendered(error: Exception) -> str:
    if isinstance(error, DeadlineError):
        return f"the chat template was not rendered within {SECONDS} s. Correct it, or use another model."
    if isinstance(error, ValueError) and re.search("chat[_ ]template", str(error)):
        return "the model's tokenizer has no chat template. Name a chat model."
    reason = next(iter(str(error).splitlines()), "")[:200]
    return f"the chat template fails ({type(error).__name__}: {reason}). Correct it, or use another model."


class DeadlineError(Exception):
    """The code took longer than it may."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Run the block for at most `seconds`. Only Python code can be ended, not one long call into C.

    Raises:
        DeadlineError: if the time is over.
    """
    thread = threading.get_ident()
    timer = threading.Timer(seconds, raise_in, (thread, DeadlineError))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
