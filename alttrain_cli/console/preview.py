"""Rows as the model will see them: given text dim, each section in its colour, the end of turn marked."""

from collections.abc import Sequence

from rich.rule import Rule
from rich.text import Text

from alttrain_cli.console.terminal import out
from alttrain_cli.structure.spans import Span
from alttrain_cli.text import visible

STYLES = {"prompt": "muted", "marker": "bold", "terminator": "bold reverse"}


def preview_text(row: Sequence[Span]) -> Text:
    """Return a row's text in its colours; the end of turn stands in brackets where there is no colour."""
    text = Text()
    for span in row:
        shown = visible(span.text)
        text.append(f"⟦{shown}⟧" if span.kind == "terminator" else shown, STYLES.get(span.kind, span.kind))
    return text


def print_preview(name: str, row: Sequence[Span]) -> None:
    """Print one row and how many tokens of it are given and trained, by kind."""
    given = sum(span.tokens for span in row if span.kind == "prompt")
    counts: dict[str, int] = {}
    for span in row:
        if span.kind != "prompt":
            counts[span.kind] = counts.get(span.kind, 0) + span.tokens
    screen = out()
    screen.print(Rule(Text(visible(name)), align="left"))
    screen.print(preview_text(row), soft_wrap=True)
    line = Text(f"{given} tokens given · {sum(counts.values())} trained: ", style="muted")
    for position, (kind, tokens) in enumerate(counts.items()):
        line.append(" · " if position else "")
        line.append(f"{kind} {tokens}", STYLES.get(kind, kind))
    screen.print(line)
