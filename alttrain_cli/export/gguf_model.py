"""A GGUF file, opened by llama.cpp."""

from collections.abc import Sequence
from pathlib import Path

from alttrain_cli.engine.generate import GeneratedText
from alttrain_cli.export.llama_process import LlamaProcess
from alttrain_cli.structure.probing import Tokenizer, WireMessage

CONTEXT = 4096  # tokens: the probes with their completions are shorter


class GgufModel:
    """A model in llama.cpp with the chat template and the tokenizer of its file.

    llama.cpp's own renderer of templates is not in its library, so `renderer` is a tokenizer of transformers.
    """

    def __init__(self, path: Path, kind: str, renderer: Tokenizer, *, quantised: bool) -> None:
        self.name = f"gguf, {kind}"
        self.quantised = quantised
        self._renderer = renderer
        self._process = LlamaProcess()
        facts = self._process.ask("load", path=str(path), context=CONTEXT)
        self._template: str = facts["template"]
        self._bos: str | None = facts["bos"]

    def prompt_ids(self, conversation: list[WireMessage]) -> list[int]:
        """Render with the file's template and tokenise as llama-server does: it takes a BOS in front away."""
        text = self._renderer.apply_chat_template(
            conversation, chat_template=self._template, tokenize=False, add_generation_prompt=True
        )
        return self._tokenise(text)

    def write(self, rendered: Sequence[str], limit: int) -> tuple[GeneratedText, ...]:
        return tuple(self._write(text, limit) for text in rendered)

    def lead(self, ids: Sequence[int], first: int, second: int) -> float:
        return float(self._process.ask("lead", ids=list(ids), first=first, second=second))

    def decode(self, token: int) -> str:
        return str(self._process.ask("piece", token=token))

    def close(self) -> None:
        self._process.close()

    def _write(self, text: str, limit: int) -> GeneratedText:
        prompt = self._tokenise(text)
        answer = self._process.ask("write", prompt=prompt, limit=limit)
        ids = tuple(answer["ids"])
        return GeneratedText(answer["text"], len(ids), answer["finished"], len(prompt), False, ids)

    def _tokenise(self, text: str) -> list[int]:
        ids: list[int] = self._process.ask("tokenise", text=text.removeprefix(self._bos or ""))
        return ids
