"""What `alttrain eval judge` and `eval report` work on: an evaluation that is stored."""

from dataclasses import replace
from pathlib import Path

import typer

from alttrain_cli.backends.target import Target
from alttrain_cli.commands.eval.options import ReportOptions
from alttrain_cli.commands.shared.rules import check, command_of, recipe_rule, rule_of
from alttrain_cli.evaluation.eval_target import EvalTarget, existing_target
from alttrain_cli.evaluation.plan import suite_dirs
from alttrain_cli.runs.scores import evaluation_of


def stored_target(ctx: typer.Context, given: ReportOptions) -> EvalTarget:
    """Return the model whose evaluation is meant. That of a study's run may be in the study's folder."""
    _check(ctx, given)
    found = existing_target(given.target, given.recipe, given.out, command_of(ctx))
    run = found.model.run if isinstance(found.model, Target) else None
    if run is None or given.out or suite_dirs(found.root):
        return found
    return replace(found, root=evaluation_of(run.path))


def _check(ctx: typer.Context, options: ReportOptions) -> None:
    target, recipe, out = options.target, options.recipe, options.out
    is_evaluation = bool(target and suite_dirs(Path(target)))
    by_folder = is_evaluation or (out is not None and not target)
    check(
        [
            rule_of(ctx, "out", not is_evaluation, f"with {target}: give one of the two"),
            rule_of(ctx, "recipe", not by_folder, "on a folder of evaluations"),
            recipe_rule(target, recipe),
        ]
    )
