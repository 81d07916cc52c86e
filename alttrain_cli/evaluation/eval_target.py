"""What `alttrain eval` measures: what is asked, with which settings, and where its files lie."""

from dataclasses import dataclass, replace
from pathlib import Path

from alttrain_cli import console
from alttrain_cli.backends.endpoint import Endpoint
from alttrain_cli.backends.target import Target, find_target
from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.contamination import Training
from alttrain_cli.evaluation.plan import suite_dirs
from alttrain_cli.evaluation.presets import Preset
from alttrain_cli.recipe.model import Recipe, Sampling
from alttrain_cli.storage.names import safe_name
from alttrain_cli.storage.run import Run

SERVED_LIKE = "r1-7b"  # whose generation settings a server is asked with


@dataclass(frozen=True)
class EvalTarget:
    """A model in a run, a folder or on the hub, a server, or a folder of evaluations alone."""

    root: Path
    asked: Target | Endpoint | None = None  # None: only its files are asked for

    @property
    def settings(self) -> Sampling:
        """The generation settings that go with it."""
        recipe = self.asked.recipe if isinstance(self.asked, Target) else Recipe.load(SERVED_LIKE)
        return recipe.generation

    @property
    def adapter(self) -> Path | None:
        """The adapter of a trained target."""
        return self.asked.adapter if isinstance(self.asked, Target) else None

    def compared(self, word: str | None) -> "EvalTarget | None":
        """Return what it is compared with: by default a trained model with its base.

        Raises:
            DataError: if it has no base, or the word is nothing that is known.
        """
        if word == "none" or (word is None and self.adapter is None):
            return None
        if word not in (None, "base"):
            return found(str(word), None, None)
        if not isinstance(self.asked, Target) or self.adapter is None:
            raise DataError("--compare base: only a run or an adapter has a base. Name what to compare with.")
        return EvalTarget(_root(self.asked.base), self.asked.base)

    def like(self, preset: Preset) -> "EvalTarget":
        """Return the same asked as a preset asks it."""
        if not isinstance(self.asked, Target):
            return self
        recipe = self.asked.recipe
        four_bit = recipe.model.load_in_4bit if preset.load_in_4bit is None else preset.load_in_4bit
        system = preset.system(recipe.model.name) or recipe.model.system
        model = recipe.model.model_copy(update={"system": system, "load_in_4bit": four_bit})
        changed = recipe.model_copy(update={"model": model})
        return replace(self, asked=Target(self.asked.name, changed, self.adapter))

    def trained_with(self) -> str | None:
        """Return the fingerprint of the template that a run was trained with."""
        template = Run(self.adapter.parent).manifest().get("template") if self.adapter else None
        return str(template) if template else None

    def training(self) -> Training | None:
        """Return what a run was trained on; None for what was not trained here."""
        run = Run(self.adapter.parent if self.adapter else self.root.parent)
        trained = self.adapter is not None or self.root.name == "eval"
        return Training.of(run.manifest(), run.path) if trained and run.recipe_path.is_file() else None


def local(what: str, recipe: str | None, out: Path | None) -> EvalTarget:
    """Return a model on this machine or on the hub.

    Raises:
        DataError: if nothing is named.
    """
    if not what:
        raise DataError("Say what to measure: alttrain eval RUN, or a recipe's name for its base model.")
    target = find_target(what, recipe)
    return EvalTarget(out or _root(target), target)


def server(base_url: str, model: str | None, out: Path | None) -> EvalTarget:
    """Return a model behind a server."""
    endpoint = Endpoint.find(base_url, model, console.print_warning)
    return EvalTarget(
        out or Path("evals") / safe_name(f"{endpoint.model}@{endpoint.address}", "--"), endpoint
    )


def found(what: str, recipe: str | None, out: Path | None) -> EvalTarget:
    """Return a subject whose files are there: by its folder of evaluations, or as `local` does."""
    if out and not what:
        return EvalTarget(out)
    if what and suite_dirs(Path(what)):
        return EvalTarget(Path(what))
    return local(what, recipe, out)


def _root(target: Target) -> Path:
    """Return where a target's evaluations lie: in the run itself, else under evals/."""
    if target.adapter and (target.adapter.parent / "recipe.yaml").is_file():
        return target.adapter.parent / "eval"
    name = target.recipe.model.name if target.adapter is None else str(target.adapter)
    return Path("evals") / safe_name(name, "--")
