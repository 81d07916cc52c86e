"""The `alttrain` command line and its error boundary. Loads no torch to show its help."""

import io
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from alttrain_cli import __version__, console
from alttrain_cli.commands import build_data, chat, eval, recipes, train
from alttrain_cli.errors import AlttrainError

INTERRUPTED = 130


class ErrorBoundary(TyperGroup):
    """Ends user errors with one line and their exit code, and Ctrl-C with 130. Bugs keep tracebacks."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except AlttrainError as error:
            console.print_error(str(error))
            raise typer.Exit(error.exit_code) from None
        except (KeyboardInterrupt, typer.Abort):
            console.err().print("Interrupted.")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # The reader of our output left; what it wanted it has.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None


app = typer.Typer(
    cls=ErrorBoundary,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Make an open reasoning model assess harm before it solves: build-data, train, chat, eval.",
)
app.command("build-data")(build_data.build_data)
app.command("train")(train.train)
app.command("chat")(chat.chat)
app.add_typer(eval.app, name="eval")
app.add_typer(recipes.app, name="recipes")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"alttrain {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a Windows pipe has few characters: the rest as codes
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="alttrain")
