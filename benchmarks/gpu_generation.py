"""Sampling on a model of a true shape: ours, with and without an adapter, and plain transformers.

The stop token's weights are made so that sampled completions end at various lengths. The plain side is
`AutoModelForCausalLM` with bitsandbytes' 4 bits: static batches of 32, which end when their longest row
does, and one prompt at a time.
"""

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

STATIC = 32  # rows of a plain batch


def generate(options: argparse.Namespace, results: Any) -> None:
    """Measure one side."""
    from gpu_parts import cap_memory, shaped

    recipe = shaped(options, options.model)
    cap_memory(options.gpu)
    if options.side == "ours":
        ours(options, recipe, results)
    else:
        plain(options, recipe, results)


def sampling(options: argparse.Namespace) -> Any:
    """Return how completions are drawn: R1's own settings."""
    from random_model import TEMPERATURE

    from alttrain_cli.recipe.model import Sampling

    longest = 16 if options.tiny else 256
    return Sampling(max_new_tokens=longest, do_sample=True, temperature=TEMPERATURE, top_p=0.95)


def prompts_of(options: argparse.Namespace, count: int) -> list[str]:
    """Return prompts, as many for a tiny model as it takes to fill the slots twice."""
    from random_model import random_prompts

    return random_prompts(8 if options.tiny else count, 30, 300)


def ours(options: argparse.Namespace, recipe: Any, results: Any) -> None:
    """Measure `complete` with the adapter off and on."""
    import contextlib

    from alttrain_cli.engine import batcher
    from alttrain_cli.engine.generate import complete
    from alttrain_cli.engine.load import load_adapter

    started = time.perf_counter()
    loaded = load_adapter(recipe, options.scratch / f"{options.model}-adapter")
    results.say(load_seconds=round(time.perf_counter() - started, 1))
    seen = watch_batches(batcher)
    rendered = [loaded.template.prompt(prompt) for prompt in prompts_of(options, options.rows)]
    settings = sampling(options)
    list(complete(loaded, rendered[:4], settings.model_copy(update={"max_new_tokens": 8})))
    for name in ("base", "adapter"):
        reset_peak()
        seen.update(rows=0, width=0, sent_back=0)
        off = loaded.model.disable_adapter() if name == "base" else contextlib.nullcontext()
        started = time.perf_counter()
        with off:
            made = list(complete(loaded, rendered, settings))
        seconds = time.perf_counter() - started
        lengths = [completion.tokens for _, completion in made]
        needed = seen["rows"] * (2 * seen["width"] + 577) * bytes_a_column(loaded.model) / 2**30
        results.say(
            what=f"ours, {name}", **speed(lengths, seconds), **peak(), cache_formula_gib=round(needed, 2),
            rows_at_once=seen["rows"], width=seen["width"], sent_back=seen["sent_back"],
        )  # fmt: skip


def watch_batches(module: Any) -> dict[str, int]:
    """Note how many rows are generated together, how wide they get, and how often all are sent back."""
    seen = {"rows": 0, "width": 0, "sent_back": 0}

    class Watched(module.Batch):  # type: ignore[misc]
        def advance(self, *arguments: Any) -> Any:
            requests = self.requests
            seen["rows"] = max(seen["rows"], len(requests))
            done = super().advance(*arguments)
            seen["width"] = max(seen["width"], *(request.length for request in requests))
            return done

        def clear(self) -> Any:
            seen["sent_back"] += 1
            return super().clear()

    module.Batch = Watched
    return seen


def bytes_a_column(model: Any) -> int:
    """Return the bytes of keys and values of a row and a column."""
    config = model.config.get_text_config()
    return int(2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * 2)


def plain(options: argparse.Namespace, recipe: Any, results: Any) -> None:
    """Measure static batches and one at a time, without Unsloth and without us."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    gpu = torch.cuda.is_available()
    four_bit = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )  # fmt: skip
    more = {"quantization_config": four_bit, "device_map": {"": 0}} if gpu else {}
    started = time.perf_counter()
    model = AutoModelForCausalLM.from_pretrained(recipe.model.name, dtype=torch.bfloat16, **more).eval()
    tokenizer = AutoTokenizer.from_pretrained(recipe.model.name, padding_side="left")
    results.say(load_seconds=round(time.perf_counter() - started, 1))
    settings = sampling(options)
    texts = prompts_of(options, 2 * STATIC)
    rendered = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True
        )
        for text in texts
    ]
    write(model, tokenizer, rendered[:4], settings.model_copy(update={"max_new_tokens": 8}))
    for what, size, most in (("static batches", STATIC, len(rendered)), ("one at a time", 1, 2)):
        reset_peak()
        started, lengths = time.perf_counter(), list[int]()
        for batch in cut(rendered[:most], size):
            lengths += write(model, tokenizer, batch, settings)
        seconds = time.perf_counter() - started
        results.say(what=what, **speed(lengths, seconds), **peak(), rows_at_once=min(size, len(rendered)))


def cut(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Yield stretches of so many."""
    for at in range(0, len(items), size):
        yield items[at : at + size]


def write(model: Any, tokenizer: Any, texts: Sequence[str], settings: Any) -> list[int]:
    """Generate one static batch and return the tokens of each row, up to its stop token."""
    import torch

    inputs = tokenizer(list(texts), return_tensors="pt", padding=True, add_special_tokens=False)
    with torch.inference_mode():
        output = model.generate(
            **inputs.to(model.device), max_new_tokens=settings.max_new_tokens, do_sample=True,
            temperature=settings.temperature, top_p=settings.top_p, top_k=0,
            pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
        )  # fmt: skip
    rows = output[:, inputs["input_ids"].shape[1] :].tolist()
    stop = tokenizer.eos_token_id
    return [row.index(stop) if stop in row else len(row) for row in rows]


def speed(lengths: Sequence[int], seconds: float) -> dict[str, Any]:
    """Return what is said of a run: only tokens of completions count."""
    ordered = sorted(lengths)
    return {
        "completions": len(ordered),
        "tokens": sum(ordered),
        "seconds": round(seconds, 2),
        "speed": round(sum(ordered) / seconds, 1),
        "lengths": [ordered[0], statistics.median(ordered), ordered[-1]],
    }


def reset_peak() -> None:
    """Forget the peak so far."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak() -> dict[str, Any]:
    """Return the GPU's peak since the last reset, in GiB."""
    import torch

    if not torch.cuda.is_available():
        return {}
    return {
        "allocated_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2),
        "reserved_gib": round(torch.cuda.max_memory_reserved() / 2**30, 2),
    }
