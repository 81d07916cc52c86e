"""The preview of a data file: rows as the model will see them, to check what is trained."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from alttrain_cli.engine.source import check_max_length
from alttrain_cli.library_output import capture_output
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.structure.row import Row
from alttrain_cli.structure.spans import Span, spans
from alttrain_cli.training.rows import encode_rows


class RenderedRow(NamedTuple):
    """A row in spans of tokens: prompt, sections, markers, terminator."""

    title: str
    spans: list[Span]

    def record(self) -> dict[str, Any]:
        return {"title": self.title, "spans": [span._asdict() for span in self.spans]}


def render_rows(recipe: Recipe, rows: Sequence[Row], count: int) -> list[RenderedRow]:
    """Return `count` rows, evenly spaced over both labels. Loads the tokenizer, not the model."""
    with capture_output(None):
        from alttrain_cli.engine.load import load_template

        template = load_template(recipe)
        check_max_length(recipe)  # again: now the model's config.json is here
        by_label = sorted(rows, key=lambda row: row.label)
        chosen = by_label[:: max(1, len(rows) // count)][:count]
        encoded = encode_rows(chosen, template, recipe.train.max_length)
        return [
            RenderedRow(f"{row.id} · {row.label}", spans(template, example, row.trace))
            for row, example in zip(chosen, encoded, strict=True)
        ]
