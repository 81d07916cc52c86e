"""A model in memory that several views share, with its streams and the prompts that it has read."""

from contextlib import ExitStack
from threading import Lock

from alttrain_cli.engine.load import LoadedModel
from alttrain_cli.engine.prefixes import Prefixes
from alttrain_cli.engine.stream import Streams


class Weights:
    """A loaded model; `loaded` is None once it is closed.

    `prefixes` are by the state of the adapter. There are none while the weights may change.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded: LoadedModel | None = loaded
        self.streams: Streams | None = Streams(loaded)
        self.prefixes: dict[bool, Prefixes] = {}
        self._lock = Lock()  # for the two that follow
        self.float32 = ExitStack()
        self.is_float32 = False

    def keep_prefixes(self) -> None:
        """Keep what is read of dialogues from now on, in a quarter of the free memory at most.

        Only on a CPU: on a GPU Unsloth can read no more than one token after what is known.
        """
        from alttrain_cli.engine.memory import free_bytes

        if self.loaded and self.loaded.device == "cpu":
            self.prefixes = {adapter: Prefixes(free_bytes() // 8) for adapter in (True, False)}

    def use_float32(self, loaded: LoadedModel) -> None:
        """From the first stream on compute as `complete` does, so that both give the same text.

        It stays so until `close`, because changing all weights per message would take longer than a short
        answer. Where the memory is too small for that, a stream is computed as the model was loaded.
        """
        from alttrain_cli.engine.float32 import compute_in_float32, has_room

        with self._lock:
            if not self.is_float32 and has_room(loaded):
                self.float32.enter_context(compute_in_float32(loaded))
                self.is_float32 = True

    def close(self) -> None:
        """Release the memory. Closing twice is harmless."""
        if self.loaded is not None:
            from alttrain_cli.engine.memory import release_memory

            self.float32.close()
            self.loaded = self.streams = None
            self.prefixes = {}
            release_memory()
