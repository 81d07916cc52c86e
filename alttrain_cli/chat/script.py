"""Questions asked by a script: each one answered, printed, and done."""

import sys
from collections.abc import Sequence
from typing import Any

import typer

from alttrain_cli import console
from alttrain_cli.backends.speaker import Speaker
from alttrain_cli.chat.ask import ask, ask_pair, ask_within_context, base_of
from alttrain_cli.chat.conversation import Conversation
from alttrain_cli.chat.reading import Completion, listen
from alttrain_cli.chat.settings import Settings
from alttrain_cli.engine import quiet
from alttrain_cli.errors import GateError
from alttrain_cli.structure.template import Message
from alttrain_cli.structure.trace import State


def answer_all(
    speaker: Speaker,
    conversation: Conversation,
    prompts: Sequence[str],
    settings: Settings,
    *,
    compare: bool,
    as_json: bool,
) -> None:
    """Ask each question in the same conversation so far, and print what came back.

    Raises:
        GateError: in the end, if a reasoning block was not finished.
    """
    shown = sys.stdout.isatty() and not as_json
    speakers = [base_of(speaker), speaker] if compare else [speaker]

    def say(messages: Sequence[Message]) -> Sequence[Completion]:
        if shown:
            return _shown(speaker, messages, settings, compare)
        with quiet.captured(None):
            return [listen(one, messages, settings, lambda reading: None) for one in speakers]

    unfinished = False
    for prompt in prompts:
        completions = ask_within_context(speaker, conversation, prompt, settings, say, console.print_warning)
        if as_json:
            _print_json(prompt, conversation.system, settings, speakers, completions)
        elif not shown:
            _print_plain(completions)
        unfinished |= any(completion.trace.state is State.UNCLOSED for completion in completions)
    if unfinished:
        raise GateError("The reasoning was not finished within the limit; raise --max-new-tokens.")


def _shown(
    speaker: Speaker, messages: Sequence[Message], settings: Settings, compare: bool
) -> Sequence[Completion]:
    screen = console.ChatScreen()
    if compare:
        return ask_pair(speaker, messages, settings, screen)
    return [ask(speaker, messages, settings, screen)]


def _print_plain(completions: Sequence[Completion]) -> None:
    """Print the answer alone to standard output, the thoughts to standard error; base before aligned."""
    for completion in completions:
        if completion.remark:
            console.print_warning(completion.remark)
        console.err().print(console.plain(completion.trace.thinking, "muted"), soft_wrap=True)
        typer.echo(console.visible(completion.trace.answer))


def _print_json(
    prompt: str,
    system: str | None,
    settings: Settings,
    speakers: Sequence[Speaker],
    completions: Sequence[Completion],
) -> None:
    asked: dict[str, Any] = {"prompt": prompt, "system": system, "settings": settings.values()}
    said = [
        {"model": speaker.name, **completion.summary()}
        for speaker, completion in zip(speakers, completions, strict=True)
    ]
    answered = said[0] if len(said) == 1 else {"base": said[0], "aligned": said[1]}
    console.print_json(asked | answered)
