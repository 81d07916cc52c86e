"""A word that is no member of a closed list gets the nearest one, or the list: for every such option."""

from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from typer.testing import CliRunner

from alttrain_cli.cli import app
from alttrain_cli.commands.build_data.options import BuildOptions
from alttrain_cli.commands.eval.run_options import RunOptions
from alttrain_cli.text import suggest
from tests.run_folders import make

BUILD = ("build-data", "--source", "starter")
EVAL = ("eval", "smollm2-135m")
CASES = [  # the command line, where ? is the wrong word; the wrong word; the one that was meant
    (("build-data", "--source", "?"), "starter-ful", "starter-full"),
    (("build-data", "--source", "?"), "starter-ful:40", "starter-full"),
    (("build-data", "--source", "?"), "star1", "star-1"),
    (("build-data", "--source", "starter", "--mix", "?"), "safechan", "safechain"),
    ((*BUILD, "--style", "?"), "altrain", "alttrain"),
    ((*BUILD, "--label", "?"), "bening", "benign"),
    ((*BUILD, "--annotator", "?"), "templat", "template"),
    ((*BUILD, "--on-disagreement", "?"), "anotator", "annotator"),
    ((*BUILD, "--generate-traces", "?"), "endpoin", "endpoint"),
    ((*BUILD, "--suite", "?"), "xstest-saf", "xstest-safe"),
    ((*EVAL, "--suite", "?"), "smok", "smoke"),
    ((*EVAL, "--judge", "?"), "wildgard", "wildguard"),
    ((*EVAL, "--judge-part", "?"), "reasonig", "reasoning"),
    ((*EVAL, "--thinking-mode", "?"), "zer", "zero"),
    ((*EVAL, "--preset", "?"), "r1act", "r1-act"),
    ((*EVAL, "--engine", "?"), "vlm", "vllm"),
    (("eval", "report", "run", "--published", "?"), "altrain", "alttrain"),
    (("chat", "?", "-p", "Hi"), "smollm2-135", "smollm2-135m"),
    (("chat", "smollm2-135m", "-p", "Hi", "--set", "?"), "temprature=1", "temperature"),
    (("chat", "smollm2-135m", "--goal", "x", "--attack", "?"), "crescndo", "crescendo"),
    (("train", "--recipe", "?"), "r1-7", "r1-7b"),
    (("train", "--recipe", "smollm2-135m", "--set", "?"), "data.style=altrain", "alttrain"),
    (("export", "run", "--format", "?"), "merge", "merged"),
    (("export", "run", "--format", "gguf", "--quantize", "?"), "q4_k_x", "q4_k_s"),
    (("recipes", "show", "?"), "qwen3-8", "qwen3-8b"),
]


@pytest.mark.parametrize(
    ("line", "wrong", "meant"), CASES, ids=[f"{line[-2]} {wrong}" for line, wrong, _ in CASES]
)
def test_a_word_that_is_nearly_right_gets_the_right_one(
    line: tuple[str, ...], wrong: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make("run")
    done = CliRunner().invoke(app, [wrong if word == "?" else word for word in line])
    said = " ".join(done.output.split())
    assert done.exit_code == 2, said
    assert f"Did you mean {meant!r}?" in said


def choices(options: Any) -> set[str]:
    """The options whose values the type lists."""
    found = set()
    for name, hint in get_type_hints(options).items():
        members = get_args(hint) or (hint,)
        if get_origin(hint) is Literal or any(get_origin(one) is Literal for one in members):
            found.add(f"--{name.replace('_', '-')}")
    return found


def test_every_option_whose_type_lists_its_values_is_tried() -> None:
    listed = choices(BuildOptions) | choices(RunOptions)
    assert len(listed) >= 4
    assert listed <= {word for line, _, _ in CASES for word in line}


def test_a_word_that_is_near_to_none_gets_all_of_them_or_the_command_that_lists_them() -> None:
    assert suggest("zzz", ["merged", "gguf"]) == "Choose among: merged, gguf."
    assert (
        suggest("zzz", ["merged", "gguf"], "To list them: alttrain recipes")
        == "To list them: alttrain recipes"
    )


@pytest.mark.parametrize("words", [("serve",), ("export",), ("calibrate",), ("runs", "show")], ids=" ".join)
def test_a_command_without_its_run_names_the_newest_one(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def said() -> str:
        return " ".join(CliRunner().invoke(app, words, prog_name="alttrain").output.split())

    assert "There is no run here yet. To make one: alttrain train --recipe smollm2-135m" in said()
    make("runs/my run")
    assert f"For example: alttrain {' '.join(words)} 'runs/my run'" in said()


def test_a_command_without_its_recipe_names_the_list_of_recipes() -> None:
    for words in (["train"], ["recipes", "show"], ["recipes", "diff", "r1-7b"]):
        done = CliRunner().invoke(app, words, prog_name="alttrain")
        assert done.exit_code == 2
        assert " ".join(done.output.split()).endswith(
            "To list the recipes: alttrain recipes"
        )  # can be pasted


@pytest.mark.parametrize(
    "line",
    ["train --recipe smollm2-135m --set train.max_steps 6", "study plan smoke --set train.max_steps 6"],
)
def test_a_setting_in_two_words_gets_the_form_in_one(line: str) -> None:
    said = " ".join(CliRunner().invoke(app, line.split(), prog_name="alttrain").output.split())
    assert "(6). Write key and value in one word: --set train.max_steps=VALUE. See: " in said


def test_a_study_that_is_not_named_gets_the_names() -> None:
    said = " ".join(CliRunner().invoke(app, ["study"], prog_name="alttrain").output.split())
    assert "Shipped studies: ablation, " in said
    assert said.endswith("For example: alttrain study plan smoke")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("eval --bogus", "alttrain eval"),
        ("eval judge --bogus", "alttrain eval judge"),
        ("study smoke --bogus", "alttrain study"),
        ("runs --bogus", "alttrain runs"),
    ],
)
def test_the_help_that_an_error_names_is_that_of_what_was_typed(line: str, shown: str) -> None:
    said = " ".join(CliRunner().invoke(app, line.split(), prog_name="alttrain").output.split())
    assert said.endswith(f" See: {shown} --help")


@pytest.mark.parametrize(
    ("line", "option"),
    [
        ("build-data demo/data.jsonl", "--source demo/data.jsonl"),
        ("build-data --source starter more.csv", "--source more.csv"),
        ("train --recipe r1-7b data.jsonl", "--data data.jsonl"),
        ("train --recipe r1-7b --data data.jsonl more.jsonl", ""),
        ("doctor smollm2-135m", "--model smollm2-135m"),
        ("runs list demo", "--in demo"),
        ("eval suites xstest", ""),
        ("chat demo/run more", ""),
    ],
)
def test_a_word_without_its_option_gets_that_of_its_command(line: str, option: str) -> None:
    done = CliRunner().invoke(app, line.split())
    assert done.exit_code == 2
    assert "Got unexpected extra argument" in done.output
    assert done.output.partition("Give it as an option: ")[2].partition(". See")[0] == option
