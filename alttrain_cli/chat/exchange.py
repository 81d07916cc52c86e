"""An exchange: one message, sent to one model or to the base model and the fine-tuned one."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from alttrain_cli.backends.base import Backend, ContextFullError
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.chat.completion import MeasuredCompletion, stream_completion
from alttrain_cli.chat.screen import Screen
from alttrain_cli.chat.settings import Settings
from alttrain_cli.chat.transcript import Transcript
from alttrain_cli.errors import AlttrainError, GateError
from alttrain_cli.library_output import capture_output
from alttrain_cli.structure.trace import TraceState


@dataclass(frozen=True)
class Exchange:
    """A message and its completion, or the completions of base and fine-tuned model, in this order."""

    prompt: str
    system: str | None
    settings: Settings
    completions: tuple[MeasuredCompletion, ...]

    @property
    def completion(self) -> MeasuredCompletion:
        """The completion that the chat continues with."""
        return self.completions[-1]

    @property
    def finished(self) -> bool:
        """Whether no reasoning was cut off."""
        return all(one.trace.state is not TraceState.UNCLOSED for one in self.completions)

    def record(self) -> dict[str, Any]:
        """Return it as one JSON object; a comparison has the keys base and aligned."""
        sent = {"prompt": self.prompt, "system": self.system, "settings": self.settings.values()}
        summaries = [one.record() for one in self.completions]
        if len(summaries) == 1:
            return sent | summaries[0]
        return sent | dict(zip(("base", "aligned"), summaries, strict=True))


def send(
    backend: Backend,
    transcript: Transcript,
    prompt: str,
    settings: Settings,
    screen: Screen,
    *,
    compare: bool = False,
) -> Exchange:
    """Send a message with as many recent turns as fit in the context, and show what comes back.

    If only a server can count, and it rejects the request as too long, the request is sent again
    without the oldest turn, then without 2 more, then 4 more. The transcript keeps which turns were
    dropped; the screen reports them.

    Raises:
        ContextFullError: if the message alone is too long; no turn is dropped then.
    """
    backends = (_base_of(backend), backend) if compare else (backend,)
    before, step = transcript.dropped_turns, 1
    _report_dropped_turns(
        transcript.truncate_to_context(prompt, backend.count, max_prompt_tokens(backend, settings)), screen
    )
    while True:
        try:
            completions = _complete(backends, transcript.conversation(prompt), settings, screen)
            return Exchange(prompt, transcript.system, settings, completions)
        except ContextFullError as error:
            dropped = transcript.drop_oldest_turns(step)
            if not dropped:
                transcript.dropped_turns = before
                raise ContextFullError(
                    f"The message alone is too long ({error}). Shorten it or lower max_new_tokens."
                ) from None
            _report_dropped_turns(dropped, screen)
            step *= 2


def send_all(
    backend: Backend,
    transcript: Transcript,
    prompts: Sequence[str],
    settings: Settings,
    screen: Screen,
    *,
    compare: bool = False,
) -> Iterator[Exchange]:
    """Send each message after the same transcript; no message sees the completion of another one."""
    finished = True
    for prompt in prompts:
        exchange = send(backend, transcript, prompt, settings, screen, compare=compare)
        finished = finished and exchange.finished
        yield exchange
    if not finished:
        raise GateError("The reasoning was not finished within the limit. Raise --max-new-tokens.")


def fit(settings: Settings, backend: Backend, screen: Screen) -> Settings:
    """Return settings that leave room for a message in the backend's context; the screen reports a change.

    The recipe may be that of another model: a server's own is not known.
    """
    fitting = settings.fitting(backend.context)
    if fitting != settings:
        wanted, most = settings.sampling.max_new_tokens, fitting.sampling.max_new_tokens
        screen.say(
            f"{backend.name} has a context of {backend.context:,} tokens, so max_new_tokens is {most:,} "
            f"instead of {wanted:,}.",
            "warning",
        )
    return fitting


def max_prompt_tokens(backend: Backend, settings: Settings) -> int:
    """Return how many tokens a prompt may have, so that a whole completion fits after it."""
    return sys.maxsize if backend.context is None else backend.context - settings.sampling.max_new_tokens


def _complete(
    backends: Sequence[Backend], conversation: Conversation, settings: Settings, screen: Screen
) -> tuple[MeasuredCompletion, ...]:
    with screen.completions([one.name for one in backends]) as view, capture_output(None):
        completions = tuple(
            stream_completion(
                one, conversation, _for(one, settings, backends), partial(view.show, column=column)
            )
            for column, one in enumerate(backends)
        )
    view.finish(completions, settings.sent_seed)
    return completions


def _for(backend: Backend, settings: Settings, backends: Sequence[Backend]) -> Settings:
    """Return the settings for one of the backends. In a comparison the base model has no threshold."""
    if len(backends) == 1 or not backend.unscored:
        return settings
    return replace(settings, sampling=settings.sampling.without_threshold())


def _base_of(backend: Backend) -> Backend:
    if backend.base is None:
        raise AlttrainError(f"{backend.name} has no adapter, so there is no base model to compare it with.")
    return backend.base


def _report_dropped_turns(count: int, screen: Screen) -> None:
    if count:
        turns = "oldest turn is" if count == 1 else f"{count} oldest turns are"
        screen.say(f"The context is full. The {turns} no longer sent to the model.", "warning")
