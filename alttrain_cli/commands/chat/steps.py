"""The work of `alttrain chat`."""

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from functools import partial

import typer

from alttrain_cli import console
from alttrain_cli.backends.base import Backend, check_threshold
from alttrain_cli.backends.open import Address, open_backend
from alttrain_cli.backends.reply import repair_surrogates
from alttrain_cli.backends.target import Target
from alttrain_cli.chat.chat import Chat
from alttrain_cli.chat.exchange import fit, send_all
from alttrain_cli.chat.files import UNNAMED, ChatFile, newest_chat
from alttrain_cli.chat.loader import ChatTarget, Load
from alttrain_cli.chat.screen import QuietScreen
from alttrain_cli.chat.session import Session
from alttrain_cli.chat.settings import Settings
from alttrain_cli.chat.transcript import Transcript
from alttrain_cli.commands.chat.options import ChatOptions
from alttrain_cli.commands.chat.rules import chat_rules
from alttrain_cli.commands.shared.in_thread import in_thread
from alttrain_cli.commands.shared.rules import check


def chat(context: typer.Context, options: ChatOptions) -> None:
    check(chat_rules(context, options))
    if options.attack is not None:
        from alttrain_cli.commands.chat import attack  # loads the suites, which a chat does not need

        return attack.play(context, options)
    messages = options.messages
    if not options.interactive and not messages:
        raise typer.BadParameter("standard input is not a terminal. Give the message with -p TEXT or -p -")
    found = options.found
    target = ChatTarget.of(found, options.recipe)
    if options.compare:
        target.check_comparable()
    settings = Settings(target.recipe.generation).set(*options.all_changes)
    if isinstance(found, Target):  # what can be known before it is loaded
        check_threshold(found, settings.sampling)
    unnamed = isinstance(found, Address) and found.model is None
    path = newest_chat(target.name, *[UNNAMED] * unnamed) if options.resume else None
    transcript = Transcript.load(path) if path else Transcript()
    transcript.system = transcript.system if options.system is None else repair_surrogates(options.system)
    load = partial(open_backend, found, engine=options.program)
    if options.interactive:
        saved = None if options.no_save else ChatFile(target.name, path)
        opened = Chat(target, load, transcript, settings, console.ChatScreen(), saved)
        Session(opened, messages, compare=options.compare).run()
    else:
        with _opened(target, load, options) as backend:
            _send(backend, messages, transcript, settings, options)


@contextmanager
def _opened(target: ChatTarget, load: Load, options: ChatOptions) -> Iterator[Backend]:
    backend = in_thread(lambda: load(console.Reporter(lines=False)))
    if warning := target.warning(backend):
        console.print_warning(warning)
    # A model in memory ends with this process. To close it would convert its weights once more.
    with closing(backend) if options.program else nullcontext():
        yield backend


def _send(
    backend: Backend, messages: list[str], transcript: Transcript, settings: Settings, options: ChatOptions
) -> None:
    drawn = sys.stdout.isatty() and not console.wants_json()
    screen = console.ChatScreen() if drawn else QuietScreen(console.print_warning)
    settings = fit(settings, backend, screen)
    with console.result_list() as add:
        for exchange in send_all(backend, transcript, messages, settings, screen, compare=options.compare):
            add(exchange.record())
            if not drawn and not console.wants_json():
                console.print_answers(exchange.completions)
