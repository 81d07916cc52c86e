"""Starts or resumes a run: consistency checks and the initial manifest."""

import platform
import shlex
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alttrain_cli import __version__
from alttrain_cli.backends.fingerprints import LIBRARIES
from alttrain_cli.engine.source import check_max_length
from alttrain_cli.errors import RecipeError, RunError
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.checkpoints import finished_steps
from alttrain_cli.storage.data_manifest import read_data_manifest
from alttrain_cli.storage.files import explain_write_errors
from alttrain_cli.storage.run import Run
from alttrain_cli.storage.run_records import BaseRecord, DataRecord, Manifest, WordsRecord
from alttrain_cli.structure.verdict_words import VerdictWords
from alttrain_cli.training.rows import TrainingRows

if TYPE_CHECKING:
    from alttrain_cli.engine.load import LoadedModel


# The package that a tracker or an optimiser needs, where it has another name: value -> package.
_TRACKERS = {"azure_ml": "azureml-core", "flyte": "flytekit"}
_OPTIMISERS = {
    **{"galore": "galore-torch", "apollo": "apollo-torch", "lomo": "lomo-optim", "adalomo": "lomo-optim"},
    **{"grokadamw": "grokadamw", "schedule_free": "schedulefree", "stable_adamw": "torch-optimi"},
    **{"adamw_anyprecision": "torchdistx", "adamw_torch_xla": "torch-xla", "adamw_torch_npu": "torch-npu"},
    **{"adamw_torch_4bit": "torchao", "adamw_torch_8bit": "torchao", "adamw_bnb": "bitsandbytes"},
    **dict.fromkeys(("adamw_8bit", "ademamix", "lion", "paged", "rmsprop_bnb"), "bitsandbytes"),
}
_MODULES = {"azureml-core": "azureml", "torch-optimi": "optimi"}  # others have their package's name


def check_recipe(recipe: Recipe, *, trains: bool) -> None:
    """Check what can be known of a recipe before its model is loaded; packages only where it `trains`."""
    check_max_length(recipe)
    if trains:
        check_packages(recipe)


def check_packages(recipe: Recipe) -> None:
    """Check that the packages for a recipe's trackers, optimiser and kernels are installed.

    TRL and transformers would miss them only when the model is loaded, and some of them with a traceback.
    """
    for key, value, package in _needed(recipe):
        if util.find_spec(_MODULES.get(package, package.replace("-", "_"))) is None:
            why = f", which {value} needs," if value else ""
            raise RecipeError(
                f"train.{key}: {package}{why} is not installed. Install it: pip install {package}, "
                "or remove the key."
            )


def _needed(recipe: Recipe) -> Iterator[tuple[str, str, str]]:
    """Yield setting, value and package; no value where it has the name of the package."""
    settings = recipe.train.model_dump()
    names = settings.get("report_to") or []
    for name in [names] if isinstance(names, str) else names:
        if name not in ("none", "all", "kubeflow"):  # this one is transformers' own
            package = _TRACKERS.get(name, name)
            yield "report_to", "" if name == package else name, package
    optimiser = settings["optim"]
    longest = max((name for name in _OPTIMISERS if optimiser.startswith(name)), key=len, default=None)
    if longest:
        yield "optim", optimiser, _OPTIMISERS[longest]
    if settings.get("use_liger_kernel"):
        yield "use_liger_kernel", "", "liger-kernel"


def open_for_resume(out: Path, recipe: Recipe, data_sha256: str, data: Path) -> Run:
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
        command = shlex.join(["alttrain", "chat", str(out)])
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
    return {name: metadata.version(name) for name in (*LIBRARIES, "trl")}


def _data_record(data: TrainingRows, before: Manifest) -> DataRecord:
    """Return what the run keeps of its data, which may be moved or deleted, also before it is resumed."""
    found = read_data_manifest([data.path], data.sha256) or (before.data and before.data.manifest)
    record = DataRecord(
        path=str(data.path), sha256=data.sha256, rows=len(data.rows), labels=dict(data.labels)
    )
    return record.model_copy(update={"manifest": found}) if found else record


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
        "data": _data_record(data, before),
        "order": data.order,
        "verdict_words": WordsRecord(harmful=words.harmful, benign=words.benign),
        "status": "started",
        **({"error": ""} if before.error else {}),
    }
