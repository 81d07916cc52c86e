"""The command lines of other programs that the documents print: pip, uv, make, git, docker and so on."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
# The log states what was done at its time.
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "DESIGN.md", "benchmarks/README.md")),
    *(path for path in sorted((ROOT / "docs").glob("*.md")) if path.name != "log.md"),
]
# In a sentence, code that starts with one of these names and has a second word is a command.
PROGRAMS = {
    *("accelerate", "apt", "apt-get", "bash", "brew", "cd", "conda", "cp", "curl", "docker", "export", "git"),
    *("hf", "jupyter", "lm_eval", "lms", "llama-server", "make", "mkdir", "mv", "npm", "ollama"),
    *(
        "pip",
        "pipx",
        "podman",
        "pre-commit",
        "py",
        "pytest",
        "python",
        "python3",
        "rm",
        "sh",
        "source",
        "ssh",
    ),
    *("sudo", "torchrun", "uv", "uvx", "vllm", "wget", "winget"),
}
PICTURE = re.compile(r"[─│▶]|->")  # what a block has that is no command: a diagram, or what a screen shows
OTHER_LANGUAGES = {"json", "python", "text", "yaml"}


class Line(NamedTuple):
    """A printed command line."""

    page: str  # relative to the repository
    text: str


class Block(NamedTuple):
    """Command lines that a page prints together, each without its comment."""

    heading: str
    lines: tuple[str, ...]


def is_command(text: str) -> bool:
    """Whether code in a sentence is a command, and not only the name of one."""
    first, _, rest = text.partition(" ")
    return bool(rest) and (first in PROGRAMS or re.match(r"(\.venv|env)/bin/\w", first) is not None)


def blocks(path: Path) -> Iterator[Block]:
    """Yield the indented blocks of a page, and its blocks of a shell, but no diagrams and no screens."""
    heading, code, fence = "", list[str](), ""
    for line in [*path.read_text(encoding="utf-8").splitlines(), "#"]:
        if line.startswith("```"):
            fence = "" if fence else line
        elif line.startswith("    ") and not fence:
            code.append(line[4:])
        elif fence and fence[3:] not in OTHER_LANGUAGES and is_command(line):
            code.append(line)
        elif line:
            if code and not any(PICTURE.search(one) for one in code):
                joined = re.sub(r"\\\n\s*", "", "\n".join(code))
                yield Block(heading, tuple(re.sub(r"\s+# .*", "", one) for one in joined.splitlines() if one))
            heading, code = (line.lstrip("# ") if line.startswith("#") and not fence else heading), []


def in_sentences(path: Path) -> Iterator[str]:
    """Yield the commands that sentences and tables name."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^    .*$", "", text, flags=re.MULTILINE)
    for code in re.findall(r"`([^`]+)`", text):
        if is_command(words := " ".join(code.split())):
            yield words


def in_comments(path: Path) -> Iterator[str]:
    """Yield the commands in comments that stand alone."""
    for code in re.findall(r"^#\s+(\S.*)$", path.read_text(encoding="utf-8"), re.MULTILINE):
        if is_command(code) and re.search(r"[/.=-]", code):  # a sentence may start with "make"
            yield code


def in_notebook(path: Path) -> Iterator[str]:
    """Yield the lines of a notebook that a shell or pip runs."""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            yield from re.findall(r"^[!%](?!env)(.*)$", "".join(cell["source"]), re.MULTILINE)


def printed() -> Iterator[Line]:
    """Yield every command line of another program, and those of alttrain where tests/test_examples.py does not look."""
    for path in PAGES:
        page = os.path.relpath(path, ROOT)
        for block in blocks(path):
            yield from (Line(page, one) for one in block.lines)
        yield from (Line(page, one) for one in in_sentences(path))
    for path in (
        ROOT / "Dockerfile",
        *sorted((ROOT / "recipes").iterdir()),
        *sorted((ROOT / "studies").iterdir()),
    ):
        yield from (Line(os.path.relpath(path, ROOT), one) for one in in_comments(path))
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        yield from (Line(os.path.relpath(path, ROOT), one) for one in in_notebook(path))


def others() -> list[Line]:
    """Return the lines of other programs; those of alttrain are run by tests/test_examples.py."""
    return [line for line in printed() if line.text.split()[0] != "alttrain"]
