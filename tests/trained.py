"""A run of a tiny model with a random adapter: as training leaves it, made in a second."""

from pathlib import Path

from alttrain_cli.backends.local import LocalBackend
from alttrain_cli.backends.target import Target
from alttrain_cli.library_output import capture_output
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.run import Run
from alttrain_cli.storage.run_records import BaseRecord
from tests.tiny import SHAPE, write_model


def write_run(folder: Path, family: str, kind: str, recipe: str, *overrides: str) -> Run:
    """Write a base model and a run over it."""
    base = write_model(folder / "base", kind, family)
    changes = (f"model.name={base}", "model.package=null", "model.shape=null", "model.load_in_4bit=false")
    changes += (f"train.max_length={SHAPE['max_position_embeddings']}",)
    found = Recipe.load(recipe, (*changes, "lora.r=4", "generation.max_new_tokens=24", *overrides))
    return write_run_of(found, folder / "run", strength=0.3)


def load_backend(folder: Path, family: str = "smollm2") -> LocalBackend:
    """Write such a run, with the recipe of the embedded model and by default a tokenizer like its own, and load it."""
    run = write_run(folder, family, "llama", "smollm2-135m")
    with capture_output(None):
        return LocalBackend.load(Target("run", Recipe.of_run(run), run.adapter_path))


def write_run_of(found: Recipe, folder: Path, *, strength: float) -> Run:
    """Write a run over a recipe's base model; `strength` is that of the adapter's random weights."""
    with capture_output(None):
        import torch
        import unsloth  # noqa: F401

        from alttrain_cli.engine.load import load_base
        from alttrain_cli.training.checks import probe_logits, save_adapter

        loaded = load_base(found, training=True)
        untrained = probe_logits(loaded)
        torch.manual_seed(1)
        for name, weight in loaded.model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=strength)
        run = Run.create(folder, found.name, found.to_yaml())
        run.update_manifest(
            status="finished",
            recipe=found.name,
            base=BaseRecord(name=found.model.name),
            template=loaded.template.fingerprint,
            checks=save_adapter(loaded, run.adapter_path, untrained),
        )
    return run
