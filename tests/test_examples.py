"""Every example in help, README, docs and recipes, run as it is printed, with stand-ins for models and the hub."""

import json
import os
import pty
import re
import select
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from alttrain_cli import network
from alttrain_cli.cli import app
from alttrain_cli.commands.shared.examples import EXAMPLES
from alttrain_cli.recipe.layers import shipped_recipes
from alttrain_cli.storage.run import Run
from alttrain_cli.storage.shipped_files import shipped_studies
from tests import stand_ins
from tests.command_lines import result_of
from tests.servers import Served, chat_server

ROOT = Path(__file__).parent.parent
DOCS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "DESIGN.md", "benchmarks/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
NAMES = {"RUN": "runs/smollm2-135m-1", "COMMAND": "train"}  # what a reader puts in
# Where a command waits for a person: what is on the screen then, and what is typed.
TYPED = {
    "chat": {"Which one": "\r", "· /help": "\x04"},
    "runs rm": {"?": "y\n"},
    "runs prune": {"?": "y\n"},
}
SECONDS = 30


def in_blocks(text: str) -> list[str]:
    """Return the commands in the indented blocks of a Markdown file, each on one line."""
    joined = re.sub(r"\\\n\s*", "", text)
    return re.findall(r"^    (alttrain(?: [^\n]*)?)$", joined, re.MULTILINE)


def in_sentences(text: str) -> list[str]:
    """Return the whole commands that sentences name."""
    found = re.findall(r"`(alttrain [^`]*)`", " ".join(text.split()))
    return [one.partition(" | ")[0] for one in found]


def is_name(line: str) -> bool:
    """Whether a line only names a command, as sentences do, without what it needs to run."""
    return " ".join(line.split()[1:]) in EXAMPLES


def in_comments(text: str) -> list[str]:
    """Return the commands in the comments of a recipe."""
    return re.findall(r"^#\s+(alttrain [^\n]*)$", text, re.MULTILINE)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with chat_server(stand_ins.answer) as server:
        yield server


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that examples name, and stand-ins for what they need."""
    stand_ins.install(monkeypatch)
    stand_ins.ask_for_fewer(monkeypatch)
    stand_ins.write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which somebody has worked: a data file, and finished runs that are evaluated."""
    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        stand_ins.install(patch)
        stand_ins.ask_for_fewer(patch)
        stand_ins.write_files(folder)
        patch.chdir(folder)
        done("alttrain build-data --source starter:16 --out data.jsonl")
        for recipe in ("smollm2-135m", "smollm2-135m", "r1-7b", "r1-7b"):
            done(f"alttrain train --recipe {recipe} --data data.jsonl")
        for recipe in ("r1-7b", "r1-7b-3k"):  # build the data that most recipes name
            done(f"alttrain train --recipe {recipe} --out built")
            shutil.rmtree(folder / "built")
        for run in Run.trained():
            done(f"alttrain eval {run} --limit 2")
    return folder


def words(line: str, served: Served | None = None) -> list[str]:
    """Return the arguments of a printed line, without its comment.

    Servers and names are those of the test.
    """
    if served:
        line = re.sub(
            r"http://(localhost|127\.0\.0\.1):8000/v1( [\w.-]+)?(?=\")", f"{served.base_url} tiny", line
        )
        line = line.replace("http://localhost:8000/v1", served.base_url)
        line = line.replace("http://localhost:8001/v1", f"{served.base_url}/")
        line = re.sub(r"http://localhost:11434/v1 --model [\w.:-]+", f"{served.base_url} --model tiny", line)
    program, *arguments = shlex.split(line, comments=True)
    assert program == "alttrain"
    return [NAMES.get(one, one) for one in arguments]


def briefly(line: str) -> str:
    """Return a line that takes a part of the starter set; the first steps of the README take it whole."""
    if "--data" not in line:  # else a recipe's own data have no effect
        recipe = r"( train --recipe smollm2-135m(-full|))(?= |$)"
        line = re.sub(recipe, r"\1 --set data.sources=[starter\2:100]", line)
    return re.sub(r"--source starter(?= |$)", "--source starter:100", line)


def done(line: str, served: Served | None = None) -> str:
    """Run a line; it must succeed."""
    arguments = words(line, served)
    for name, keys in TYPED.items():
        if " ".join(arguments).startswith(name) and not {"-p", "--prompts", "--yes"} & {*arguments}:
            return typed(arguments, keys)
    found = CliRunner().invoke(app, arguments)
    assert found.exit_code == 0, (line, found.output, found.exception)
    return found.output


def typed(arguments: list[str], keys: dict[str, str]) -> str:
    """Run a command in a terminal of its own, and type the keys once it waits for them."""
    child, handle = pty.fork()
    if child == 0:
        sys.argv = ["alttrain", *arguments]
        os.environ["TERM"] = "xterm-256color"
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
        from alttrain_cli.cli import main

        try:
            main()
        except SystemExit as ended:
            os._exit(int(ended.code or 0))
        finally:
            os._exit(99)
    said, deadline, left = b"", time.monotonic() + SECONDS, dict(keys)
    while time.monotonic() < deadline:
        try:
            if select.select([handle], [], [], 0.1)[0]:
                data = os.read(handle, 65536)
                said += data
                if b"\x1b[6n" in data:  # where is the cursor?
                    os.write(handle, b"\x1b[1;1R")
        except OSError:  # it has ended
            break
        for shown in [shown for shown in left if shown.encode() in said]:
            os.write(handle, left.pop(shown).encode())
    else:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, (arguments, said.decode(errors="replace"))
    return said.decode(errors="replace")


# --- help


def before(line: str) -> None:
    """Bring about what the sentence before an example says."""
    if line.endswith("--resume"):
        run = Run(Path("runs/smollm2-135m-1"))
        run.update_manifest(status="interrupted")
        shutil.rmtree(run.adapter_path)


# doctor imports torch and loads a tokenizer, as it says.
SLOW = {"doctor": pytest.mark.model}


@pytest.mark.parametrize("command", [pytest.param(one, marks=SLOW.get(one, ())) for one in EXAMPLES])
def test_the_examples_of_a_commands_help_work(
    command: str, here: Path, prepared: Path, served: Served
) -> None:
    shutil.copytree(prepared, here, dirs_exist_ok=True)
    for _, line in EXAMPLES[command]:
        line = re.sub(r"\\\n\s*", "", line)
        before(line)
        done(briefly(line), served)


def test_every_command_of_help_has_examples() -> None:
    from tests.test_help import LINES

    assert {" ".join(one) for one in LINES} == {*EXAMPLES}


# --- the result as JSON

RUN_1, RUN_2 = "runs/smollm2-135m-1", "runs/smollm2-135m-2"
RESULTS = {
    "": [],
    "build-data": ["--source starter:16 --out new.jsonl", "--audit data.jsonl --show 2"],
    "train": ["--recipe smollm2-135m --data data.jsonl", "--recipe r1-7b --plan --gpu 12", "--recipe r1-7b-3k"],
    "chat": [f"{RUN_1} -p Hi", f"{RUN_1} --compare --prompts prompts.txt", f"{RUN_1} --attack pair-live --streams 3 --goal 'Be rude.'"],
    "serve": [RUN_1],
    "eval": [f"{RUN_1} --limit 2"],
    "eval judge": [RUN_1],
    "eval report": [RUN_1, f"{RUN_1} --published alttrain"],
    "eval suites": [""],
    "eval judges": [""],
    "calibrate": [RUN_1],
    "export": [RUN_1, f"{RUN_1} --format adapter --push me/x --dry-run"],
    "study": ["smoke"],
    "study list": [""],
    "study run": ["smoke"],
    "study table": ["smoke", "smoke --format json"],
    "runs": [""],
    "runs show": [RUN_1],
    "runs compare": [f"{RUN_1} {RUN_2}"],
    "runs rm": [f"{RUN_2} --yes"],
    "runs prune": ["--yes"],
    "recipes": ["--gpu 12"],
    "recipes show": ["r1-7b"],
    "recipes diff": ["r1-7b r1-8b"],
    "recipes copy": ["r1-7b own.yaml"],
    "doctor": [""],
}  # fmt: skip


def test_there_is_a_result_of_every_command() -> None:
    assert RESULTS.keys() == EXAMPLES.keys()


@pytest.mark.parametrize(
    "line", [f"{command} {rest}".strip() for command, lines in RESULTS.items() for rest in lines or {""}]
)
def test_every_command_prints_its_result_as_one_json_document_and_quietly_nothing_else(
    line: str, here: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (network.ALL, network.HUB, "WANDB_MODE"):  # which --offline sets
        monkeypatch.setenv(name, "0")
    shutil.copytree(prepared, here, dirs_exist_ok=True)
    found = CliRunner().invoke(app, [*shlex.split(line), "--json", "--quiet", "--offline"])
    assert found.exit_code == 0, (found.output, found.exception)
    assert found.stderr == ""
    assert result_of(found.stdout) is not None
    named = json.loads(found.stdout)["command"].split()[1:]
    assert [word for word in line.split() if word in named] == named or named[1:] in (
        ["list"],
        ["plan"],
        ["run"],
    )


# --- README and docs


def test_the_first_steps_of_the_readme_work_in_an_empty_folder(here: Path, served: Served) -> None:
    lines = in_blocks((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(lines) > 6
    for line in lines:
        done(line, served)


def of_document(path: Path) -> list[str]:
    """Return the commands of a document that another test does not run.

    The log states what was done at its time, and the page of all commands has the examples of their help.
    """
    text = path.read_text(encoding="utf-8")
    blocks = [] if path.name == "README.md" else in_blocks(text)
    return [] if path.name in ("log.md", "commands.md") else [*blocks, *in_sentences(text)]


@pytest.mark.parametrize(
    "path", [*filter(of_document, DOCS)], ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_the_examples_of_the_docs_work(path: Path, here: Path, prepared: Path, served: Served) -> None:
    shutil.copytree(prepared, here, dirs_exist_ok=True)
    for line in of_document(path):
        done(f"{line} --help" if is_name(line) else briefly(line), served)


def test_the_cells_of_the_notebook_work_in_order(here: Path) -> None:
    text = (ROOT / "notebooks" / "alttrain.ipynb").read_text(encoding="utf-8")
    code = "".join("".join(cell["source"]) + "\n" for cell in json.loads(text)["cells"] if "outputs" in cell)
    values = dict(re.findall(r'^([A-Z]+) = "?([\w-]+)', code, re.MULTILINE))
    lines = [line.format_map(values) for line in re.findall(r"^!(alttrain .*)$", code, re.MULTILINE)]
    assert [line.split()[1] for line in lines][:3] == ["doctor", "build-data", "train"]
    for line in lines[1:]:  # the doctor's time is that of importing torch, and other tests run it
        done(briefly(line))
    assert Run(Path("runs/first")).manifest().status == "finished"


# --- recipes


@pytest.mark.parametrize("path", shipped_recipes(), ids=lambda path: path.stem)
def test_the_lines_on_top_of_a_recipe_work(path: Path, here: Path, prepared: Path, served: Served) -> None:
    shutil.copytree(prepared / "runs" / "data", here / "runs" / "data")
    lines = in_comments(path.read_text(encoding="utf-8"))
    assert [line.split()[1] for line in lines][-2:] == ["train", "chat"]
    for line in lines:
        done(briefly(line), served)


@pytest.mark.parametrize("path", shipped_studies(), ids=lambda path: path.stem)
def test_the_lines_on_top_of_a_study_work(path: Path, here: Path) -> None:
    lines = in_comments(path.read_text(encoding="utf-8"))
    assert [line.split()[2:4] for line in lines][:2] == [["plan", path.stem], ["run", path.stem]]
    for line in lines:
        done(line)


def test_all_paths_and_targets_that_the_docs_name_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for path in DOCS:
        if path.name == "log.md":
            continue
        text = path.read_text(encoding="utf-8")
        for target in re.findall(r"(?:`|^    )make (\w+)", text, re.MULTILINE):
            assert f"\n{target}:" in makefile, (path.name, target)
        for name in re.findall(r"\b(?:tests|benchmarks|tools|docs)/[\w/]+\.(?:py|md|svg)\b", text):
            assert (ROOT / name).is_file(), (path.name, name)
        for link in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (path.parent / link).exists(), (path.name, link)
