#!/usr/bin/env python3
"""Runs the notebook for real, in a new environment: `python3 tools/notebook.py FOLDER [--quick]`.

Makes FOLDER with an environment of its own, a wheel of this checkout and `constraints.txt`. There Jupyter
executes every cell, the one that installs too. `--quick` trains for 6 steps and evaluates 1 prompt per suite.
Each cell's output is in FOLDER/work/done.ipynb. What an earlier execution left in FOLDER/work is removed.
The exit code is 1 if a cell printed an error.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NAME = "alttrain.ipynb"
JUPYTER = ("nbclient>=0.10,<1", "ipykernel>=6,<8", "pip")
WRONG = ("Error: ", "Traceback", "command not found", "ERROR: ")


def prepare(folder: Path, *, quick: bool) -> Path:
    """Fill the folder, and return the folder of the environment's programs."""
    programs = folder / "env" / ("Scripts" if os.name == "nt" else "bin")
    if not programs.exists():
        venv.create(folder / "env", with_pip=True)
    shutil.rmtree(work := folder / "work", ignore_errors=True)
    work.mkdir()
    pip = [str(programs / "python"), "-m", "pip", "--quiet"]
    subprocess.run([*pip, "install", *JUPYTER], check=True)
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(work), str(ROOT)], check=True)
    shutil.copy(ROOT / "constraints.txt", work)
    text = (ROOT / "notebooks" / NAME).read_text(encoding="utf-8")
    if quick:
        text = text.replace("STEPS = 130", "STEPS = 6")
        text = text.replace("--limit 8", "--limit 1")
    (work / NAME).write_text(text, encoding="utf-8")
    return programs


def output(cell: dict[str, Any]) -> str:
    """Return what a cell printed."""
    return "".join("".join(one.get("text", one.get("traceback", ""))) for one in cell.get("outputs", []))


def main() -> int:
    """Execute the notebook, and print the end of each cell's output."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    programs = prepare(folder, quick=arguments.quick)
    path = os.pathsep.join([str(programs), os.environ.get("PATH", "")])
    command = [str(programs / "jupyter-execute"), "--timeout=-1", "--output=done", NAME]
    code = subprocess.run(command, cwd=folder / "work", env={**os.environ, "PATH": path}).returncode
    if code:
        return code
    cells = json.loads((folder / "work" / "done.ipynb").read_text(encoding="utf-8"))["cells"]
    printed = [output(cell) for cell in cells if cell["cell_type"] == "code"]
    for number, text in enumerate(printed, 1):
        print(f"--- code cell {number}", *text.rstrip().splitlines()[-6:], sep="\n")
    return int(any(word in text for word in WRONG for text in printed))


if __name__ == "__main__":
    sys.exit(main())
