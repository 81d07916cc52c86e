"""The work of `alttrain recipes`."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from alttrain_cli import console
from alttrain_cli.errors import RecipeError
from alttrain_cli.evaluation.judges import guards
from alttrain_cli.recipe.commented_yaml import with_sources, without_base
from alttrain_cli.recipe.difference import differences
from alttrain_cli.recipe.layers import read_layers
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.runs.data_files import data_files, options_of_newest
from alttrain_cli.storage.files import atomic_writer
from alttrain_cli.training.fit import (
    TYPICAL_LONGEST,
    best_recipe,
    find_machine,
    group_fits,
    judge_bits,
    shipped_fits,
)


def list_recipes(gpu: str, *, measure: bool) -> None:
    machine = find_machine(gpu)
    with console.status("Estimating memory and time ...", lines=False):
        fits = shipped_fits(machine, measure_again=measure)
    console.print_result([fit.record() for fit in fits])
    bits = {judge.name: judge_bits(judge.billions * 1e9, machine) for judge in guards.JUDGES}
    judges = bits if machine.gpu else {}  # a CPU takes too long
    console.print_recipe_fits(group_fits(fits), judges, machine.in_words, TYPICAL_LONGEST)
    console.print_next(_train(best_recipe(fits, machine), gpu))


def show(name: str, overrides: Sequence[str]) -> None:
    recipe, sources = Recipe.resolve(name, tuple(overrides))
    console.print_result(recipe.model_dump(mode="json"))
    console.print_text(with_sources(recipe, sources))


def diff(one: str, other: str) -> None:
    found = differences(one, other)
    console.print_result([difference._asdict() for difference in found])
    console.print_differences(one, other, found)


def copy(name: str, file: Path) -> None:
    if os.path.lexists(file):
        raise RecipeError(f"{file}: already exists. Choose another name.")
    layers = read_layers(name)
    alone = len(layers) == 1
    text = layers[0].text if alone else without_base(*Recipe.resolve(name), layers)
    with atomic_writer(file) as target:
        target.write(text)
    console.print_result({"copied": str(file)})
    console.print_lines([("copied:", file)])
    console.print_next(_train(str(file)))


def _train(recipe: str, gpu: str = "auto") -> str:
    """Return the command that plans a run: with the newest data file, or with the data of the recipe."""
    card = ["--gpu", gpu] if gpu != "auto" else []
    return shlex.join(
        ["alttrain", "train", "--recipe", recipe, *options_of_newest(data_files()), "--plan", *card]
    )
