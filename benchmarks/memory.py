"""The memory plan beside PyTorch's own memory tracker, at true shapes, without weights and without a GPU.

    python benchmarks/memory.py [RECIPE...] [--tokens 4096]

A plain transformers model with the recipe's shape is made of fake tensors. It computes the gradients of one
row, for an adapter over 16-bit weights and for all weights, with activations kept and computed twice. It is
not the first micro-batch of its update, so the gradients are there already. The tracker counts every tensor,
the optimiser's states too. As Unsloth does on a GPU, the loss is computed in pieces, and where activations
are computed twice, the inputs of the layers are in main memory. GiB, without what CUDA itself takes.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from measuring import parser_of, print_machine, read_options
from torch._subclasses import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, AutoModelForCausalLM

from alttrain_cli.console import print_table
from alttrain_cli.engine.machine import GIB, Machine
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.training.memory_plan import LOGITS_AT_ONCE, Batching, needed_memory

RECIPES = ("r1-1.5b", "r1-7b", "r1-8b", "r1-14b")
FAMILIES = {"r1-8b": "llama", "qwen3": "qwen3"}  # of the layers; the others have Qwen2's
PLAIN = ("model.load_in_4bit=false", "train.optim=adamw_torch")
# The layers that are counted. Each further one adds as much; to count all takes minutes. With all weights the
# peak of few layers is elsewhere: at the head, not where all gradients are there.
LAYERS, LAYERS_FULL = (2, 4), (8, 12)
WAYS = ((), ("model.full_finetuning=true",))


class Case(NamedTuple):
    """What the plan says of one update, and what the tracker counts."""

    recipe: str
    trains: str
    recomputed: bool
    planned: float
    tracked: float

    @property
    def error(self) -> float:
        """By how much the plan is off."""
        return self.planned / self.tracked - 1


def compare(recipe: Recipe, tokens: int, *, recomputed: bool) -> Case:
    """Plan and track one update of one row."""
    memory = needed_memory(recipe, tokens, Batching(tokens, recomputed), Machine.card(80))
    full = recipe.model.full_finetuning
    layers = LAYERS_FULL if full else LAYERS
    few, more = (track(_with_layers(recipe, count), tokens, recomputed=recomputed) for count in layers)
    per_layer = (more - few) / (layers[1] - layers[0])
    tracked = more + per_layer * (recipe.model.sizes.num_hidden_layers - layers[1])
    planned = (sum(memory) - memory.context) / GIB
    return Case(recipe.name, "all weights" if full else "an adapter", recomputed, planned, tracked)


def _with_layers(recipe: Recipe, layers: int) -> Recipe:
    shape = recipe.model.sizes.model_copy(update={"num_hidden_layers": layers})
    return recipe.changed({"model": {"shape": shape}})


def track(recipe: Recipe, tokens: int, *, recomputed: bool) -> float:
    """Return the peak of one update in GiB."""
    with FakeTensorMode():
        model = _model(recipe)
        trained = [one for one in model.parameters() if one.requires_grad]
        optimiser = torch.optim.AdamW(trained)
        for one in trained:  # as after the first update
            state = {"exp_avg": torch.zeros_like(one), "exp_avg_sq": torch.zeros_like(one)}
            optimiser.state[one] = {"step": torch.zeros(()), **state}
            one.grad = torch.zeros_like(one)  # as after the first micro-batch
        tracker = MemTracker()
        tracker.track_external(model, optimiser)
        with tracker:
            _loss(model, tokens, recomputed=recomputed).backward()
        peaks = tracker.get_tracker_snapshot("peak").values()
        return float(sum(peak["Total"] for peak in peaks)) / GIB


def _model(recipe: Recipe) -> Any:
    shape = recipe.model.sizes
    family = next((kind for name, kind in FAMILIES.items() if recipe.name.startswith(name)), "qwen2")
    config = AutoConfig.for_model(family, **shape.model_dump(), max_position_embeddings=131_072)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    if recipe.model.full_finetuning:
        return model
    for module in [*model.modules()]:  # the tracker takes every parameter for a trained one
        for name, weight in [*module.named_parameters(recurse=False)]:
            delattr(module, name)
            module.register_buffer(name, weight.detach())
    for layer in model.model.layers:
        for part in (layer.self_attn, layer.mlp):
            for name in recipe.lora.target_modules:
                if hasattr(part, name):
                    setattr(part, name, Adapted(getattr(part, name), recipe.lora.r))
    return model


class Adapted(torch.nn.Module):  # type: ignore[misc]
    """A projection with an adapter in 32 bits that computes in 16, as Unsloth has it on a GPU."""

    def __init__(self, base: torch.nn.Linear, r: int) -> None:
        super().__init__()
        self.base = base
        self.down = torch.nn.Parameter(torch.empty(r, base.in_features))
        self.up = torch.nn.Parameter(torch.empty(base.out_features, r))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the outputs, (rows, tokens, numbers)."""
        down, up = self.down.to(inputs.dtype), self.up.to(inputs.dtype)
        inner = torch.nn.functional.linear(inputs, down)
        return self.base(inputs) + torch.nn.functional.linear(inner, up)


def _loss(model: Any, tokens: int, *, recomputed: bool) -> Any:
    """Return the loss of one row, layer by layer."""
    inner = model.model
    ids = torch.zeros(1, tokens, dtype=torch.long)
    hidden = inner.embed_tokens(ids).requires_grad_()  # of an adapter, the first layer has trained weights
    positions = torch.arange(tokens)[None]
    angles = inner.rotary_emb(hidden, positions)
    for layer in inner.layers:
        if recomputed:
            with _in_main_memory():
                hidden = checkpoint(layer, hidden, position_embeddings=angles, use_reentrant=False)
        else:
            hidden = layer(hidden, position_embeddings=angles)
    hidden = inner.norm(hidden)
    pieces = [_piece(model, piece) for piece in hidden[0].split(LOGITS_AT_ONCE)]
    return torch.stack(pieces).sum()


def _piece(model: Any, hidden: Any) -> Any:
    """Return the loss of some tokens; their logits are computed again backwards."""

    def loss(hidden: Any) -> Any:
        labels = torch.zeros(len(hidden), dtype=torch.long)
        logits = torch.nn.functional.linear(hidden, model.lm_head.weight)  # the tracker takes one call
        return torch.nn.functional.cross_entropy(logits.float(), labels, reduction="sum")

    return checkpoint(loss, hidden, use_reentrant=False)


def _in_main_memory() -> Any:
    """Save tensors outside the memory that is counted while the block lasts."""
    return torch.autograd.graph.saved_tensors_hooks(
        lambda saved: (saved.shape, saved.dtype), lambda kept: torch.empty(kept[0], dtype=kept[1])
    )


def cases(names: list[str], tokens: int, *, quick: bool) -> Iterator[Case]:
    """Yield all ways to train the recipes' models; the first alone if it is to be quick."""
    for name in names:
        for way in WAYS[:1] if quick else WAYS:
            recipe = Recipe.load(name, (*PLAIN, *way))
            for recomputed in (True,) if quick else (False, True):
                yield compare(recipe, tokens, recomputed=recomputed)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("recipes", nargs="*", default=[*RECIPES])
    parser.add_argument("--tokens", type=int, default=4096)
    options = read_options(parser, recipes=["r1-1.5b"], tokens=512)
    print_machine()
    found = []
    for case in cases(options.recipes, options.tokens, quick=options.quick):
        found.append(case)
        print(f"{case.recipe} {case.trains}: {case.tracked:.1f} GiB", flush=True)
    print_table(
        ("model", "trains", "activations", "plan", "tracker", "plan is off by"),
        [
            (case.recipe, case.trains, "computed twice" if case.recomputed else "kept",
             f"{case.planned:.1f}", f"{case.tracked:.1f}", f"{case.error:+.0%}")
            for case in found
        ],
    )  # fmt: skip


if __name__ == "__main__":
    main()
