"""What `alttrain eval` evaluates: which model, with which sampling, and where its files are."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alttrain_cli.backends.address import addresses, is_address, without_secrets
from alttrain_cli.backends.base import Backend
from alttrain_cli.backends.target import Target, find_target
from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.contamination import Training
from alttrain_cli.evaluation.plan import suite_dirs
from alttrain_cli.evaluation.presets import Preset
from alttrain_cli.evaluation.repair import command_for, facts_of, named
from alttrain_cli.recipe.layers import FALLBACK
from alttrain_cli.recipe.model import Recipe, Sampling
from alttrain_cli.storage.names import (
    earlier_model_file_name,
    model_file_name,
    safe_name,
    served_file_name,
    with_digest,
)
from alttrain_cli.storage.reading import is_file, is_folder, object_in
from alttrain_cli.storage.run import Run


@dataclass(frozen=True)
class EvalTarget:
    """A model in a run, in a folder or on the hub, a server's model, or a folder of evaluations alone."""

    root: Path
    model: Target | Backend | None = None  # a server's backend; None: only stored files are used
    word: str = ""  # that named it, where its folder does not

    @property
    def sampling(self) -> Sampling:
        recipe = self.model.recipe if isinstance(self.model, Target) else Recipe.load(FALLBACK)
        return recipe.generation

    @property
    def command(self) -> str:
        if self.word:
            return shlex.join(["alttrain", "eval", self.word])
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
        changed = recipe.changed({"model": {"system": system, "load_in_4bit": four_bit}})
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
    names = (model_file_name(name), earlier_model_file_name(name), safe_name(name, "--"))
    return EvalTarget(out or _folder(names, facts), model)


def served_target(backend: Backend, out: Path | None = None) -> EvalTarget:
    found = backend.fingerprint
    return EvalTarget(out or _served_root(found.model, found.server or "other"), backend)


@dataclass(frozen=True)
class LastBaseline:
    """The model that the last scorecard of a folder compares with, and where its evaluation may be."""

    name: str
    places: tuple[Path, ...]

    @classmethod
    def of(cls, root: Path) -> "LastBaseline | None":
        card = object_in(root / "scorecard.json")
        compared, suites = card.get("compared"), card.get("suites")
        if not isinstance(compared, dict):
            return None
        folders = [one.get("compared_folder") for one in suites or () if isinstance(one, dict)]
        places = [Path(folder).parent for folder in folders if isinstance(folder, str)]
        if compared.get("server"):
            places.append(_served_root(str(compared.get("model")), str(compared["server"])))
        return cls(str(compared.get("name")), tuple(dict.fromkeys(places)))

    def find(self) -> EvalTarget | None:
        """Return it; None if its evaluation is no longer there."""
        return next((EvalTarget(place) for place in self.places if suite_dirs(place)), None)


def existing_target(
    word: str, recipe: str | None = None, out: Path | None = None, command: str = "alttrain eval"
) -> EvalTarget:
    """Return the evaluated target: by its folder of evaluations, or by the word that names the model."""
    if out and not word:
        return EvalTarget(out)
    if word and suite_dirs(Path(word)):
        return EvalTarget(Path(word))
    if word and is_file(Path(word) / "plan.json"):
        raise DataError(f"{word}: is one suite of an evaluation. Name the whole: {named(Path(word).parent)}")
    url, _, model = word.strip().partition(" ")
    if model and is_address(url):
        server = without_secrets(addresses(url)[0])
        root = out or _served_root(model.strip(), server)
        return EvalTarget(root, word=f"{without_secrets(url)} {model.strip()}")
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
    earlier = (safe_name(f"{one}@{server}", "--") for one in (earlier_model_file_name(model), model))
    return _folder((served_file_name(model, server), *earlier), {"model": model, "server": server})


def _folder(names: Sequence[str], target: Mapping[str, str | None]) -> Path:
    """Return a folder in evals/, another one for each model; `names` are today's and earlier versions'.

    Up to version 0.1, several models could have the same folder. One that was made then is found if it is of
    this model: its plans have these values of `target`. One of another model is left alone.
    """
    found, *before = (Path("evals") / name for name in dict.fromkeys(names))
    plans = _targets(found)
    known = {key: value for key, value in target.items() if key != "name" and value is not None}
    is_foreign = bool(plans) and not any(_has(plan, known) for plan in plans)
    if is_folder(found) and not is_foreign:
        return found
    for place in before:
        if (plans := _targets(place)) and all(_has(plan, target) for plan in plans):
            return place
    return Path("evals") / with_digest(names[0], str(sorted(known.items()))) if is_foreign else found


def _has(plan: Mapping[str, Any], facts: Mapping[str, str | None]) -> bool:
    return all(plan.get(key) == value for key, value in facts.items())


def _targets(folder: Path) -> list[dict[str, Any]]:
    """Return the models that the plans in a folder are of."""
    found = (facts_of(path.parent).get("target") for path in sorted(folder.glob("*/plan.json")))
    return [one if isinstance(one, dict) else {} for one in found]
