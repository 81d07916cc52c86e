"""Starts or resumes a run: consistency checks and the initial manifest."""

import platform
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alttrain_cli import __version__
from alttrain_cli.backends.fingerprints import LIBRARIES
from alttrain_cli.errors import RecipeError, RunError
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.checkpoints import finished_steps
from alttrain_cli.storage.files import explain_write_errors
from alttrain_cli.storage.run import Run
from alttrain_cli.storage.run_records import BaseRecord, DataRecord, Manifest, WordsRecord
from alttrain_cli.structure.verdict_words import VerdictWords
from alttrain_cli.training.rows import TrainingRows

if TYPE_CHECKING:
    from alttrain_cli.engine.load import LoadedModel


def check_trackers(recipe: Recipe) -> None:
    """Check that the experiment trackers in `train.report_to` are installed. TRL does the rest."""
    names = (recipe.train.model_extra or {}).get("report_to") or []
    for name in [names] if isinstance(names, str) else names:
        if name not in ("none", "all") and util.find_spec(str(name)) is None:
            raise RecipeError(
                f"train.report_to: {name} is not installed. Install it: pip install {name}, "
                "or remove the key."
            )


def open_for_resume(out: Path, recipe: Recipe, data_sha256: str, data: Path) -> Run:
    """Open an interrupted run to resume it."""
    with explain_write_errors(out):
        if not out.is_dir():
            raise RunError(f"{out}: there is no run to resume. Train without --resume.")
    run = Run.to_write(out)
    if not run.manifest_path.exists():
        if run.is_untouched(recipe.to_yaml()):  # killed before it started
            run.save_recipe(recipe.to_yaml())
            return run
        raise RunError(
            f"{out}: holds no run to resume, but other files (and no manifest.json). Choose another --out."
        )
    before = run.manifest()
    if before.data is None:
        raise RunError(f"{run.manifest_path}: not the manifest of a run. Choose another --out.")
    if before.status == "finished":
        command = shlex.join(["alttrain", "chat", str(out), "-p", "..."])
        raise RunError(f"{out}: this run is already finished. To try it: {command}")
    if before.data.sha256 != data_sha256:
        raise RunError(
            f"{out}: cannot resume, because {data} differs from the data that this run started with. "
            "Use the original file or start a new run."
        )
    # The rows were compared by their hash; older runs name no data in their recipe.
    if Recipe.load(str(run.recipe_path)).without_data() != recipe.without_data():
        raise RunError(
            f"{out}: cannot resume, because the recipe or the --set values have changed. "
            f"Use the original ones or start a new run. {run.resume_hint()}"
        )
    return run


def check_resumed(run: Run, before: Manifest, loaded: "LoadedModel", base: BaseRecord) -> list[str]:
    """Compare what is loaded with what the run started with; return what differs but may."""
    if before.template not in (None, loaded.template.fingerprint):
        raise RunError(
            f"{run.path}: the model's chat template has changed since this run started, so the rows would be "
            "rendered differently. Start a new run. To avoid this in future, pin the model with "
            "--set model.revision=COMMIT"
        )
    if before.base and before.base.weights not in (None, base.weights):
        raise RunError(
            f"{run.path}: the weights of {base.name} have changed since this run started. "
            "Use the original ones or start a new run."
        )
    libraries = installed_versions()
    changed = [
        f"{name} {libraries[name]} instead of {version}"
        for name, version in before.libraries.items()
        if libraries.get(name, version) != version
    ]
    if before.device not in ("", loaded.device):
        changed.append(f"{loaded.device} instead of {before.device}")
    return [f"resumed after step {finished_steps(run.checkpoints_path)} with {one}" for one in changed]


def installed_versions() -> dict[str, str]:
    """Return the versions of the libraries that train."""
    return {name: metadata.version(name) for name in (*LIBRARIES, "trl")}


def initial_manifest(
    recipe: Recipe, data: TrainingRows, overrides: Sequence[str], before: Manifest
) -> dict[str, Any]:
    """Return the keys of a manifest that are known before anything is loaded; `before`: of a resumed run.

    That one may be resumed with its own recipe, which contains its --set values. They stay noted.
    """
    words = VerdictWords.of(row.assessment for row in data.rows)
    return {
        "version": 1,
        "alttrain": __version__,
        "python": platform.python_version(),
        "libraries": installed_versions(),
        "begun": before.begun or datetime.now(UTC).isoformat(timespec="seconds"),
        "recipe": recipe.name,
        "overrides": before.overrides if before.data else list(overrides),
        "seed": recipe.train.seed,
        "data": DataRecord(
            path=str(data.path), sha256=data.sha256, rows=len(data.rows), labels=dict(data.labels)
        ),
        "order": data.order,
        "verdict_words": WordsRecord(harmful=words.harmful, benign=words.benign),
        "status": "started",
        **({"error": ""} if before.error else {}),
    }
