"""How long a newcomer waits: from `git clone` to the answers of the trained model, and the longest silence.

    python benchmarks/first_run.py [--cores N] [--cast FILE.cast] [--cold] [--command "make demo"]

Clones this checkout's last commit into a temporary folder, with a home folder of its own, and runs the
command in a terminal of 80 x 24. The cache of packages is the machine's own, which the result names; `--cold`
takes an empty one. `--cores 1` is a slower laptop. `--cast` writes the recording as an asciicast (version 2),
in which no pause is longer than two seconds.
"""

import argparse
import codecs
import fcntl
import json
import os
import pty
import shlex
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path
from typing import NamedTuple

import pyte

ROOT = Path(__file__).resolve().parent.parent
COLUMNS, LINES = 80, 24
LONGEST_PAUSE = 2.0  # seconds, in a recording
MARKS = {  # what stands on the screen when a step has begun or ended
    "installing": "Installing with",
    "building the data": "build-data",
    "training": "alttrain train",
    "trained": "after training",
    "what to type next": "To type only alttrain",
}


class Piece(NamedTuple):
    """What appeared on the screen at once."""

    seconds: float  # since the start
    text: str


class Silence(NamedTuple):
    """A time in which the screen did not change, and the last line that stood there."""

    seconds: float
    line: str


def run(
    command: str, folder: Path, environment: dict[str, str], *, cores: int | None = None
) -> tuple[list[Piece], int]:
    """Run a command in a terminal; return what appeared, its end with it, and the exit code."""
    handle, inner = pty.openpty()
    fcntl.ioctl(handle, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    if cores:
        chosen = sorted(os.sched_getaffinity(0))[:cores]
        command = f"taskset -c {','.join(map(str, chosen))} sh -c {shlex.quote(command)}"
    started = time.monotonic()
    process = subprocess.Popen(
        command, shell=True, cwd=folder, env=environment, stdin=inner, stdout=inner, stderr=inner
    )
    os.close(inner)
    pieces, decoder = [], codecs.getincrementaldecoder("utf-8")(errors="replace")
    while True:
        try:
            data = os.read(handle, 65536)
        except OSError:  # the last one has left the terminal
            break
        if not data:
            break
        pieces.append(Piece(time.monotonic() - started, decoder.decode(data)))
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
    os.close(handle)
    code = process.wait()
    return [*pieces, Piece(time.monotonic() - started, "")], code


def marks(pieces: list[Piece]) -> dict[str, float]:
    """Return when each mark appeared first, in seconds."""
    found: dict[str, float] = {}
    seen = ""
    for piece in pieces:
        seen += piece.text
        for name, words in MARKS.items():
            if name not in found and words in seen:
                found[name] = piece.seconds
    return found


def silence(pieces: list[Piece]) -> Silence:
    """Return the longest time in which the screen did not change."""
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.Stream(screen)
    shown, since, longest = [*screen.display], 0.0, Silence(0.0, "")
    for number, piece in enumerate(pieces, 1):
        stream.feed(piece.text)
        now = [*screen.display]
        if now == shown and number < len(pieces):
            continue
        if piece.seconds - since > longest.seconds:
            line = next((line.strip() for line in reversed(shown) if line.strip()), "(nothing)")
            longest = Silence(piece.seconds - since, line)
        shown, since = now, piece.seconds
    return longest


def write_cast(pieces: list[Piece], path: Path) -> None:
    """Write an asciicast in which no pause is longer than LONGEST_PAUSE."""
    header = {"version": 2, "width": COLUMNS, "height": LINES, "title": "alttrain: the first ten minutes"}
    lines, now, before = [json.dumps(header)], 0.0, 0.0
    for seconds, text in pieces:
        now += min(seconds - before, LONGEST_PAUSE)
        before = seconds
        lines.append(json.dumps([round(now, 3), "o", text]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> int:
    """Measure, and print the times."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cast", type=Path)
    parser.add_argument("--command", default="make demo")
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--cores", type=int, help="use only so many (Linux)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch, "home")
        home.mkdir()
        usual = Path(os.environ.get("UV_CACHE_DIR", Path.home() / ".cache" / "uv"))
        cache = home / "uv" if arguments.cold else usual
        warm = cache.is_dir()
        environment = {**os.environ, "HOME": str(home), "TERM": "xterm-256color", "UV_CACHE_DIR": str(cache)}
        for own in ("VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE"):  # of this machine alone
            environment.pop(own, None)
        command = f"git clone --quiet {ROOT} alttrain && cd alttrain && {arguments.command}"
        load = os.getloadavg()[0]
        pieces, code = run(command, Path(scratch), environment, cores=arguments.cores)
    cores = arguments.cores or len(os.sched_getaffinity(0))
    print(f"cache of packages: {'warm' if warm else 'empty'}; {cores} cores; load before: {load:.1f}")
    for name, seconds in marks(pieces).items():
        print(f"{seconds:7.1f} s  {name}")
    longest = silence(pieces)
    print(f"{pieces[-1].seconds:7.1f} s  end, exit code {code}")
    print(f"{longest.seconds:7.1f} s  longest silence, at: {longest.line}")
    if arguments.cast:
        write_cast(pieces, arguments.cast)
    return code


if __name__ == "__main__":
    sys.exit(main())
