"""What `--help` of every command shows, its examples, and the older names of options."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from alttrain_cli.cli import app
from alttrain_cli.commands.shared.app import OLD_NAMES, Command, DefaultGroup
from alttrain_cli.commands.shared.examples import EXAMPLES
from tests.command_lines import LINES, context_of
from tests.golden_files import check_golden
from tests.run_folders import make

ROOT = Path(__file__).parent.parent


def help_of(words: tuple[str, ...], columns: int = 80) -> str:
    done = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": str(columns)}, prog_name="alttrain")
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("words", LINES, ids=" ".join)
@pytest.mark.parametrize("columns", [40, 60, 80])
def test_help_fits_the_terminal_and_cuts_no_word(words: tuple[str, ...], columns: int) -> None:
    shown = help_of(words, columns)
    assert max(map(len, shown.partition("Examples:")[0].splitlines())) <= columns
    for option in context_of(words).command.params if words else ():
        for word in "" if option.hidden else (option.help or "").split():
            assert word in shown.split()


@pytest.mark.parametrize("words", LINES, ids=" ".join)
def test_help_shows_a_short_word_for_each_value_and_no_ranges_or_types(words: tuple[str, ...]) -> None:
    shown = help_of(words)
    for kind in ("<", "[x", "x>=", "range]", "{"):
        assert kind not in shown.partition("Examples")[0]


@pytest.mark.parametrize("words", LINES, ids=" ".join)
def test_every_command_has_our_help_with_examples(words: tuple[str, ...]) -> None:
    assert "Examples:" in help_of(words)
    assert " ".join(words) in EXAMPLES
    if words:
        assert isinstance(context_of(words).command, Command)


def test_the_page_of_all_commands_is_what_their_help_prints() -> None:
    """`WRITE_GOLDEN=1` writes the page again."""
    page = [
        "# All commands",
        "This page has `--help` of every command as a terminal of 80 columns shows it. A test keeps "
        "it equal\nto what `alttrain` prints.",
    ]
    for words in LINES:
        page.append(f"## {' '.join(('alttrain', *words))}\n\n```text\n{help_of(words).rstrip()}\n```")
    check_golden(ROOT / "docs" / "commands.md", "\n\n".join(page) + "\n")


@pytest.mark.parametrize("name", ["eval", "study", "runs", "recipes"])
def test_a_group_lists_the_command_that_need_not_be_named(name: str) -> None:
    group = context_of([name]).parent.command
    shown = help_of((name,)).partition("Commands:\n")[2].partition("Examples:")[0]
    assert [line.split()[0] for line in shown.splitlines() if line[2:3].strip()] == list(group.commands)
    first = " ".join(shown.split(f"\n  {list(group.commands)[1]} ")[0].split())
    assert first.startswith(f"{group.first} ")
    assert first.endswith("This word may be left out.")


def test_there_are_examples_of_commands_that_exist_only() -> None:
    assert set(EXAMPLES) == {" ".join(words) for words in LINES}


ALL_EXAMPLES = [line for examples in EXAMPLES.values() for _, line in examples]


@pytest.mark.parametrize("line", ALL_EXAMPLES)
def test_an_example_fits_80_columns_and_is_a_command_line_that_alttrain_reads(line: str) -> None:
    assert max(map(len, line.splitlines())) <= 76
    program, *words = shlex.split(line.replace("\\\n", ""))
    assert program == "alttrain"
    context_of(words, lenient=False)


@pytest.mark.parametrize(("old", "new"), OLD_NAMES.items())
def test_an_old_name_of_an_option_does_what_the_new_one_does_and_is_not_shown(old: str, new: str) -> None:
    found = [words for words in LINES if new in help_of(words).split() and words]
    found = [words for words in found if old not in help_of(words).split()]
    assert found
    for words in found:
        kept, values = [], {}
        option = next(one for one in context_of(words).command.params if new in one.opts)
        value = {"--on-disagreement": "label", "--generate-traces": "model", "--num-samples": "3"}
        given = [] if option.is_flag else [value.get(new, "zero")]
        for name in (old, new):
            context = context_of([*words, name, *given])
            kept.append(context.params)
            values[name] = context.get_parameter_source(option.name).name
        assert kept[0] == kept[1]
        assert kept[0] != context_of(words).params
        assert set(values.values()) == {"COMMANDLINE"}


@pytest.mark.parametrize(
    "path",
    [
        one
        for one in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
        if one.name not in ("log.md", "commands.md")
    ],
    ids=lambda path: path.name,
)
def test_no_document_uses_an_older_name_of_an_option(path: Path) -> None:
    for line in path.read_text(encoding="utf-8").splitlines():
        allowed = {"--compare"} if "alttrain chat" in line else set[str]()  # there it is no older name
        assert not set(re.findall(r"--[a-z-]+", line)) & set(OLD_NAMES) - allowed, line


def test_a_wrong_option_gets_near_ones_without_the_old_names() -> None:
    said = CliRunner().invoke(app, ["eval", "smollm2-135m", "--thinking-mod", "zero"]).output
    assert "Did you mean '--thinking-mode'?" in said
    assert "--think," not in said


@pytest.mark.parametrize(
    ("line", "near"),
    [
        ("calibrate run --set x", ""),
        ("chat run --threshold 1", "--set threshold=VALUE"),
        ("chat run --temperature 1", "--set temperature=VALUE"),
        ("train --learning-rate 1", "--set train.learning_rate=VALUE"),
        ("train --epochs 1", "--set train.num_train_epochs=VALUE"),
        ("train --lora-r 8", "--set lora.r=VALUE"),
        ("train --config x.yaml", "--recipe"),
        ("serve run --temperature 1", ""),
        ("calibrate run --min-refusal 1", "--refusal"),
        ("eval run --temp 1", "--temperature"),
        ("eval run --LIMITS 1", "--limit"),
    ],
)
def test_an_option_is_suggested_for_its_name_and_not_for_its_dashes(line: str, near: str) -> None:
    said = CliRunner().invoke(app, line.split()).output
    assert ("Did you mean" in said, f"Did you mean {near!r}?" in said) == (bool(near), bool(near))


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["evla"], "eval"),
        (["recipes", "sho"], "show"),
        (["recipes", "lst"], "list"),
        (["eval", "judg"], "judge"),
    ],
)
def test_a_wrong_command_gets_a_near_one(words: list[str], near: str) -> None:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert f"Did you mean '{near}'" in done.output


@pytest.mark.parametrize("words", [("recipes", "r1-7b"), ("runs", "runs/my run")])
def test_a_recipe_or_a_run_in_place_of_a_command_gets_the_one_that_shows_it(
    words: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make(str(tmp_path / "runs" / "my run"))
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert f"To show it: {shlex.join(['alttrain', words[0], 'show', words[1]])}. See" in done.output


def test_a_folder_may_have_the_name_that_is_nearly_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "judg").mkdir()
    assert "judg: contains no run" in " ".join(CliRunner().invoke(app, ["eval", "judg"]).output.split())


def test_the_first_command_of_a_group_need_not_be_named() -> None:
    for words in LINES:
        context = context_of(words) if words else None
        if context is not None and isinstance(context.parent.command, DefaultGroup):
            assert context.parent.command.first in ("run", "list", "plan") or context.command.name == words[1]
    assert CliRunner().invoke(app, ["recipes"]).output == CliRunner().invoke(app, ["recipes", "list"]).output
