"""What a word on the command line names if it is no server: a run, an adapter, or a base model."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alttrain_cli.errors import ModelError, RecipeError
from alttrain_cli.recipe.layers import FALLBACK, shipped_recipes
from alttrain_cli.recipe.model import Lora, Recipe
from alttrain_cli.recipe.shape import Shape
from alttrain_cli.storage.names import is_hub_id
from alttrain_cli.storage.reading import is_file, is_folder, object_in
from alttrain_cli.storage.run import EXPORTED_RECIPE, Run
from alttrain_cli.structure.sections import THOUGHTS, Order, order_of
from alttrain_cli.structure.verdict_form import VerdictForm, words_of
from alttrain_cli.structure.verdict_words import NO_ASSESSMENT, VerdictWords
from alttrain_cli.text import did_you_mean, suggest

_SLIP = 0.85  # how alike a name and that of a run are that is meant; hub ids and runs are less


@dataclass(frozen=True)
class Target:
    """A base model by its recipe, with an adapter on it or without.

    `order` is that of the sections that the adapter was trained to write. A run's base keeps it, so that
    both are read alike. `words` are those of an export's verdicts: a run has them in its own files.
    """

    name: str
    recipe: Recipe
    adapter: Path | None = None
    order: Order = THOUGHTS
    words: VerdictWords | None = None

    @property
    def base(self) -> "Target":
        return Target(self.recipe.model.name, self.recipe, order=self.order)

    @property
    def holds_base(self) -> bool:
        """Whether its weights are the base's, or those with an adapter that can be switched off."""
        if self.adapter is not None:
            return not self.recipe.model.full_finetuning
        return not is_file(Path(self.recipe.model.name) / EXPORTED_RECIPE)  # a merged export

    @property
    def run(self) -> Run | None:
        """The run that contains the adapter."""
        run = Run(self.adapter.parent) if self.adapter else None
        return run if run and run.recipe_path.is_file() else None

    @property
    def trained_template(self) -> str | None:
        """The fingerprint of the template that its run was trained with."""
        return self.run.manifest().template if self.run else None

    @property
    def verdict_words(self) -> VerdictWords:
        """The words of the verdicts in the rows that it was trained on, or the usual ones if unknown."""
        if self.words is not None:
            return self.words
        return words_of(self.run) if self.run else VerdictWords()

    @property
    def unscored(self) -> str:
        """Why its verdicts have no score; empty if they have one."""
        if self.adapter is None and self.holds_base:
            return "a model without an adapter of alttrain has not learned to write a verdict"
        if "assessment" not in self.order:
            return NO_ASSESSMENT
        return self.verdict_words.problem

    def check_comparable(self) -> None:
        """Make sure that there is an adapter that can be switched off."""
        if self.adapter is None:
            raise ModelError(
                f"{self.name} has no adapter, so there is no base model to compare it with. "
                "Give a run: alttrain chat RUN --compare"
            )
        if self.recipe.model.full_finetuning:
            raise ModelError(
                f"{self.name} was fully fine-tuned, so it has no adapter to switch off. Chat with it, then "
                "with its base model (--base), or compare both with: alttrain eval RUN"
            )


def find_target(what: str, recipe: str | None = None, also: Sequence[str] = ()) -> Target:
    """Return the meaning of a word on the command line. Loads nothing.

    `what` is a run folder, a folder with an adapter, a folder with a model, the name or file of
    a recipe (its base model), or a model's hub id; `recipe` says with whose settings to load a
    folder or a hub id that belongs to no run. A folder with a model comes before a recipe of its name.
    `also` are other words that an option takes: an error may suggest one.
    """
    path = Path(what)
    if is_folder(path) and (found := _folder(path, recipe)):
        return found
    if what.endswith((".yaml", ".yml")) or what in {file.stem for file in shipped_recipes()}:
        named = Recipe.load(what)
        return Target(named.name, named)
    if is_folder(path) and any(path.glob("*.gguf")):
        raise ModelError(f"{path}: holds GGUF files, for llama.cpp. Name the run, or an export to merged.")
    if is_folder(path):
        raise ModelError(f"{path}: contains no run, no adapter and no model. To list the runs: alttrain runs")
    if is_hub_id(what) and not what.startswith("runs/"):
        if recipe is None:
            _check_no_slip(what)
        return Target(what, _recipe_of(what, recipe))
    known = [*also, *map(str, Run.trained()), *(file.stem for file in shipped_recipes())]
    hint = suggest(what, known, "To list what there is: alttrain runs, alttrain recipes")
    raise RecipeError(f"{what}: neither a run, an adapter, a model folder nor a recipe. {hint}")


def _check_no_slip(what: str) -> None:
    """Refuse a mistyped folder that could be a hub id: the hub would take minutes to answer.

    It is one if its first part is a folder here, or if a known run has almost the same name. A model of a
    recipe is never one.
    """
    if what in {Recipe.load(str(path)).model.name for path in shipped_recipes()}:
        return
    folder = Path(what).parent
    here = [one for one in sorted(folder.iterdir()) if is_folder(one)] if is_folder(folder) else []
    near = did_you_mean(what, map(str, here or Run.trained()), 0.6 if here else _SLIP)
    if not near and not is_folder(folder):
        return
    problem = f"{what}: no such folder in {folder}" if is_folder(folder) else f"{what}: no such run"
    on_hub = "If it is a model on the hub, type the command in another folder."
    raise RecipeError(" ".join(filter(None, (f"{problem}.", near, on_hub))))


def _folder(path: Path, recipe: str | None) -> Target | None:
    """Return what a folder holds, if it is a run, an adapter or a model."""
    if (path / "recipe.yaml").is_file():
        run = Run.open(path)
        return Target(_name_of(path), Recipe.of_run(run), run.adapter_path, order_of(run))
    if (path / "adapter_config.json").is_file():
        found = _recipe_of_adapter(path, recipe)
        if (run := Run(path.parent)).recipe_path.is_file():
            return Target(_name_of(path), found, path, order_of(run))
        form = VerdictForm.in_folder(path)
        return Target(_name_of(path), found, path, form.order, form.words)
    if (path / "config.json").is_file():
        found = _recipe_of_export(path) if recipe is None else _recipe_of(str(path), recipe)
        form = VerdictForm.in_folder(path)
        return Target(_name_of(path), found, None, form.order, form.words)
    return None


def _name_of(path: Path) -> str:
    """Return the name of a folder, also of one that is named by `.` or `..`"""
    return (path.resolve() if path.name in ("", "..") else path).name or str(path)


def _recipe_of_export(path: Path) -> Recipe:
    """Return the settings that an exported model was trained with, or the standard ones for a model."""
    if not (path / EXPORTED_RECIPE).is_file():
        return _recipe_of(str(path), None)
    trained = Recipe.load(str(path / EXPORTED_RECIPE))
    # its chat template holds the system prompt already
    whole = trained.changed({"model": {"system": None, "full_finetuning": False}})
    return _for_model(whole, str(path), None, trained.model.shape)


def _recipe_of_adapter(path: Path, recipe: str | None) -> Recipe:
    """Return the recipe of the run that contains the adapter, or one made from its config."""
    if recipe is None and (path.parent / "recipe.yaml").is_file():
        return Recipe.of_run(Run(path.parent))
    if recipe is None and (path / EXPORTED_RECIPE).is_file():
        return Recipe.load(str(path / EXPORTED_RECIPE))
    config = object_in(path / "adapter_config.json")
    base = config.get("base_model_name_or_path")
    if recipe is None and not base:
        raise ModelError(f"{path}: the base model is not named. Name it: --recipe NAME")
    revision = config.get("revision")
    revision = revision if isinstance(revision, str) else None
    found = Recipe.load(recipe) if recipe else _recipe_of(str(base), None, revision)
    try:
        lora = Lora(
            r=config["r"],
            lora_alpha=config["lora_alpha"],
            lora_dropout=0.0,
            target_modules=tuple(sorted(config["target_modules"])),
        )
    except (KeyError, TypeError, ValueError):
        raise ModelError(
            f"{path}: adapter_config.json does not describe a LoRA adapter. Copy it again."
        ) from None
    return found.model_copy(update={"lora": lora})


def _recipe_of(model: str, recipe: str | None, revision: str | None = None) -> Recipe:
    """Return the recipe that names a model, or a given or the standard one for that model.

    Unsloth's 4-bit copy of a recipe's model is loaded as it is named, with that recipe's settings.
    """
    if recipe is None:
        shipped = [Recipe.load(str(path)) for path in shipped_recipes()] if is_hub_id(model) else []
        for named in shipped:
            if named.model.name == model:
                return named.pinned(revision)
        for named in shipped:
            if _copied(model) == named.model.name.rpartition("/")[2].lower():
                return _for_model(named, model, revision, named.model.shape)
    return _for_model(Recipe.load(recipe or FALLBACK), model, revision, None)


def _for_model(like: Recipe, model: str, revision: str | None, shape: Shape | None) -> Recipe:
    update = {"name": model, "revision": revision, "package": None, "shape": shape}
    named = {"name": _name_of(Path(model)), "model": like.model.model_copy(update=update)}
    return like.model_copy(update=named)


def _copied(model: str) -> str:
    """Return of which model Unsloth's repository is a copy, in small letters without its owner."""
    copied = re.fullmatch(r"unsloth/(.+?)((-unsloth)?-bnb-4bit)?", model.lower())
    return copied[1] if copied else ""
