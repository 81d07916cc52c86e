#!/usr/bin/env python3
"""Make .venv and install alttrain with the tested packages: `python3 tools/install.py [EXTRA]`.

Needs a Python with venv and a package index, nothing else. Without EXTRA, only uv is installed.
torch comes from the first of these places that has it: the machine's own wheels (find-links of pip);
the index of the CPU builds, or with an NVIDIA card the one for its driver; the ordinary index.
"""

from __future__ import annotations

import ast
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = str(VENV / ("Scripts" if os.name == "nt" else "bin") / "python")
CONSTRAINTS = ROOT / "constraints.txt"
DATA_PACKAGES = ROOT / "tools" / "data-packages.txt"
TORCH = ("torch", "torchvision")
FIRST, LAST = (3, 11), (3, 13)  # as requires-python in pyproject.toml
ERASED = "\r\x1b[2K"  # what a terminal shows of the present line
HEARTBEAT = 5  # seconds between lines where there is no terminal
# Where a place is only tried, its silence costs seconds, not minutes.
IMPATIENT = {"UV_HTTP_RETRIES": "0", "UV_HTTP_CONNECT_TIMEOUT": "5", "UV_HTTP_TIMEOUT": "10"}
IMPATIENCE = 60  # seconds for a whole try
# uv does not read pip's settings. These are what it calls them.
SETTINGS = {
    "index-url": "--default-index",
    "extra-index-url": "--index",
    "find-links": "--find-links",
    "trusted-host": "--allow-insecure-host",
}


class Way(NamedTuple):
    """One way to install: where torch itself comes from, if not from where all the rest does."""

    name: str
    size: str  # of the download, rounded; measured on Linux x86-64
    backend: str | None = None  # as uv calls it


KEPT = Way("the tested torch that .venv has", "0.5 GB")


def main(extra: str | None) -> int:
    """Install, and return the exit code."""
    if not (make_venv() and make_uv()):
        return 1
    if extra is None:
        return 0
    say("Looking for the build of torch that fits this machine.")
    with Ticking("looking"):
        settings = pip_settings(_output([PYTHON, "-m", "pip", "config", "list"]))
        found = [KEPT] if keeps_torch() else ways(has_card(), brings_torch(settings), platform.system())
    for way in found:
        steps = commands(way, settings, extra)
        with Ticking(f"trying {way.name}"):
            leads = not way.backend or _leads(steps[0])
        if not leads:
            say(f"Cannot be reached from here: {way.name}.")
            continue
        say(f"Installing with {way.name}.")
        say(f"Download: about {way.size}, less what is cached.")
        if all(_run(_uv(step)) == 0 for step in steps):
            return 0
    say("uv could not install it. Trying pip, which takes longer.")
    return max(_run([PYTHON, "-m", "pip", "install", *step]) for step in commands(Way("pip", ""), [], extra))


def ways(card: bool, own_wheels: bool, system: str) -> list[Way]:
    """Return the ways to install, best first. The last one needs only the ordinary index."""
    ordinary = Way("the ordinary build of torch", "3.1 GB" if system == "Linux" else "0.7 GB")
    if card and system in ("Linux", "Windows"):
        return [Way("the CUDA build of torch for this card's driver", "3.1 GB", "auto"), ordinary]
    if own_wheels:
        return [Way("this machine's own build of torch", "0.6 GB")]
    if system == "Linux":
        return [Way("the CPU build of torch", "0.7 GB", "cpu"), ordinary]
    return [ordinary]


def commands(way: Way, settings: list[str], extra: str) -> list[list[str]]:
    """Return the arguments of each install command. What is installed already stays."""
    project = ["--editable", f"{ROOT}[{extra}]"]
    data = [*settings, "--no-deps", "--requirement", str(DATA_PACKAGES)]
    if way is KEPT:
        return [[*settings, "--constraint", str(_without_cuda()), *project], data]
    if way.backend is None:
        return [[*settings, "--constraint", str(CONSTRAINTS), *project], data]
    # The index of a backend lacks some of the packages that uv would look for only there.
    torch = ["--torch-backend", way.backend, "--no-deps", "--constraint", str(CONSTRAINTS), *TORCH]
    return [torch, [*settings, "--constraint", str(_without_cuda()), *project], data]


def make_venv() -> bool:
    """Make .venv if it is not there. A folder that was found is never deleted."""
    if VENV.exists():
        usable = _output([PYTHON, "-c", f"import pip; {_CHECK}"]) == "yes"
        if not usable:
            say(f"{VENV} has no pip or not Python {_span()}. Remove it (make clean) and repeat.")
        return usable
    python = find_python()
    if python is None:
        return False
    say(f"Making .venv with {python}.")
    try:
        made = _run([python, "-m", "venv", str(VENV)]) == 0  # if not, venv has said why
    except BaseException:
        shutil.rmtree(VENV, ignore_errors=True)
        raise
    if not made:
        shutil.rmtree(VENV, ignore_errors=True)
    return made


def find_python() -> str | None:
    """Return the Python that runs this, or else one on the PATH, if alttrain can use it."""
    for name in (sys.executable, "python3.12", "python3.11", "python3.13"):
        if _output([name, "-c", f"import venv, ensurepip; {_CHECK}"]) == "yes":
            return name
    mine = "{}.{}".format(*sys.version_info[:2])
    if FIRST <= sys.version_info[:2] <= LAST:
        say(f"Python {mine} cannot make a .venv here. Debian and Ubuntu: apt install python{mine}-venv")
    else:
        say(f"alttrain needs Python {_span()}; this is {mine}. Install one: make PYTHON=python3.12 demo")
    return None


def make_uv() -> bool:
    """Install the tested uv into .venv, if none is there."""
    if _output([PYTHON, "-m", "uv", "--version"]):
        return True
    say("Installing uv into .venv (20 MB).")
    quiet = ["--quiet", "--disable-pip-version-check"]
    return _run([PYTHON, "-m", "pip", "install", *quiet, "--constraint", str(CONSTRAINTS), "uv"]) == 0


def has_card() -> bool:
    """Whether an NVIDIA driver is here."""
    smi = shutil.which("nvidia-smi")
    return Path("/proc/driver/nvidia/version").exists() or (smi is not None and "GPU" in _output([smi, "-L"]))


def pip_settings(listed: str) -> list[str]:
    """Return what `pip config list` printed as options for uv; certificates go to the environment."""
    found = {}
    for scope in ("global", "install", ":env:"):  # the later one wins
        for key, value in re.findall(rf"^{scope}\.([\w-]+)=(.*)$", listed, re.MULTILINE):
            found[key] = str(ast.literal_eval(value))
    for key, name in (("cert", "SSL_CERT_FILE"), ("proxy", "HTTPS_PROXY")):
        if key in found:
            os.environ.setdefault(name, found[key])
    options = []
    for key, option in SETTINGS.items():
        for value in found.get(key, "").split():
            options += [option, value]
    # pip takes the best version that any index has.
    return [*options, "--index-strategy", "unsafe-best-match"] if "--index" in options else options


def keeps_torch() -> bool:
    """Whether .venv has the tested torch already, from whatever place."""
    done = _finished(_uv(["--dry-run", "--offline", "--no-deps", "--constraint", str(CONSTRAINTS), *TORCH]))
    return done is not None and "no changes" in done.stderr


def brings_torch(settings: list[str]) -> bool:
    """Whether pip's find-links have the tested torch, so that nothing of it is downloaded."""
    if "--find-links" not in settings:
        return False
    places = [*settings, "--no-index", "--no-deps", "--constraint", str(CONSTRAINTS)]
    return _leads([*places, *TORCH])


def say(line: str, end: str = "\n") -> None:
    """Print a line at once."""
    print(line, end=end, file=sys.stderr, flush=True)


class Ticking:
    """Shows what is done, and for how long, while the block works: a line that is rewritten each second.

    Where there is no terminal, these are plain lines now and then.
    """

    def __init__(self, doing: str) -> None:
        self.doing = doing
        self.live = sys.stderr.isatty()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Ticking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if self.live:
            say(ERASED, end="")

    def _tick(self) -> None:
        started = time.monotonic()
        while not self._over.wait(1 if self.live else HEARTBEAT):
            state = f"  {time.monotonic() - started:.0f} s · {self.doing}"
            say(f"{ERASED}{state[:79]}", end="") if self.live else say(state)


_CHECK = f"import sys; print('yes' if {FIRST} <= sys.version_info[:2] <= {LAST} else 'no')"


def _span() -> str:
    return "{}.{} to {}.{}".format(*FIRST, *LAST)


def _without_cuda() -> Path:
    """Return the constraints without NVIDIA's libraries: each CUDA build of torch fixes its own."""
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines(keepends=True)
    path = VENV / "constraints-any-cuda.txt"
    kept = [line for line in lines if not line.startswith(("nvidia-", "cuda-"))]
    path.write_text("".join(kept), encoding="utf-8")
    return path


def _uv(arguments: Sequence[str]) -> list[str]:
    return [PYTHON, "-m", "uv", "pip", "install", "--python", PYTHON, *arguments]


def _leads(arguments: list[str]) -> bool:
    """Whether uv soon finds all that these arguments ask for."""
    return _finished(_uv(["--dry-run", *arguments]), **IMPATIENT) is not None


def _output(command: Sequence[str]) -> str:
    """Return what a command printed; empty if it failed or is not there."""
    done = _finished(command)
    return "" if done is None else done.stdout.strip()


def _finished(command: Sequence[str], **variables: str) -> subprocess.CompletedProcess[str] | None:
    env = {**os.environ, **variables}
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=IMPATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done if done.returncode == 0 else None


def _run(command: Sequence[str]) -> int:
    """Run it, show that it works, and print its lines but those about single packages."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace")
    with process, Ticking("working") as ticking:
        assert process.stderr
        for line in process.stderr:
            passing = re.match(r"\s*(Downloading|Downloaded|Building|Built|[+~-]) ?(.*)", line)
            if passing and passing[1].isalpha():
                ticking.doing = line.strip()
            if line.strip() and not passing:
                say(f"{ERASED if ticking.live else ''}{line.rstrip()}")
    return process.returncode


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else None))
    except KeyboardInterrupt:
        sys.exit(130)
