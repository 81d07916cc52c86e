"""`alttrain eval`: generate, judge, report. The work is imported when it starts, so that help is quick."""

import typer

from alttrain_cli.commands.eval.options import JudgeOptions, TableOptions
from alttrain_cli.commands.eval.run_options import RunOptions
from alttrain_cli.commands.shared.app import App, DefaultGroup
from alttrain_cli.commands.shared.options import take_options

app = App(cls=DefaultGroup, help="Evaluate a model on suites of prompts and compare it with its base model.")


@app.command("run")
@take_options(RunOptions)
def run(ctx: typer.Context, given: RunOptions) -> None:
    """Evaluate a model on suites of prompts and compare it with its base model."""
    from alttrain_cli.commands.eval import steps

    steps.run(ctx, given)


@app.command("judge")
@take_options(JudgeOptions)
def judge_again(ctx: typer.Context, given: JudgeOptions) -> None:
    """Judge the saved completions, without generating new ones."""
    from alttrain_cli.commands.eval import steps

    steps.judge_again(ctx, given)


@app.command("report")
@take_options(TableOptions)
def report_again(ctx: typer.Context, given: TableOptions) -> None:
    """Show the scorecard of the saved completions and judgements."""
    from alttrain_cli.commands.eval import steps

    steps.report_again(ctx, given)


@app.command("suites")
def list_suites() -> None:
    """List the suites: size, source, licence, what each needs, and whether its data is on this machine."""
    from alttrain_cli.commands.eval import catalogue

    catalogue.list_suites()


@app.command("judges")
def list_judges() -> None:
    """List the judges: what each measures and needs, its licence, and whether it is on this machine."""
    from alttrain_cli.commands.eval import catalogue

    catalogue.list_judges()
