"""What Windows lacks is not needed. Nothing here ran under Windows: what it lacks is taken away."""

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import alttrain_cli
from alttrain_cli.console.chat import no_echo
from alttrain_cli.engine import memory
from alttrain_cli.engine.machine import Machine
from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.judges.answers import is_equal
from alttrain_cli.evaluation.suites.suite import Item
from alttrain_cli.storage.journal import Journal

PACKAGE = Path(alttrain_cli.__file__).parent
MODULES = {"resource", "fcntl", "termios", "tty", "pty", "pwd", "grp", "syslog", "curses", "readline"}
OS = {"fork", "sysconf", "getuid", "geteuid", "getgid", "killpg", "setsid", "getpgid", "setpgid", "sync"} | {
    *("mkfifo", "chown", "uname", "statvfs", "getloadavg", "sched_getaffinity", "nice"),
}
SIGNAL = {"SIGHUP", "SIGALRM", "SIGKILL", "SIGUSR1", "SIGWINCH", "SIGTSTP", "alarm", "setitimer"}
NAMES = {f"os.{name}" for name in OS} | {f"signal.{name}" for name in SIGNAL}
ELSEWHERE = {"sandbox", "guard.py"}  # the judge of code and vLLM run on Linux alone, and say so


def only_unix_has(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tried = {id(inner) for node in ast.walk(tree) if isinstance(node, ast.Try) for inner in ast.walk(node)}
    found = []
    for node in (node for node in ast.walk(tree) if id(node) not in tried):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name in MODULES]
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            found.append(str(node.module))
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in NAMES:
            found.append(ast.unparse(node))
    return found


def test_nothing_that_only_unix_has_is_taken_for_granted() -> None:
    paths = [path for path in PACKAGE.rglob("*.py") if not {path.name, path.parent.name} & ELSEWHERE]
    found = {str(path.relative_to(PACKAGE)): only_unix_has(path) for path in paths}
    assert {name: names for name, names in found.items() if names} == {}


def test_the_engine_is_imported_where_there_is_no_resource_module() -> None:
    block = f"import sys; sys.modules.update(dict.fromkeys({sorted(MODULES)!r}))"
    work = "from alttrain_cli.engine import memory; print(memory.GIB)"
    done = subprocess.run([sys.executable, "-c", f"{block}; {work}"], capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == (str(2**30), 0), done.stderr


def test_peak_memory_is_the_peak_working_set_where_there_is_no_resource_module(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Facts:
        peak_wset = 3 * 2**30

    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.setattr(psutil.Process, "memory_info", lambda self: Facts())
    assert memory._peak_bytes() == 3 * 2**30


def test_the_machines_memory_is_found_without_sysconf(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    monkeypatch.delattr(os, "sysconf")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert Machine.detect().gib * 2**30 == pytest.approx(expected, rel=0.01)


def test_chat_draws_where_there_is_no_termios(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "termios", None)
    drawn = []
    with no_echo():
        drawn.append(True)
    assert drawn


def test_a_sorted_file_is_not_open_when_it_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "completions.jsonl")
    for key in ("b", "a"):
        journal.append({"key": key})
    replace, still_open = Path.replace, []

    def watched(self: Path, target: Path) -> Path:
        still_open.extend(file.path for file in psutil.Process().open_files() if file.path == str(target))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    journal.sort_by_keys(["a", "b"])
    assert [record["key"] for record in journal] == ["a", "b"]
    assert still_open == []


def test_mathematics_under_windows_is_one_line_and_no_wrong_grade(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as windows, pytest.raises(DataError, match="WSL"):
        windows.delattr(signal, "SIGALRM")
        is_equal("4", Item(id="x", prompt="2+2", answer="4"))


@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "ascii"])
def test_a_pipe_that_lacks_a_character_gets_its_code(encoding: str) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "alttrain_cli", "recipes"]
    done = subprocess.run(command, env=environment, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"r1-7b" in done.stdout
