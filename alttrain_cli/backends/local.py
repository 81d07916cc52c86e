"""A model in memory as a backend: one copy of the weights, with its adapter switched on or off."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from itertools import islice
from typing import Any

from alttrain_cli.backends.base import (
    Backend,
    BackendError,
    Can,
    Chunk,
    Completion,
    Fingerprint,
    Finish,
    Key,
    Request,
)
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.identity import fingerprint_of
from alttrain_cli.backends.target import Target
from alttrain_cli.engine.load import Loaded, load_target, start
from alttrain_cli.errors import ModelError
from alttrain_cli.recipe.model import Sampling

LOOK_AHEAD = 4096  # requests that are ordered by length together

Tell = Callable[[str], None]


class LocalBackend:
    """A loaded model. Its `base` is a second view of the same weights, and both may be used in turn."""

    def __init__(self, target: Target, loaded: Loaded) -> None:
        self._target = target
        self._weights = [loaded]  # shared with the view without an adapter; empty once closed
        self._adapter = target.adapter is not None
        self.name = target.name
        self.fingerprint: Fingerprint = fingerprint_of(target, loaded)

    @classmethod
    def load(cls, target: Target, tell: Tell = lambda doing: None) -> "LocalBackend":
        """Load what a person named; `tell` is told what is being done.

        Raises:
            ModelError: as `load_target`.
        """
        tell("importing torch and unsloth")
        start(target.recipe)
        tell(f"loading {target.recipe.model.name}")
        return cls(target, load_target(target.recipe, target.adapter))

    @property
    def loaded(self) -> Loaded:
        """The model, its tokenizer and its template.

        Raises:
            BackendError: after `close`.
        """
        if not self._weights:
            raise BackendError(f"{self.name}: this model was closed.", fatal=True)
        return self._weights[0]

    @property
    def can(self) -> Can:
        """A model on a CPU computes in float32, in which a greedy completion has no neighbours."""
        able = Can.CONTINUE | Can.RENDERED | Can.COUNT
        return able | Can.GREEDY if self.loaded.device == "cpu" else able

    @property
    def context(self) -> int | None:
        """The positions that the model knows, if its config says so."""
        return self.loaded.context

    @property
    def base(self) -> "Backend | None":
        """The same weights without the adapter; None for a base model and for a full fine-tune."""
        if not self._adapter or self._target.recipe.model.full_finetuning:
            return None
        view = LocalBackend(self._target.base, self.loaded)
        view._weights = self._weights
        return view

    def complete(
        self, requests: Iterable[Request[Key]], sampling: Sampling
    ) -> Iterator[tuple[Key, Completion | BackendError]]:
        """Complete in batches, the longest prompt first, each as it is finished.

        Raises:
            ModelError: if the memory does not hold even one prompt.
        """
        from alttrain_cli.engine.generate import complete

        left = iter(requests)
        while chunk := list(islice(left, LOOK_AHEAD)):
            rendered = [self._render(one.input) for one in chunk]
            seeds = [one.seed for one in chunk]
            with closing(
                complete(self.loaded, rendered, sampling, seeds=seeds, adapter=self._adapter)
            ) as written:
                for index, text in written:
                    yield chunk[index].key, self._completion(chunk[index].input, text)

    def stream(
        self,
        conversation: Conversation,
        sampling: Sampling,
        *,
        budget: int | None = None,
        seed: int | None = None,
    ) -> Generator[Chunk, None, Completion]:
        """Yield one completion in chunks; a reasoning block that outgrows its budget is closed by force.

        Raises:
            ModelError: if the memory is too small; the model stays usable.
        """
        from alttrain_cli.engine.stream import stream

        template = self.loaded.template
        translator = template.translator()
        if conversation.started:
            translator.feed(template.own(conversation.started))
        parts, tokens, forced = [conversation.started], 0, False
        chunks = stream(
            self.loaded, self._render(conversation), sampling, budget=budget, seed=seed, adapter=self._adapter
        )
        with closing(chunks):
            for chunk in chunks:
                text = translator.feed(chunk.text)
                parts.append(text)
                tokens += chunk.tokens
                forced = forced or chunk.forced
                yield Chunk(text, chunk.tokens, chunk.forced)
        if rest := translator.finish():
            parts.append(rest)
            yield Chunk(rest, 0)
        finish = Finish.LENGTH if tokens >= sampling.max_new_tokens else Finish.STOP
        return Completion("".join(parts), finish, tokens, self.count(conversation), forced=forced)

    def count(self, conversation: Conversation) -> int | None:
        """Return the prompt tokens of a conversation."""
        return len(self.loaded.template.encode_text(self._render(conversation)))

    def close(self) -> None:
        """Release the model's memory. Views of it are closed with it."""
        if self._weights:
            from alttrain_cli.engine.memory import release_memory

            self._weights.clear()
            release_memory()

    def _render(self, conversation: Conversation | str) -> str:
        if isinstance(conversation, str):
            return conversation
        messages = conversation.wire()
        if not conversation.started:
            return self.loaded.template.prompt(messages)
        # The template would drop or rewrite reasoning in an assistant's message, so it is appended.
        return self.loaded.template.prompt(messages[:-1]) + self.loaded.template.own(conversation.started)

    def _completion(self, conversation: Conversation | str, written: Any) -> Completion:
        template = self.loaded.template
        if isinstance(conversation, str):
            return Completion(written.text, _finish(written), written.tokens, written.prompt_tokens)
        text = template.plain(template.own(conversation.started) + written.text)
        found = Completion(text, _finish(written), written.tokens, written.prompt_tokens)
        thinking = len(template.encode_text(found.trace.thinking))
        return Completion(text, found.finish, found.tokens, found.prompt_tokens, thinking)


def _finish(written: Any) -> Finish:
    if written.finished:
        return Finish.STOP
    return Finish.CONTEXT if written.context_full else Finish.LENGTH


def check_comparable(target: Target) -> None:
    """Make sure that a target has an adapter that can be switched off.

    Raises:
        ModelError: if it has none, with what to do instead.
    """
    if target.adapter is None:
        raise ModelError(
            f"{target.name} has no adapter, so there is no base model to compare it with. "
            "Give a run: alttrain chat RUN --compare"
        )
    if target.recipe.model.full_finetuning:
        raise ModelError(
            f"{target.name} was fully fine-tuned, so it has no adapter to switch off. Chat with it, then "
            "with its base model (--base), or compare both with: alttrain eval RUN"
        )
