"""Models of a true shape with random weights: speed and memory do not depend on what a model knows."""

import json
import math
import random
from pathlib import Path
from typing import Any

from alttrain_cli.recipe.model import Recipe
from alttrain_cli.recipe.shape import Shape
from alttrain_cli.structure.template import IGNORED, EncodedRow

SPECIAL = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
# Rows are tokens already; the template only has to say how a turn ends.
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TINY = {
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 1024,
}
STD = 0.02  # of the weights
STOP = 257  # the id of <|im_end|>: after the 256 bytes and <|im_start|>
COMPLETION = 150  # tokens of a sampled completion, on average
TEMPERATURE = 0.6
CONSTANT = 100.0  # of the residual stream, in units of its own size


def device() -> str:
    """Return where random numbers are made: a CPU takes minutes for a model."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def family_of(name: str) -> str:
    """Return which architecture a recipe's model has."""
    return "llama" if "Llama" in Recipe.load(name).model.name else "qwen2"


def configuration(shape: Shape, family: str) -> Any:
    """Return transformers' configuration for a shape."""
    from transformers import LlamaConfig, Qwen2Config, Qwen3Config

    kind = {"llama": LlamaConfig, "qwen2": Qwen2Config, "qwen3": Qwen3Config}[family]
    config = kind(
        **shape.model_dump(), max_position_embeddings=32_768, dtype="bfloat16",
        bos_token_id=256, eos_token_id=STOP, pad_token_id=258,
    )  # fmt: skip
    config.architectures = [f"{family.capitalize()}ForCausalLM"]
    return config


def build(shape: Shape, family: str, folder: Path, std: float = STD) -> None:
    """Write a model of this shape, layer by layer in bfloat16, and a small tokenizer."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    config = configuration(shape, family)
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    config.save_pretrained(folder)
    index: dict[str, str] = {}
    shards: dict[str, dict[str, Any]] = {}
    tied = {"lm_head.weight"} if shape.tie_word_embeddings else set()
    for name, tensor in empty.state_dict().items():
        if name not in tied:
            layer = name.split(".")[2] if name.startswith("model.layers.") else "rest"
            index[name] = f"model-{layer}.safetensors"
            shards.setdefault(index[name], {})[name] = tensor
    for file, tensors in shards.items():
        made = {name: _random(name, tensor, std) for name, tensor in tensors.items()}
        if std == STD:
            let_samples_end(made, shape)
        save_file({name: tensor.cpu() for name, tensor in made.items()}, folder / file, {"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    write_tokenizer(folder)


def _random(name: str, like: Any, std: float) -> Any:
    import torch

    if name.endswith("norm.weight"):
        return torch.ones(like.shape, dtype=torch.bfloat16)
    return (torch.randn(like.shape, device=device()) * std).to(torch.bfloat16)


def let_samples_end(tensors: dict[str, Any], shape: Shape) -> None:
    """Make the stop token one in `COMPLETION` tokens, so that samples end at various lengths.

    The residual stream gets a constant that is much larger than the rest, in its first number. After the
    last norm that number is about the root of the hidden size, and only the stop token's logit reads it.
    """
    if shape.tie_word_embeddings or "lm_head.weight" not in tensors:
        return
    root = math.sqrt(shape.hidden_size)
    tensors["model.embed_tokens.weight"][:, 0] = CONSTANT * root
    head = tensors["lm_head.weight"]
    head[:, 0] = 0
    head[STOP] = 0
    head[STOP, 0] = TEMPERATURE * math.log(shape.vocab_size / COMPLETION) / root


def write_tokenizer(folder: Path) -> None:
    """Write a tokenizer with a token for each byte."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({letter: number for number, letter in enumerate(letters)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(list(SPECIAL))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, eos_token=SPECIAL[1], pad_token=SPECIAL[2])
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)


def write_adapter(recipe: Recipe, folder: Path) -> None:
    """Write a random LoRA adapter for the recipe's model."""
    import torch
    from safetensors.torch import save_file

    shape, weights = recipe.model.sizes, {}
    hidden, heads = shape.hidden_size, shape.num_attention_heads * shape.head_dim
    kv, mlp = shape.num_key_value_heads * shape.head_dim, shape.intermediate_size
    sizes = {
        "self_attn.q_proj": (hidden, heads), "self_attn.k_proj": (hidden, kv),
        "self_attn.v_proj": (hidden, kv), "self_attn.o_proj": (heads, hidden),
        "mlp.gate_proj": (hidden, mlp), "mlp.up_proj": (hidden, mlp), "mlp.down_proj": (mlp, hidden),
    }  # fmt: skip
    for layer in range(shape.num_hidden_layers):
        for name, (inputs, outputs) in sizes.items():
            if name.split(".")[1] in recipe.lora.target_modules:
                path = f"base_model.model.model.layers.{layer}.{name}"
                weights[f"{path}.lora_A.weight"] = torch.randn(recipe.lora.r, inputs) * 0.01
                weights[f"{path}.lora_B.weight"] = torch.randn(outputs, recipe.lora.r) * 0.1
    folder.mkdir()
    save_file(weights, folder / "adapter_model.safetensors")


def random_rows(count: int, vocabulary: int, shortest: int, longest: int) -> list[EncodedRow]:
    """Return rows of random tokens: 90% about `shortest`, 10% up to `longest`, one of them as long."""
    chance = random.Random(1)
    many = max(1, count // 10)
    lengths = [longest, *(chance.randint(longest // 3, longest) for _ in range(many - 1))]
    lengths += [chance.randint(shortest * 3 // 4, shortest * 5 // 4) for _ in range(count - many)]
    return [row_of(length, vocabulary, chance) for length in lengths]


def row_of(length: int, vocabulary: int, chance: random.Random) -> EncodedRow:
    """Return one row of random tokens; a third of it, at most 30 tokens, is the prompt."""
    ids = [chance.randrange(300, vocabulary) for _ in range(length)]
    given = min(30, length // 3)
    return EncodedRow(ids, [IGNORED] * given + ids[given:])


def random_prompts(count: int, shortest: int, longest: int) -> list[str]:
    """Return texts of random letters, one token each."""
    chance = random.Random(2)
    letters = "abcdefghijklmnopqrstuvwxyz ,."
    return [
        "".join(chance.choice(letters) for _ in range(chance.randint(shortest, longest)))
        for _ in range(count)
    ]
