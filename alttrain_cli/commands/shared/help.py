"""How every command shows its help: short metavars, options in groups, examples at the end.

typer's own help takes rich, which doubles the time of `--help`, and gives a third of the width to types.
"""

import shutil
from collections.abc import Callable, Iterable
from inspect import cleandoc
from typing import Any

import typer
from typer.core import TyperGroup

from alttrain_cli.commands.shared.every_command import PANEL, SHARED
from alttrain_cli.commands.shared.examples import EXAMPLES

_OPTIONS = "Options"
_HYPHEN = "\u2011"  # replaces - while lines are wrapped, so that no line ends within --base-url
_PARAGRAPH = "\n\n"
_NARROW = 50  # columns; below, a text begins under its option
_NEED_NOT = " This word may be left out."
_METAVARS = {"str": "TEXT", "int": "N", "float": "X", "path": "PATH", "file": "FILE", "directory": "DIR"}


class Help:
    """The help of a command or of a group of commands."""

    help: str | None

    @property
    def first(self) -> str:
        """The command that is meant if none is named."""
        return ""

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
        formatter.write_usage(typed_path(ctx), " ".join(["[OPTIONS]", *words, *self._usage_end()]))
        formatter.write_paragraph()
        about = ctx.parent.command.help if _is_default(ctx) else self.help
        formatter.write_text(cleandoc(about or "").replace("-", _HYPHEN))
        _write(formatter, "Arguments", [(one.metavar, one.help or "") for one in arguments])
        _write_options(formatter, [one for one in parameters if one.param_type_name == "option"], ctx)
        _write(formatter, "Commands", _commands(ctx))
        _write_examples(formatter, EXAMPLES.get(typed_path(ctx).partition(" ")[2], ()))
        return str(formatter.getvalue()).replace(_HYPHEN, "-").rstrip("\n")

    def format_help(self, ctx: Any, formatter: Any) -> None:
        formatter.write(self.get_help(ctx))

    def _usage_end(self) -> list[str]:
        return []


def _is_default(ctx: Any) -> bool:
    group = ctx.parent.command if ctx.parent else None
    return isinstance(group, Help) and group.first == ctx.command.name


def typed_path(ctx: Any) -> str:
    """Return the words of a command as people type them, without the one that need not be named."""
    return str(ctx.parent.command_path if _is_default(ctx) else ctx.command_path)


def command_of(ctx: Any) -> str:
    """Return the words of a command in full: alttrain eval report."""
    return " ".join(["alttrain", *ctx.command_path.split()[1:]])


def _commands(ctx: Any) -> list[tuple[str, str]]:
    """Return the commands of a group. The one that need not be named is marked."""
    group = ctx.parent.command if _is_default(ctx) else ctx.command
    if not isinstance(group, TyperGroup):
        return []
    found = ((name, group.get_command(ctx, name)) for name in group.list_commands(ctx))
    first = getattr(group, "first", "")
    return [
        (name, f"{(one.help or '').partition(_PARAGRAPH)[0]}{_NEED_NOT * (name == first)}")
        for name, one in found
        if one and not one.hidden
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
    end = " Required." if option.required else f" Default: {default}." if shown else ""
    return f"{option.help or ''}{end}"


def _write(formatter: Any, title: str, rows: list[tuple[str, str]]) -> None:
    if rows:
        kept = [(first, second.replace("-", _HYPHEN)) for first, second in rows]
        with formatter.section(typer.style(title, bold=True)):
            if formatter.width >= _NARROW:
                formatter.write_dl(kept, col_max=formatter.width * 3 // 8)
                return
            for first, second in kept:
                formatter.write(f"{' ' * formatter.current_indent}{first}\n")
                with formatter.indentation():
                    formatter.write_text(second)


def _write_options(formatter: Any, options: list[Any], ctx: Any) -> None:
    """Write the options by their panels, those that every command takes last."""
    panels: dict[str, list[tuple[str, str]]] = {_OPTIONS: []}
    for one in options:
        panels.setdefault(one.rich_help_panel or _OPTIONS, []).append((_label(one, ctx), _text(one, ctx)))
    panels[PANEL] = panels.pop(PANEL, [])
    for panel, rows in panels.items():
        _write(formatter, panel, rows)


def _write_examples(formatter: Any, examples: Iterable[tuple[str, str]]) -> None:
    """Write examples. A command is never wrapped, so that it can be pasted."""
    for number, (what, line) in enumerate(examples):
        formatter.write(f"\n{typer.style('Examples', bold=True)}:\n" if not number else "")
        with formatter.indentation():
            formatter.write_text(what.replace("-", _HYPHEN))
        formatter.write(f"    {line}\n")


def with_context(parse: Callable[[list[str]], Any], ctx: Any) -> Callable[[list[str]], Any]:
    """Return a parser whose errors know their command: click leaves it out where a value is missing."""

    def known(args: list[str]) -> Any:
        try:
            return parse(args)
        except Exception as error:
            error.ctx = getattr(error, "ctx", None) or ctx  # type: ignore[attr-defined]
            raise

    return known
