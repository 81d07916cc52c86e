"""What the doctor found, on the screen."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from alttrain_cli.console.terminal import NARROW, out, plain

if TYPE_CHECKING:
    from alttrain_cli.doctor.finding import Finding
    from alttrain_cli.structure.spans import Span

_STYLES = {"ok": "good", "note": "warning", "problem": "error"}


def print_findings(findings: Sequence["Finding"], row: Sequence["Span"] = ()) -> None:
    """Print findings in three columns; in a narrow terminal, the words of each are below its name."""
    screen = out()
    narrow = screen.width < NARROW
    table = Table.grid(padding=(0, 2))
    for column in range(3):
        table.add_column(no_wrap=column < 2, overflow="fold")
    for one in findings:
        level, words = Text(one.level.value, _STYLES[one.level.value]), plain(one.found)
        if one.cure:
            words.append(f"\n{plain(one.cure)}", "muted")
        if narrow:
            screen.print(Text(" ").join((level, plain(one.check))), Padding(words, (0, 0, 0, 2)), sep="\n")
        else:
            table.add_row(level, plain(one.check), words)
    if not narrow:
        screen.print(table)
    if row:
        from alttrain_cli.console.preview import preview_text

        screen.print(Text("\none row, as the model will see it:", "muted"))
        screen.print(preview_text(row))
