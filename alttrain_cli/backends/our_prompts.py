"""Prompts that are rendered here and not by a server, and the completions of such prompts."""

from dataclasses import replace

from alttrain_cli.backends.base import Completion
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.structure.sections import Order
from alttrain_cli.structure.template import Template


def rendered(template: Template, conversation: Conversation | str) -> str:
    """Return a prompt as in training, with the partial message at its end; a text is rendered already."""
    if isinstance(conversation, str):
        return conversation
    messages = conversation.wire()
    if not conversation.started:
        return template.prompt(messages)
    # The template would drop or rewrite reasoning in an assistant's message, so it is appended.
    return template.prompt(messages[:-1]) + template.own(conversation.started)


def whole_text(template: Template, conversation: Conversation, written: str) -> str:
    """Return what a model added to a partial message, with that message, and with <think> markers."""
    return template.plain(template.own(conversation.started) + written)


def in_sections(template: Template, completion: Completion, order: Order) -> Completion:
    """Return a completion with what depends on the order of its sections: its score, its reasoning tokens."""
    completion = replace(completion, order=order)
    if completion.score:
        completion = replace(completion, score=completion.score.of(completion.trace.verdict))
    thinking = template.encode_text(completion.trace.thinking)
    return replace(completion, reasoning_tokens=len(thinking))
