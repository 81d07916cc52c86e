"""What `alttrain eval` asks: a model in memory, or one behind a server. Both write the same records."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from alttrain_cli import console
from alttrain_cli.endpoint import Endpoint, EndpointError
from alttrain_cli.engine import quiet
from alttrain_cli.errors import ModelError
from alttrain_cli.evaluation.completion import Written
from alttrain_cli.evaluation.plan import Facts, Job
from alttrain_cli.evaluation.thinking import Mode, prefill
from alttrain_cli.recipe import Generation
from alttrain_cli.structure import State, Trace, parse
from alttrain_cli.target import Target
from alttrain_cli.template import THINK


class Asked(Protocol):
    """Something that answers prompts."""

    facts: Facts

    def answers(self, jobs: Sequence[Job], settings: Generation, mode: Mode) -> Iterator[tuple[Job, Written]]:
        """Yield each job with what was written for it, as soon as it is."""


class LocalModel:
    """A run, an adapter or a model, loaded."""

    def __init__(self, target: Target, log: Path | None) -> None:
        self._log = log
        with console.status(f"Loading {target.name} ..."), quiet.captured(log):
            from alttrain_cli.engine.identity import identity
            from alttrain_cli.engine.load import load_target

            self._loaded: Any = load_target(target)
            self.facts: Facts = identity(target, self._loaded)

    def answers(self, jobs: Sequence[Job], settings: Generation, mode: Mode) -> Iterator[tuple[Job, Written]]:
        """Yield each job with what was written for it, as soon as it is."""
        with quiet.captured(self._log):
            from alttrain_cli.engine.generate import complete

        template = self._loaded.template
        start = prefill(mode, template)
        rendered = [template.prompt(job.item.prompt) + start for job in jobs]
        for index, completion in complete(self._loaded, rendered, settings):
            text = start + completion.text
            trace = template.parse(text)
            thinking = len(template.encode_text(trace.thinking))
            yield jobs[index], Written(text, trace, completion.tokens, completion.finished, thinking)

    def close(self) -> None:
        """Let go of the model, so that another one has the memory."""
        from alttrain_cli.engine.memory import release_memory

        self._loaded = None
        release_memory()


class Server:
    """A model behind an OpenAI-compatible server. Its weights are what the server says they are."""

    def __init__(self, endpoint: Endpoint, concurrency: int) -> None:
        self._endpoint, self._concurrency = endpoint, concurrency
        self.facts: Facts = {
            "name": endpoint.model,
            "model": endpoint.model,
            "server": endpoint.base_url,
            "weights": "unknown: behind a server",
        }

    def answers(self, jobs: Sequence[Job], settings: Generation, mode: Mode) -> Iterator[tuple[Job, Written]]:
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
