"""The `alttrain` command line and its error boundary. Loads no torch to show its help."""

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from alttrain_cli import __version__, console, signals
from alttrain_cli.commands import build_data, chat, eval, recipes, train
from alttrain_cli.errors import AlttrainError

NOT_READ = 141  # 128 + SIGPIPE: what was printed on standard output did not arrive


class ErrorBoundary(TyperGroup):
    """Ends user errors with one line and their exit code, Ctrl-C with 130. Bugs keep tracebacks."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except AlttrainError as error:
            console.print_error(str(error))
            raise typer.Exit(error.exit_code) from None
        except (KeyboardInterrupt, typer.Abort) as stop:
            console.err().print("Interrupted.")
            raise typer.Exit(signals.exit_code(stop)) from None


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
    console.protect_streams()
    signals.stop_on_signals()
    try:
        try:
            app(prog_name="alttrain")
        finally:
            signals.leave_at_once()
            sys.stdout.flush()
    except console.OutputError as error:
        console.accept_loss()
        if error.is_left:  # whoever read it has left, as `head` does
            sys.exit(NOT_READ)
        console.print_error(f"{error} Free space, or send it somewhere else.")
        sys.exit(AlttrainError.exit_code)
