"""Command lines in documents and recipes: each is one that alttrain reads, with the names that the help shows."""

import re
import shlex
from pathlib import Path

import pytest

import alttrain_cli
from alttrain_cli.commands.help import OLD_NAMES
from tests.command_lines import context_of

ROOT = Path(alttrain_cli.__file__).parent.parent
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "Makefile",
    *sorted(path for path in (ROOT / "docs").glob("*.md") if path.name != "log.md"),
    *sorted((ROOT / "recipes").glob("*.yaml")),
]
_LINE = re.compile(r"(?:\t@?\$\(BIN\)/|#? {3,})(alttrain [^\n]*)")


def lines_of(path: Path) -> list[str]:
    """The commands of a document, without the comment after each; a backslash continues a line."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ").replace("\n#   ", "\n#    ")
    found = [match.group(1) for line in text.splitlines() if (match := _LINE.fullmatch(line))]
    return [re.sub(r" \$\((?:if|wildcard).*", "", re.split(r"\s{2,}#|\s#\s", line)[0]) for line in found]


COMMANDS = [(path.name, line) for path in DOCUMENTS for line in lines_of(path)]


def test_there_are_commands_in_every_kind_of_document() -> None:
    names = {name for name, _ in COMMANDS}
    assert {"README.md", "guide.md", "Makefile", "r1-7b.yaml"} <= names
    assert len(COMMANDS) > 60


@pytest.mark.parametrize(("name", "line"), COMMANDS)
def test_a_command_in_a_document_is_one_that_alttrain_reads(name: str, line: str) -> None:
    _, *words = shlex.split(line)
    if words:
        context_of(words, lenient=False)


@pytest.mark.parametrize(("name", "line"), COMMANDS)
def test_no_document_uses_an_older_name_of_an_option(name: str, line: str) -> None:
    own = {"--compare"} if " chat " in line else set()
    assert not (set(line.split()) & set(OLD_NAMES)) - own


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_names_only_files_that_exist(path: Path) -> None:
    if path.suffix == ".md":
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), target
