"""What `alttrain eval` evaluates: which model, with which sampling, and where its files are."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from alttrain_cli.backends.address import addresses, is_address, without_secrets
from alttrain_cli.backends.base import Backend
from alttrain_cli.backends.target import Target, find_target
from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.contamination import Training
from alttrain_cli.evaluation.plan import command_for, suite_dirs
from alttrain_cli.evaluation.presets import Preset
from alttrain_cli.recipe.layers import FALLBACK
from alttrain_cli.recipe.model import Recipe, Sampling
from alttrain_cli.storage.names import model_file_name, safe_name
from alttrain_cli.storage.reading import is_folder, object_in
from alttrain_cli.storage.run import Run


@dataclass(frozen=True)
class EvalTarget:
    """A model in a run, in a folder or on the hub, a server's model, or a folder of evaluations alone."""

    root: Path
    model: Target | Backend | None = None  # a server's backend; None: only stored files are used

    @property
    def sampling(self) -> Sampling:
        recipe = self.model.recipe if isinstance(self.model, Target) else Recipe.load(FALLBACK)
        return recipe.generation

    @property
    def command(self) -> str:
        if not isinstance(self.model, Target) or self.model.run:
            return command_for(self.root)
        base = self.model.recipe.model.name
        name = base if is_folder(Path(base)) else self.model.name
        return shlex.join(["alttrain", "eval", str(self.model.adapter or name)])

    @property
    def adapter(self) -> Path | None:
        return self.model.adapter if isinstance(self.model, Target) else None

    @property
    def run(self) -> Run:
        """The folder of the run, if it is one."""
        return Run(self.adapter.parent if self.adapter else self.root.parent)

    def with_preset(self, preset: Preset | None) -> "EvalTarget":
        """Return the same model with the system prompt and precision of a preset."""
        if preset is None or not isinstance(self.model, Target):
            return self
        recipe = self.model.recipe
        four_bit = recipe.model.load_in_4bit if preset.load_in_4bit is None else preset.load_in_4bit
        system = preset.system(recipe.model.name) or recipe.model.system
        model = recipe.model.model_copy(update={"system": system, "load_in_4bit": four_bit})
        changed = recipe.model_copy(update={"model": model})
        return replace(self, model=replace(self.model, recipe=changed))

    def training(self) -> Training | None:
        """Return the training data of a run; None for a model that was not trained here."""
        run = self.run
        trained = self.adapter is not None or self.root.name == "eval"
        return Training.of(run.manifest().data, run.path) if trained and run.recipe_path.is_file() else None


def local_target(model: Target, out: Path | None = None) -> EvalTarget:
    """Return a local model. Evaluations of a run are in its folder, those of other models in evals/."""
    if out is None and model.run:
        out = model.run.path / "eval"
    base = model.recipe.model.name
    name = base if model.adapter is None else str(model.adapter)
    facts = {"name": model.name, "model": base, "server": None}
    return EvalTarget(out or _folder(model_file_name(name), safe_name(name, "--"), facts), model)


def served_target(backend: Backend, out: Path | None = None) -> EvalTarget:
    found = backend.fingerprint
    return EvalTarget(out or _served_root(found.model, found.server or "other"), backend)


def earlier_baseline(root: Path) -> EvalTarget | None:
    """Return the model of a server that the last scorecard of a folder compares with."""
    compared = object_in(root / "scorecard.json").get("compared")
    if not isinstance(compared, dict) or not compared.get("server"):
        return None
    found = _served_root(str(compared.get("model")), str(compared["server"]))
    return EvalTarget(found) if suite_dirs(found) else None


def existing_target(
    word: str, recipe: str | None = None, out: Path | None = None, command: str = "alttrain eval"
) -> EvalTarget:
    """Return the evaluated target: by its folder of evaluations, or by the word that names the model."""
    if out and not word:
        return EvalTarget(out)
    if word and suite_dirs(Path(word)):
        return EvalTarget(Path(word))
    url, _, model = word.strip().partition(" ")
    if model and is_address(url):
        return EvalTarget(out or _served_root(model.strip(), without_secrets(addresses(url)[0])))
    return local_target(find_target(target_word(word, command), recipe), out)


def target_word(word: str, command: str = "alttrain eval") -> str:
    """Return the word that names a model; `command` is what was typed before it."""
    if word:
        return word
    runs = Run.trained()
    if not runs:
        raise DataError("No model given. To evaluate a base model: alttrain eval smollm2-135m")
    raise DataError(f"No model given. For your newest run: {command} {shlex.quote(str(runs[0]))}")


def _served_root(model: str, server: str) -> Path:
    """Return the folder of a server's model."""
    facts = {"model": model, "server": server}
    named, earlier = (safe_name(f"{one}@{server}", "--") for one in (model_file_name(model), model))
    return _folder(named, earlier, facts)


def _folder(named: str, earlier: str, target: Mapping[str, str | None]) -> Path:
    """Return a folder in evals/, another one for each model.

    Up to version 0.1, owner/model and owner--model had the same folder. One that was made then is found if
    it is of this model: its plans have these values of `target`.
    """
    found = Path("evals") / named
    before = Path("evals") / earlier
    if named == earlier or is_folder(found):
        return found
    plans = (object_in(plan).get("target") for plan in before.glob("*/plan.json"))
    mine = [isinstance(one, dict) and all(one.get(key) == target[key] for key in target) for one in plans]
    return before if mine and all(mine) else found
