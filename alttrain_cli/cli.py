"""The `alttrain` command line and its error boundary. Loads no torch to show its help."""

import errno
import io
import os
import re
import sys
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from typing import Any, cast

import typer

from alttrain_cli import console, network
from alttrain_cli.commands.shared.app import App, Command, DefaultGroup, Group
from alttrain_cli.commands.shared.examples import COMMANDS
from alttrain_cli.commands.shared.help import typed_path
from alttrain_cli.errors import AlttrainError, exit_code, leave_at_once, stop_on_signals
from alttrain_cli.text import did_you_mean, quoted, suggest

# the one of the click inside typer, which has no public name
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]
_LONGEST_MESSAGE = 1200  # characters
_NOT_A_CHOICE = re.compile(r"(?:Value error, )?'([^']*)' is not one of (.+?)\.?$", re.DOTALL)  # typer's words
# What the system refuses about a file or folder that was named: not a bug, wherever it happens.
_REFUSALS = (
    *(errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENOTDIR, errno.EISDIR),
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO),
)
_TAKES_WORD = (
    "--source",
    "--data",
    "--model",
    "--in",
)  # what a word most likely is for a command without an argument
NOT_READ = 141  # 128 + SIGPIPE: what was printed on standard output did not arrive


class ErrorBoundary(Group):
    """Ends user errors with one line and their exit code, Ctrl-C with 130. Bugs keep tracebacks."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except _UsageError as error:
            raise _usage(error, ctx) from None

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except AlttrainError as error:
            console.print_error(_bounded(str(error)))
            raise typer.Exit(error.exit_code) from None
        except _UsageError as error:
            raise _usage(error, ctx) from None
        except (KeyboardInterrupt, typer.Abort) as stop:
            console.err().print("Interrupted.")
            raise typer.Exit(exit_code(stop)) from None
        except OSError as error:
            if error.errno not in _REFUSALS or error.filename is None:
                raise
            reason = os.strerror(error.errno).lower()
            console.print_error(_bounded(f"{error.filename}: {reason}. Choose another path."))
            raise typer.Exit(AlttrainError.exit_code) from None


def _usage(error: Any, ctx: Any) -> Exception:
    """Print the problem of a command line in one line; return the exception that ends the command."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return cast(Exception, error)
    command = error.ctx.command_path if error.ctx else f"{ctx.command_path} {ctx.invoked_subcommand or ''}"
    near, instead = _near(error) or _in_two_words(error) or _as_option(error), _missing(error, command)
    message = _NOT_A_CHOICE.sub(_not_a_choice, error.format_message()).replace(
        "Input should be", "it must be"
    )
    message = message.partition(", unable to parse")[0]
    if "refusal'" in message and message.endswith("less than or equal to 1"):
        message = f"{message}, for example 0.10 for 10%"
    message = message.removeprefix("Invalid value: ").removeprefix("Invalid value for ")
    message = f"{message.rstrip('.')}. {near or instead}" if near or instead else message
    end = "" if message.endswith((".", "?")) else "."
    shown = typed_path(error.ctx) if error.ctx else command.strip()
    see = "" if instead else f"{end} See: {shown} --help"  # a command that follows ends the line
    console.print_error(f"{_bounded(message)}{see}")
    return typer.Exit(AlttrainError.exit_code)


def _near(error: Any) -> str:
    """Return the suggestion for an option that does not exist, among those that the help shows."""
    if type(error).__name__ != "NoSuchOption":
        return ""
    wrong, error.possibilities = error.option_name, []
    if others := _others_with(wrong, error.ctx):
        return f"It is an option of: {', '.join(others)}."
    names = [
        name
        for option in error.ctx.command.get_params(error.ctx)
        if not option.hidden
        for name in option.opts
    ]
    words = {name.lstrip("-"): name for name in names if name.startswith("--")}
    typed = wrong.lstrip("-").casefold()  # two dashes alone would make any two options alike
    begun = [name for name in words if name.startswith(typed)]
    near = begun if len(begun) == 1 else get_close_matches(typed[:100], words, n=1)
    from alttrain_cli.commands.shared.rules import set_instead

    meant = set_instead(wrong, error.ctx.command.name) or (words[near[0]] if near else "")
    return f"Did you mean {meant!r}?" if meant else ""


def _others_with(option: str, ctx: Any) -> list[str]:
    """Return the commands beside this one that have an option."""
    group = ctx.parent.command if ctx.parent else None
    if not isinstance(group, DefaultGroup):
        return []
    beside = [(name, one) for name, one in group.commands.items() if one is not ctx.command]
    having = [name for name, one in beside if any(option in par.opts for par in one.params)]
    return [f"{ctx.parent.command_path} {name}".removesuffix(f" {group.first}") for name in having]


def _in_two_words(error: Any) -> str:
    """Return how --set takes its value, where `--set KEY VALUE` was typed."""
    if not error.ctx or not str(error.message).startswith("Got unexpected extra argument"):
        return ""
    options = [one for one in error.ctx.command.get_params(error.ctx) if "--set" in one.opts]
    values = [value for one in options for value in error.ctx.params.get(one.name) or ()]
    key = next((value for value in values if "=" not in value), "")
    return key and f"Write key and value in one word: --set {key}=VALUE"


def _as_option(error: Any) -> str:
    """Return the option that takes a word, where it was typed alone and the command takes no argument."""
    found = re.fullmatch(r"Got unexpected extra argument\(s\) \((\S+)\)", str(error.message))
    parameters = error.ctx.command.params if found and error.ctx else []
    if not found or any(one.param_type_name == "argument" for one in parameters):
        return ""
    is_free = {
        name: one.multiple or not error.ctx.params.get(one.name) for one in parameters for name in one.opts
    }
    option = next((one for one in _TAKES_WORD if is_free.get(one)), "")
    return option and f"Give it as an option: {option} {found[1]}"


def _missing(error: Any, command: str) -> str:
    if type(error).__name__ != "MissingParameter":
        return ""
    from alttrain_cli.commands.shared.rules import instead_of_missing

    return instead_of_missing(error.param, command.strip())


def _not_a_choice(found: re.Match[str]) -> str:
    word, words = found[1], re.findall(r"'([^']+)'", found[2])
    return f"{quoted(word)} is unknown. {suggest(word, words)}"


def _bounded(message: str) -> str:
    """Return a message, without the middle of an endless one."""
    half = _LONGEST_MESSAGE // 2
    return message if len(message) <= _LONGEST_MESSAGE else f"{message[:half]} ... {message[-half:]}"


class Commands(ErrorBoundary):
    """The subcommands; each is imported when it is called, not when it is listed."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names in the order in which they are used."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, name: str) -> Any:
        """Return a command's name and help, for lists."""
        return Command(name, help=COMMANDS[name]) if name in COMMANDS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that was typed, imported."""
        name = args[0]
        if name not in COMMANDS:
            ctx.fail(f"No such command {quoted(name)}. {did_you_mean(name, COMMANDS)}".strip())
        return name, _imported(name), args[1:]


@cache
def _imported(name: str) -> Any:
    """Return a command with its options, made once in a process: that takes longer than most commands."""
    file = import_module(f"alttrain_cli.commands.{name.replace('-', '_')}")
    commands = getattr(file, "app", None)
    if commands is None:
        commands = App()
        commands.command(name)(getattr(file, name.replace("-", "_")))
    command = typer.main.get_command(commands)
    command.name = name
    return command


app = App(
    cls=Commands,
    pretty_exceptions_enable=False,
    add_completion=True,
    help="Train an open reasoning model to assess whether a request is harmful before it answers.",
)


@app.callback(invoke_without_command=True)
def _alone(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        import_module("alttrain_cli.commands.overview").overview()


def main() -> None:
    try:
        _run()
    except KeyboardInterrupt as stop:  # a further signal, when the command was ending already
        os._exit(exit_code(stop))


def _run() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal or a pipe that cannot show every character
            stream.reconfigure(errors="backslashreplace")
    console.protect_streams()
    network.apply_hub_setting()
    stop_on_signals()
    try:
        try:
            app(prog_name="alttrain")
        finally:
            leave_at_once()
            sys.stdout.flush()
    except console.OutputError as error:
        console.accept_loss()
        if error.is_left:  # the reader closed the pipe, for example `head`
            sys.exit(NOT_READ)
        console.print_error(f"{error} Free some space, or send the output to another place.")
        sys.exit(AlttrainError.exit_code)
