"""llama.cpp's library in a process of its own: python -m alttrain_cli.engine.llama_cpp

Reads one JSON object per line and answers with one. A failed assertion of llama.cpp ends its process,
so it is never loaded into ours. All computing is llama.cpp's; here it is only called.
"""

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

PACKAGE = "llama_cpp_py_sync"  # carries the library for the CPU
THREADS = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)


class Library:
    """The functions of llama.h, and one loaded model."""

    def __init__(self) -> None:
        from llama_cpp_py_sync._cffi_bindings import get_ffi, get_lib

        self._ffi, self._lib = get_ffi(), get_lib()
        self._quiet = self._ffi.callback("void(enum ggml_log_level, const char *, void *)", lambda *_: None)
        self._lib.llama_log_set(self._quiet, self._ffi.NULL)
        self._lib.llama_backend_init()
        self._model: Any = None
        self._vocab: Any = None
        self._context: Any = None

    def quantise(self, source: str, target: str, kind: str) -> int:
        """Write a file of another type; returns 0 if it was written."""
        options = self._lib.llama_model_quantize_default_params()
        options.nthread = THREADS
        options.ftype = getattr(self._lib, f"LLAMA_FTYPE_MOSTLY_{kind.upper()}")
        pointer = self._ffi.new("llama_model_quantize_params *", options)
        return int(self._lib.llama_model_quantize(source.encode(), target.encode(), pointer))

    def load(self, path: str, context: int) -> dict[str, Any]:
        """Load a model for at most `context` tokens; returns its chat template, and whether it adds BOS."""
        lib = self._lib
        self._model = lib.llama_model_load_from_file(path.encode(), lib.llama_model_default_params())
        if self._model == self._ffi.NULL:
            raise ValueError("llama.cpp cannot load the file")
        self._vocab = lib.llama_model_get_vocab(self._model)
        options = lib.llama_context_default_params()
        options.n_ctx = options.n_batch = options.n_ubatch = context
        options.n_threads = options.n_threads_batch = THREADS
        self._context = lib.llama_init_from_model(self._model, options)
        text = lib.llama_model_chat_template(self._model, self._ffi.NULL)
        template = "" if text == self._ffi.NULL else self._ffi.string(text).decode()
        bos = lib.llama_vocab_bos(self._vocab) if lib.llama_vocab_get_add_bos(self._vocab) else None
        return {"template": template, "bos": None if bos is None else self.piece(bos)}

    def tokenise(self, text: str) -> list[int]:
        """Return token ids as llama-server does: with the tokens that the file adds."""
        data = text.encode()
        room = len(data) + 8
        buffer = self._ffi.new("llama_token[]", room)
        count = self._lib.llama_tokenize(self._vocab, data, len(data), buffer, room, True, True)
        return list(buffer[0:count])

    def piece(self, token: int) -> str:
        return self._bytes(token).decode(errors="replace")

    def write(self, prompt: Sequence[int], limit: int) -> dict[str, Any]:
        """Write greedily, up to the token that ends the turn."""
        ids: list[int] = []
        logits = self._read(prompt, fresh=True)
        while len(ids) < limit:
            token = int(logits.argmax())
            if self._lib.llama_vocab_is_eog(self._vocab, token):
                return self._written(ids, True)
            ids.append(token)
            logits = self._read([token])
        return self._written(ids, False)

    def lead(self, ids: Sequence[int], first: int, second: int) -> float:
        """Return by how many nats token `first` is preferred to token `second` after `ids`."""
        logits = self._read(ids, fresh=True)
        return float(logits[first] - logits[second])

    def _written(self, ids: list[int], finished: bool) -> dict[str, Any]:
        text = b"".join(map(self._bytes, ids)).decode(errors="replace")
        return {"ids": ids, "text": text, "finished": finished}

    def _read(self, ids: Sequence[int], *, fresh: bool = False) -> Any:
        """Let the model read tokens, and return the logits of the next one."""
        import numpy

        lib = self._lib
        if fresh:
            lib.llama_memory_clear(lib.llama_get_memory(self._context), True)
        tokens = self._ffi.new("llama_token[]", list(ids))
        if lib.llama_decode(self._context, lib.llama_batch_get_one(tokens, len(ids))):
            raise ValueError("llama.cpp cannot compute the prompt")
        size = 4 * lib.llama_vocab_n_tokens(self._vocab)
        return numpy.frombuffer(
            self._ffi.buffer(lib.llama_get_logits_ith(self._context, -1), size), numpy.float32
        )

    def _bytes(self, token: int) -> bytes:
        buffer = self._ffi.new("char[]", 512)
        count = self._lib.llama_token_to_piece(self._vocab, token, buffer, 512, 0, True)
        return bytes(self._ffi.buffer(buffer, max(count, 0)))


def main() -> None:
    """Answer requests until standard input ends: {"do": NAME, ...} gives {"value": ...} or {"error": ...}."""
    library = Library()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"value": getattr(library, request.pop("do"))(**request)}
        except (ValueError, AttributeError) as error:
            answer = {"error": str(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
