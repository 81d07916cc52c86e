"""The rules of DESIGN.md that code can break: layers, light start, one place that draws."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import alttrain_cli
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.storage.files import write_jsonl

PACKAGE = Path(alttrain_cli.__file__).parent
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
}
# Whom a room besides the engine may ask, inside a function: to read hub sets, to find twins, to ask servers,
# to word and score the harness's tasks.
MAY_USE = {
    "connection": {"httpx"},
    "endpoint_errors": {"httpx"},
    "tables": {"pyarrow"},
    "data": {"datasets", "rensa"},
    "evaluation": {"lm_eval"},
    "engine": HEAVY,
}

# Each room with the rooms it may import from; arrows point down only.
BOTTOM = {"errors", "files", "checked", "lock", "made", "names", "strict_json"}
PURE = {
    *(
        "rates",
        "overlap",
        "refusal",
        "verdict",
        "structure",
        "order",
        "row",
        "template",
        "recipe",
        "run",
        "target",
    ),
    *(
        "address",
        "connection",
        "endpoint",
        "endpoint_errors",
        "in_flight",
        "overrides",
        "plain_yaml",
        "problems",
        "rendering",
        "reply",
        "signals",
        "spans",
        "tables",
        "visible",
    ),
}
LAYERS = {
    "address": set(),
    "errors": set(),
    "files": {"errors", "strict_json"},
    "strict_json": {"visible"},
    "overrides": {"errors", "plain_yaml", "visible"},
    "plain_yaml": {"visible"},
    "problems": {"visible"},
    "checked": {"errors", "files", "problems"},
    "lock": {"errors", "files", "made"},
    "made": {"files"},
    "names": {"visible"},
    "signals": set(),
    "rates": set(),
    "overlap": set(),
    "refusal": set(),
    "verdict": set(),
    "structure": {"verdict"},
    "order": {"refusal", "structure", "verdict"},
    "deadline": set(),
    "rendering": {"deadline", "errors"},
    "template": {"errors", "rendering", "structure"},
    "row": {*BOTTOM, "problems", "structure", "visible"},
    "sft_config": {"strict_json", "visible"},
    "recipe": {*BOTTOM, "overrides", "plain_yaml", "problems", "sft_config", "visible"},
    "spans": {"structure", "template"},
    "run_records": BOTTOM,
    "run": {*BOTTOM, "recipe", "run_records"},
    "target": {*BOTTOM, "recipe", "run", "visible"},
    "reply": {"template", "visible"},
    "connection": {"address", "reply"},
    "endpoint_errors": {"address", "connection", "errors", "reply"},
    "in_flight": set(),
    "endpoint": {"address", "connection", "endpoint_errors", "in_flight", "recipe", "reply", "template"},
    "tables": {*BOTTOM, "visible"},
    "chat": {*BOTTOM, *PURE},
    "visible": set(),
    "data": {*BOTTOM, *PURE},
    "engine": {*BOTTOM, *PURE, "chat"},
    "evaluation": {*BOTTOM, *PURE},
    "console": {*BOTTOM, *PURE, "chat"},
    "commands": {*BOTTOM, *PURE, "chat", "data", "engine", "evaluation", "console"},
    "cli": {*BOTTOM, *PURE, "commands", "console"},
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


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_engine_touches_heavy_libraries_and_only_the_console_draws(path: Path) -> None:
    names = {name.split(".")[0] for name in imports(path)}
    assert names & HEAVY <= MAY_USE.get(room(path), set())
    if room(path) != "console":
        assert "rich" not in names
    if room(path) not in ("commands", "cli"):
        assert "typer" not in names


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["recipes"],
        ["recipes", "show", "r1-7b"],
        ["recipes", "--gpu", "12"],
        ["train", "--help"],
        ["train", "--recipe", "r1-8b", "--data", "rows.jsonl", "--plan", "--gpu", "12"],
        ["chat", "--help"],
        ["eval", "--help"],
        ["eval", "judge", "--help"],
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


def test_no_remote_code_and_no_pickle() -> None:
    for path in MODULES:
        source = path.read_text(encoding="utf-8")
        assert "trust_remote_code=True" not in source
        assert not {"pickle", "joblib", "shelve"} & imports(path)
