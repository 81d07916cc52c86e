"""Models of a few thousand random weights, in every layout that a test needs; made in milliseconds."""

from pathlib import Path
from typing import Any

import pytest

from tests import families
from tests.warm import Warm

SHAPE: dict[str, Any] = {
    "num_hidden_layers": 2,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 1024,
}


def write_model(
    folder: Path | str,
    kind: str = "llama",
    family: str = "r1-llama",
    seed: int = 0,
    layers: int = 2,
    tokenizer: Any = None,
    spread: float = 0.25,
    **shape: int,
) -> Path:
    """Write a model with a family's tokenizer; it is in float32, with weights that 16 bits hold too.

    `kind` is a model_type of transformers: llama, qwen2, qwen3 or phi3. `tokenizer` replaces the family's.
    `spread` is the standard deviation of the weights.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = tokenizer or families.tokenizer(family)
    options = {**SHAPE, "num_hidden_layers": layers, **({} if kind == "phi3" else {"head_dim": 16}), **shape}
    config = AutoConfig.for_model(
        kind,
        **options,
        vocab_size=len(tokenizer),
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for name, weight in model.named_parameters():
        if weight.dim() == 2 or name.endswith("bias"):
            torch.nn.init.normal_(weight, std=spread)
        weight.data = weight.data.half().float()
    model.get_input_embeddings().weight.data[tokenizer.pad_token_id] = 0  # as Unsloth does when it loads
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Path(folder)


def settings(folder: Path) -> tuple[str, ...]:
    """Return the `--set` values that put such a model in the place of smollm2-135m."""
    training = ("train.learning_rate=0.01", "train.warmup_steps=0", "train.until_verdict=0")
    return (f"model.name={folder}", "model.package=null", *training)


@pytest.fixture(scope="session")
def tiny(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model, made by the process that has the engine."""
    folder = tmp_path_factory.mktemp("tiny")
    made = warm.run("--version", cwd=folder, hooks=[("tests.tiny", "write_model", {"folder": str(folder)})])
    assert made.returncode == 0, made.stderr
    return folder


def write_hub_cache(cache: Path, name: str, commits: dict[str, str], **options: Any) -> None:
    """Write a hub cache that holds a model at several commits: revision -> commit, each with other weights."""
    folder = cache / f"models--{name.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    for seed, (revision, commit) in enumerate(commits.items(), 1):
        (folder / "refs" / revision).write_text(commit)
        write_model(folder / "snapshots" / commit, seed=seed, **options)
