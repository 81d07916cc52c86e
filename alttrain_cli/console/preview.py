"""Rows as the model will see them: dim prompt, coloured sections, marked end of turn."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.rule import Rule
from rich.text import Text

from alttrain_cli.console.terminal import out
from alttrain_cli.structure.spans import Span
from alttrain_cli.text import escape_hidden

if TYPE_CHECKING:
    from alttrain_cli.training.preview import RenderedRow

STYLES = {"prompt": "muted", "marker": "bold", "terminator": "bold reverse"}


def preview_text(row: Sequence[Span]) -> Text:
    """Return a row's text in its colours. The end of turn has brackets, for screens without any."""
    text = Text()
    for span in row:
        shown = escape_hidden(span.text)
        text.append(f"⟦{shown}⟧" if span.kind == "terminator" else shown, STYLES.get(span.kind, span.kind))
    return text


def print_previews(rows: Sequence["RenderedRow"]) -> None:
    """Print rows, each with its tokens given and trained, by kind."""
    for row in rows:
        _print_preview(row)


def _print_preview(row: "RenderedRow") -> None:
    given = sum(span.tokens for span in row.spans if span.kind == "prompt")
    counts: dict[str, int] = {}
    for span in row.spans:
        if span.kind != "prompt":
            counts[span.kind] = counts.get(span.kind, 0) + span.tokens
    screen = out()
    screen.print(Rule(Text(escape_hidden(row.title)), align="left"))
    screen.print(preview_text(row.spans), soft_wrap=True)
    line = Text(f"{given} tokens given · {sum(counts.values())} trained: ", style="muted")
    for position, (kind, tokens) in enumerate(counts.items()):
        line.append(" · " if position else "")
        line.append(f"{kind} {tokens}", STYLES.get(kind, kind))
    screen.print(line)
