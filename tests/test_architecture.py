"""The rules of DESIGN.md that code can break: layers, light start, one place that draws."""

import ast
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

import alttrain_cli
from alttrain_cli import console
from alttrain_cli.commands.shared.examples import COMMANDS
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.storage.files import write_jsonl
from tests import later

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

# The ground: files that every module may import. Arrows to them are not counted.
GROUND = {"errors", "problems", "progress", "text", "strict_json", "network", "library_output"}
# Each module with the modules above the ground that it imports. Arrows point down only (DESIGN.md, "Modules").
LAYERS: dict[str, set[str]] = {
    **{name: set() for name in (*GROUND, "sandbox", "statistics", "storage", "__init__")},
    "recipe": {"storage"},
    "structure": {"storage"},
    "engine": {"structure", "recipe", "storage"},
    "runs": {"recipe", "statistics", "storage"},
    "backends": {"engine", "structure", "recipe", "storage"},
    "data": {"backends", "structure", "recipe", "storage"},
    "chat": {"backends", "structure", "recipe", "storage"},
    "serve": {"backends", "structure", "recipe"},
    "evaluation": {"sandbox", "backends", "structure", "recipe", "statistics", "storage"},
    "training": {"runs", "backends", "engine", "structure", "recipe", "storage"},
    "export": {"runs", "engine", "structure", "recipe", "storage"},
    "doctor": {"backends", "engine", "structure", "storage"},
    "study": {"training", "evaluation", "data", "runs", "engine", "recipe", "statistics", "storage"},
    "console": {
        *("study", "doctor", "data", "serve", "chat", "evaluation", "export", "training", "runs"),
        *("structure", "recipe", "statistics", "storage"),
    },
    "commands": {
        *("console", "study", "doctor", "data", "serve", "chat", "evaluation", "export", "training"),
        *("runs", "backends", "recipe", "storage"),
    },
    "cli": {"commands", "console"},
    "__main__": {"cli"},
}
MOST_ARROWS = 80
# Where JSON without a type passes from room to room, and why. What it holds is checked on its way.
EDGES = {
    "chat.transcript: notes": "other keys of a saved turn, which are kept and not read",
    "evaluation.suites.suite: config": "settings of a task of lm-evaluation-harness, in its own words",
    "evaluation.suites.suite: document": "a row of such a task, which only the task's own scoring reads",
    "recipe.layers: values": "a settings file, which its model checks next",
    "recipe.model: changed": "fields of a recipe's sections by their names",
    "recipe.overrides: put_overrides": "into the values of a settings file, which its model checks next",
    "storage.journal: append": "a line of a log, whose type checks it when it is read",
    "storage.journal: aligned": "a line of a log, as its type has checked it",
    "storage.journal: get": "a line of a log, as its type has checked it",
    "storage.journal: latest": "a line of a log, as its type has checked it",
    "storage.reading: object_in": "a file that may be damaged: its callers take a value, if there is one",
    "storage.reading: read_jsonl": "a line of a user's file, which its callers check next",
    "storage.tables: read_table": "a row of a table that others publish, in columns of their own",
    "study.file: set": "fields of a recipe, which the recipe checks before a run starts",
}
VAGUE = re.compile(r"\b(dict|Mapping|MutableMapping)\[str, (Any|object)\]")
JSON_METHODS = {"record", "from_record"}  # what is printed or stored as JSON, and what is read from it
MODULES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def rooms_of(path: Path) -> set[str]:
    """Return the other rooms above the ground that a file imports."""
    own = {name.split(".")[1] for name in imports(path) if name.startswith("alttrain_cli.")}
    return own - {"__version__", room(path)} - GROUND


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> frozenset[str]:
    found: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "alttrain_cli":
            found.update(f"alttrain_cli.{name.name}" for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return frozenset(found)


def test_imports_point_down_only() -> None:
    for path in MODULES:
        assert rooms_of(path) <= LAYERS[room(path)], path
        others = {name for name in imports(path) if name.startswith("alttrain_cli.")}
        if room(path) in GROUND:
            assert others <= {"alttrain_cli.text"}, path
        if room(path) == "sandbox":
            assert all(name.startswith("alttrain_cli.sandbox") for name in others), path


def test_every_arrow_is_used_and_there_are_at_most_80() -> None:
    used: dict[str, set[str]] = {name: set() for name in LAYERS}
    for path in MODULES:
        used[room(path)] |= rooms_of(path)
    assert used == LAYERS
    assert sum(map(len, LAYERS.values())) - len(LAYERS["__main__"]) <= MOST_ARROWS


def test_what_passes_from_room_to_room_has_a_type() -> None:
    found = {f"{home}: {name}" for home, node in crossing() for name in untyped(node)}
    assert found == set(EDGES)


def crossing() -> Iterator[tuple[str, ast.stmt]]:
    """Yield what other rooms import, and the classes that its own types name, in turn: with their module."""
    homes = {(module_of(path), name_of(node)): node for path in MODULES for node in tree_of(path).body}
    classes = {name: (home, name) for (home, name), node in homes.items() if isinstance(node, ast.ClassDef)}
    left = [one for path in MODULES for one in imported_from_rooms(path)]
    seen: set[tuple[str, str]] = set()
    while left:
        if (one := left.pop()) in seen or one not in homes:
            continue
        seen.add(one)
        yield one[0], homes[one]
        words = re.findall(r"\w+", " ".join(text for _, text in types_in(homes[one])))
        left += [classes[word] for word in words if word in classes]


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def name_of(node: ast.stmt) -> str:
    return getattr(node, "name", "") or type_of(node)


def imported_from_rooms(path: Path) -> list[tuple[str, str]]:
    """Return module and name of all that a file imports from other rooms."""
    found = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.ImportFrom) and node.module]
    modules = [(str(node.module).removeprefix("alttrain_cli."), node) for node in found]
    return [
        (module, alias.name)
        for module, node in modules
        if module.split(".")[0] not in (room(path), *GROUND)
        for alias in node.names
    ]


def types_in(node: ast.stmt) -> list[tuple[str, str]]:
    """Return the public functions, fields and aliases of a definition, each with its types as text."""
    name = "" if name_of(node).startswith("_") else name_of(node)
    if isinstance(node, ast.ClassDef):
        bases = [(name, ast.unparse(base)) for base in node.bases]
        return bases + [one for part in node.body for one in types_in(part)]
    if isinstance(node, ast.FunctionDef):
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        types = [node.returns, *(one.annotation for one in (*every, arguments.vararg) if one)]
    elif isinstance(node, ast.AnnAssign):
        name, types = ast.unparse(node.target), [node.annotation]
    else:
        types = [node.value] if isinstance(node, ast.Assign) and type_of(node) else []
    is_public = bool(name) and not name.startswith("_")
    return [(name, ast.unparse(one)) for one in types if one is not None and is_public]


def untyped(node: ast.stmt) -> set[str]:
    """Return the public functions and fields of a definition whose types say nothing of a record's keys."""
    return {name for name, text in types_in(node) if VAGUE.search(text)} - JSON_METHODS


def test_files_import_one_another_in_no_circle() -> None:
    names = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in MODULES}
    graph = {name: imports(path) & names.keys() for name, path in names.items()}
    assert list(TopologicalSorter(graph).static_order())


def test_only_the_engine_touches_heavy_libraries_and_only_the_console_draws() -> None:
    for path in MODULES:
        names = {name.split(".")[0] for name in imports(path)}
        assert names & HEAVY <= MAY_USE.get(room(path), set()), path
        assert room(path) == "console" or "rich" not in names, path
        assert room(path) in ("commands", "cli") or "typer" not in names, path


def test_a_file_has_at_most_300_lines_one_of_a_command_150_and_a_function_40() -> None:
    for path in MODULES:
        lines = path.read_text(encoding="utf-8").count("\n")
        assert lines <= (LONGEST_COMMAND if room(path) == "commands" else LONGEST_FILE), path
        sizes = {
            node.name: (node.end_lineno or 0) - node.lineno + 1
            for node in ast.walk(tree_of(path))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert {name: size for name, size in sizes.items() if size > LONGEST_FUNCTION} == {}, path


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


def test_a_public_class_or_type_has_a_name_of_its_own() -> None:
    homes: dict[str, list[str]] = {}
    for path in MODULES:
        for node in tree_of(path).body:
            name = node.name if isinstance(node, ast.ClassDef) else type_of(node)
            if name and not name.startswith("_"):
                homes.setdefault(name, []).append(str(path.relative_to(PACKAGE)))
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}


def type_of(node: ast.stmt) -> str:
    """Return the name of a type that a statement defines; a variable of types has no meaning of its own."""
    if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
        return ""
    name = node.targets[0].id
    is_type = name[:1].isupper() and not name.isupper()
    return name if is_type and not ast.unparse(node.value).startswith("TypeVar(") else ""


# Runs command lines one after the other in one process. Prints what each has imported that was not there before it.
LOADS = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from alttrain_cli.cli import main
real, loaded = os.dup(1), []
sys.stdout = open(os.devnull, "w")
for line in json.loads(sys.argv[2]):
    before = {*sys.modules} if loaded else set()
    sys.argv = ["alttrain", *line]
    try:
        main()
    except SystemExit as end:
        assert not end.code, (line, end.code)
    loaded.append(sorted({*sys.modules} - before))
os.write(real, json.dumps(loaded).encode())
"""
LIGHT = [
    *("--help", "--version", "runs", "doctor", "", "recipes", "recipes show r1-7b", "recipes --gpu 12"),
    *(
        "train --help",
        "train --recipe r1-8b --data rows.jsonl --plan --gpu 12",
        "chat --help",
        "serve --help",
    ),
    *("eval --help", "eval judge --help", "study plan smoke --gpu 24"),
]
LARGE = [
    *("eval", "eval judge", "eval suites", "build-data", "train", "chat", "export", "serve", "calibrate"),
    *("recipes", "recipes show"),
]


def loaded_by(lines: Sequence[str], folder: Path) -> dict[str, set[str]]:
    """Return the modules that each line imports, in one process: what one has imported, no later one does."""
    command = [sys.executable, "-c", LOADS, str(PACKAGE.parent), json.dumps([line.split() for line in lines])]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    return dict(zip(lines, map(set, json.loads(done.stdout)), strict=True))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    folder = tmp_path_factory.mktemp("light")
    write_jsonl(folder / "rows.jsonl", (row.model_dump() for row in starter_rows("train")))
    return loaded_by(LIGHT, folder)


@pytest.mark.parametrize("line", LIGHT)
def test_a_light_command_loads_nothing_heavy(line: str, loaded: dict[str, set[str]]) -> None:
    assert HEAVY & loaded[line] == set()


@pytest.fixture(scope="module")
def loaded_by_help(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    lines = ["--help", *(f"{words} --help" for words in LARGE)]
    return loaded_by(lines, tmp_path_factory.mktemp("help"))


def test_the_list_of_commands_needs_neither_rich_nor_pydantic(loaded_by_help: dict[str, set[str]]) -> None:
    assert not {"rich", "pydantic", "yaml", "platformdirs"} & loaded_by_help["--help"]


@pytest.mark.parametrize("words", LARGE)
def test_help_of_a_large_command_loads_its_options_alone(
    words: str, loaded_by_help: dict[str, set[str]]
) -> None:
    others = {"rich", "yaml", "jinja2", "alttrain_cli.recipe.model", "alttrain_cli.backends.base"}
    assert (
        not others & loaded_by_help[f"{words} --help"]
    )  # typer itself loads pydantic for some kinds of option


def test_to_collect_the_tests_imports_no_large_library() -> None:
    assert later.found == set()


def test_the_console_has_every_name_that_it_declares() -> None:
    [declared] = [
        node for node in tree_of(PACKAGE / "console" / "__init__.py").body if isinstance(node, ast.If)
    ]
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
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("alttrain_cli"):
            module = import_module(str(node.module))
            for alias in node.names:
                assert hasattr(module, alias.name) or import_module(f"{node.module}.{alias.name}")
