"""Commands and groups of commands with our help. Options also have their old names."""

import os
from collections import Counter
from collections.abc import Callable
from difflib import get_close_matches
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from alttrain_cli import console
from alttrain_cli.commands.shared.every_command import NAMES
from alttrain_cli.commands.shared.help import Help, command_of, with_context
from alttrain_cli.commands.shared.misplaced import command_for
from alttrain_cli.text import quoted

Called = TypeVar("Called", bound=Callable[..., Any])
CONTEXT = {"help_option_names": ["-h", "--help"]}
# Older names of options, and the name that replaces each. They are not shown, and work until version 0.2.
OLD_NAMES = {
    "--trust": "--on-disagreement",
    "--traces-from": "--generate-traces",
    "--probe": "--prompts",
    "--compare": "--baseline",
    "--samples": "--num-samples",
    "--sample": "--do-sample",
    "--think": "--thinking-mode",
    "--no-card": "--no-judge-card",
    "--show-completions": "--include-harmful",
}


class Command(Help, TyperCommand):
    """A command with our help. Options also have their old names; most of them may be given once."""

    def invoke(self, ctx: Any) -> Any:
        console.name_command(command_of(ctx))
        return super().invoke(ctx)

    def make_parser(self, ctx: Any) -> Any:
        """Return click's parser, which also reads old names, and refuses values without an effect."""
        parser: Any = super().make_parser(ctx)
        options = {name: one for one in self.get_params(ctx) for name in one.opts}
        for old, new in OLD_NAMES.items():
            if new in options and old not in options:
                option = options[new]
                names, option.opts = option.opts, [old]
                option.add_to_parser(parser, ctx)
                option.opts = names
        read = with_context(parser.parse_args, ctx)

        def parse_args(args: list[str]) -> Any:
            found = read(args)
            _check_once(ctx, found[-1])
            return found

        parser.parse_args = parse_args
        return parser


def _check_once(ctx: Any, given: list[Any]) -> None:
    """Refuse an option with a value that was given twice: click keeps the last value, and drops the first."""
    for option, times in Counter(given).items():
        takes_one = option.param_type_name == "option" and not (option.is_flag or option.multiple)
        if times > 1 and takes_one and not ctx.resilient_parsing:
            name = max(option.opts, key=len)
            joins = option.metavar == "NAMES" or "," in (option.metavar or "")
            hint = "Separate values by commas." if joins else "Leave one out."
            ctx.fail(f"{name} is given twice; the first value has no effect. {hint}")


class Group(Help, TyperGroup):
    """A group of commands with our help."""

    def _usage_end(self) -> list[str]:
        return ["COMMAND [ARGS]..."]


class DefaultGroup(Group):
    """A group whose first command need not be named: `alttrain eval RUN` means `alttrain eval run RUN`."""

    @property
    def first(self) -> str:
        """The first command is meant if none is named."""
        return next(iter(self.commands))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the first command in front, unless a command is named, or nearly so."""
        shared = list(takewhile(NAMES.__contains__, args))
        args = args[len(shared) :]
        if not args and "_ALTTRAIN_COMPLETE" in os.environ:  # the shell completes the first word
            return super().parse_args(ctx, shared)
        late = "" if self._argument else next((one for one in args[1:] if one in self.commands), "")
        if late and _is_option(args[0]):
            ctx.fail(f"{args[0]} has no effect before {late}. Give options after the command.")
        if len(args) == 1 and not (self._argument or _is_option(args[0])):  # a run, or a recipe
            path = " ".join(["alttrain", *ctx.command_path.split()[1:]])
            if advice := command_for(args[0], path, self.commands, self.commands[self.first]):
                ctx.fail(f"No such command {quoted(args[0])}. {advice}")
        first = [] if self._names_command(args) else [self.first]
        return super().parse_args(ctx, [*shared, *first, *args])

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Return the commands with this prefix, and the completions of the first command."""
        words = self._argument.shell_complete(ctx, incomplete) if self._argument else []
        return [*super().shell_complete(ctx, incomplete), *words]

    @property
    def _argument(self) -> Any:
        """The first argument of the first command; None if it takes none."""
        parameters = self.commands[self.first].params
        return next((one for one in parameters if one.param_type_name == "argument"), None)

    def _names_command(self, args: list[str]) -> bool:
        """Whether words begin with a command's name, or with what may be a misspelt one.

        The first command's name is its argument if a folder has that name and no argument follows.
        """
        word = args[0] if args else ""
        if word in self.commands:
            is_folder = word == self.first and self._argument and Path(word).is_dir()
            return not is_folder or (len(args) > 1 and not args[1].startswith("-"))
        if _is_option(word) or Path(word).exists():
            return False
        return not self._argument or bool(get_close_matches(word, self.commands, cutoff=0.8))


def _is_option(word: str) -> bool:
    """Whether a word of a command line is an option, or there is none."""
    return not word or word.startswith("-")


class App(typer.Typer):
    """A typer application with our help."""

    def __init__(self, *, cls: type[Group] = Group, help: str | None = None, **settings: Any) -> None:
        super().__init__(
            cls=cls,
            help=help,
            **{"context_settings": CONTEXT, "add_completion": False, "rich_markup_mode": None, **settings},
        )

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Called], Called]:
        return super().command(name, cls=Command, **settings)
