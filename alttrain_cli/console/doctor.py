"""What the doctor found, on the screen."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from alttrain_cli.console.terminal import out, plain

if TYPE_CHECKING:
    from alttrain_cli.doctor.finding import Finding
    from alttrain_cli.structure.spans import Span

_STYLES = {"ok": "good", "note": "warning", "problem": "error"}


def print_findings(findings: Sequence["Finding"], row: Sequence["Span"] = ()) -> None:
    table = Table.grid(padding=(0, 2))
    for column in range(3):
        table.add_column(no_wrap=column < 2, overflow="fold")
    for one in findings:
        words = plain(one.found)
        if one.cure:
            words.append(f"\n{plain(one.cure)}", "muted")
        table.add_row(Text(one.level.value, _STYLES[one.level.value]), plain(one.check), words)
    screen = out()
    screen.print(table)
    if row:
        from alttrain_cli.console.preview import preview_text

        screen.print(Text("\none row, as the model will see it:", "muted"))
        screen.print(preview_text(row))
