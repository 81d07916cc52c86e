"""`alttrain build-data`. The work is imported when it starts, so that help is quick."""

import typer

from alttrain_cli.commands.build_data.options import BuildOptions
from alttrain_cli.commands.shared.options import take_options


@take_options(BuildOptions, "suite")
def build_data(context: typer.Context, options: BuildOptions) -> None:
    """Build a training data file from reasoning traces.

    Each row teaches three steps: understand the request, assess its harm,
    then refuse or solve. Model answers are saved as they arrive. To resume
    after an interruption, run the same command again; only missing answers
    are requested.
    """
    from alttrain_cli.commands.build_data import steps

    steps.build_data(context, options)
