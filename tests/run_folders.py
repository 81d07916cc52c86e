"""Run folders as training and evaluation leave them, and golden screens."""

import os
from pathlib import Path
from typing import Any

from typer.testing import Result

from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.files import write_json
from alttrain_cli.storage.run import Run
from tests.golden_files import check_golden
from tests.scorecards import before_and_after, card_of

PROBES = {
    "n": 12,
    "structured": 12,
    "asked": {"harmful": 6, "benign": 6},
    "refused": {"harmful": 6, "benign": 1},
}
TRAINED: dict[str, Any] = {
    "version": 1,
    "alttrain": "0.1.0",
    "python": "3.11.7",
    "begun": "2026-11-25T15:33:02+00:00",
    "recipe": "smollm2-135m",
    "overrides": [],
    "data": {
        "path": "demo/data.jsonl",
        "sha256": "6c4ee245658c" * 5 + "0000",
        "rows": 1550,
        "labels": {"harmful": 775, "benign": 775},
    },
    "device": "cpu",
    "base": {"name": "HuggingFaceTB/SmolLM2-135M-Instruct", "commit": None},
    "plan": {"steps": 388},
    "loss": {"first": 3.566, "last": 0.871},
    "steps": 388,
    "tokens_per_second": 480.2,
    "seconds_training": 300.9,
    "peak_memory_gib": 2.31,
}


def make(path: str, status: str = "finished", recipe: str = "smollm2-135m", **values: Any) -> Path:
    """A run as training leaves it: with two checkpoints, and an adapter if it is finished."""
    run = Run.create(Path(path), "run", Recipe.load(recipe).to_yaml())
    write_json(run.manifest_path, {**TRAINED, "status": status, **values})
    for step in (100, 200):
        folder = run.checkpoints_path / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "weights").touch()
        os.truncate(folder / "weights", 30_000_000)  # takes no room
        (folder / "complete.json").write_text("{}")
    if status == "finished":
        run.adapter_path.mkdir()
        (run.adapter_path / "adapter_model.safetensors").touch()
        os.truncate(run.adapter_path / "adapter_model.safetensors", 2_000_000)
    return run.path


def evaluate(run: Path, folder: Path) -> None:
    write_json(run / "eval" / "scorecard.json", card_of(*before_and_after(folder)).record())


def screen(name: str, result: Result) -> None:
    assert result.exit_code == 0, result.output
    assert all(len(line) <= 80 for line in result.output.splitlines() if not line.startswith("next: "))
    check_golden(f"{name}.txt", result.output)
