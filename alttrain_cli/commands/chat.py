"""`alttrain chat`: chat with a model and see the sections of its completions."""

import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from alttrain_cli import console
from alttrain_cli.backends.open import Address, find, open_backend
from alttrain_cli.backends.target import Target
from alttrain_cli.chat.chat import Chat
from alttrain_cli.chat.exchange import send_all
from alttrain_cli.chat.files import ChatFile, newest_chat, read_prompt, read_prompts
from alttrain_cli.chat.loader import ChatTarget
from alttrain_cli.chat.screen import QuietScreen
from alttrain_cli.chat.session import Session
from alttrain_cli.chat.settings import Settings
from alttrain_cli.chat.transcript import Transcript
from alttrain_cli.commands.options import Rule, check, check_not_empty, recipe_rule
from alttrain_cli.errors import RunError
from alttrain_cli.storage.run import Run

_model, _message, _sampling, _session = (
    partial(typer.Option, rich_help_panel=panel) for panel in ("Model", "Message", "Sampling", "Session")
)
_TARGET = (
    "A run, a folder with an adapter or a model, a recipe (its base model), a hub id, or a server: "
    "URL or 'URL MODEL'. Without it you choose one of your runs."
)
_COMPARE = "Send every message to the base model and to the fine-tuned model, and show both completions."
_PROMPT = "Send this message, print the answer and exit. Use - to read it from standard input."
_RECIPE = "Recipe whose settings to use for a model that was not trained here."
_PROMPTS = 'File of messages to send one after the other: one per line, or JSONL with the key "prompt".'
_SYSTEM = "System prompt. Overrides the recipe."
_JSON = "With -p or --prompts: print one JSON object per line."
_SET = "Set temperature, top_p, top_k, repetition_penalty, max_new_tokens, thinking_budget or seed."
_CONTINUE = "Resume the latest conversation with this model."
_NO_SAVE = "Do not save the conversation or the input history."
_MAX = "Maximum number of new tokens. Overrides the recipe."


def chat(
    context: typer.Context,
    target: Annotated[str | None, typer.Argument(metavar="TARGET", help=_TARGET)] = None,
    base: Annotated[bool, _model("--base", help="Use the base model, without the adapter.")] = False,
    compare: Annotated[bool, _model("--compare", help=_COMPARE)] = False,
    recipe: Annotated[str | None, _model("--recipe", metavar="NAME", help=_RECIPE)] = None,
    prompt: Annotated[str | None, _message("--prompt", "-p", metavar="TEXT", help=_PROMPT)] = None,
    prompts: Annotated[Path | None, _message("--prompts", metavar="FILE", help=_PROMPTS)] = None,
    system: Annotated[str | None, _message("--system", metavar="TEXT", help=_SYSTEM)] = None,
    as_json: Annotated[bool, _message("--json", help=_JSON)] = False,
    changes: Annotated[list[str] | None, _sampling("--set", metavar="KEY=VALUE", help=_SET)] = None,
    greedy: Annotated[bool, _sampling("--greedy", help="Use greedy decoding (temperature 0).")] = False,
    max_new_tokens: Annotated[int | None, _sampling("--max-new-tokens", metavar="N", help=_MAX)] = None,
    resume: Annotated[bool, _session("--continue", help=_CONTINUE)] = False,
    no_save: Annotated[bool, _session("--no-save", help=_NO_SAVE)] = False,
    probe: Annotated[Path | None, typer.Option("--probe", hidden=True)] = None,
    base_url: Annotated[str | None, typer.Option("--base-url", hidden=True)] = None,
    model: Annotated[str | None, typer.Option("--model", hidden=True)] = None,
) -> None:
    """Chat with a model. Its understanding, assessment, reasoning and answer are shown as separate sections.

    If the output is piped, only the answer goes to standard output; the reasoning goes to standard error.
    """
    check_not_empty(context, "system", "prompt")
    check(_rules(context))
    prompts = prompts or probe
    interactive = prompt is None and not as_json and sys.stdin.isatty()
    check([Rule("--no-save", no_save, interactive, "with -p, --prompts or --json: they save nothing")])
    messages = read_prompts(prompts) if prompts else []
    if prompt is not None:
        messages = [read_prompt(prompt, sys.stdin.buffer)]
    if not interactive and not messages:
        raise typer.BadParameter("standard input is no terminal. Give the message with -p TEXT or -p -")
    found = Address(base_url, model) if base_url else find(target or _chosen_run(interactive), recipe)
    if isinstance(found, Target) and base:
        check([Rule("--base", base, found.adapter is not None, f"on {found.name}: it has no adapter")])
        found = found.base
    chosen = ChatTarget.of(found) if isinstance(found, Target) else ChatTarget.server(found.model, recipe)
    if compare:
        chosen.check_comparable()
    limit = [] if max_new_tokens is None else [f"max_new_tokens={max_new_tokens}"]
    changes = [*(changes or []), *limit, *(["temperature=0"] if greedy else [])]
    settings = Settings(chosen.recipe.generation).set(*changes)
    path = newest_chat(chosen.name) if resume else None
    transcript = Transcript.load(path) if path else Transcript()
    transcript.system = transcript.system if system is None else system
    if interactive:
        kept = ChatFile(chosen.name, path) if not no_save else None
        load = partial(open_backend, found)
        opened = Chat(chosen, load, transcript, settings, console.ChatScreen(), kept)
        Session(opened, messages, compare=compare).run()
        return
    # In a thread that ends: were the main thread to compute, it would keep an OpenMP team, and two of
    # them on few cores slow the generating thread by a third.
    with ThreadPoolExecutor(1) as pool:
        backend = pool.submit(open_backend, found, console.LoadingView()).result()
    if warning := chosen.warning(backend):
        console.print_warning(warning)
    drawn = sys.stdout.isatty() and not as_json
    screen = console.ChatScreen() if drawn else QuietScreen(console.print_warning)
    for exchange in send_all(backend, transcript, messages, settings, screen, compare=compare):
        if as_json:
            console.print_json(exchange.record())
        elif not drawn:
            console.print_answers(exchange.completions)


def _rules(context: typer.Context) -> list[Rule]:
    """Return which options have an effect, as far as the command line alone tells."""
    values = context.params
    target, recipe, scripted = values["target"], values["recipe"], values["prompt"] is not None
    prompts = values["prompts"] or values["probe"]
    by_url = values["base_url"] is not None
    served = by_url or (target or "").startswith(("http://", "https://"))
    keys = [change.partition("=")[0].strip() for change in values["changes"] or ()]
    twice = next((key for key in keys if keys.count(key) > 1), "")
    limited = values["max_new_tokens"] is not None
    return [
        Rule("TARGET", target is not None, not by_url, "beside --base-url: give one of the two"),
        Rule("--model", values["model"] is not None, by_url, "without --base-url"),
        Rule("--base", values["base"], not served, "with a server"),
        Rule("--compare", values["compare"], not values["base"], "beside --base: give one of the two"),
        Rule("--json", values["as_json"], scripted or prompts is not None, "without -p or --prompts"),
        Rule("--prompts", prompts is not None, not scripted, "beside -p: give one of the two"),
        Rule("--recipe", recipe is not None, served or target is not None, "without a model or a server"),
        recipe_rule(target, recipe),
        Rule("--greedy", values["greedy"], "temperature" not in keys, "beside --set temperature"),
        Rule("--max-new-tokens", limited, "max_new_tokens" not in keys, "beside --set max_new_tokens"),
        Rule(f"--set {twice}", bool(twice), False, "when it is given twice: leave one out"),
    ]


def _chosen_run(interactive: bool) -> str:
    """Let a person choose one of the runs."""
    runs = Run.all()
    if not runs:
        raise RunError("There is no run here yet. A base model without training: alttrain chat smollm2-135m")
    if not interactive:
        raise RunError(f"No model given. Example: alttrain chat {runs[0]} -p TEXT")
    console.print_runs(runs)
    number = typer.prompt("Which one", default=1, type=int)
    if not 1 <= number <= len(runs):
        raise RunError(f"There is no run number {number}.")
    return str(runs[number - 1])
