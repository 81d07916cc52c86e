"""The options that every command takes, before or after its name. They act as soon as they are read."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from alttrain_cli import __version__, console, network

PANEL = "Every command"


def _version(context: typer.Context, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        typer.echo(f"alttrain {__version__}")
        raise typer.Exit


def _offline(context: typer.Context, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        network.go_offline()
        console.end_commands_with("--offline")
        context.find_root().call_on_close(lambda: console.end_commands_with(""))


def answer_in_json(context: typer.Context) -> None:
    """Print the result of this command as JSON."""
    console.answer_in_json(True)
    context.find_root().call_on_close(lambda: console.answer_in_json(False))


def _json(context: typer.Context, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        answer_in_json(context)


def _quiet(context: typer.Context, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        console.keep_quiet(True)
        context.find_root().call_on_close(lambda: console.keep_quiet(False))


def _verbose(context: typer.Context, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from alttrain_cli.library_output import show_libraries

        show_libraries(True)
        context.find_root().call_on_close(lambda: show_libraries(False))


def _option(name: str, act: Callable[..., None], help: str) -> Any:
    return typer.Option(
        name, is_eager=True, expose_value=False, callback=act, help=help, rich_help_panel=PANEL
    )


_OFFLINE = "Use no network. Models and data must be on this machine."
_JSON = "Print the result as one JSON document on standard output."
_app = typer.Typer(add_completion=False)


@_app.command()
def _read(
    offline: Annotated[bool, _option("--offline", _offline, _OFFLINE)] = False,
    as_json: Annotated[bool, _option("--json", _json, _JSON)] = False,
    quiet: Annotated[bool, _option("--quiet", _quiet, "Print only errors and the result.")] = False,
    verbose: Annotated[
        bool, _option("--verbose", _verbose, "Also print the messages of the libraries.")
    ] = False,
    version: Annotated[bool, _option("--version", _version, "Print the version and exit.")] = False,
) -> None:
    """Only declares the options: typer has no other way to make one."""


SHARED = tuple(typer.main.get_command(_app).params)
NAMES = frozenset(name for option in SHARED for name in option.opts)
