"""Is it right on this device? Tiny models of each architecture, against stock transformers in float32.

The product computes in bfloat16 here, so tokens may differ where two are as good as equal: a row passes
if it equals the reference, or leaves it where the reference's own choice was that close.
"""

import argparse
import dataclasses
import json
import random
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CLOSE = 0.1  # of the logits' standard deviation
SETTINGS = (
    "train.max_length=256", "train.gradient_checkpointing=false", "model.system=null",
    "model.load_in_4bit=false", "train.num_train_epochs=1", "train.optim=adamw_torch",
    "train.learning_rate=1e-2", "train.warmup_steps=0", "train.save_steps=1000",
    "train.per_device_train_batch_size=8", "train.gradient_accumulation_steps=1",
)  # fmt: skip
LENGTHS = (5, 17, 9, 30, 3, 12, 22)
NEW = 24  # tokens


class Passing:
    """A tokenizer whose texts are JSON lists of token ids."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def __call__(self, texts: list[str], **_: Any) -> Any:
        return {"input_ids": [json.loads(text) for text in texts]}

    def decode(self, ids: list[int], **_: Any) -> str:
        return json.dumps(ids)


def write_reference(folder: Path, prompts: list[list[int]]) -> None:
    """Write what stock transformers makes of a model: the logits of greedy tokens, and the loss."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).to(device).eval()
    with torch.inference_mode():
        logits = torch.stack([greedy_logits(model, prompt) for prompt in prompts])
        loss = torch.tensor(mean_loss(model, prompts))
    save_file({"logits": logits, "loss": loss}, folder.with_suffix(".reference"))


def greedy_logits(model: Any, prompt: list[int]) -> Any:
    """Return the logits behind each greedy token: (NEW, vocabulary)."""
    import torch

    ids, kept = list(prompt), []
    for _ in range(NEW):
        logits = model(input_ids=torch.tensor([ids], device=model.device)).logits[0, -1].float().cpu()
        kept.append(logits)
        ids.append(int(logits.argmax()))
    return torch.stack(kept)


def mean_loss(model: Any, prompts: list[list[int]]) -> float:
    """Return the loss of a token, over all prompts."""
    import torch

    total = count = 0.0
    for prompt in prompts:
        logits = model(input_ids=torch.tensor([prompt], device=model.device)).logits[0, :-1].float()
        labels = torch.tensor(prompt[1:], device=model.device)
        total += float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
        count += len(labels)
    return total / count


class Reference:
    """What stock transformers made of a model."""

    def __init__(self, folder: Path) -> None:
        from safetensors.torch import load_file

        read = load_file(folder.with_suffix(".reference"))
        self.logits, self.loss = read["logits"], float(read["loss"])
        self.tokens = self.logits.argmax(-1).tolist()

    def distance(self, row: int, tokens: list[int]) -> float:
        """Return how much worse than its own the first other token is, in standard deviations of logits."""
        for own, other, logits in zip(self.tokens[row], tokens, self.logits[row], strict=False):
            if own != other:
                return float((logits[own] - logits[other]) / logits.std())
        return 0.0 if len(tokens) == NEW else float("inf")


def prompts_of_ids() -> list[list[int]]:
    """Return prompts of various lengths, as token ids."""
    chance = random.Random(3)
    return [[chance.randrange(300, 1000) for _ in range(length)] for length in LENGTHS]


def make_models(scratch: Path, families: Sequence[str]) -> None:
    """Write tiny models and their references."""
    from random_model import TINY, build

    from alttrain_cli.recipe.shape import Shape

    for family in families:
        folder = scratch / f"tiny-{family}"
        folder.mkdir()
        build(Shape(**TINY, tie_word_embeddings=False), family, folder, std=0.25)
        write_reference(folder, prompts_of_ids())


def check(options: argparse.Namespace, results: Any) -> None:
    """Check each architecture; what fails in one does not keep the others from being checked.

    The references come from a process of their own: Unsloth patches the classes of transformers.
    """
    families = ("qwen2", "llama") if options.quick else ("qwen2", "llama", "qwen3")
    subprocess.run([sys.executable, __file__, str(options.scratch), *families], check=True)
    import unsloth  # noqa: F401

    prompts = prompts_of_ids()
    for family in families:
        folder = options.scratch / f"tiny-{family}"
        try:
            check_family(folder, prompts, Reference(folder), family, results)
        except Exception:
            results.say(family=family, check="ran to its end", ok=False, error=traceback.format_exc())


def check_family(
    folder: Path, prompts: list[list[int]], reference: Reference, family: str, results: Any
) -> None:
    """Check generation, the adapter and training of one model."""
    import torch

    from alttrain_cli.engine.load import load_base
    from alttrain_cli.recipe.model import Recipe

    recipe = Recipe.load("r1-7b", SETTINGS)
    here = {"name": str(folder), "package": None, "revision": None, "shape": None}
    loaded = load_base(recipe.changed({"model": here}), training=True)

    def greedy(slots: int) -> list[float]:
        return [
            reference.distance(row, tokens) for row, tokens in enumerate(tokens_of(loaded, prompts, slots))
        ]

    def say(name: str, distances: list[float]) -> None:
        results.say(
            family=family, check=name, ok=max(distances) < CLOSE, worst=round(max(distances), 4),
            identical=sum(distance == 0 for distance in distances), rows=len(distances),
        )  # fmt: skip

    for slots in (7, 3, 1):
        say(f"greedy batches equal stock transformers, {slots} at a time", greedy(slots))
    raised = [(p, p.detach().clone()) for name, p in loaded.model.named_parameters() if "lora_B" in name]
    for parameter, _ in raised:
        torch.nn.init.normal_(parameter, std=0.3)
    moved = sum(distance > 0 for distance in greedy(3))
    results.say(family=family, check="adapter on differs", ok=moved == len(prompts), moved=moved)
    with loaded.model.disable_adapter():
        say("adapter off equals stock transformers", greedy(3))
    with torch.no_grad():
        for parameter, value in raised:
            parameter.copy_(value)
    check_training(loaded, recipe, prompts, reference, family, results)


def tokens_of(loaded: Any, prompts: list[list[int]], slots: int) -> list[list[int]]:
    """Return the product's greedy tokens for prompts of token ids."""
    from alttrain_cli.engine.generate import complete
    from alttrain_cli.recipe.model import Sampling

    passing = dataclasses.replace(loaded, tokenizer=Passing(loaded.tokenizer))
    settings = Sampling(max_new_tokens=NEW, do_sample=False)
    texts = [json.dumps(prompt) for prompt in prompts]
    made = dict(complete(passing, texts, settings, slots=slots))
    return [json.loads(made[row].text) for row in range(len(prompts))]


def check_training(
    loaded: Any, recipe: Any, prompts: list[list[int]], reference: Reference, family: str, results: Any
) -> None:
    """One and many micro-batches, and an injected out-of-memory, give one loss and gradient norm."""
    import torch

    from alttrain_cli.structure.template import IGNORED, EncodedRow
    from alttrain_cli.training.memory_plan import Batching
    from alttrain_cli.training.reports import TrainingEvents
    from alttrain_cli.training.train import train

    rows = [EncodedRow(prompt, [IGNORED, *prompt[1:]]) for prompt in prompts]  # fewer than eight: one update
    trained = [p for p in loaded.model.parameters() if p.requires_grad]
    before = [p.detach().clone() for p in trained]

    def first_update(budget: int, fail_at: int = 0) -> tuple[float, float]:
        with torch.no_grad():
            for parameter, value in zip(trained, before, strict=True):
                parameter.copy_(value)
        calls, steps = [0], list[Any]()

        def fail(*_: Any) -> None:
            calls[0] += 1
            if calls[0] == fail_at:
                raise torch.OutOfMemoryError("CUDA out of memory (injected)")

        hook = loaded.model.register_forward_pre_hook(fail)
        try:
            with tempfile.TemporaryDirectory() as out:
                events = TrainingEvents(steps.append, lambda line: None)
                train(loaded, recipe, rows, Path(out), Batching(budget, False), events)
        finally:
            hook.remove()
        return steps[0].loss, steps[0].grad_norm

    one, many, failed = first_update(4096), first_update(60), first_update(120, fail_at=2)
    for name, (loss, norm) in (("many micro-batches", many), ("out of memory once", failed)):
        same = abs(loss / one[0] - 1) < 0.01 and abs(norm / one[1] - 1) < 0.05
        results.say(
            family=family, check=f"{name}: one loss", ok=same, loss=[one[0], loss], norm=[one[1], norm]
        )
    same = abs(one[0] / reference.loss - 1) < 0.01
    results.say(
        family=family, check="the loss is stock transformers'", ok=same, loss=[reference.loss, one[0]]
    )


if __name__ == "__main__":
    make_models(Path(sys.argv[1]), sys.argv[2:])
