"""The install lines of the documents, run as they are printed, each block in a home of its own.

git leads the address of the repository to a copy of this checkout. Packages come from the machine's own index and
caches. Where pip's find-links have torch, that build is taken: a CUDA build has 5 GB.
"""

import itertools
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from alttrain_cli import __version__
from tests.printed import Block, blocks, others

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "install.md"
ADDRESS = "https://HOST/OWNER/alttrain"
HEADINGS = ("From a clone", "Without a clone", "From a wheel", "Which build of torch", "Extras")
BLOCKS = [block for block in blocks(PAGE) if block.heading in HEADINGS]
CLONE = [line for block in BLOCKS if block.heading == "From a clone" for line in block.lines]
[WHEEL] = [line for block in BLOCKS for line in block.lines if line.startswith("pip wheel")]
ALONE = [
    block for block in BLOCKS if block.heading not in ("From a clone", "Extras") and WHEEL not in block.lines
]
AGAIN = {block.lines[0].split()[0]: block for block in BLOCKS if block.heading == "Extras"}  # by tool
EXTRAS = sorted({one.text for one in others() if re.match(r"pip install ('alttrain\[|--no-deps )", one.text)})
PIP_ALONE = next(block for block in ALONE if any(line.startswith("pip install -c") for line in block.lines))
# What this process has of its own environment.
OWN = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "HF_HUB_OFFLINE", "COLUMNS")
# uv asks for torch at an address that this machine may not reach. Offline, it takes the wheels of --find-links.
UV = """\
#!/bin/sh
case "$UV_FIND_LINKS $*" in /*--torch-backend*) export UV_OFFLINE=1 ;; esac
exec {uv} "$@"
"""

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(1800)]


def output(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository with the files of this checkout as they are."""
    folder = tmp_path_factory.mktemp("repository")
    for name in output("git", "ls-files", "-z", cwd=ROOT).split("\0"):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    output("git", "init", "--quiet", cwd=folder)
    output("git", "add", "--all", cwd=folder)
    who = ("-c", "user.name=A", "-c", "user.email=a@example.com")
    output("git", *who, "commit", "--quiet", "--message", "All of it", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what a reader has before the first line: Python, pip, uv and pipx."""
    folder = tmp_path_factory.mktemp("programs")
    python = os.path.realpath(sys.executable)
    (folder / "python3").symlink_to(python)
    texts = {
        "pip": f'#!/bin/sh\nexec {sys.executable} -m pip "$@"\n',
        "uv": UV.format(uv=Path(sys.executable).with_name("uv")),
    }
    if not shutil.which("pipx"):
        output(python, "-m", "venv", folder / "pipx-env")
        output(folder / "pipx-env" / "bin" / "pip", "install", "--quiet", "pipx")
        texts["pipx"] = f'#!/bin/sh\nexec {folder}/pipx-env/bin/pipx "$@"\n'
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def machine(programs: Path) -> dict[str, str]:
    """Return this machine's environment: its index, its caches, and programs, but nothing of this process."""
    kept = {name: value for name, value in os.environ.items() if name not in OWN}
    settings = runpy.run_path(str(ROOT / "tools" / "install.py"))["pip_settings"](
        output(sys.executable, "-m", "pip", "config", "list")
    )
    names = {"--find-links": "UV_FIND_LINKS", "--default-index": "UV_DEFAULT_INDEX"}
    kept |= {names[key]: value for key, value in itertools.pairwise(settings) if key in names}
    beside = [one for one in os.environ["PATH"].split(os.pathsep) if Path(one) != Path(sys.executable).parent]
    return {
        **kept,
        "PATH": os.pathsep.join([str(programs), *beside]),
        "XDG_CONFIG_HOME": os.environ.get("XDG_CONFIG_HOME", str(Path.home() / ".config")),
        "UV_CACHE_DIR": output(Path(sys.executable).with_name("uv"), "cache", "dir"),
        "PIP_CACHE_DIR": output(sys.executable, "-m", "pip", "cache", "dir"),
        "PIP_COMPILE": "0",  # byte code, for a minute
        "SHELL": "/bin/bash",
    }


class Reader:
    """Somebody with a new home and an empty folder, who types lines."""

    def __init__(self, folder: Path, repository: Path, machine: dict[str, str]) -> None:
        self.home, self.folder = folder / "home", folder / "folder"
        for made in (self.home, self.folder):
            made.mkdir()
        addresses = "".join(f"insteadOf = {one}\n" for one in (ADDRESS, ADDRESS.replace("HOST", "host")))
        text = f'[url "file://{repository}"]\n{addresses}'  # uv writes hosts in lower case
        (self.home / ".gitconfig").write_text(text, encoding="utf-8")
        self.environment = {**machine, "HOME": str(self.home)}

    def types(self, *lines: str, shell: tuple[str, ...] = ("bash", "-c")) -> str:
        """Type the lines into a shell; each must succeed."""
        script = "\n".join(["set -e", *lines])
        done = subprocess.run(
            [*shell, script], cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{script}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout


@pytest.fixture
def reader(tmp_path: Path, repository: Path, machine: dict[str, str]) -> Iterator[Reader]:
    yield Reader(tmp_path, repository, machine)
    shutil.rmtree(tmp_path)  # gigabytes


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory, repository: Path, machine: dict[str, str]) -> Path:
    """Return a folder with the wheel that the page's line makes, and the tested set."""
    reader = Reader(tmp_path_factory.mktemp("wheel"), repository, machine)
    reader.types(f"git clone --quiet {ADDRESS} .", WHEEL)
    for path in reader.folder.iterdir():
        if path.name not in ("dist", "constraints.txt"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return reader.folder


ASKS = ("alttrain --version", "alttrain recipes")
# Asks the Python on top of the command whether the packages of extras are there.
EXTRAS_ARE_THERE = """\
$(head -1 "$(command -v alttrain)" | cut -c3-) -c "
from importlib.util import find_spec
assert all(map(find_spec, '{names}'.split()))"
"""
BY_RERUN = EXTRAS_ARE_THERE.format(names="math_verify uvicorn")
BY_PIP = EXTRAS_ARE_THERE.format(names="math_verify uvicorn lm_eval submitit llama_cpp_py_sync pyrit")


def check(answer: str) -> None:
    assert __version__ in answer
    assert "smollm2-135m" in answer


@pytest.mark.parametrize("block", ALONE, ids=lambda block: " ".join(block.lines[-1].split()[:3]))
def test_a_block_installs_a_command_that_works(block: Block, reader: Reader, wheel: Path) -> None:
    if "dist/" in "".join(block.lines):
        shutil.copytree(wheel, reader.folder, dirs_exist_ok=True)
    if block.heading == "Without a clone" and (again := AGAIN.get(block.lines[0].split()[0])):
        new_terminal = ("bash", "-i", "-c")
        reader.types(*block.lines)
        check(reader.types(*ASKS, shell=new_terminal))
        reader.types(*again.lines)
        reader.types(*ASKS, BY_RERUN, shell=new_terminal)
    elif block is PIP_ALONE:
        check(reader.types(*block.lines, *EXTRAS, *ASKS, BY_PIP))
    else:
        reader.environment["PATH"] += f":{reader.home}/.local/bin"
        check(reader.types(*block.lines, *ASKS))


def test_the_lines_for_a_clone_work_in_order(reader: Reader) -> None:
    answer = reader.types(*CLONE, *ASKS)
    check(answer)
    assert "after training" in answer
