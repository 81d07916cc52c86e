"""The work of `alttrain eval suites` and `eval judges`."""

import shlex

from alttrain_cli import console
from alttrain_cli.backends.classifier import ClassifierBackend
from alttrain_cli.evaluation.choices import GROUPS
from alttrain_cli.evaluation.judges.catalogue import CHOSEN
from alttrain_cli.evaluation.judges.judge import Judge
from alttrain_cli.evaluation.suites.items import is_here
from alttrain_cli.evaluation.suites.suite import all_suites
from alttrain_cli.storage.run import Run
from alttrain_cli.training.fit import SMALLEST


def list_suites() -> None:
    """List the suites: size, source, licence, what each needs, and whether its data is here.

    In the table, those that are here come first, and those that need an attacker last.
    """
    found = [(suite, is_here(suite)) for suite in all_suites().values()]
    console.print_result([{**suite.record(), "here": here} for suite, here in found])
    found.sort(key=lambda one: (one[0].needs == "attacker", not one[1]))
    console.print_suites(found, GROUPS, _next("--suite smoke"))


def list_judges() -> None:
    found = [
        (
            judge,
            isinstance(judge, Judge) and judge.model is not None and ClassifierBackend.is_here(judge.model),
        )
        for judge in CHOSEN.values()
    ]
    console.print_result([{**judge.record(), "here": here} for judge, here in found])
    console.print_judges(found, _next("--judge rule"))


def _next(options: str) -> str:
    runs = Run.trained()
    return f"alttrain eval {shlex.quote(str(runs[0] if runs else SMALLEST))} {options}"
