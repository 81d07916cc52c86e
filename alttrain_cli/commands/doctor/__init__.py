"""`alttrain doctor`: examine this machine, the installed packages and a model's tokenizer."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from alttrain_cli import console
from alttrain_cli.commands.shared.completion import complete_recipe, complete_target
from alttrain_cli.commands.shared.options import take_options
from alttrain_cli.commands.shared.rules import check, recipe_rule
from alttrain_cli.doctor.finding import Level
from alttrain_cli.doctor.hub import ask_hub, examine_caches
from alttrain_cli.doctor.machine import examine_machine, examine_torch
from alttrain_cli.doctor.packages import examine_packages, examine_tools
from alttrain_cli.errors import AlttrainError, GateError
from alttrain_cli.text import counted

if TYPE_CHECKING:
    from alttrain_cli.doctor.model import ModelFindings

_MODEL = "Also examine the tokenizer of this model: a run, a folder or a hub id."
_RECIPE = "Also examine the tokenizer of this recipe's model. With --model, only its settings are used."
_GPU = "Also test whether torch can use the GPU. This takes seconds."
_SOURCES = (
    "Also check the published data: revision, hash and count of each suite. What is not on this machine is "
    "downloaded, unless --offline is given."
)


@dataclass(frozen=True)
class DoctorOptions:
    """The options of `alttrain doctor`."""

    model: Annotated[
        str | None, typer.Option(metavar="MODEL", autocompletion=complete_target, help=_MODEL)
    ] = None
    recipe: Annotated[
        str | None, typer.Option(metavar="NAME", autocompletion=complete_recipe, help=_RECIPE)
    ] = None
    gpu: Annotated[bool, typer.Option("--gpu", help=_GPU)] = False
    sources: Annotated[bool, typer.Option("--sources", help=_SOURCES)] = False


@take_options(DoctorOptions)
def doctor(context: typer.Context, options: DoctorOptions) -> None:
    """Examine this machine, the installed packages and a model's tokenizer.

    The solution is shown below each problem. If there is a problem, the exit code is 3.
    """
    check([recipe_rule(options.model, options.recipe)])
    word = options.model or options.recipe
    hub = ask_hub()
    found = [*examine_machine(), *examine_packages(), *examine_caches(), *examine_tools(), hub()]
    found += [examine_torch()] if options.gpu else []
    if options.sources:
        from alttrain_cli.commands.doctor.sources import source_findings

        with console.Reporter() as progress:
            found += source_findings(progress)
    examined = _examine(word, options.recipe if options.model else None) if word else None
    found += examined.findings if examined else []
    row = examined.row if examined else ()
    facts = {"findings": [one._asdict() for one in found], "row": [span._asdict() for span in row]}
    console.print_result(facts)
    console.print_findings(found, row)
    problems = sum(finding.level is Level.PROBLEM for finding in found)
    if problems:
        raise GateError(f"{counted(problems, 'problem')}. The list above shows what to do.")
    notes = sum(finding.level is Level.NOTE for finding in found)
    harmless = f"; nothing fails because of the {counted(notes, 'note')}" if notes else ""
    console.print_lines([("problems:", f"none{harmless}")])
    console.print_next("alttrain")


def _examine(word: str, recipe: str | None) -> "ModelFindings":
    from alttrain_cli.backends.address import is_address, without_secrets
    from alttrain_cli.backends.target import find_target
    from alttrain_cli.data.starter import starter_rows
    from alttrain_cli.doctor.model import examine_model

    if is_address(word):
        raise AlttrainError(
            f"{without_secrets(word)}: a server hides its tokenizer. Name the model's folder or hub id."
        )
    target = find_target(word, recipe)
    with console.status("Loading the tokenizer ..."):
        return examine_model(target, starter_rows("heldout")[1])
