"""What `alttrain eval` asks: a model in memory, or one behind a server. Both write the same records."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, Protocol

from alttrain_cli import console
from alttrain_cli.backends.endpoint import Endpoint, EndpointError
from alttrain_cli.backends.target import Target
from alttrain_cli.engine import quiet
from alttrain_cli.errors import ModelError
from alttrain_cli.evaluation.completion import Written
from alttrain_cli.evaluation.plan import Facts, SampleRequest
from alttrain_cli.evaluation.thinking import BUDGET, ROUNDS, Mode, extend_thinking, prefill
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.structure.markers import THINK
from alttrain_cli.structure.trace import State, Trace, parse

ROOM = 1024  # tokens of context that are kept for the prompt


class NothingAnsweredError(EndpointError):
    """A server answered none of all prompts."""


class Asked(Protocol):
    """Something that answers prompts."""

    facts: Facts
    most_new_tokens: int | None  # what its context leaves room for

    def answers(
        self, jobs: Sequence[SampleRequest], settings: Sampling, mode: Mode
    ) -> Iterator[tuple[SampleRequest, Written]]:
        """Yield each job with what was written for it, as soon as it is."""


class LocalModel:
    """A run, an adapter or a model, loaded."""

    def __init__(self, target: Target) -> None:
        with console.status(f"Loading {target.name} ..."), quiet.captured(None):
            from alttrain_cli.backends.identity import fingerprint_of
            from alttrain_cli.engine.load import load_target

            self._loaded: Any = load_target(target.recipe, target.adapter)
            self.facts: Facts = fingerprint_of(target, self._loaded).record()
        context = getattr(self._loaded.model.config, "max_position_embeddings", None)
        self.most_new_tokens: int | None = max(context - ROOM, context // 2) if context else None

    def answers(
        self, jobs: Sequence[SampleRequest], settings: Sampling, mode: Mode
    ) -> Iterator[tuple[SampleRequest, Written]]:
        """Yield each job with what was written for it, as soon as it is."""
        with quiet.captured(None):
            from alttrain_cli.engine.generate import complete

        template = self._loaded.template
        left = [(job, prefill(mode, template)) for job in jobs]
        for attempt in range(ROUNDS + 1 if mode == "more" else 1):
            again = []
            rendered = [template.prompt(job.item.prompt) + start for job, start in left]
            seeds = [job.sample for job, _ in left]
            with closing(complete(self._loaded, rendered, settings, seeds=seeds)) as completions:
                for index, completion in completions:
                    job, start = left[index]
                    text = start + completion.text
                    longer = extend_thinking(text, template) if mode == "more" and attempt < ROUNDS else None
                    if longer and len(template.encode_text(longer)) < BUDGET:
                        again.append((job, longer))
                    else:
                        yield job, self._written(text, completion.finished)
            left = again

    def _written(self, text: str, finished: bool) -> Written:
        template = self._loaded.template
        trace = template.parse(text)
        count = (len(template.encode_text(part)) for part in (text, trace.thinking))
        return Written(text, trace, next(count), finished, next(count))

    def close(self) -> None:
        """Let go of the model, so that another one has the memory."""
        from alttrain_cli.engine.memory import release_memory

        self._loaded = None
        release_memory()


class Server:
    """A model behind an OpenAI-compatible server. Its weights are what the server says they are."""

    def __init__(self, endpoint: Endpoint, concurrency: int) -> None:
        self._endpoint, self._concurrency = endpoint, concurrency
        self.most_new_tokens: int | None = None
        self.facts: Facts = {
            "name": endpoint.model,
            "model": endpoint.model,
            "server": endpoint.address,
            "weights": "unknown: behind a server",
        }

    def answers(
        self, jobs: Sequence[SampleRequest], settings: Sampling, mode: Mode
    ) -> Iterator[tuple[SampleRequest, Written]]:
        """Yield each job with what was written for it; those that fail are left for the next time."""
        if mode != "normal":
            raise ModelError(
                "thinking ablations write into the model's turn, which a server does not let us do."
            )
        requests = [(job, [{"role": "user", "content": job.item.prompt}]) for job in jobs]
        failed: list[EndpointError] = []
        for job, reply in self._endpoint.ask_all(requests, settings, self._concurrency):
            if isinstance(reply, EndpointError):
                failed.append(reply)
                continue
            trace = _server_trace(reply.text, reply.finished)
            yield job, Written(reply.text, trace, reply.completion_tokens, reply.finished, None)
        if failed and len(failed) == len(jobs):
            raise NothingAnsweredError(f"none of {len(jobs)} prompts was answered, the first: {failed[0]}")
        if failed:
            console.print_warning(f"{len(failed)} of {len(jobs)} were not answered, the last: {failed[-1]}")

    def close(self) -> None:
        """Nothing to let go of."""


def _server_trace(text: str, finished: bool) -> Trace:
    """Take an answer apart. Cut short without any marker, it may all be reasoning: then it is unfinished."""
    trace = parse(text, THINK, prefilled=False)
    if trace.state is State.ABSENT and not finished:
        return parse(text, THINK, prefilled=True)
    return trace
