"""`alttrain chat`: read a model's reasoning, section by section."""

import sys
from typing import Annotated

import typer

from alttrain_cli import console
from alttrain_cli.commands.options import RunArgument
from alttrain_cli.engine import quiet
from alttrain_cli.errors import GateError
from alttrain_cli.run import Run
from alttrain_cli.structure import State, Trace


def chat(
    run: RunArgument,
    prompt: Annotated[str, typer.Option("--prompt", "-p", help="What to ask; - reads standard input.")],
    base: Annotated[bool, typer.Option("--base", help="Ask the base model, without the adapter.")] = False,
    max_new_tokens: Annotated[
        int | None, typer.Option("--max-new-tokens", min=1, help="Instead of the recipe's limit.")
    ] = None,
) -> None:
    """Ask one question and see understanding, assessment, reasoning and answer apart.

    In a pipe, standard output is the answer alone; the reasoning goes to standard error.
    """
    opened = Run.open(run)
    question = sys.stdin.read() if prompt == "-" else prompt
    if not question.strip():
        raise typer.BadParameter("the prompt is empty.", param_hint="--prompt")
    trace = _ask(opened, question, base=base, max_new_tokens=max_new_tokens)
    if sys.stdout.isatty():
        console.print_trace(trace)
    else:
        console.err().print(console.plain(trace.thinking, "muted"), soft_wrap=True)
        typer.echo(console.visible(trace.answer))
    if trace.state is State.UNCLOSED:
        raise GateError("The reasoning was not finished within the limit; raise --max-new-tokens.")


def _ask(run: Run, question: str, *, base: bool, max_new_tokens: int | None) -> Trace:
    recipe = run.recipe()
    with console.status("Loading the model ..."), quiet.captured(None):
        from alttrain_cli.engine.generate import stream
        from alttrain_cli.engine.load import load_adapter, load_base

        loaded = load_base(recipe) if base else load_adapter(recipe, run.adapter_path)
    trained_with = run.manifest().get("template")
    if trained_with not in (None, loaded.template.fingerprint):
        console.print_warning("the model's chat template is not the one that this run was trained with.")
    update = {"max_new_tokens": max_new_tokens} if max_new_tokens else {}
    settings = recipe.generation.model_copy(update=update)
    parser = loaded.template.stream_parser()
    with console.live_trace() as show, quiet.captured(None):
        for piece in stream(loaded, question, settings):
            parser.feed(piece)
            show(parser.trace())
    return parser.finish()
