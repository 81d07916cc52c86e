"""`alttrain chat`: talk to a model and see it think, section by section."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer

from alttrain_cli import console
from alttrain_cli.chat.conversation import Conversation
from alttrain_cli.chat.files import newest_chat, read_prompts
from alttrain_cli.chat.settings import Settings
from alttrain_cli.chat.speaker import joined
from alttrain_cli.commands.repl import Repl
from alttrain_cli.commands.script import answer_all
from alttrain_cli.commands.whom import Whom
from alttrain_cli.errors import RunError
from alttrain_cli.recipe import Recipe
from alttrain_cli.run import Run
from alttrain_cli.target import find_target

SERVER_RECIPE = "r1-7b"  # whose generation settings a server is asked with, unless told otherwise


def chat(
    whom: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN|ADAPTER|MODEL]",
            help="A run, a folder with an adapter or a model, a recipe (its base model) or a hub id. "
            "Without it you choose among your runs.",
        ),
    ] = None,
    prompt: Annotated[
        str | None, typer.Option("--prompt", "-p", help="Ask this and end; - reads standard input.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With -p or --probe: one object a line.")] = False,
    base: Annotated[bool, typer.Option("--base", help="The base model, without the adapter.")] = False,
    compare: Annotated[bool, typer.Option("--compare", help="Base beside aligned, at every prompt.")] = False,
    probe: Annotated[
        Path | None, typer.Option("--probe", help="Step through prompts: one a line, or JSONL.")
    ] = None,
    system: Annotated[
        str | None, typer.Option("--system", help="Instead of the recipe's system text.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="temperature, top_p, max_new_tokens, think or seed."),
    ] = None,
    greedy: Annotated[bool, typer.Option("--greedy", help="The same answer every time.")] = False,
    max_new_tokens: Annotated[
        int | None, typer.Option("--max-new-tokens", min=1, help="Instead of the recipe's limit.")
    ] = None,
    go_on: Annotated[bool, typer.Option("--continue", help="Take up the last chat again.")] = False,
    no_save: Annotated[bool, typer.Option("--no-save", help="Keep neither chat nor history.")] = False,
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="Settings for a model that no recipe names.")
    ] = None,
    base_url: Annotated[
        str | None, typer.Option("--base-url", help="An OpenAI-compatible server instead.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="Which of the server's models.")] = None,
) -> None:
    """Talk to a model and see understanding, assessment, reasoning and answer apart.

    In a pipe, standard output is the answer alone; the reasoning goes to standard error.
    """
    if model and not base_url:
        raise typer.BadParameter("names a model of a server; give --base-url too.", param_hint="--model")
    asked = _prompts(prompt, probe)
    interactive = prompt is None and not as_json and sys.stdin.isatty()
    if not interactive and not asked:
        raise typer.BadParameter("there is no terminal to type in. Ask with -p TEXT or -p -", param_hint="-p")
    found = _server(base_url, model, recipe) if base_url else _local(whom, recipe, base, interactive)
    if compare:
        found.check_comparable()
    settings = _settings(found.recipe, changes or [], greedy, max_new_tokens)
    path = newest_chat(found.name) if go_on else None
    conversation = Conversation.load(path) if path else Conversation()
    if system is not None:
        conversation.system = system
    if interactive:
        Repl(
            found,
            conversation,
            settings,
            compare=compare,
            probes=asked,
            path=path,
            save=not no_save,
        ).run()
        return
    # In a thread that ends: were the main thread to compute, it would keep an OpenMP team, and two of
    # them on few cores slow the generating thread by a third.
    with console.spinner(f"Loading {found.name} ..."), ThreadPoolExecutor(1) as pool:
        speaker = pool.submit(found.load, lambda doing: None).result()
    if warning := found.warning(speaker):
        console.print_warning(warning)
    answer_all(speaker, conversation, asked, settings, compare=compare, as_json=as_json)


def _settings(recipe: Recipe, changes: list[str], greedy: bool, max_new_tokens: int | None) -> Settings:
    settings = Settings(recipe.generation)
    if max_new_tokens:
        changes = [*changes, f"max_new_tokens={max_new_tokens}"]
    if greedy:
        changes = [*changes, "temperature=0"]
    for change in changes:
        settings = settings.set(change)
    return settings


def _prompts(prompt: str | None, probe: Path | None) -> list[str]:
    if prompt is None:
        return read_prompts(probe) if probe else []
    text = sys.stdin.read() if prompt == "-" else prompt
    if not text.strip():
        raise typer.BadParameter("the prompt is empty.", param_hint="--prompt")
    return [joined(text)]


def _server(base_url: str, model: str | None, recipe: str | None) -> Whom:
    return Whom(model or "server", Recipe.load(recipe or SERVER_RECIPE), None, base_url, model)


def _local(whom: str | None, recipe: str | None, base: bool, interactive: bool) -> Whom:
    target = find_target(whom or _chosen_run(interactive), recipe)
    target = target.base if base else target
    return Whom(target.name, target.recipe, target)


def _chosen_run(interactive: bool) -> str:
    """Let a person choose among the runs."""
    runs = Run.all()
    if not runs:
        raise RunError("There is no run here yet. A base model without training: alttrain chat smollm2-135m")
    if not interactive:
        raise RunError(f"Say whom to ask: alttrain chat {runs[0]} -p TEXT")
    console.print_table(
        ("", "run", "model", "loss", "refused of harmful", "of benign"),
        [(number, run, *_facts(Run(run))) for number, run in enumerate(runs, 1)],
        left=(0, 1, 2),
        whole=(1,),
    )
    number = typer.prompt("Which one", default=1, type=int)
    if not 1 <= number <= len(runs):
        raise RunError(f"There is no run number {number}.")
    return str(runs[number - 1])


def _facts(run: Run) -> tuple[str, ...]:
    manifest = run.manifest()
    probes = manifest.get("probes", {})
    refused, asked = probes.get("refused", {}), probes.get("asked", {})
    rates = [f"{refused[label]}/{asked[label]}" if label in asked else "" for label in ("harmful", "benign")]
    loss = manifest.get("loss", {}).get("last")
    return (run.recipe().model.name, "" if loss is None else f"{loss:.2f}", *rates)
