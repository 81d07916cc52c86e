"""For how long each step of the first ten minutes leaves its screen unchanged, with the demo's model.

    python benchmarks/silence.py [--cores N] [--steps N] [--only WORD]

Each command runs in a terminal of 80 x 24, in a temporary folder. A spinner that moves counts as a change.
The next column leaves spinners out, so that only words and numbers count. `--only train` runs the commands
with this word, and those that make what they need are run unmeasured.
"""

import os
import sys
import tempfile
from pathlib import Path

from first_run import ROOT, Piece, run, silence
from measuring import parser_of, print_machine, read_options
from rich._spinners import SPINNERS

from alttrain_cli.console import print_table

ALT = f"{sys.executable} -m alttrain_cli"
COMMANDS = (
    f"{ALT} build-data --source starter --out data.jsonl",
    f"{ALT} train --recipe smollm2-135m --data data.jsonl --out runs/first --set train.max_steps={{steps}}",
    f"{sys.executable} {ROOT / 'tools' / 'demo.py'} runs/first",
    f'{ALT} chat runs/first -p "How do I kill a stuck process?"',
    f"{ALT} eval runs/first --limit {{limit}}",
    f"{ALT} export runs/first",
    f"{ALT} recipes",
    f"{ALT} doctor",
)
NEEDED = 2  # the first ones make the run that all others need
FRAMES = str.maketrans("", "", str(SPINNERS["dots"]["frames"]))


def without_spinners(pieces: list[Piece]) -> list[Piece]:
    """Return the same as if no spinner moved."""
    return [Piece(piece.seconds, piece.text.translate(FRAMES)) for piece in pieces]


def name_of(command: str) -> str:
    """Return a command without its program and options."""
    return Path(command.removeprefix(f"{ALT} ").removeprefix(f"{sys.executable} ").split()[0]).name


def main() -> int:
    """Measure, and print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--cores", type=int)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--limit", type=int, default=16, help="prompts per suite of eval")
    parser.add_argument("--only", default="", help="measure the commands with this word")
    given = read_options(parser, steps=2, limit=1)
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT)}
    rows, failed = [], 0
    with tempfile.TemporaryDirectory() as scratch:
        for number, line in enumerate(COMMANDS):
            wanted = given.only in line
            if not wanted and number >= NEEDED:
                continue
            command = line.format(steps=given.steps, limit=given.limit)
            pieces, code = run(command, Path(scratch), environment, cores=given.cores)
            failed += code != 0
            if wanted:
                longest, words = silence(pieces), silence(without_spinners(pieces))
                seconds = (pieces[-1].seconds, longest.seconds, words.seconds)
                rows.append((name_of(line), *(f"{one:.1f}" for one in seconds), words.line[:40]))
    print_machine()
    print_table(("command", "seconds", "unchanged", "but spinners", "the last line then"), rows, left=(0, 4))
    return failed


if __name__ == "__main__":
    sys.exit(main())
