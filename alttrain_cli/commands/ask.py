"""One question, asked and shown: of one model, or of base and aligned model."""

from collections.abc import Sequence

from alttrain_cli import console
from alttrain_cli.chat.reading import Completion, listen
from alttrain_cli.chat.settings import Settings
from alttrain_cli.chat.speaker import Speaker
from alttrain_cli.engine import quiet
from alttrain_cli.errors import AlttrainError
from alttrain_cli.template import Message


def ask(
    speaker: Speaker, messages: Sequence[Message], settings: Settings, screen: console.ChatScreen
) -> Completion:
    """Show a completion while it arrives, and what it cost."""
    with screen.completion() as view, quiet.captured(None):
        completion = listen(speaker, messages, settings, view.show)
    view.finish(completion)
    screen.footer(completion.figures, settings.sent_seed)
    return completion


def ask_pair(
    speaker: Speaker, messages: Sequence[Message], settings: Settings, screen: console.ChatScreen
) -> tuple[Completion, Completion]:
    """Show what the base model and the aligned one say, with the same seed; return both."""
    base = base_of(speaker)
    with screen.pair((f"base: {base.name}", f"aligned: {speaker.name}")) as view, quiet.captured(None):
        left = listen(base, messages, settings, lambda reading: view.show(0, reading))
        right = listen(speaker, messages, settings, lambda reading: view.show(1, reading))
    view.finish((left, right))
    screen.pair_footer((left, right), settings.sent_seed)
    return left, right


def base_of(speaker: Speaker) -> Speaker:
    """Return the speaker without its adapter.

    Raises:
        AlttrainError: if it has none.
    """
    if speaker.base is None:
        raise AlttrainError(f"{speaker.name} has no adapter that could be taken off to compare.")
    return speaker.base
