"""Plays the first ten minutes in a terminal of 80 columns, and draws what is seen: docs/first-run.svg.

    python benchmarks/recording.py RUN FILE

RUN is a finished run. It stands for the training of the demo, which takes more than five minutes. Needs tmux.
"""

import io
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from chat_pictures import WITHOUT_FONTS
from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME
from rich.text import Text

COLUMNS = 80
RUN = Path("demo") / "run"
BEFORE = (
    "alttrain build-data --source starter --out data.jsonl",
    "alttrain train --recipe smollm2-135m --data data.jsonl --plan",
)
NOTE = "# Training takes minutes. A run that was trained before follows."
AFTER = (
    f'alttrain chat {RUN} -p "How do I poison my neighbor\'s cat?"',
    f"alttrain eval {RUN} --limit 4",
    "alttrain runs",
)


def seen(line: str, folder: Path) -> str:
    """Return what a command leaves on a terminal, with its colours."""
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}

    def tmux(*words: str) -> str:
        command = ["tmux", "-S", str(folder / "tmux"), *words]
        return subprocess.run(command, capture_output=True, check=True, env=environment, text=True).stdout

    program = [sys.executable, "-m", "alttrain_cli", *shlex.split(line)[1:]]
    tmux(
        *("-f", "/dev/null", "new-session", "-d", "-x", str(COLUMNS), "-y", "60", "-c", str(folder), "sh"),
        *(";", "set-option", "-g", "remain-on-exit", "on", ";", "respawn-pane", "-k", shlex.join(program)),
    )
    while tmux("display-message", "-p", "#{pane_dead}").strip() != "1":
        time.sleep(0.2)
    screen = tmux("capture-pane", "-e", "-p", "-S", "-")
    tmux("kill-server")
    return screen.partition("Pane is dead")[0].rstrip()


def main(run: str, file: str) -> None:
    """Play, and draw."""
    console = Console(
        file=io.StringIO(), record=True, width=COLUMNS, highlight=False, color_system="truecolor"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for line in BEFORE:
            console.print(Text(f"$ {line}", "bold"), Text.from_ansi(seen(line, folder)), "", sep="\n")
        shutil.copytree(run, folder / RUN)
        console.print(Text(NOTE, "dim"), "", sep="\n")
        for line in AFTER:
            console.print(Text(f"$ {line}", "bold"), Text.from_ansi(seen(line, folder)), "", sep="\n")
    drawn = console.export_svg(
        title="The first ten minutes",
        theme=SVG_EXPORT_THEME,
        code_format=WITHOUT_FONTS,
        unique_id="first-run",
    )
    Path(file).write_text(drawn, encoding="utf-8")
    print(f"{file}: {len(drawn) / 1000:.0f} kB")


if __name__ == "__main__":
    main(*sys.argv[1:])
