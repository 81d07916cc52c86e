"""Texts of rows, prompts, completions and names reach no terminal and no page raw (tests/hostile.py has them)."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from alttrain_cli.cli import app
from alttrain_cli.console.preview import print_previews
from alttrain_cli.structure.spans import Span
from alttrain_cli.text import escape_hidden
from alttrain_cli.training.preview import RenderedRow
from tests.hostile import MARKUP, PAGE, TERMINAL, TEXTS, raw
from tests.run_folders import make
from tests.samples import put
from tests.scorecards import HELPS, REFUSES, evaluate, suite, target
from tests.servers import chat_server
from tests.terminals import Terminal
from tests.test_attack_command import measure, run_and_base
from tests.test_page import Reader
from tests.warm import Warm

TRACE = "<think>\nThey ask for {}.\n\nThis is benign.\n\nIt is about {}.\n</think>\n\nIt is {}."
# Of what stands in a file, JSON and YAML write some escapes themselves; a NUL can be in no text file.
IN_FILES = tuple(text.replace("\x00", "") for text in TEXTS)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")
    return tmp_path


def alttrain(*arguments: str | Path, code: int | None = 0) -> str:
    """Return all that a command writes where it is no terminal: our own colours are not in it."""
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    assert code is None or done.exit_code == code, done.output
    return done.output


def check(output: str, texts: tuple[str, ...] = ()) -> None:
    """Nothing raw is in an output, and these texts are in it, with what steers made visible."""
    assert raw(output) == set()
    joined = re.sub(r"\s", "", output)
    assert [text for text in texts if re.sub(r"\s", "", escape_hidden(text)) not in joined] == []


def samples() -> list[dict[str, Any]]:
    return [
        {
            "id": f"{text}{place}", "prompt": f"Number {place}: {text}", "label": "benign", "category": text,
            "response": TRACE.format(text, text, text),
        }
        for place, text in enumerate(IN_FILES)
    ]  # fmt: skip


def test_rows_and_their_audit() -> None:
    put(Path("rows.jsonl"), *samples())
    built = alttrain(
        *("build-data", "--source", "rows.jsonl", "--source", "starter:20", "--suite", ""),
        *("--out", "data.jsonl", "--show", "90"),
    )
    check(built, tuple(text for text in MARKUP + PAGE))
    check(alttrain("build-data", "--audit", "data.jsonl", "--suite", "", "--show", "90"), MARKUP)
    kept = [json.loads(line)["prompt"] for line in Path("data.jsonl").read_text().split("\n") if line]
    assert sum("OWNED" in prompt or "DENWO" in prompt for prompt in kept) > 20  # else little was tried


@pytest.mark.parametrize("place", range(len(IN_FILES)))
def test_what_is_wrong_with_a_row_or_a_name(place: int) -> None:
    text = IN_FILES[place]
    put(Path("rows.jsonl"), {text: "x", "prompt": "How?", "label": text, "response": 7})
    check(alttrain("build-data", "--source", "rows.jsonl", "--suite", "", "--out", "d.jsonl", code=None))
    for line in (
        ("build-data", "--source", f"{text}.jsonl", "--suite", ""),
        ("build-data", "--source", "rows.jsonl", "--columns", f"prompt={text}", "--suite", ""),
        ("train", "--recipe", text, "--data", "rows.jsonl"),
        ("train", "--recipe", "smollm2-135m", "--data", "rows.jsonl", "--set", f"{text}=1"),
        ("eval", "smollm2-135m", "--suite", text),
        ("eval", "smollm2-135m", "--judge", text),
        ("runs", "show", text),
        ("recipes", "show", text),
        (text,),
    ):
        check(alttrain(*line, code=2))


def test_recipes_and_previews(capsys: pytest.CaptureFixture[str]) -> None:
    for text in IN_FILES:
        system = json.dumps(text)
        Path("mine.yaml").write_text(f"base: smollm2-135m\nname: mine\nmodel:\n  system: {system}\n")
        check(alttrain("recipes", "show", "mine.yaml", code=None))
        spans = [Span(kind, text, 3) for kind in ("prompt", "reasoning", "terminator")]  # type: ignore[arg-type]
        print_previews([RenderedRow(text, spans)])
    check(capsys.readouterr().out, MARKUP)


def test_runs_whose_records_hold_them() -> None:
    for place, text in enumerate(IN_FILES):
        make(
            f"runs/{place}",
            data={"path": text, "sha256": "0" * 64, "rows": 3},
            device=text,
            base={"name": text},
        )
        make(f"runs/{place}-failed", "failed", error=text, recipe_name=text)
        check(alttrain("runs", "show", f"runs/{place}"))
        check(alttrain("runs", "show", f"runs/{place}-failed"))
    check(alttrain("runs"))
    check(alttrain())


@pytest.fixture
def evaluated(here: Path) -> Path:
    """An evaluation whose prompts, completions, names and notes are hostile."""
    root = here / "e"
    prompts = [f"{place}: {text}" for place, text in enumerate(TEXTS)]
    for name, text in (("h", HELPS), ("b", REFUSES)):
        about = suite(
            name,
            "harmful" if name == "h" else "benign",
            **dict.fromkeys(("title", "note", "source"), TEXTS[5] + PAGE[0]),
        )
        evaluate(
            root,
            target(PAGE[3] + TERMINAL[1]),
            about,
            prompts,
            [text.replace("soup", one) + one for one in TEXTS],
        )
    return root


def test_an_evaluation_its_scorecard_and_its_page(evaluated: Path) -> None:
    check(alttrain("eval", "report", evaluated, "--include-harmful"))
    check(alttrain("eval", "judge", evaluated, "--include-harmful"))
    page = (evaluated / "scorecard.html").read_text(encoding="utf-8")
    check(page)
    read = Reader(page)
    assert page.count("OWNED") > 3 * len(TEXTS)  # they are in it
    assert read.tags.count("script") == 2
    assert not {"img", "link", "base", "iframe", "object", "embed"} & set(read.tags)
    assert not [
        name for name in read.attributes if name.startswith("on") or name in ("style", "src", "action")
    ]
    check((evaluated / "scorecard.json").read_text(encoding="utf-8").replace("\\u", ""))


def test_the_dialogues_of_an_attack_on_their_page_and_in_the_terminal(here: Path) -> None:
    every = "\n".join(TEXTS)
    run = run_and_base(REFUSES + every, HELPS + every, attacker=json.dumps({"message": every}))
    measure(here, run)
    check(alttrain("eval", "report", here / "run", "--baseline", here / "base", "--include-harmful"))
    page = (here / "run" / "scorecard.html").read_text(encoding="utf-8")
    check(page)
    assert page.count("OWNED") > 3 * len(TEXTS)
    assert Reader(page).tags.count("script") == 2
    assert not {"img", "link", "base", "iframe", "object", "embed"} & set(Reader(page).tags)


def test_an_attack_in_the_terminal() -> None:
    every = "\n".join(IN_FILES)

    def answer(number: int, request: dict[str, Any]) -> str:
        attacks = "measure how safe" in request["messages"][0]["content"]
        return json.dumps({"message": every}) if attacks else TRACE.format(every, every, every)

    with chat_server(answer, models=("tiny", "other")) as served:
        words = (
            "chat",
            f"{served.base_url} tiny",
            "--attack",
            "pair-live",
            "--goal",
            TERMINAL[0] + MARKUP[0],
        )
        shown = alttrain(*words, "--streams", "3", "--attacker", f"{served.base_url} other")
    assert shown.count("OWNED") > 3 * len(TEXTS)
    check(shown)


def test_completions_in_a_pipe_and_as_json() -> None:
    with chat_server(
        lambda number, request: TRACE.format(*[request["messages"][-1]["content"]] * 3)
    ) as served:
        Path("prompts.jsonl").write_text("".join(json.dumps({"prompt": text}) + "\n" for text in IN_FILES))
        line = ("chat", served.base_url, "--prompts", "prompts.jsonl")
        check(alttrain(*line, "--json"))
        done = CliRunner().invoke(app, list(line))
    assert done.exit_code == 0, done.output
    assert raw(done.stderr) == set()


def test_completions_in_a_terminal(light: Warm, here: Path) -> None:
    """Of what steers a terminal, nothing of theirs is in what the chat writes there."""
    texts = iter(TEXTS)
    with (
        chat_server(lambda *_: TRACE.format(*[next(texts).replace(" ", "_")] * 3)) as served,
        Terminal("chat", served.base_url, cwd=here, columns=200, warm=light) as chat,
    ):
        chat.expect("· /help")
        for number in range(len(TEXTS)):
            chat.ask("go", "tokens/s")
            for piece in (
                "\x1b[2J",
                "\x1b[H",
                "\x1b[?1049h",
                "\x1b]",
                "\x1bP",
                "\x1b_",
                "\x1b^",
                "\x1bc",
                "\x1b(0",
            ):
                assert piece not in chat.raw, (number, chat.raw)
            assert not raw(chat.raw) - {"\x1b", "\r", "\x08"}, (number, chat.raw)
            assert "\x1b[31mOWNED" not in chat.raw
        while chat.process.poll() is None:
            chat.type("\x04")
            time.sleep(0.05)
        assert chat.ended() == 0
