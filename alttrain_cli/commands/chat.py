"""`alttrain chat`: talk to a model and see it think, section by section."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer

from alttrain_cli import console
from alttrain_cli.backends.reply import joined
from alttrain_cli.backends.target import find_target
from alttrain_cli.chat.conversation import Conversation
from alttrain_cli.chat.files import newest_chat, read_prompts
from alttrain_cli.chat.partner import Whom
from alttrain_cli.chat.script import answer_all
from alttrain_cli.chat.session import Repl
from alttrain_cli.chat.settings import Settings
from alttrain_cli.commands.options import Rule, check, check_not_empty, recipe_rule
from alttrain_cli.errors import AlttrainError, RunError
from alttrain_cli.recipe.layers import FALLBACK
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.run import Run

LONGEST_PROMPT = 16 * 2**20  # bytes of standard input


def chat(
    context: typer.Context,
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
    check_not_empty(context, "system", "prompt")
    check(_rules(context))
    asked = _prompts(prompt, probe)
    interactive = prompt is None and not as_json and sys.stdin.isatty()
    check([Rule("--no-save", no_save, interactive, "with -p, --probe or --json, which keep nothing")])
    if not interactive and not asked:
        raise typer.BadParameter("there is no terminal to type in. Ask with -p TEXT or -p -", param_hint="-p")
    found = (
        _server(base_url, model, recipe, interactive) if base_url else _local(whom, recipe, base, interactive)
    )
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


def _rules(context: typer.Context) -> list[Rule]:
    """Return which options have an effect, as far as the command line alone tells."""
    values = context.params
    served, scripted = values["base_url"] is not None, values["prompt"] is not None
    whom, recipe = values["whom"], values["recipe"]
    changed = [change.partition("=")[0].strip() for change in values["changes"] or ()]
    twice = [key for key in changed if changed.count(key) > 1]
    return [
        Rule("RUN", whom is not None, not served, "beside --base-url: give one of the two"),
        Rule("--model", values["model"] is not None, served, "without --base-url"),
        Rule("--base", values["base"], not served, "beside --base-url"),
        Rule("--compare", values["compare"], not values["base"], "beside --base: give one of the two"),
        Rule("--json", values["as_json"], scripted or values["probe"] is not None, "without -p or --probe"),
        Rule("--probe", values["probe"] is not None, not scripted, "beside -p: give one of the two"),
        Rule("--recipe", recipe is not None, served or whom is not None, "without a model or --base-url"),
        recipe_rule(whom, recipe),
        Rule("--greedy", values["greedy"], "temperature" not in changed, "beside --set temperature"),
        Rule(
            "--max-new-tokens",
            values["max_new_tokens"] is not None,
            "max_new_tokens" not in changed,
            "beside --set max_new_tokens",
        ),
        Rule(f"--set {(twice or [''])[0]}", bool(twice), False, "when it is given twice: leave one out"),
    ]


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
    text = _standard_input() if prompt == "-" else prompt
    if not text.strip():
        raise typer.BadParameter("the prompt is empty.", param_hint="--prompt")
    return [joined(text)]


def _standard_input() -> str:
    data = sys.stdin.buffer.read(LONGEST_PROMPT + 1)
    if len(data) > LONGEST_PROMPT:
        raise typer.BadParameter(f"it is longer than {LONGEST_PROMPT:,} bytes.", param_hint="-p -")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise typer.BadParameter("standard input is not UTF-8: iconv -t utf-8", param_hint="-p -") from None


def _server(base_url: str, model: str | None, recipe: str | None, interactive: bool) -> Whom:
    # A prompt line has its own sign of waiting, which a printed line would tear.
    warn = (lambda _: None) if interactive else console.warner()
    return Whom(model or "server", Recipe.load(recipe or FALLBACK), None, base_url, model, warn)


def _local(whom: str | None, recipe: str | None, base: bool, interactive: bool) -> Whom:
    target = find_target(whom or _chosen_run(interactive), recipe)
    if base and target.adapter is None:
        raise AlttrainError(f"--base has no effect: {target.name} has no adapter. Leave it out.")
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
    """Return model, loss and refusals of a run for the table; what its manifest does not say is empty."""
    manifest = run.manifest()
    probes, loss = manifest.probes, manifest.loss
    rates = ["", ""]
    if probes:
        rates = [
            f"{probes.refused.get(label, 0)}/{probes.asked.get(label, 0)}" for label in ("harmful", "benign")
        ]
    return (Recipe.of_run(run).model.name, f"{loss.last:.2f}" if loss else "", *rates)
