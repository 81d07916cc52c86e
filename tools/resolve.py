"""Resolve the tested set for every system that we claim, with PyPI alone: `python tools/resolve.py`.

No setting of this machine is used: no variables and no files of pip or uv. Only certificates and a
proxy, without which some machines reach no index. Exit code 1 if a set does not resolve.
"""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.11", "3.12", "3.13")  # as requires-python in pyproject.toml
# What uv calls a system, and whether torch is a CUDA build there.
SYSTEMS = {
    "x86_64-unknown-linux-gnu": True,
    "aarch64-unknown-linux-gnu": True,
    "x86_64-pc-windows-msvc": False,
    "aarch64-apple-darwin": False,
}
MACOS = {"MACOSX_DEPLOYMENT_TARGET": "14.0"}  # the oldest that torch has wheels for
KEPT = ("PATH", "HOME", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "SYSTEMROOT", "LOCALAPPDATA")


class Cell(NamedTuple):
    """What came of one system and Python: a few words, and uv's error if there was one."""

    words: str
    error: str = ""


def main() -> int:
    """Print the table, then every error; return the exit code."""
    places = list(product(SYSTEMS, PYTHONS))
    with ThreadPoolExecutor(4) as pool:
        cells = dict(zip(places, pool.map(lambda place: resolve(*place), places), strict=True))
    width = max(len(cell.words) for cell in cells.values()) + 2
    print(" " * 26 + "".join(python.ljust(width) for python in PYTHONS))
    for system in SYSTEMS:
        print(system.ljust(26) + "".join(cells[system, python].words.ljust(width) for python in PYTHONS))
    errors = {place: cell.error for place, cell in cells.items() if cell.error}
    for (system, python), error in errors.items():
        print(f"\n{system}, Python {python}:\n{error}", file=sys.stderr)
    return 1 if errors else 0


def resolve(system: str, python: str) -> Cell:
    """Resolve the project with all extras, and what is installed without dependencies."""
    options = ["--python-platform", system, "--python-version", python]
    everything = ["--all-extras", "--constraint", "constraints.txt", "pyproject.toml"]
    done = _compile([*options, *everything])
    data = _compile([*options, "--no-deps", "tools/data-packages.txt"])
    if done.returncode or data.returncode:
        return Cell("FAILED", done.stderr + data.stderr)
    return judge(pins(done.stdout), tested(), SYSTEMS[system])


def judge(found: dict[str, str], wanted: dict[str, str], cuda: bool) -> Cell:
    """Compare with the tested versions. A CUDA build brings Triton and NVIDIA's libraries."""
    other = sorted(name for name in found if found[name] != wanted.get(name))
    if other:
        return Cell("FAILED", f"not the tested versions: {', '.join(other)}")
    libraries = sum(name.startswith("nvidia-") for name in found)
    if cuda and not ("triton" in found and libraries):
        return Cell("FAILED", "torch is no CUDA build: Triton or NVIDIA's libraries are missing")
    build = f"CUDA, {libraries} libraries" if libraries else "CPU"
    return Cell(f"{len(found)} packages, torch {found['torch']} ({build})")


def pins(text: str) -> dict[str, str]:
    """Return {name: version} of lines like `name==1.0 ; marker`; comments are skipped."""
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE))


def tested() -> dict[str, str]:
    """Return {name: version} of the tested set."""
    return pins((ROOT / "constraints.txt").read_text(encoding="utf-8"))


def _compile(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    alone = ["--no-config", "--no-python-downloads", "--no-annotate", "--no-header"]
    command = [sys.executable, "-m", "uv", "pip", "compile", *alone, *arguments]
    environment = {name: os.environ[name] for name in KEPT if name in os.environ} | MACOS
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


if __name__ == "__main__":
    sys.exit(main())
