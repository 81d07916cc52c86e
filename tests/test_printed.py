"""No command line of a document is run by nothing: a test or CI runs it, or a short list says why not."""

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import printed
from tests.printed import ROOT, others
from tests.scripted import ScriptedBackend
from tests.serve_here import THOUGHT, server_here
from tests.test_installation import BLOCKS

INSTALLED = {line for block in BLOCKS for line in block.lines}  # what tests/test_installation.py runs
SERVE = ROOT / "docs" / "serve.md"
# What runs a line as it is printed (a regular expression): a test, or the file with a line that CI executes.
RUN = {
    r"make (test|resolve)|bash \.ci/tools": ".ci/run: make test",
    r"make (lint|types|tests)": "Makefile: test: lint types tests",
    r"make thorough": ".github/workflows/weekly.yml: test thorough",
    r"make lock UPGRADE=--upgrade": 'tools/newest.py: ["make", "lock", "UPGRADE=--upgrade"]',
    r"curl .*": "test_what_the_page_on_serving_prints_gets_an_answer",
    r"\.venv/bin/pre-commit install": "test_pre_commit_is_installed_as_printed",
    r"pip install ('alttrain\[[\w-]+\]'|--no-deps pyrit)": "test_a_block_installs_a_command_that_works",
}
# What is only looked at, because it takes too long: make has the target, a script has the options.
LOOKED_AT = {
    r"make (check|lock|faults)": "test_make_knows_every_target_that_is_printed",
    r"(\.venv/bin/)?python (benchmarks|tools)/.*": "test_every_script_that_is_printed_has_the_options",
}
# What nothing runs, and why. What stands in for it is a test.
NOT_RUN = {
    r"docker build .*": "the machines for tests have no Docker; docs/log.md has a build",
    r"docker run --gpus all .*": "needs Docker and a GPU; docs/log.md has a container without one",
    r"hf (auth login|download.*|upload)": "needs the hub",
    r"pip install -q .*": "cells of the notebook; tools/notebook.py runs them all, for minutes",
    r"accelerate launch .*|torchrun .*": "needs 4 GPUs; test_accelerate_launch_is_understood_as_torchrun_is",
    r"pip install --no-deps sentencex dist/.*": "vLLM has an environment of its own; docs/log.md has it",
    r"vllm serve .*": "vLLM has an environment of its own; test_real_vllm.py",
    r"llama-server .*": "no package has it; test_real_llama_server.py",
    r"lm_eval --model .*": "needs the weights of a run; test_lm_evals_client_gets_its_completions",
    r"(ollama|lms) .*": "other people's programs; test_modelfile.py",
    r"py -3.12 tools\\install.py demo": "Windows; the job 'starts' of .github/workflows/test.yml",
    r"sh packed/run.sh --quick": "needs a GPU; test_gpu_benchmark.py",
    r"git clone|pip freeze|uv tool": "is only named",
    r"pip install \.": "is what was done once",
}
TABLES = (RUN, LOOKED_AT, NOT_RUN)


def run_by_nothing() -> list[str]:
    """Return the lines that are in no table, each with its page."""
    known = re.compile("|".join(f"(?:{pattern})" for table in TABLES for pattern in table))
    return [
        f"{line.page}: {line.text}"
        for line in others()
        if line.text not in INSTALLED and not known.fullmatch(line.text)
    ]


def test_every_command_line_of_a_document_is_run_or_has_a_reason() -> None:
    assert run_by_nothing() == []


@pytest.mark.parametrize(
    "text",
    [
        "    pip install nonsense\n",
        "    nonsense --now\n",
        "    make demo\n    pip install \\\n      nonsense\n",
        "Type `pip install\nnonsense`.\n",
        "```sh\npip install nonsense\n```\n",
        "| do | `.venv/bin/nonsense --now` |\n",
    ],
)
def test_a_line_that_nothing_runs_is_found(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "page.md").write_text(f"# Page\n\n{text}", encoding="utf-8")
    monkeypatch.setattr(printed, "PAGES", [tmp_path / "page.md"])
    [found] = run_by_nothing()
    assert re.search(r"page\.md: (pip install nonsense|(\.venv/bin/)?nonsense --now)$", found)


def test_no_table_has_a_line_that_is_printed_no_more() -> None:
    texts = {line.text for line in others()}
    patterns = [pattern for table in TABLES for pattern in table]
    assert [one for one in patterns if not any(re.fullmatch(one, text) for text in texts)] == []


def test_what_runs_a_line_is_there() -> None:
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("test_*.py"))
    for runner in (*RUN.values(), *LOOKED_AT.values()):
        name, _, line = runner.partition(": ")
        assert (line in (ROOT / name).read_text(encoding="utf-8")) if line else f"def {name}(" in tests
    for reason in NOT_RUN.values():
        for name in re.findall(r"\btest_\w+(?:\.py)?", reason):
            assert (ROOT / "tests" / name).is_file() if name.endswith(".py") else f"def {name}(" in tests


def test_make_knows_every_target_that_is_printed() -> None:
    lines = {line.text for line in others() if line.text.startswith("make ")}
    assert len(lines) > 8
    for line in sorted(lines):
        done = subprocess.run([*line.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_every_script_that_is_printed_has_the_options() -> None:
    lines = [line.text for line in others() if re.search(r"\bpython3? (benchmarks|tools)/", line.text)]
    assert len(lines) > 20
    for line in lines:
        [script] = re.findall(r"(?:benchmarks|tools)/\w+\.py", line)
        shared = ROOT / "benchmarks" / "measuring.py"  # --quick, --rounds
        code = (ROOT / script).read_text(encoding="utf-8") + shared.read_text(encoding="utf-8")
        assert [one for one in re.findall(r"--[\w-]+", line) if f'"{one}"' not in code] == [], line


def test_pre_commit_is_installed_as_printed(tmp_path: Path) -> None:
    [line] = {line.text for line in others() if "pre-commit" in line.text}
    (tmp_path / ".venv").symlink_to(sys.prefix)
    shutil.copy(ROOT / ".pre-commit-config.yaml", tmp_path)
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
    for command in ("git init --quiet", line):
        subprocess.run(command, shell=True, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert "pre-commit" in (tmp_path / ".git" / "hooks" / "pre-commit").read_text(encoding="utf-8")


def test_what_the_page_on_serving_prints_gets_an_answer(tmp_path: Path) -> None:
    answer = THOUGHT.rpartition("\n")[2]
    [curl] = [line.text for line in others() if line.text.startswith("curl ")]
    [code] = re.findall(r"^```python\n(.*?)^```", SERVE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    with server_here({"smollm2-135m-1": ScriptedBackend(THOUGHT)}) as here:
        port = here.url.rpartition(":")[2].partition("/")[0]
        (tmp_path / ".curlrc").write_text(f'connect-to = "127.0.0.1:8000:127.0.0.1:{port}"\n')
        environment = {**os.environ, "HOME": str(tmp_path), "CURL_HOME": str(tmp_path)}
        done = subprocess.run(
            curl, shell=True, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        with contextlib.redirect_stdout(io.StringIO()) as said:
            exec(code.replace(":8000", f":{port}"), {})
    assert answer in done.stdout, done.stderr
    assert answer in said.getvalue()


def test_no_page_has_python_that_nothing_runs() -> None:
    has = [path for path in printed.PAGES if "```python" in path.read_text(encoding="utf-8")]
    assert has == [SERVE.with_name("data.md"), SERVE]  # the first is run in tests/test_docs.py
