"""One line of progress, in whatever width the terminal has."""

from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text

SEPARATOR = " · "
_LONGEST_BAR, _SHORTEST_BAR = 24, 6  # cells


def progress_line(stage: str, done: int, total: int, figures: Sequence[str], width: int) -> Text:
    """Return stage, bar, count and figures in at most `width` cells.

    The count is always whole. Where the line is too short, the last figures go first, then the bar, then all
    but the first word of the stage.
    """
    count = f"{done}/{total}"
    name = stage.split(" ", 1)[0]
    room = width - cell_len(count)
    if cell_len(name) + 1 > room:
        name = ""
    room -= cell_len(name) + 1 if name else 0
    shown = []
    for figure in figures:
        if (needed := cell_len(SEPARATOR + figure)) > room:
            break
        shown.append(figure)
        room -= needed
    if name and cell_len(stage) - cell_len(name) <= room:
        room -= cell_len(stage) - cell_len(name)
        name = stage
    line = Text(f"{name} " if name else "", "bold", no_wrap=True)
    if (bar := min(_LONGEST_BAR, room - 1)) >= _SHORTEST_BAR:
        line.append_text(_bar(done / total if total else 1.0, bar))
    line.append(count, "progress.download")
    return line.append("".join(SEPARATOR + figure for figure in shown), "default")


def wrap_phrases(phrases: Sequence[str], width: int) -> str:
    """Join phrases with dots, in as many lines as are needed; no phrase is broken unless it is too long."""
    lines = [phrases[0]]
    for phrase in phrases[1:]:
        longer = lines[-1] + SEPARATOR + phrase
        if cell_len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(phrase)
    return "\n".join(lines)


def _bar(part: float, cells: int) -> Text:
    full = min(cells, round(cells * part))
    return Text("━" * full, "bar.complete").append("─" * (cells - full), "bar.back").append(" ")
