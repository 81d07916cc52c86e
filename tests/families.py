"""Small tokenizers with the chat templates of every model family that the recipes name.

The vocabulary is bytes plus the family's own special tokens, so tokens are many but rendering,
markers and masking are the real thing. Templates: TRL's and Unsloth's packages ship the originals of
R1 distills, Qwen2.5, Qwen3 and Qwen3-Thinking; tests/assets/templates/ holds our own short renderings
of the others, which write the same text for the conversations that alttrain renders.
"""

import ast
from functools import cache
from importlib import util
from pathlib import Path
from typing import NamedTuple

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

ASSETS = Path(__file__).parent / "assets" / "templates"


class Family(NamedTuple):
    template: str
    special: tuple[str, ...]
    plain: tuple[str, ...]  # added tokens that are not special: they survive decoding
    bos: str | None
    eos: str
    pad: str


R1 = ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<｜▁pad▁｜>")
CHATML = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
THINK = ("<think>", "</think>")


def _package_folder(package: str) -> Path:
    spec = util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def _trl(name: str) -> str:
    return (_package_folder("trl") / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")


def _unsloth(variable: str) -> str:
    """Read a template out of Unsloth's Apache-licensed module without importing it."""
    source = (_package_folder("unsloth") / "chat_templates.py").read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == variable:
            return str(ast.literal_eval(node.value))
    raise LookupError(variable)


def _own(name: str) -> str:
    return (ASSETS / f"{name}.jinja").read_text(encoding="utf-8").rstrip("\n")


def _families() -> dict[str, Family]:
    r1 = _trl("deepseek_r1_distill")
    phi = ("<|im_start|>", "<|im_end|>", "<|im_sep|>", "<|endoftext|>", "<|dummy_85|>")
    return {
        "r1-qwen": Family(r1, R1, THINK, R1[0], R1[1], R1[1]),
        "r1-llama": Family(r1, R1, THINK, R1[0], R1[1], R1[4]),
        "r1-0528-qwen3": Family(_own("r1_0528_qwen3"), R1, THINK, R1[0], R1[1], R1[1]),
        "qwen3": Family(_trl("qwen3"), CHATML, THINK, None, CHATML[1], CHATML[2]),
        "qwen3-thinking-2507": Family(
            _unsloth("qwen3_thinking_template"), CHATML, THINK, None, CHATML[1], CHATML[2]
        ),
        "s1": Family(_trl("qwen2_5"), (*CHATML, "<|fim_pad|>"), (), None, CHATML[1], "<|fim_pad|>"),
        "phi4-reasoning": Family(_own("phi4_reasoning"), phi, THINK, None, phi[1], phi[4]),
        "smollm2": Family(_own("smollm2"), CHATML, (), CHATML[0], CHATML[1], CHATML[2]),
    }


NAMES = (
    "r1-qwen", "r1-llama", "r1-0528-qwen3", "qwen3", "qwen3-thinking-2507", "s1",
    "phi4-reasoning", "smollm2",
)  # fmt: skip


@cache
def tokenizer(name: str) -> PreTrainedTokenizerFast:
    """Return the small tokenizer of a family."""
    family = _families()[name]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytes_only = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    bytes_only.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_only.decoder = decoders.ByteLevel()
    bytes_only.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in family.special]
    )
    bytes_only.add_tokens([AddedToken(token, special=False, normalized=False) for token in family.plain])
    made = PreTrainedTokenizerFast(
        tokenizer_object=bytes_only,
        bos_token=family.bos,
        eos_token=family.eos,
        pad_token=family.pad,
        clean_up_tokenization_spaces=False,
    )
    made.chat_template = family.template
    return made
