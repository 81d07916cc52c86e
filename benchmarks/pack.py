"""Packs what a bare GPU machine without a network lacks, so that `benchmarks/gpu.py` runs there.

    python benchmarks/pack.py [--out packed] [--python 3.12] [--cuda 130] [--limit 64] [--has NAMES]

Run it where a package index can be reached. `--has` names what the other machine has already: a file
with `pip freeze`'s lines, or names separated by commas. The default is what images for machine
learning usually hold. Everything else that alttrain needs is downloaded for that Python on x86-64
Linux, and cut: of bitsandbytes one CUDA library stays, of Unsloth the package without its web page;
tests and documentation go. If the folder and the working tree are larger than `--limit` MiB, it says
so and ends with an error. On the other machine, in the working tree: sh packed/run.sh --quick
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable, Iterator
from email.parser import HeaderParser
from pathlib import Path
from typing import NamedTuple

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.tags import parse_tag
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
MIB = 2**20
# What an image with torch for CUDA 13 and the usual libraries holds. `--has` replaces it.
HAS = (
    "torch==2.11.0 torchvision==0.26.0 triton==3.6.0 transformers==5.17.0 tokenizers==0.23.2 "
    "accelerate==1.15.0 huggingface-hub==1.33.0 safetensors==0.8.0 sentencepiece==0.2.2 numpy==2.5.2 peft "
    "pandas pyarrow scipy psutil pyyaml protobuf regex requests httpx jinja2 rich typer click tqdm xxhash "
    "aiohttp einops fsspec filelock packaging pillow setuptools wheel typing-extensions anyio certifi idna "
    "h11 httpcore markdown-it-py pygments shellingham hf-xet"
)
# Unsloth requires these, and nothing that alttrain calls imports them.
UNUSED = ("xformers", "torchao", "diffusers", "hf-transfer")
GLIBC = (17, 24, 27, 28, 31, 34, 35)  # manylinux_2_N: pip matches each name exactly
DROPPED = ("tests", "test", "testing_data", "docs", "examples", "benchmarks", "studio", "unsloth_cli")
DROPPED_FILES = (".pyi", ".pyx", ".pxd", ".c", ".cpp", ".h", ".ipynb", ".map")  # TRL reads its .md


class PackError(Exception):
    """What keeps the pack from being made, in one line."""


class Target(NamedTuple):
    """The machine that the pack is for."""

    python: str  # "3.12"
    cuda: str  # "130", as in the names of bitsandbytes' libraries
    has: dict[str, str]  # name -> version, or "" where nobody said which


def names(text: str) -> dict[str, str]:
    """Read `pip freeze` lines, or names separated by commas or spaces, as name -> version or ""."""
    found: dict[str, str] = {}
    for word in re.split(r"[\s,]+", re.sub(r"#.*| @ \S+", "", text)):
        name, _, version = word.partition("==")
        if name:
            found[canonicalize_name(name)] = version
    return found


def platforms() -> list[str]:
    """Return pip's options for wheels of x86-64 Linux."""
    tags = [f"manylinux_2_{minor}_x86_64" for minor in GLIBC] + ["manylinux2014_x86_64", "linux_x86_64"]
    return [part for tag in tags for part in ("--platform", tag)]


def tested() -> dict[str, str]:
    """Return the tested version of each package, from constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)")
    return {canonicalize_name(m[1]): m[2] for line in lines if (m := pins.match(line))}


def download(wanted: Iterable[str], target: Target, folder: Path) -> list[Path]:
    """Download one wheel for each requirement, without what they need themselves."""
    before = set(folder.glob("*.whl"))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", target.python, "--implementation", "cp", *platforms()]
    done = subprocess.run([*command, "-d", str(folder), *wanted], capture_output=True, text=True)
    if done.returncode:
        raise PackError(f"pip could not download {', '.join(wanted)}:\n{done.stderr.strip()}")
    return sorted(set(folder.glob("*.whl")) - before)


def requirements(wheel: Path, target: Target) -> Iterator[Requirement]:
    """Yield what a wheel needs on the target, without its extras."""
    environment = {
        **{key: str(value) for key, value in default_environment().items()},
        "python_version": target.python,
        "python_full_version": f"{target.python}.0",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "extra": "",
    }
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = HeaderParser().parsestr(archive.read(name).decode("utf-8"))
    for line in metadata.get_all("Requires-Dist") or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(environment):
            yield requirement


def collect(target: Target, folder: Path, leave_out: Iterable[str] = UNUSED) -> tuple[list[Path], list[str]]:
    """Download all that alttrain needs and the target lacks. Return the wheels, and what conflicts."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    waiting = [Requirement(line) for line in project["dependencies"]]
    pins, left_out = tested(), {canonicalize_name(name) for name in leave_out}
    wheels: list[Path] = []
    conflicts: list[str] = []
    seen = set(left_out)
    by = {requirement.name: "alttrain" for requirement in waiting}
    while waiting:
        wanted = []
        for requirement in waiting:
            name = canonicalize_name(requirement.name)
            version = target.has.get(name)
            if version and not requirement.specifier.contains(version, prereleases=True):
                conflicts.append(f"{by[requirement.name]} needs {requirement}; the machine has {version}")
            if name in seen or name in target.has:
                continue
            seen.add(name)
            wanted.append(f"{name}=={pins[name]}" if name in pins else f"{name}{requirement.specifier}")
        fetched = download(wanted, target, folder) if wanted else []
        wheels += fetched
        waiting = []
        for wheel in fetched:
            needed = list(requirements(wheel, target))
            by.update({requirement.name: wheel.name.split("-")[0] for requirement in needed})
            waiting += needed
    return wheels, conflicts


def kept(name: str, target: Target) -> bool:
    """Whether a file of a wheel is needed to run it."""
    parts = Path(name).parts
    if any(part.endswith(".dist-info") for part in parts):
        return parts[-1] in ("METADATA", "entry_points.txt", "top_level.txt")
    if any(part in DROPPED for part in parts[:-1]) or any(part.endswith(".data") for part in parts[:1]):
        return False
    if parts[-1].startswith("libbitsandbytes_"):
        return parts[-1] in (f"libbitsandbytes_cuda{target.cuda}.so", "libbitsandbytes_cpu.so")
    return not parts[-1].endswith(DROPPED_FILES)


def unpack(wheel: Path, out: Path, target: Target) -> int:
    """Unpack what is needed of a wheel and return its bytes."""
    with zipfile.ZipFile(wheel) as archive:
        wanted = [
            entry for entry in archive.infolist() if not entry.is_dir() and kept(entry.filename, target)
        ]
        archive.extractall(out, members=wanted)
    files = [entry.filename for entry in wanted]
    if wheel.name.startswith("bitsandbytes-") and not any(f"cuda{target.cuda}.so" in file for file in files):
        raise PackError(f"{wheel.name}: holds no library for CUDA {target.cuda}; give another --cuda.")
    return sum(entry.file_size for entry in wanted)


def fits(wheel: Path, target: Target) -> bool:
    """Whether a wheel's name says that it runs on the target's Python."""
    short = target.python.replace(".", "")
    interpreters = {tag.interpreter for tag in parse_tag("-".join(wheel.stem.split("-")[-3:]))}
    return bool(interpreters & {f"cp{short}", "py3", f"py{short}"}) or "abi3" in wheel.name


def tree_bytes(root: Path = ROOT) -> int:
    """Return the bytes of the files that git tracks: they travel together with the pack."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True)
    return sum((root / name).stat().st_size for name in listed.stdout.split("\0") if (root / name).is_file())


def check_size(packed: int, tree: int, limit: float) -> None:
    """Fail when the pack and the working tree together are too large to travel."""
    if packed + tree > limit * MIB:
        raise PackError(
            f"The pack has {packed / MIB:.1f} MiB and the working tree {tree / MIB:.1f} MiB, but only "
            f"{limit:g} MiB may travel: name more with --has, or leave packages out with --without."
        )


RUN = """#!/bin/sh
# Runs a benchmark with what is packed beside this file: sh packed/run.sh --quick
here=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH="$here:$here/..${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
exec python3 "$here/../benchmarks/gpu.py" "$@"
"""


def pack(target: Target, out: Path, leave_out: Iterable[str], wheels_in: Path) -> list[tuple[str, int]]:
    """Make the folder and return (wheel, bytes) for each package."""
    wheels, conflicts = collect(target, wheels_in, leave_out)
    for conflict in conflicts:
        print(f"conflict: {conflict}", file=sys.stderr)
    strange = [wheel.name for wheel in wheels if not fits(wheel, target)]
    if strange:
        raise PackError(f"Not for Python {target.python}: {', '.join(strange)}")
    if (out / "run.sh").is_file():  # ours, from before
        shutil.rmtree(out)
    out.mkdir(parents=True)
    sizes = [(wheel.name, unpack(wheel, out, target)) for wheel in wheels]
    (out / "run.sh").write_text(RUN, encoding="utf-8")
    return sorted(sizes, key=lambda size: -size[1])


def main() -> None:
    """Make the pack and print what it holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "packed")
    parser.add_argument("--python", default="3.12")
    parser.add_argument("--cuda", default="130", help="as in libbitsandbytes_cuda130.so")
    parser.add_argument("--limit", type=float, default=64, help="MiB, the working tree included")
    parser.add_argument("--has", default=HAS, help="a file, or names: torch==2.11.0,transformers")
    parser.add_argument("--without", default=",".join(UNUSED), help="packages to leave out, by commas")
    options = parser.parse_args()
    given = Path(options.has)
    text = given.read_text(encoding="utf-8") if len(options.has) < 255 and given.is_file() else options.has
    target = Target(options.python, options.cuda, names(text))
    try:
        with tempfile.TemporaryDirectory() as wheels:
            sizes = pack(target, options.out, names(options.without), Path(wheels))
        whole, tree = sum(size for _, size in sizes), tree_bytes()
        for name, size in sizes:
            print(f"{size / MIB:7.2f} MiB  {name}")
        print(f"{whole / MIB:7.2f} MiB  {options.out}; the working tree has {tree / MIB:.2f} MiB")
        check_size(whole, tree, options.limit)
    except (PackError, FileExistsError) as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
