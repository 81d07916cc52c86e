"""Examines a model by its tokenizer alone: how it renders one row of training."""

from pathlib import Path
from typing import NamedTuple

from alttrain_cli.backends.target import Target
from alttrain_cli.doctor.finding import Finding, note, ok, problem
from alttrain_cli.doctor.traps import find_traps
from alttrain_cli.engine.source import prepare
from alttrain_cli.engine.torch_probe import without_torch
from alttrain_cli.errors import AlttrainError, ModelError
from alttrain_cli.library_output import capture_output
from alttrain_cli.storage.run import EXPORTED_RECIPE
from alttrain_cli.structure.row import Row
from alttrain_cli.structure.spans import Span, spans
from alttrain_cli.structure.template import RenderError, Template


class ModelFindings(NamedTuple):
    """What is wrong with a model's tokenizer, and one row as the model will see it."""

    findings: list[Finding]
    row: list[Span]  # empty if it cannot be rendered


def examine_model(target: Target, row: Row) -> ModelFindings:
    """Load a model's tokenizer and render a row. A model that cannot be loaded is a finding."""
    try:
        prepare(target.recipe.model)
        with without_torch():
            return _examined(target, row)
    except AlttrainError as error:
        return ModelFindings([problem("model", str(error), _FOLDER)], [])


def _examined(target: Target, row: Row) -> ModelFindings:
    recipe = target.recipe
    with capture_output(None):
        from alttrain_cli.engine.load import load_tokenizer

        tokenizer, source = load_tokenizer(recipe)
    found = [ok("model", f"{recipe.model.name}, tokenizer from {source.name}")]
    if (Path(recipe.model.name) / EXPORTED_RECIPE).is_file():
        found.append(ok("recipe", f"{EXPORTED_RECIPE}, with which it was trained"))
    elif recipe.name == recipe.model.name.rpartition("/")[2]:
        found.append(note("recipe", _NO_RECIPE, "Write one: alttrain recipes copy r1-7b mine.yaml"))
    found += find_traps(tokenizer, recipe.model.system, row)
    try:
        template = Template.of(tokenizer, recipe.model.system)
        return ModelFindings(found, spans(template, template.encode(row.prompt, row.trace), row.trace))
    except (ModelError, RenderError):  # it is among the findings
        return ModelFindings(found, [])


_FOLDER = "To examine a folder that holds a model: alttrain doctor --model FOLDER"
_NO_RECIPE = "no shipped recipe names this model; it gets the settings of another one"
