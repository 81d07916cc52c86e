"""Begins a run, or goes on with one: what must agree, and what its manifest says from the start."""

import platform
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from alttrain_cli import __version__
from alttrain_cli.errors import DataError, RunError
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.files import sha256, writable
from alttrain_cli.storage.run import Run
from alttrain_cli.structure.row import Row, read_rows

LIBRARIES = ("unsloth", "torch", "transformers", "trl", "peft", "bitsandbytes")


def read_both_labels(data: Path) -> list[Row]:
    """Read the rows of a data file that can teach something.

    Raises:
        DataError: as `read_rows`, or if one of the labels is missing.
    """
    rows = read_rows(data)
    labels = {row.label for row in rows}
    for label, lesson in (("benign", "refuse everything"), ("harmful", "answer everything")):
        if label not in labels:
            raise DataError(
                f"{data}: no {label} rows; the model would learn to {lesson}. Mix some in: "
                f"alttrain build-data --source FILE --source starter"
            )
    return rows


def reopen(out: Path, recipe: Recipe, data: Path) -> Run:
    """Open an interrupted run to go on with it.

    Raises:
        RunError: if there is none, or data or recipe are not those that it was begun with.
    """
    with writable(out):
        if not out.is_dir():
            raise RunError(f"{out}: no run to resume. Train without --resume.")
    run = Run.found(out)
    before = run.manifest()
    if not before and run.is_untouched(recipe):  # killed before it had begun
        run.begin(recipe)
        return run
    if not before:
        raise RunError(
            f"{out}: holds no run to resume, but other files (and no manifest.json). Choose another --out."
        )
    if not isinstance(before.get("data"), dict) or "status" not in before:
        raise RunError(f"{run.manifest_path}: not that of a run. Choose another --out.")
    if before["status"] == "finished":
        raise RunError(f"{out}: is finished. See it: alttrain chat {out} -p '...'")
    if before["data"].get("sha256") != sha256(data):
        raise RunError(f"{out}: was begun with other data than {data} is now. Train a new run.")
    if run.recipe() != recipe:
        raise RunError(f"{out}: was begun with another recipe or --set. Train a new run.")
    return run


def check_template(run: Run, fingerprint: str) -> None:
    """Refuse to go on where rows would be rendered in another way than before.

    Raises:
        RunError: if the template's fingerprint is not the one in the manifest.
    """
    before = run.manifest().get("template")
    if before is not None and before != fingerprint:
        raise RunError(
            f"{run.path}: the model's chat template has changed since this run began, so its rows would "
            "read otherwise. Train a new run, or pin the model: --set model.revision=COMMIT"
        )


def facts(recipe: Recipe, data: Path, rows: Sequence[Row], overrides: Sequence[str]) -> dict[str, Any]:
    """Return what a manifest says before anything is loaded."""
    return {
        "alttrain": __version__,
        "python": platform.python_version(),
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
        "begun": datetime.now(UTC).isoformat(timespec="seconds"),
        "recipe": recipe.name,
        "overrides": list(overrides),
        "seed": recipe.train.seed,
        "data": {
            "path": str(data),
            "sha256": sha256(data),
            "rows": len(rows),
            "labels": dict(Counter(row.label for row in rows)),
        },
    }
