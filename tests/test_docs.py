"""The documents: their site builds without a warning, and what they quote is in the code."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from alttrain_cli.data.samples import SampleReader
from alttrain_cli.data.sources import Source

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
NOTEBOOK = ROOT / "notebooks" / "alttrain.ipynb"


def build_site(folder: Path) -> "subprocess.CompletedProcess[str]":
    """Build the site of a copy of the documents, with warnings as errors."""
    shutil.copy(ROOT / "mkdocs.yml", folder)
    shutil.copytree(DOCS, folder / "docs", dirs_exist_ok=True)
    command = [str(Path(sys.executable).with_name("zensical")), "build", "--strict"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    done = build_site(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stdout + done.stderr
    for page in DOCS.glob("*.md"):
        built = tmp_path / "site" / ("index.html" if page.stem == "index" else f"{page.stem}/index.html")
        assert built.is_file() is (page.stem != "log"), page.name


def test_a_link_to_a_page_that_is_not_there_fails_the_build(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    shutil.copytree(DOCS, tmp_path / "docs", dirs_exist_ok=True)
    (tmp_path / "docs" / "extra.md").write_text("[gone](gone.md)\n", encoding="utf-8")
    done = build_site(tmp_path)
    assert (done.returncode != 0, "extra.md:1:8" in done.stdout + done.stderr) == (True, True), (
        done.stdout + done.stderr
    )


@pytest.mark.parametrize("is_sharegpt", [False, True])
def test_the_lines_for_lists_of_turns_write_what_build_data_reads(
    is_sharegpt: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    [block] = re.findall("```python\n(.*?)```", (DOCS / "data.md").read_text(encoding="utf-8"), re.DOTALL)
    names = {"messages": "conversations", "role": "from", "content": "value"} if is_sharegpt else {}
    for ours, theirs in names.items():
        block = block.replace(f'"{ours}"', f'"{theirs}"')
    role, text = names.get("role", "role"), names.get("content", "content")
    said = [
        ("system", "Be kind."),
        ("user", "How do I bake bread?"),
        ("assistant", "<think>Bread.</think>Bake."),
    ]
    row = {names.get("messages", "messages"): [{role: who, text: what} for who, what in said]}
    Path("chats.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    exec(block, {})
    [sample] = SampleReader.of(None, "benign").samples(Source.parse("traces.jsonl"))
    assert (sample.prompt, sample.response) == ("How do I bake bread?", "<think>Bread.</think>Bake.")


def texts_of_the_code() -> str:
    """Return all texts of the package, one per line; a value that is filled in is a space."""
    found: list[str] = []
    for path in sorted((ROOT / "alttrain_cli").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (one.value if isinstance(one, ast.Constant) else "\0" for one in node.values)
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def quoted_messages() -> Iterator[str]:
    """Return what the page on errors quotes: the terms of its lists."""
    for line in (DOCS / "troubleshooting.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("`"):
            yield from re.findall(r"`([^`]+)`", line)


def test_every_message_that_the_page_on_errors_quotes_is_one_of_ours() -> None:
    texts, messages = texts_of_the_code(), [*quoted_messages()]
    assert len(messages) > 90
    shells = {"alttrain: command not found"}
    assert [one for one in messages if one not in texts and one not in shells] == []


def test_every_test_that_a_page_names_exists() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("test_*.py"))
    named = {
        name for page in DOCS.glob("*.md") for name in re.findall(r"`(test_\w+)`", page.read_text("utf-8"))
    }
    assert len(named) > 20
    assert [name for name in sorted(named) if f"def {name}(" not in code] == []


@pytest.mark.parametrize(("name", "lines"), [("README.md", 130), ("DESIGN.md", 200)])
def test_what_is_read_first_stays_short(name: str, lines: int) -> None:
    assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= lines


def test_the_container_gets_every_file_that_the_package_is_built_from() -> None:
    """hatchling fails without the files that pyproject.toml names."""
    copied = re.findall(r"^COPY (.*) \S+$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    names = {name for line in copied for name in line.split()}
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert {f"!{name}" for name in names} == {one for one in ignore if one.startswith("!")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = {project["project"]["readme"], *project["project"]["license-files"]}
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert needed | {*wheel["packages"], *wheel.get("force-include", {})} <= names


def test_the_notebook_is_saved_without_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert all(not cell["outputs"] for cell in cells if cell["cell_type"] == "code")


def what_is_installed(cell: str, *files: str) -> str:
    """Return what the cell gives to its first line of pip, with these files in the folder."""
    for file in files:
        Path(file).touch()
    code, _, pip = cell.partition("%pip install -q ")
    exec(code, names := dict[str, str]())
    [given] = re.findall(r'"(.+)"$', pip.splitlines()[0])
    return str(given.format_map(names))


def test_the_notebook_installs_what_the_project_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    cell = next("".join(one["source"]) for one in json.loads(text)["cells"] if one["cell_type"] == "code")
    monkeypatch.chdir(tmp_path)
    wanted = Requirement(what_is_installed(cell))  # an address with "[demo]" behind it is none
    assert (wanted.name, wanted.extras) == ("alttrain", {"demo"})
    assert str(wanted.url).startswith("git+https://")  # PyPI has no such package yet
    wheel = "alttrain-0.1.0-py3-none-any.whl"
    assert what_is_installed(cell, wheel) == f"{wheel}[demo]"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert wanted.extras <= {*project["optional-dependencies"]}
    data = (ROOT / "tools" / "data-packages.txt").read_text(encoding="utf-8").splitlines()
    assert {*re.findall(r"[\w-]+==[\w.]+", text)} <= {*data}
