"""`alttrain train`: from data.jsonl to a run folder with a checked adapter.

The work is imported when it starts, so that help is quick.
"""

import typer

from alttrain_cli.commands.shared.options import take_options
from alttrain_cli.commands.train.options import TrainOptions


@take_options(TrainOptions)
def train(context: typer.Context, options: TrainOptions) -> None:
    """Fine-tune the recipe's model on a data file and check the resulting adapter."""
    from alttrain_cli.commands.train import steps

    steps.train(context, options)
