"""Asks a local classifier: a causal language model that answers in a few greedy tokens."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from alttrain_cli.engine.memory import release_memory
from alttrain_cli.engine.model_card import CARD, CardPrompt
from alttrain_cli.errors import ModelError
from alttrain_cli.template import Message

BATCH = 8
FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", CARD]


def fetch(name: str) -> None:
    """Have a classifier's files on this machine, unless the name is that of a folder.

    Done before the target is asked: a judge that is not to be had is said so then, not hours later.

    Raises:
        ModelError: if the model is neither here nor to be had.
    """
    if Path(name).is_dir():
        return
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError

    try:
        snapshot_download(name, allow_patterns=FILES, etag_timeout=10)
    except GatedRepoError:
        raise ModelError(f"{name}: gated. Accept its terms on the hub, then: hf auth login") from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError):
        raise ModelError(
            f"{name}: the judge is not on this machine and cannot be fetched from the hub. "
            "Name a folder or another hub id: --judge-model"
        ) from None


class Classifier:
    """A classifier in memory, until it is closed.

    Raises:
        ModelError: if the model is neither here nor to be had.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._model, self._tokenizer = _load(name)

    @cached_property
    def _card_prompt(self) -> CardPrompt:
        return CardPrompt(self._name)

    def answers(
        self, asked: Sequence[Sequence[Message] | str | Mapping[str, str]], max_new_tokens: int
    ) -> Iterator[tuple[int, str]]:
        """Yield (index, answer) as they come.

        Conversations are rendered by the classifier's own chat template, fields are filled into the prompt
        on its model card, texts are taken as they are.
        """
        texts = [self._card_prompt.filled(one) if isinstance(one, Mapping) else one for one in asked]
        rendered = [_render(self._tokenizer, one) for one in texts]
        order = sorted(range(len(rendered)), key=lambda index: len(rendered[index]))
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            prompts = [rendered[index] for index in batch]
            yield from zip(
                batch, _answers(self._model, self._tokenizer, prompts, max_new_tokens), strict=True
            )

    def close(self) -> None:
        """Let go of the model."""
        self._model = None
        release_memory()


def _load(name: str) -> tuple[Any, Any]:
    import torch
    import unsloth  # noqa: F401  first: it patches transformers when it is imported
    from transformers import AutoModelForCausalLM, AutoTokenizer

    gpu = torch.cuda.is_available()
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, padding_side="left", trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(
            name,
            dtype=torch.bfloat16,
            device_map={"": 0} if gpu else None,
            use_safetensors=True,
            trust_remote_code=False,
        )
    except (OSError, ValueError) as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelError(
            f"{name}: the judge cannot be loaded ({first[:120]}). Name a folder or hub id: --judge-model"
        ) from None
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    return model.eval(), tokenizer


def _render(tokenizer: Any, asked: Sequence[Message] | str) -> list[int]:
    """Return token ids; BOS exactly once, whether the text brings it or the tokenizer adds it."""
    if isinstance(asked, str):
        ids: list[int] = tokenizer(asked)["input_ids"]
        return ids
    text = tokenizer.apply_chat_template(list(asked), tokenize=False, add_generation_prompt=True)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _answers(model: Any, tokenizer: Any, rendered: list[list[int]], max_new_tokens: int) -> list[str]:
    import torch

    inputs = tokenizer.pad({"input_ids": rendered}, padding=True, return_tensors="pt").to(model.device)
    with torch.inference_mode():
        written = model.generate(
            **inputs,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            temperature=None,
            top_p=None,
            pad_token_id=tokenizer.pad_token_id,
        )
    width = inputs["input_ids"].shape[1]
    texts: list[str] = tokenizer.batch_decode(written[:, width:], skip_special_tokens=True)
    return texts
