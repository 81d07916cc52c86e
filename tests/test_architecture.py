"""The rules of DESIGN.md that code can break: layers, light start, one place that draws."""

import ast
import subprocess
import sys
from collections import Counter
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

import alttrain_cli
from alttrain_cli import console
from alttrain_cli.commands.shared.examples import COMMANDS
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.storage.files import write_jsonl

PACKAGE = Path(alttrain_cli.__file__).parent
LONGEST_FILE, LONGEST_COMMAND, LONGEST_FUNCTION = 300, 150, 40  # lines
LARGEST_ROOM = 0.25  # of all lines
HEAVY = {
    "torch",
    "transformers",
    "trl",
    "unsloth",
    "datasets",
    "peft",
    "accelerate",
    "pyarrow",
    "httpx",
    "rensa",
    "lm_eval",
    "starlette",
    "uvicorn",
}
# The heavy libraries that a room besides the engine may import, inside functions.
MAY_USE = {
    "storage": {"pyarrow"},
    "data": {"datasets", "rensa"},
    "backends": {"httpx"},
    "evaluation": {"lm_eval"},
    "serve": {"starlette", "uvicorn"},
    "training": {"torch", "transformers", "trl", "unsloth", "datasets", "peft", "accelerate"},
    "engine": HEAVY,
}

# Each module with the modules that it may import. Arrows point down only (DESIGN.md, "Modules").
BOTTOM = {"errors", "progress", "text"}
LOW = {*BOTTOM, "storage", "statistics", "recipe", "structure"}
LAYERS: dict[str, set[str]] = {
    "errors": set(),
    "text": set(),
    "progress": set(),
    "sandbox": set(),
    "statistics": BOTTOM,
    "storage": BOTTOM,
    "recipe": {*BOTTOM, "storage"},
    "structure": {*BOTTOM, "storage"},
    "engine": LOW,
    "backends": {*LOW, "engine"},
    "data": {*LOW, "engine", "backends"},
    "chat": {*LOW, "engine", "backends"},
    "evaluation": {*LOW, "engine", "backends", "sandbox"},
    "training": {*LOW, "engine", "backends", "runs"},
    "serve": {*LOW, "engine", "backends"},
    "runs": LOW,
    "study": {*LOW, "engine", "data", "evaluation", "training", "runs"},
    "doctor": {*LOW, "engine", "backends"},
    "console": {
        *LOW,
        "data",
        "chat",
        "evaluation",
        "training",
        "runs",
        "study",
        "doctor",
        "serve",
        "export",
    },
    "export": {*LOW, "engine", "backends", "runs"},
    "commands": {
        *LOW,
        "engine",
        "backends",
        "data",
        "chat",
        "evaluation",
        "training",
        "runs",
        "study",
        "doctor",
        "serve",
        "export",
        "console",
    },
    "cli": {*LOW, "commands", "console"},
    "__main__": {"cli"},
    "__init__": set(),
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "alttrain_cli":
            found.update(f"alttrain_cli.{name.name}" for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down_only(path: Path) -> None:
    own = {name.split(".")[1] for name in imports(path) if name.startswith("alttrain_cli.")}
    assert own - {"__version__", room(path)} <= LAYERS[room(path)]


def test_files_import_one_another_in_no_circle() -> None:
    names = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in MODULES}
    graph = {name: imports(path) & names.keys() for name, path in names.items()}
    assert list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_engine_touches_heavy_libraries_and_only_the_console_draws(path: Path) -> None:
    names = {name.split(".")[0] for name in imports(path)}
    assert names & HEAVY <= MAY_USE.get(room(path), set())
    if room(path) != "console":
        assert "rich" not in names
    if room(path) not in ("commands", "cli"):
        assert "typer" not in names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_has_at_most_300_lines_one_of_a_command_150_and_a_function_40(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= (LONGEST_COMMAND if room(path) == "commands" else LONGEST_FILE)
    sizes = {
        node.name: (node.end_lineno or 0) - node.lineno + 1
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: size for name, size in sizes.items() if size > LONGEST_FUNCTION} == {}


def test_no_room_has_more_than_a_quarter_of_the_lines() -> None:
    lines: Counter[str] = Counter()
    for path in MODULES:
        lines[room(path)] += path.read_text(encoding="utf-8").count("\n")
    largest, size = lines.most_common(1)[0]
    assert size <= LARGEST_ROOM * lines.total(), f"{largest}: {size} of {lines.total()} lines"


def test_commands_holds_a_file_or_folder_per_command_and_what_they_share() -> None:
    found = {path.stem for path in (PACKAGE / "commands").iterdir() if not path.name.startswith("__")}
    assert found == {name.replace("-", "_") for name in COMMANDS} | {"overview", "shared"}


def test_a_command_imports_no_other_command() -> None:
    for path in (PACKAGE / "commands").rglob("*.py"):
        own = path.relative_to(PACKAGE / "commands").with_suffix("").parts[0]
        names = [name.split(".") for name in imports(path) if name.startswith("alttrain_cli.commands.")]
        assert {name[2] for name in names} <= {own, "shared"}, path


def test_a_public_class_has_a_name_of_its_own() -> None:
    homes: dict[str, list[str]] = {}
    for path in MODULES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(str(path.relative_to(PACKAGE)))
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["runs"],
        ["doctor"],
        [],
        ["recipes"],
        ["recipes", "show", "r1-7b"],
        ["recipes", "--gpu", "12"],
        ["train", "--help"],
        ["train", "--recipe", "r1-8b", "--data", "rows.jsonl", "--plan", "--gpu", "12"],
        ["chat", "--help"],
        ["serve", "--help"],
        ["eval", "--help"],
        ["eval", "judge", "--help"],
        ["study", "plan", "smoke", "--gpu", "24"],
    ],
    ids=" ".join,
)
def test_a_light_command_loads_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    write_jsonl(tmp_path / "rows.jsonl", (row.model_dump() for row in starter_rows("train")))
    code = (
        "import sys; from alttrain_cli.cli import app\n"
        f"try: app({arguments!r})\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"print('HEAVY', sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def loaded_by_help(arguments: list[str]) -> set[str]:
    code = (
        "import sys; from alttrain_cli.cli import main\n"
        f"sys.argv = ['alttrain', *{arguments!r}, '--help']\n"
        "try: main()\n"
        "except SystemExit: print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_the_list_of_commands_needs_neither_rich_nor_pydantic() -> None:
    assert not {"rich", "pydantic", "yaml", "platformdirs"} & loaded_by_help([])


@pytest.mark.parametrize(
    "words", [["eval"], ["eval", "judge"], ["eval", "suites"], ["build-data"]], ids=" ".join
)
def test_help_of_a_large_command_loads_its_options_alone(words: list[str]) -> None:
    loaded = loaded_by_help(words)  # typer itself loads pydantic for some kinds of option
    assert not {"rich", "yaml", "jinja2", "alttrain_cli.recipe.model", "alttrain_cli.backends.base"} & loaded


def test_the_console_has_every_name_that_it_declares() -> None:
    tree = ast.parse((PACKAGE / "console" / "__init__.py").read_text(encoding="utf-8"))
    [declared] = [node for node in tree.body if isinstance(node, ast.If)]
    names = {alias.name for node in declared.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert names == set(console._HOMES)
    assert all(hasattr(console, name) for name in names)


def test_no_remote_code_and_no_pickle() -> None:
    for path in MODULES:
        source = path.read_text(encoding="utf-8")
        assert "trust_remote_code=True" not in source
        assert not {"pickle", "joblib", "shelve"} & imports(path)


@pytest.mark.parametrize(
    "path", sorted((PACKAGE.parent / "benchmarks").glob("*.py")), ids=lambda path: path.name
)
def test_a_benchmark_imports_only_names_that_there_are(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("alttrain_cli"):
            module = import_module(str(node.module))
            for alias in node.names:
                assert hasattr(module, alias.name) or import_module(f"{node.module}.{alias.name}")
