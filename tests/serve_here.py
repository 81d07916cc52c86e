"""Our server in a thread of a test, and backends that are slow, endless or broken."""

import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from alttrain_cli.backends.base import Backend, Chunk, Completion
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.serve.activity import Activity
from alttrain_cli.serve.limits import ServeLimits
from alttrain_cli.serve.server import BACKLOG, Serving, address_of, serve, take_address
from tests.scripted import ScriptedBackend

DEFAULTS = Sampling(max_new_tokens=50, do_sample=True, temperature=0.6, top_p=0.95)
THOUGHT = "<think>\nI see.\n</think>\n\nAll is fine."


@dataclass
class Here:
    """A running server."""

    url: str
    stop: threading.Event = field(default_factory=threading.Event)
    activity: Activity = field(default_factory=Activity)
    bugs: list[Exception] = field(default_factory=list)

    def show(self, activity: Activity) -> None:
        self.activity = activity

    def is_idle(self) -> bool:
        return self.activity.in_flight == self.activity.waiting == 0


@contextmanager
def server_here(
    models: Mapping[str, Backend] | None = None,
    key: str | None = None,
    host: str = "127.0.0.1",
    defaults: Sampling = DEFAULTS,
    **limits: Any,
) -> Iterator[Here]:
    """Serve until the block ends; after it no slot is taken."""
    models = models or {"run": ScriptedBackend(THOUGHT)}
    taken = take_address(host, 0)
    taken.listen(BACKLOG)
    here = Here(address_of(taken))
    serving = Serving(models, defaults, key, ServeLimits(**{"grace": 0.5, **limits}))
    thread = threading.Thread(target=serve, args=(serving, taken, here.show, here.bugs.append, here.stop))
    thread.start()
    try:
        yield here
    finally:
        here.stop.set()
        thread.join(60)
        taken.close()
    assert not thread.is_alive()
    assert here.is_idle()


def eventually(what: Callable[[], Any], seconds: float = 60.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


class Words(ScriptedBackend):
    """Streams words with a pause before each; notes how many streams are open, and how many at most.

    The first word waits for `begin`, if it is given. Each word has `more` letters after its number.
    """

    def __init__(
        self,
        words: int,
        pause: float = 0.0,
        fault: Exception | None = None,
        begin: threading.Event | None = None,
        more: int = 0,
    ) -> None:
        super().__init__()
        self._words, self._pause, self._fault, self._begin = words, pause, fault, begin
        self._end = "x" * more + " "
        self._lock = threading.Lock()
        self.open = self.most_open = 0

    def stream(
        self,
        conversation: Conversation,
        sampling: Sampling,
        *,
        budget: int | None = None,
        seed: int | None = None,
    ) -> Generator[Chunk, None, Completion]:
        with self._lock:
            self.open += 1
            self.most_open = max(self.most_open, self.open)
        try:
            if self._begin:
                self._begin.wait(60)
            for number in range(self._words):
                time.sleep(self._pause)
                yield Chunk(f"word{number}{self._end}", 1)
            if self._fault:
                raise self._fault
            return Completion("", tokens=self._words, prompt_tokens=1)
        finally:
            with self._lock:
                self.open -= 1
