"""`alttrain train --preview N`: rows as the model will see them, so that one sees what is learned."""

from collections.abc import Sequence

from alttrain_cli import console
from alttrain_cli.engine import quiet
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.structure.row import Row
from alttrain_cli.structure.spans import spans


def show_preview(recipe: Recipe, rows: Sequence[Row], count: int) -> None:
    """Print `count` rows, taken evenly from both labels. Loads the tokenizer, not the model."""
    with console.status("Loading the tokenizer ..."), quiet.captured(None):
        from alttrain_cli.engine.load import load_template
        from alttrain_cli.training.train import encode_rows

        template = load_template(recipe)
        by_label = sorted(rows, key=lambda row: row.label)
        chosen = by_label[:: max(1, len(rows) // count)][:count]
        encoded = encode_rows(chosen, template, recipe.train.max_length)
    for row, example in zip(chosen, encoded, strict=True):
        console.print_preview(f"{row.id} · {row.label}", spans(template, example, row.trace))
