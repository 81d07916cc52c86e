"""A model in memory as a backend: one copy of the weights, with its adapter switched on or off."""

import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cached_property, partial
from itertools import islice
from typing import Any, TypeVar

from alttrain_cli.backends.base import (
    Ability,
    Backend,
    BackendError,
    Chunk,
    Completion,
    Completions,
    Fingerprint,
    Finish,
    Key,
    Request,
    Stream,
)
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.fingerprints import fingerprint_of
from alttrain_cli.backends.our_prompts import in_sections, rendered, whole_text
from alttrain_cli.backends.target import Target
from alttrain_cli.backends.translated_text import TranslatedText
from alttrain_cli.backends.weights import Weights
from alttrain_cli.engine.batch_request import IsWhole
from alttrain_cli.engine.generate import GeneratedText, complete
from alttrain_cli.engine.load import LoadedModel, load_target, start
from alttrain_cli.engine.stream import Streams
from alttrain_cli.engine.verdict_watch import VerdictTokens, VerdictWatch
from alttrain_cli.recipe.model import Recipe, Sampling
from alttrain_cli.structure.sections import THOUGHTS, Order
from alttrain_cli.structure.verdict import Verdict
from alttrain_cli.structure.verdict_score import VerdictScore

LOOK_AHEAD = 4096  # requests that are ordered by length together
Part = TypeVar("Part", LoadedModel, Streams)


class LocalBackend:
    """A loaded model. Its `base` is a second view of the same weights, and both may be used in turn."""

    def __init__(self, target: Target, loaded: LoadedModel, fingerprint: Fingerprint | None = None) -> None:
        self._target = target
        self._weights = Weights(loaded)  # shared with the view without an adapter
        self._adapter = target.adapter is not None
        self.name = target.name
        self.order = target.order
        self._given_fingerprint = fingerprint
        self._dtype = loaded.model.dtype  # of now: while it generates, a model on a CPU computes in float32

    @classmethod
    def over(cls, recipe: Recipe, loaded: LoadedModel, order: Order = THOUGHTS) -> "LocalBackend":
        """Return a backend over a model that is being trained, with its adapter on."""
        backend = cls(Target(recipe.model.name, recipe, order=order), loaded)
        backend._adapter = True
        return backend

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Everything that shapes its completions; the first call hashes the weights of a local model."""
        return self._given_fingerprint or fingerprint_of(self._target, self.loaded, self._dtype)

    @classmethod
    def load(cls, target: Target, tell: Callable[[str], None] = lambda doing: None) -> "LocalBackend":
        """Load the model of a target; `tell` is called with each step."""
        tell("importing torch and unsloth")
        start(target.recipe)
        tell(f"loading {target.recipe.model.name}")
        backend = cls(target, load_target(target.recipe, target.adapter))
        backend._weights.keep_prefixes()
        return backend

    @property
    def loaded(self) -> LoadedModel:
        """The model, its tokenizer and its template, until `close`."""
        return self._open(self._weights.loaded)

    @property
    def streams(self) -> Streams:
        """The streams that are open, of this view and of all others, until `close`."""
        return self._open(self._weights.streams)

    @cached_property
    def unscored(self) -> str:
        return self._target.unscored

    @property
    def abilities(self) -> Ability:
        """A model on a CPU computes in float32, in which a greedy completion has no neighbours."""
        able = Ability.CONTINUE | Ability.RENDERED | Ability.COUNT
        able |= Ability.THINKS if self.loaded.template.prefilled else Ability.NOTHING
        return able | Ability.GREEDY if self.loaded.device == "cpu" else able

    @property
    def context(self) -> int | None:
        return self.loaded.context

    @property
    def base(self) -> "Backend | None":
        """The same weights without the adapter; None for a base model and for a full fine-tune."""
        if not self._adapter or self._target.recipe.model.full_finetuning:
            return None
        target = self._target.base
        # Not read from the model: its dtype changes while it computes in float32.
        fingerprint = replace(self.fingerprint, name=target.name, adapter=None)
        view = LocalBackend(target, self.loaded, fingerprint)
        view._weights = self._weights
        return view

    def complete(self, requests: Iterable[Request[Key]], sampling: Sampling) -> Completions[Key]:
        """Complete in batches, the longest prompt first, each as it is finished."""
        left = iter(requests)
        while chunk := list(islice(left, LOOK_AHEAD)):
            goes_on = any(_has_turns(one.input) for one in chunk)
            written = complete(
                self.loaded,
                [rendered(self.loaded.template, one.input) for one in chunk],
                sampling,
                seeds=[one.seed for one in chunk],
                adapter=self._adapter,
                watches=[self._watch(one.input, sampling) for one in chunk],
                ends=[self._end(one) for one in chunk],
                prefixes=self._weights.prefixes.get(self._adapter) if goes_on else None,
            )
            with closing(written):
                for index, text in written:
                    yield chunk[index].key, self._completion(chunk[index].input, text)

    def score(
        self, conversations: Sequence[Conversation], sampling: Sampling
    ) -> Generator[tuple[int, VerdictScore | None]]:
        """Yield the place of each conversation with the score of its verdict; None if there is no verdict.

        The score is unknown if the verdict is in words that have none. A completion is written only as far
        as its verdict.
        """
        prompts = [rendered(self.loaded.template, one) for one in conversations]
        watches = [self._watch(one, sampling) for one in conversations]
        ends = [_is_decided(one) if one else None for one in watches]
        with closing(complete(self.loaded, prompts, sampling, watches=watches, ends=ends)) as written:
            for index, text in written:
                verdict = self._completion(conversations[index], text).trace.verdict
                in_other_words = text.score is None and verdict is not Verdict.MISSING
                yield index, VerdictScore.unknown(verdict) if in_other_words else text.score

    def stream(
        self,
        conversation: Conversation,
        sampling: Sampling,
        *,
        budget: int | None = None,
        seed: int | None = None,
    ) -> Stream:
        """Yield one completion in chunks; a reasoning block that outgrows its budget is closed by force.

        Raises:
            ModelError: if the memory is too small; the model stays usable.
        """
        self._weights.use_float32(self.loaded)
        template = self.loaded.template
        token_ids = template.encode_text(rendered(template, conversation))
        prompt_tokens = len(token_ids)
        room = sys.maxsize if self.context is None else max(0, self.context - prompt_tokens)
        limit = min(sampling.max_new_tokens, room)
        written = TranslatedText(template, conversation.started)
        tokens, watch = 0, self._watch(conversation, sampling)
        if limit:
            shorter = sampling.limited(limit)
            own, on = template.own(conversation.started), self._adapter
            chunks = self.streams.open(
                token_ids, shorter, started=own, budget=budget, seed=seed, adapter=on, watch=watch
            )
            with closing(chunks):
                for chunk in chunks:
                    tokens += chunk.tokens
                    yield Chunk(written.add(chunk.text), chunk.tokens, chunk.forced)
            if rest := written.finish():
                yield Chunk(rest, 0)
        cut = Finish.LENGTH if limit == sampling.max_new_tokens else Finish.CONTEXT
        finish = Finish.STOP if tokens < limit else cut
        score = watch.score if watch else None
        return self._in_sections(Completion(written.text, finish, tokens, prompt_tokens, score=score))

    def count(self, conversation: Conversation) -> int | None:
        template = self.loaded.template
        return len(template.encode_text(rendered(template, conversation)))

    def close(self) -> None:
        """Release the model's memory. Views of it are closed with it."""
        self._weights.close()

    def _open(self, part: Part | None) -> Part:
        """Return a part of the weights, which are gone after `close`."""
        if part is None:
            raise BackendError(f"{self.name}: this model was closed.", fatal=True)
        return part

    def _completion(self, conversation: Conversation | str, written: GeneratedText) -> Completion:
        found = Completion(written.text, _finish(written), written.tokens, written.prompt_tokens)
        if isinstance(conversation, str):
            return found
        text = whole_text(self.loaded.template, conversation, written.text)
        return self._in_sections(replace(found, text=text, score=written.score))

    def _in_sections(self, completion: Completion) -> Completion:
        return in_sections(self.loaded.template, completion, self.order)

    def _watch(self, conversation: Conversation | str, sampling: Sampling) -> VerdictWatch | None:
        if isinstance(conversation, str) or self.unscored:
            return None
        started = self.loaded.template.own(conversation.started)
        return VerdictWatch(self._verdict_tokens, started, sampling.threshold)

    def _end(self, request: Request[Any]) -> IsWhole | None:
        """Return what ends a completion before the model does."""
        if request.is_whole is None:
            return None
        template, is_whole = self.loaded.template, request.is_whole
        started = "" if isinstance(request.input, str) else template.own(request.input.started)
        decode = partial(template.tokenizer.decode, skip_special_tokens=False)
        return lambda ids: is_whole(template.plain(started + decode(list(ids))))

    @cached_property
    def _verdict_tokens(self) -> VerdictTokens:
        return VerdictTokens(self.loaded.template, self._target.verdict_words, self.order)


def _has_turns(asked: Conversation | str) -> bool:
    """Whether it is a dialogue, which may go on."""
    return isinstance(asked, Conversation) and sum(one.role == "user" for one in asked.messages) > 1


def _is_decided(watch: VerdictWatch) -> IsWhole:
    return lambda ids: not watch.is_open


def _finish(written: GeneratedText) -> Finish:
    if written.finished:
        return Finish.STOP
    return Finish.CONTEXT if written.context_full else Finish.LENGTH
