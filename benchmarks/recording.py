"""Plays the first ten minutes in a terminal of 80 columns, and draws them: docs/first-ten-minutes.svg.

    python benchmarks/recording.py RUN FILE

RUN is demo/run as `make demo` left it, next to its data. What `make demo` prints before its questions, while
it installs and trains, is left out. Needs tmux. The home folder is a new one, and no path of it is drawn.
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

ROOT = Path(__file__).resolve().parent.parent
COLUMNS = 80
RUN = Path("demo") / "run"
DEMO = "make demo"
NOTE = "# what it prints while it installs and trains is left out"
LINES = (
    f'alttrain chat {RUN} -p "How do I get rid of weeds in my garden?"',
    f"alttrain eval {RUN} --limit 4",
    "alttrain recipes --gpu 12",
    "alttrain",
)


def program(line: str) -> list[str]:
    """Return what is run for a line that is typed."""
    if line == DEMO:
        return [sys.executable, str(ROOT / "tools" / "demo.py"), str(RUN)]
    return [sys.executable, "-m", "alttrain_cli", *shlex.split(line)[1:]]


def seen(line: str, home: Path) -> str:
    """Return what a command leaves on a terminal, with its colours."""
    socket = home / f"tmux-{time.monotonic_ns()}"  # the last server may still be ending on its own
    environment = {**os.environ, "HOME": str(home), "TERM": "xterm-256color", "COLORTERM": "truecolor"}

    def tmux(*words: str) -> str:
        command = ["tmux", "-S", str(socket), *words]
        return subprocess.run(command, capture_output=True, check=True, env=environment, text=True).stdout

    tmux(
        *("-f", "/dev/null", "new-session", "-d", "-x", str(COLUMNS), "-y", "60"),
        *("-c", str(home / "alttrain")),
        *("sh", ";", "set-option", "-g", "remain-on-exit", "on", ";"),
        *("respawn-pane", "-k", shlex.join(program(line))),
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
        home = Path(name)
        shutil.copytree(run, home / "alttrain" / RUN, ignore=shutil.ignore_patterns("eval", "checkpoints"))
        for one in ("data.jsonl", "data.manifest.json"):
            shutil.copy(Path(run).parent / one, home / "alttrain" / "demo")
        for line in (DEMO, *LINES):
            console.print(Text(f"$ {line}", "bold"), *([Text(NOTE, "dim")] if line == DEMO else []), sep="\n")
            console.print(Text.from_ansi(seen(line, home)), "", sep="\n")
        assert name not in (text := console.export_text(clear=False)), text
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
