"""Bad input ends in one line that names the thing and the next step: never a traceback, a hang or a loss.

The cases are data, in `tests/bad_input/`; a new one is a line there.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from alttrain_cli import console
from alttrain_cli.chat import files
from alttrain_cli.cli import app
from alttrain_cli.console.editor import LineEditor
from alttrain_cli.errors import DataError
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.recipe.plain_yaml import dump_yaml, parse_yaml
from alttrain_cli.storage.reading import LONGEST_LINE as LONGEST
from alttrain_cli.structure.row import Row
from alttrain_cli.structure.template import EncodedRow, RenderError
from alttrain_cli.structure.trace import Trace
from alttrain_cli.text import escape_hidden
from alttrain_cli.training.rows import encode_rows
from tests.bad_input import confused, options, recipes, rows, sources
from tests.bad_input.case import CLOSED, HARMFUL, RECIPE, ROW, SAMPLE, Case, lines, recipe
from tests.servers import Fault, chat_server

CASES: list[Case] = [*recipes.CASES, *rows.CASES, *sources.CASES, *options.CASES, *confused.CASES]
SECONDS = 5.0  # of computing, which does not depend on what else the machine does
LONGEST_LINE = 2500  # characters
LEFT = ("dropped.jsonl",)  # what a command may leave behind: why there is no row


@pytest.fixture(scope="module", autouse=True)
def _warm() -> None:
    """Import what the first command would import, so that time is that of the input."""
    import pyarrow.parquet  # noqa: F401

    assert run(["recipes"]).exit_code == 0


def run(argv: list[str], stdin: bytes = b"") -> Result:
    return CliRunner().invoke(app, argv, input=stdin, prog_name="alttrain")


def check(case: Case, result: Result, seconds: float) -> None:
    said = result.stderr
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == case.exit, said[-2000:]
    errors = [line for line in said.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1, said[-2000:]
    assert said.rstrip("\n").splitlines()[-1] == errors[0], said[-2000:]
    for word in case.words:
        assert word in errors[0], errors[0]
    assert len(errors[0]) <= LONGEST_LINE
    assert escape_hidden(result.output) == result.output
    assert seconds < SECONDS


def test_ids_are_unique_and_cases_many() -> None:
    assert len({case.id for case in CASES}) == len(CASES) >= 200


@pytest.mark.timeout(60)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_bad_input_is_one_line_and_leaves_nothing(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if CLOSED in case.files.values() and os.geteuid() == 0:
        pytest.skip("root may read everything")
    case.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    start = time.process_time()
    result = run(list(case.argv), case.stdin or b"")
    check(case, result, time.process_time() - start)
    assert [path for path in set(tmp_path.rglob("*")) - before if not path.name.endswith(LEFT)] == []


# What is fed to YAML and to --set: texts that look like it, pieces of its grammar, and anything.
PIECES = st.sampled_from(
    [
        *(
            "a",
            "train",
            "seed",
            ": ",
            ":",
            "- ",
            "\n",
            "  ",
            "[",
            "]",
            "{",
            "}",
            ",",
            "&x ",
            "*x",
            "!!int ",
            "!x ",
        ),
        *(
            "<<",
            "'",
            '"',
            "\\",
            "|",
            ">",
            "#",
            "%",
            "@",
            "`",
            "?",
            "~",
            "null",
            "yes",
            ".inf",
            ".nan",
            "1e999",
            "0x",
        ),
        *(
            "9" * 60,
            "2020-13-45",
            "---",
            "...",
            "\t",
            "\u202e",
            "\x85",
            "\ufeff",
            "\U000e0041",
            "é",
            "=",
            ".",
        ),
    ]
)
TEXTS = st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=40).map("".join))
SETTINGS = settings(max_examples=60, deadline=2000, suppress_health_check=list(HealthCheck))


@SETTINGS
@given(text=TEXTS, times=st.sampled_from([1, 1, 1, 50, 1000]))
def test_no_text_of_a_recipe_ends_in_a_traceback(
    text: str, times: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("recipe") / "r.yaml"
    path.write_bytes((text * times).encode("utf-8", "surrogatepass"))
    start = time.process_time()
    result = run(["recipes", "show", str(path)])
    check(Case("text", (), (str(path),)), result, time.process_time() - start)


@SETTINGS
@given(
    key=st.sampled_from(["train.seed", "model.system", "lora.target_modules", "name", "train.optim", "x"]),
    text=TEXTS,
)
def test_no_value_of_set_ends_in_a_traceback(key: str, text: str) -> None:
    start = time.process_time()
    result = run(["recipes", "show", "r1-7b", "--set", f"{key}={text}"])
    assert time.process_time() - start < SECONDS
    assert result.exit_code in (0, 2), result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert escape_hidden(result.output) == result.output


@SETTINGS
@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_what_a_recipe_shows_is_what_it_holds(text: str) -> None:
    shown = dump_yaml({"key": text, text: [text]})
    assert escape_hidden(shown) == shown
    assert parse_yaml(shown) == {"key": text, text: [text]}


@SETTINGS
@given(text=st.one_of(TEXTS, st.lists(st.sampled_from('{}[]",:0 1eEnulNaN\\ud8'), max_size=60).map("".join)))
def test_no_line_of_a_data_file_ends_in_a_traceback(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("rows") / "d.jsonl"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    result = run(["build-data", "--audit", str(path)])
    check(Case("line", (), ("d.jsonl",)), result, 0)


HIDDEN = "a\x1b]52;c;x\x07\x9b31m\u202e\u200b\U000e0041z"


def test_hidden_characters_of_rows_are_visible_in_tables(tmp_path: Path) -> None:
    hidden = HIDDEN.replace("\x1b", "").replace("\x07", "")  # those no row may hold
    row = {**ROW, "category": hidden, "source": hidden, "style": hidden, "prompt": f"p {hidden}"}
    path = tmp_path / f"d{hidden}.jsonl"
    path.write_text(lines(row, {**HARMFUL, "id": hidden}), encoding="utf-8")
    result = run(["build-data", "--audit", str(path), "--show", "2"])
    assert result.exit_code == 0, result.output
    assert escape_hidden(result.output) == result.output
    assert "<U+202E>" in result.output


def test_hidden_characters_of_a_source_are_visible_in_what_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = Path(f"s{HIDDEN}.jsonl")
    source.write_text(lines({**SAMPLE, "id": HIDDEN, "category": HIDDEN}), encoding="utf-8")
    result = run(["build-data", "--source", str(source), "--label", "benign", "--out", f"d{HIDDEN}.jsonl"])
    assert result.exit_code == 0, result.output
    assert escape_hidden(result.output) == result.output


def test_hidden_characters_of_a_recipe_are_escapes_and_load_again(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(recipe('system: ""', 'system: "a\\e\\u202E\\u200Bz"'), encoding="utf-8")
    shown = run(["recipes", "show", str(path)]).output
    assert escape_hidden(shown) == shown
    path.write_text(shown, encoding="utf-8")
    assert Recipe.load(str(path)).model.system == "a\x1b\u202e\u200bz"


def test_json_on_standard_output_holds_no_hidden_character(capsys: pytest.CaptureFixture[str]) -> None:
    console.answer_in_json(True)
    console.print_result({"prompt": HIDDEN, HIDDEN: 1})
    console.answer_in_json(False)
    printed = capsys.readouterr().out
    assert escape_hidden(printed) == printed
    assert json.loads(printed)["result"] == {"prompt": HIDDEN, HIDDEN: 1}


def test_whoever_prints_a_hidden_character_it_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    console.out().print(HIDDEN, markup=False)
    console.print_lines([(HIDDEN, HIDDEN)])
    console.print_table([HIDDEN], [[HIDDEN]])
    printed = capsys.readouterr().out
    assert escape_hidden(printed) == printed
    assert printed.count("<U+202E>") >= 4


def test_the_typed_line_shows_hidden_characters() -> None:
    from prompt_toolkit.layout.screen import Char

    LineEditor(None, lambda: "")
    assert [Char(one).char for one in "\u202e\u200b\ufeff"] == ["<U+202E>", "<U+200B>", "<U+FEFF>"]


@pytest.mark.parametrize("start", [b"\xef\xbb\xbf", b""])
@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_files_of_other_systems_are_read(start: bytes, end: str, tmp_path: Path) -> None:
    data, made = tmp_path / "d.jsonl", tmp_path / "r.yaml"
    data.write_bytes(start + lines(ROW, HARMFUL).replace("\n", end).encode())
    made.write_bytes(start + RECIPE.replace("\n", end).encode())
    assert run(["build-data", "--audit", str(data)]).exit_code == 0
    assert run(["train", "--recipe", str(made), "--data", str(data), "--plan"]).exit_code == 0


def test_a_line_without_end_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    with path.open("wb") as file:
        file.truncate(LONGEST + 2)
    result = run(["build-data", "--audit", str(path)])
    check(Case("endless", (), ("d.jsonl:1", "longer than")), result, 0)


def test_a_terminal_that_cannot_show_a_character_gets_its_escape(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(lines({**ROW, "category": "你"}, HARMFUL), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "alttrain_cli", "build-data", "--audit", str(path)],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 0, done.stderr
    assert rb"\u4f60" in done.stdout


def test_no_answer_at_all_is_an_error_and_nothing_is_built(tmp_path: Path) -> None:
    source = tmp_path / "s.jsonl"
    source.write_text(lines(*({**SAMPLE, "prompt": f"{SAMPLE['prompt']} {n}"} for n in range(3))))
    argv = ["build-data", "--source", str(source), "--source", "starter", "--annotator", "endpoint"]
    with chat_server(lambda *_: Fault("status", 400)) as served:
        result = run([*argv, "--base-url", served.base_url, "--out", str(tmp_path / "d.jsonl")])
    assert result.exit_code == 2, result.output
    assert "status 400: the server says no" in result.stderr
    assert not (tmp_path / "d.jsonl").exists()


class Markers:
    """A template in which one row cannot be rendered and another is long."""

    def encode(self, prompt: str, trace: Trace) -> EncodedRow:
        if prompt == "wrong":
            raise RenderError("answer: holds the model's own marker '<|im_end|>'")
        return EncodedRow([1] * len(prompt), [1] * len(prompt))


@pytest.mark.parametrize(("prompt", "advised"), [("wrong", False), ("long " * 10, True)])
def test_only_a_row_that_is_too_long_gets_the_advice_about_max_length(prompt: str, advised: bool) -> None:
    row = Row.model_validate({**ROW, "prompt": prompt})
    with pytest.raises(DataError, match=r"row 'r1': .*Fix or remove them") as error:
        encode_rows([row], Markers(), 20)  # type: ignore[arg-type]
    assert ("raise the limit" in str(error.value)) == advised
    assert "\n" not in str(error.value)


def test_a_history_that_is_a_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "HISTORY", tmp_path)
    with pytest.raises(DataError, match="a folder, but a file is needed"):
        files.history_file()
