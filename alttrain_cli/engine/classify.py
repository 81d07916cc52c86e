"""Runs a local classifier: a causal language model that answers in a few greedy tokens."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from alttrain_cli.engine.device import half_precision, has_gpu, import_unsloth
from alttrain_cli.engine.memory import free_bytes, is_out_of_memory, release_memory
from alttrain_cli.engine.model_files import CARD, check_model, explain_load_errors, no_weights_missing
from alttrain_cli.engine.source import ModelSource, require_weights
from alttrain_cli.engine.weight_sizes import bytes_of_weights
from alttrain_cli.errors import ModelError
from alttrain_cli.structure.probing import WireMessage, check_judging
from alttrain_cli.structure.rendering import render

BATCH = 8
SPARE = 1.2  # what a model needs in memory, in sizes of its files
NEXT = "Name a smaller judge, by its folder or hub id: --judge-model"
FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", CARD]


def fetch(name: str) -> None:
    """Download a classifier's files, unless the name is that of a folder.

    Done before anything is generated, so that a missing judge is an error at the start, not hours later.
    """
    if Path(name).is_dir():
        check_model(Path(name))
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


def fetch_card(name: str) -> None:
    """Download the model card of a classifier that a server runs, unless the name is that of a folder."""
    if Path(name).is_dir():
        return
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        hf_hub_download(name, CARD, etag_timeout=10)
    except (HfHubHTTPError, OSError, ValueError):
        raise ModelError(
            f"{name}: the prompt of this judge is on its model card, which is not on this machine and cannot "
            f"be fetched. Let the server name the model by its hub id, then: hf download HUB_ID {CARD}"
        ) from None


class Classifier:
    """A classifier in memory, until it is closed."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._model, self._tokenizer, four_bit = _load(name)
        commit = getattr(self._model.config, "_commit_hash", None)
        self.source = ModelSource(name, None if Path(name).is_dir() else str(commit))
        self.bits = 4 if four_bit else 16

    def answers(
        self, prompts: Sequence[Sequence[WireMessage] | str], max_new_tokens: int
    ) -> Iterator[tuple[int, str, bool]]:
        """Yield (index, answer, whether the model ended it itself), the shortest prompt first.

        Conversations are rendered by the classifier's own chat template, texts are rendered already.
        """
        try:
            if not all(isinstance(one, str) for one in prompts):
                check_judging(self._tokenizer)
            rendered = [_render(self._tokenizer, one) for one in prompts]
        except ModelError as error:
            raise ModelError(f"{self._name}: {error}") from None
        left = sorted(range(len(rendered)), key=lambda index: len(rendered[index]))
        size = BATCH
        while left:
            batch = [rendered[index] for index in left[:size]]
            try:
                answers = _answers(self._model, self._tokenizer, batch, max_new_tokens)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                answers = None
            if answers is not None:
                yield from ((index, *answer) for index, answer in zip(left[:size], answers, strict=True))
                left = left[size:]
            elif len(batch) > 1:
                release_memory()
                size = len(batch) // 2
            else:
                raise ModelError(f"{self._name}: out of memory on one response to judge. {NEXT}")

    def close(self) -> None:
        self._model = None
        release_memory()


def _load(name: str) -> tuple[Any, Any, bool]:
    """Return the model, its tokenizer, and whether it was loaded in 4 bits because of too little memory."""
    import_unsloth()
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if Path(name).is_dir():
        check_model(Path(name))
    else:
        require_weights(name, None)
    with explain_load_errors(name, "the judge", NEXT), no_weights_missing(name):
        tokenizer = AutoTokenizer.from_pretrained(name, padding_side="left", trust_remote_code=False)
        dtype = half_precision()
        options = {"dtype": dtype, "use_safetensors": True, "trust_remote_code": False}
        if not has_gpu():
            model, four_bit = AutoModelForCausalLM.from_pretrained(name, **options), False
        else:
            model, four_bit = _load_on_gpu(name, options)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    return model.eval(), tokenizer, four_bit


def _load_on_gpu(name: str, options: dict[str, Any]) -> tuple[Any, bool]:
    """Load in 16 bits where memory suffices, else in 4."""
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    options = {**options, "device_map": {"": 0}}
    if SPARE * bytes_of_weights(name) <= free_bytes():
        try:
            return AutoModelForCausalLM.from_pretrained(name, **options), False
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
    release_memory()
    options["quantization_config"] = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=options["dtype"],
    )
    return AutoModelForCausalLM.from_pretrained(name, **options), True


def _render(tokenizer: Any, prompt: Sequence[WireMessage] | str) -> list[int]:
    """Return token ids; BOS exactly once, whether the text brings it or the tokenizer adds it."""
    if isinstance(prompt, str):
        ids: list[int] = tokenizer(prompt)["input_ids"]
        return ids
    text = render(tokenizer, list(prompt), add_generation_prompt=True)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _answers(
    model: Any, tokenizer: Any, rendered: list[list[int]], max_new_tokens: int
) -> list[tuple[str, bool]]:
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
    answers = written[:, inputs["input_ids"].shape[1] :]
    ends = torch.tensor(_end_ids(model), device=answers.device)
    finished = torch.isin(answers, ends).any(dim=1).tolist()
    return list(zip(tokenizer.batch_decode(answers, skip_special_tokens=True), finished, strict=True))


def _end_ids(model: Any) -> list[int]:
    ends = model.generation_config.eos_token_id
    return ends if isinstance(ends, list) else [] if ends is None else [ends]
