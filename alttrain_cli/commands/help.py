"""How every command shows its help: short metavars, options in groups, examples at the end.

typer's own help takes rich, which doubles the time of `--help`, and gives a third of the width to types.
"""

import os
import shutil
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from inspect import cleandoc
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from alttrain_cli.commands.examples import EXAMPLES
from alttrain_cli.commands.shared_options import NAMES, SHARED

Called = TypeVar("Called", bound=Callable[..., Any])
CONTEXT = {"help_option_names": ["-h", "--help"]}
COMPLETING = "_ALTTRAIN_COMPLETE"  # set by the shell's script
_HYPHEN = "\u2011"  # replaces - while lines are wrapped, so that no line ends within --base-url
_METAVARS = {"str": "TEXT", "int": "N", "float": "X", "path": "PATH", "file": "FILE", "directory": "DIR"}
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


class _Help:
    """The help of a command or of a group of commands."""

    help: str | None

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options of the command, and those that every command takes."""
        own: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        return [*own[:-1], *SHARED, *own[-1:]]  # --help last

    def get_help(self, ctx: Any) -> str:
        """Return the help, at most 80 columns wide."""
        ctx.terminal_width = max(30, min(80, shutil.get_terminal_size().columns) - 2)
        formatter = ctx.make_formatter()
        parameters = [one for one in self.get_params(ctx) if not one.hidden]
        arguments = [one for one in parameters if one.param_type_name == "argument"]
        words = [one.metavar if one.required else f"[{one.metavar}]" for one in arguments]
        formatter.write_usage(_path(ctx), " ".join(["[OPTIONS]", *words, *self._usage_end()]))
        formatter.write_paragraph()
        about = ctx.parent.command.help if _is_default(ctx) else self.help
        formatter.write_text(cleandoc(about or "").replace("-", _HYPHEN))
        _write(formatter, "Arguments", [(one.metavar, one.help or "") for one in arguments])
        options = [one for one in parameters if one.param_type_name == "option"]
        for panel in dict.fromkeys(one.rich_help_panel or "Options" for one in options):
            shown = [one for one in options if (one.rich_help_panel or "Options") == panel]
            _write(formatter, panel, [(_label(one, ctx), _text(one, ctx)) for one in shown])
        _write(formatter, "Commands", _commands(ctx))
        _write_examples(formatter, EXAMPLES.get(_path(ctx).partition(" ")[2], ()))
        return str(formatter.getvalue()).replace(_HYPHEN, "-").rstrip("\n")

    def format_help(self, ctx: Any, formatter: Any) -> None:
        formatter.write(self.get_help(ctx))

    def _usage_end(self) -> list[str]:
        return []


class Command(_Help, TyperCommand):
    """A command with our help. Options also have their old names."""

    def make_parser(self, ctx: Any) -> Any:
        """Return click's parser, which also reads old names."""
        parser = super().make_parser(ctx)
        options = {name: one for one in self.get_params(ctx) for name in one.opts}
        for old, new in OLD_NAMES.items():
            if new in options and old not in options:
                option = options[new]
                names, option.opts = option.opts, [old]
                option.add_to_parser(parser, ctx)
                option.opts = names
        return parser


class Group(_Help, TyperGroup):
    """A group of commands with our help."""

    default = ""  # the command that is meant if none is named

    def _usage_end(self) -> list[str]:
        return ["COMMAND [ARGS]..."]


class DefaultGroup(Group):
    """A group whose first command need not be named: `alttrain eval RUN` means `alttrain eval run RUN`."""

    @property
    def first(self) -> str:
        """The name of the first command."""
        return next(iter(self.commands))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the first command in front, unless another one is named, or nearly so."""
        shared = list(takewhile(NAMES.__contains__, args))
        args = args[len(shared) :]
        word = args[0] if args else ""
        takes_word = any(one.param_type_name == "argument" for one in self.commands[self.first].params)
        is_option = not word or word.startswith("-")
        late = "" if takes_word else next((one for one in args[1:] if one in self.commands), "")
        if is_option and late:
            ctx.fail(f"{word} has no effect before {late}. Give options after the command.")
        if not args and COMPLETING in os.environ:  # the shell completes the first word
            return super().parse_args(ctx, shared)
        near = not is_option and (not takes_word or get_close_matches(word, self.commands, cutoff=0.8))
        named = word in self.commands or (near and not Path(word).exists())
        return super().parse_args(ctx, [*shared, *(args if named else [self.first, *args])])

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Return the commands with this prefix, and the completions of the first command."""
        takes = [one for one in self.commands[self.first].params if one.param_type_name == "argument"]
        words = takes[0].shell_complete(ctx, incomplete) if takes else []
        return [*super().shell_complete(ctx, incomplete), *words]


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


def _is_default(ctx: Any) -> bool:
    group = ctx.parent.command if ctx.parent else None
    return isinstance(group, DefaultGroup) and group.first == ctx.command.name


def _path(ctx: Any) -> str:
    """Return the words of a command as people type them."""
    return str(ctx.parent.command_path if _is_default(ctx) else ctx.command_path)


def _commands(ctx: Any) -> list[tuple[str, str]]:
    """Return the commands of a group; for its first command, the other commands."""
    group = ctx.parent.command if _is_default(ctx) else ctx.command
    if not isinstance(group, TyperGroup):
        return []
    found = ((name, group.get_command(ctx, name)) for name in group.list_commands(ctx))
    return [
        (name, (one.help or "").split("\n\n")[0])
        for name, one in found
        if one and not one.hidden and one is not ctx.command
    ]


def _label(option: Any, ctx: Any) -> str:
    """Return an option as it is typed: `--out FILE`."""
    names = ", ".join(sorted(option.opts, key=len))
    kind = str(option.display_type(ctx)).strip("<>").removesuffix(" range")
    return names if option.is_flag else f"{names} {option.metavar or _METAVARS.get(kind, kind)}"


def _text(option: Any, ctx: Any) -> str:
    """Return the help of an option, with its default."""
    default = option.get_default(ctx, call=False)
    shown = option.show_default and not option.is_flag and default not in (None, "", [], ())
    end = " [required]" if option.required else f" [default: {default}]" if shown else ""
    return f"{option.help or ''}{end}"


def _write(formatter: Any, title: str, rows: list[tuple[str, str]]) -> None:
    if rows:
        kept = [(first, second.replace("-", _HYPHEN)) for first, second in rows]
        with formatter.section(typer.style(title, bold=True)):
            formatter.write_dl(kept, col_max=formatter.width * 3 // 8)


def _write_examples(formatter: Any, examples: Iterable[tuple[str, str]]) -> None:
    """Write examples. A command is never wrapped, so that it can be pasted."""
    for number, (what, line) in enumerate(examples):
        formatter.write(f"\n{typer.style('Examples', bold=True)}:\n" if not number else "")
        formatter.write(f"  {what}\n    {line}\n")
