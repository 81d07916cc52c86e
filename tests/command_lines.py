"""The command lines of alttrain: every command, and what click reads from a line."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import typer

from alttrain_cli.cli import app
from alttrain_cli.commands.shared.app import Group
from alttrain_cli.commands.shared.examples import COMMANDS

ROOT: Any = typer.main.get_command(app)


def command_lines(context: Any = None) -> Iterator[tuple[str, ...]]:
    """Every command as it is typed, without the program's name."""
    for name in COMMANDS:
        _, command, _ = ROOT.resolve_command(typer.Context(ROOT, info_name="alttrain"), [name])
        yield (name,)
        if isinstance(command, Group):
            yield from ((name, each) for each in command.commands if each != getattr(command, "first", ""))


def result_of(printed: str) -> Any:
    """The result in the document that a command printed with --json."""
    document = json.loads(printed)
    assert document.keys() == {"schema", "command", "result"}
    assert document["schema"] == 1
    assert document["command"].split()[0] == "alttrain"
    return document["result"]


LINES = [(), *command_lines()]


def context_of(words: Sequence[str], lenient: bool = True) -> Any:
    """What click reads from a command line; nothing is run. `lenient`: something may be missing."""
    context = ROOT.make_context("alttrain", list(words))
    while isinstance(context.command, Group):
        name, command, rest = context.command.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        context = command.make_context(name, rest, parent=context, resilient_parsing=lenient)
    return context
