"""How long an export takes with its proof, and how much memory.

    python benchmarks/export.py RUN [--formats adapter merged gguf ollama] [--rounds 3]

Each is one `alttrain export` in a process of its own. The bound that we set ourselves is 60 s and 3 GB for
`merged` of SmolLM2-135M.
"""

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from measuring import (
    Figures,
    in_turn,
    parser_of,
    print_machine,
    print_sides,
    read_options,
    run_alttrain,
)  # fmt: skip


def export(run: str, name: str) -> Figures:
    """Export into a folder that is removed again."""
    with tempfile.TemporaryDirectory() as folder:
        used = run_alttrain("export", run, "--format", name, "--out", Path(folder) / "out")
    return {"s": used.seconds, "CPU s": used.cpu, "GiB": used.mib / 1024}


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("run")
    parser.add_argument("--formats", nargs="+", default=["adapter", "merged", "gguf"])
    parser.add_argument("--rounds", type=int, default=3)
    options = read_options(parser, given, formats=["merged"], rounds=1)
    measured = in_turn(options.rounds, {name: partial(export, options.run, name) for name in options.formats})
    print_sides(measured, {"s": ".1f", "CPU s": ".1f", "GiB": ".2f"})
    print_machine()


if __name__ == "__main__":
    main()
