"""One engine of benchmarks/engines.py, in a process of its own: Unsloth changes transformers in its process.

    python benchmarks/engines_worker.py ours|plain TARGET

Each line of the input is a load, see `Load`; its line of the output has the seconds and the tokens. "plain"
is transformers and PEFT alone: static batches of so many rows, which end when their longest row does.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, TypedDict

from alttrain_cli.backends.open import find
from alttrain_cli.backends.target import Target

Tokens = list[list[int]]  # of each completion, without the token that ended it


class Load(TypedDict):
    """What is generated, greedily."""

    prompts: list[str]
    adapter: bool
    rows: int  # together, at most
    max_tokens: int


def ours(target: Target) -> Callable[[Load], Tokens]:
    """Load as alttrain does; generate with `complete`."""
    from alttrain_cli.engine.generate import complete
    from alttrain_cli.engine.load import load_target, start
    from alttrain_cli.library_output import capture_output
    from alttrain_cli.recipe.model import Sampling

    with capture_output(None):
        start(target.recipe)
        loaded = load_target(target.recipe, target.adapter)

    def run(load: Load) -> Tokens:
        settings = Sampling(max_new_tokens=load["max_tokens"], do_sample=False)
        rendered = [loaded.template.prompt(prompt) for prompt in load["prompts"]]
        done = dict(complete(loaded, rendered, settings, slots=load["rows"], adapter=load["adapter"]))
        return [list(done[at].ids) for at in range(len(rendered))]

    return run


def plain(target: Target) -> Callable[[Load], Tokens]:
    """Load and generate without Unsloth and without us, but for the prompts and what ends a turn."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from alttrain_cli.engine.source import locate
    from alttrain_cli.library_output import capture_output
    from alttrain_cli.structure.template import Template

    source, gpu = locate(target.recipe), torch.cuda.is_available()
    dtype = torch.bfloat16 if gpu else torch.float32  # as ours: on a CPU it computes in float32
    with capture_output(None):
        model = AutoModelForCausalLM.from_pretrained(source.name, revision=source.commit, dtype=dtype)
        model = PeftModel.from_pretrained(model, target.adapter) if target.adapter else model
    model = model.to("cuda" if gpu else "cpu").eval()
    tokenizer = AutoTokenizer.from_pretrained(source.name, revision=source.commit, padding_side="left")
    template = Template.of(tokenizer, target.recipe.model.system)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    stops = sorted({template.terminator_id, tokenizer.eos_token_id})

    def run(load: Load) -> Tokens:
        rendered = [template.prompt(prompt) for prompt in load["prompts"]]
        order = sorted(range(len(rendered)), key=lambda at: len(rendered[at]))  # less padding
        found: dict[int, list[int]] = {}
        is_off = bool(target.adapter) and not load["adapter"]
        for start in range(0, len(order), load["rows"]):
            chosen = order[start : start + load["rows"]]
            inputs = tokenizer(
                [rendered[at] for at in chosen], add_special_tokens=False, padding=True, return_tensors="pt"
            ).to(model.device)
            with torch.inference_mode(), model.disable_adapter() if is_off else nullcontext():
                output = model.generate(
                    **inputs, max_new_tokens=load["max_tokens"], do_sample=False, eos_token_id=stops,
                    pad_token_id=tokenizer.pad_token_id,
                )  # fmt: skip
            written = output[:, inputs["input_ids"].shape[1] :].tolist()
            found |= {at: _until(row, stops) for at, row in zip(chosen, written, strict=True)}
        return [found[at] for at in range(len(rendered))]

    return run


def _until(row: Sequence[int], stops: Sequence[int]) -> list[int]:
    end = next((at for at, token in enumerate(row) if token in stops), len(row))
    return list(row[:end])


SIDES = {"ours": ours, "plain": plain}


def main(side: str, word: str) -> None:
    """Generate one load per line."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no reply
    target = find(word)
    assert isinstance(target, Target), "a run or a model on this machine is needed"
    run = SIDES[side](target)
    for line in sys.stdin:
        load: Load = json.loads(line)
        begun = time.perf_counter()
        tokens = run(load)
        reply: Any = {"seconds": time.perf_counter() - begun, "tokens": tokens}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
