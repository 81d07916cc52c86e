"""One question, asked and shown: of one model, or of base and aligned model."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from alttrain_cli import console
from alttrain_cli.backends.endpoint import ContextFullError
from alttrain_cli.backends.speaker import Speaker, room_for_prompt
from alttrain_cli.chat.conversation import ContextError, Conversation
from alttrain_cli.chat.reading import Completion, listen
from alttrain_cli.chat.settings import Settings
from alttrain_cli.engine import quiet
from alttrain_cli.errors import AlttrainError
from alttrain_cli.structure.template import Message

Said = TypeVar("Said")


def ask_within_context(
    speaker: Speaker,
    conversation: Conversation,
    prompt: str,
    settings: Settings,
    ask: Callable[[Sequence[Message]], Said],
    tell: Callable[[str], None],
) -> Said:
    """Ask with as many of the last turns as the context holds; tell when the oldest leave it.

    Where only a server can count, it is asked again with fewer turns: one less, then two, then four.

    Raises:
        ContextError: if the question alone is too long; the turns stay.
    """
    before = conversation.forgotten
    _tell_gone(conversation.fit(prompt, speaker.count, room_for_prompt(speaker, settings)), tell)
    step = 1
    while True:
        try:
            return ask(conversation.messages(prompt))
        except ContextFullError as error:
            gone = conversation.drop_oldest(step)
            if not gone:
                conversation.forgotten = before
                raise ContextError(
                    f"The question alone is too long ({error}). Shorten it, or lower max_new_tokens."
                ) from None
            _tell_gone(gone, tell)
            step *= 2


def _tell_gone(count: int, tell: Callable[[str], None]) -> None:
    if count:
        turns = "turn" if count == 1 else f"{count} turns"
        tell(f"The context is full: the oldest {turns} left it.")


def ask(
    speaker: Speaker, messages: Sequence[Message], settings: Settings, screen: console.ChatScreen
) -> Completion:
    """Show a completion while it arrives, and what it cost."""
    with screen.completion() as view, quiet.captured(None):
        completion = listen(speaker, messages, settings, view.show)
    view.finish(completion)
    screen.footer(completion, settings.sent_seed)
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
