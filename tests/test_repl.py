"""The chat as a person meets it: typed into a real terminal, answered by a server on loopback."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from alttrain_cli.cli import app
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.run import Run
from tests.command_lines import result_of
from tests.multiplexer import TMUX, Multiplexer
from tests.servers import Fault, Served, chat_server
from tests.terminals import Terminal
from tests.warm import Warm

READY = "· /help"  # the end of the line below the prompt
NASTY = "[/think] [red]x[/red] \x1b[2J \x07 \x9b31m \u202e \u200b"


def thinking(text: str) -> str:
    return " ".join(f"~{word}" for word in text.split(" "))


def answer(number: int, request: dict[str, Any]) -> str | Fault:
    if request["messages"][-1]["role"] == "assistant":
        return "So it is."
    if len(request["messages"]) > 9:
        return Fault("status", 400, message="maximum context length is 64 tokens")
    prompt = request["messages"][-1]["content"]
    match prompt.split():
        case ["harm", *_]:
            thought = "They ask for harm.\n\nThis is harmful, because it hurts people.\n\nI must say no."
            return f"{thinking(thought)} I can't help with that."
        case ["die", *_]:
            return "~They ~ask ~and ~then DIE"
        case ["ponder", *_]:
            return "~hm " * 500
        case ["nasty", *_]:
            return f"{NASTY} \ud800"
        case ["endless", *_]:
            return " ".join(["word"] * 400_000)
        case ["wide", *_]:
            return "x" * 100_000
    return f"you said {prompt} and {len(request['messages'])} messages"


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with chat_server(answer) as server:
        yield server


@pytest.fixture
def chat(light: Warm, served: Served, tmp_path: Path) -> Iterator[Terminal]:
    with Terminal("chat", served.base_url, cwd=tmp_path, warm=light) as terminal:
        terminal.expect(READY)
        yield terminal


def saved(folder: Path) -> list[dict[str, Any]]:
    (path,) = (folder / "chats").glob("*.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_sections_verdict_and_figures_are_shown_and_the_chat_is_saved(chat: Terminal, tmp_path: Path) -> None:
    shown = chat.ask(
        "harm please", "understanding", "assessment · harmful", "reasoning", "answer", "tokens/s"
    )
    assert "I can't help with that." in shown
    assert "first after" in shown
    assert chat.ask("hello", "you said hello and 3 messages", READY)
    assert chat.end() == 0
    chat.expect("Saved in chats/", "--continue")
    assert [turn["prompt"] for turn in saved(tmp_path)] == ["harm please", "hello"]
    assert saved(tmp_path)[0]["verdict"] == "harmful"


def test_a_conversation_is_taken_up_again_changed_and_taken_back(
    light: Warm, chat: Terminal, served: Served, tmp_path: Path
) -> None:
    chat.ask("first", "1 messages", READY)
    assert chat.end() == 0
    with Terminal("chat", "--base-url", served.base_url, "--continue", cwd=tmp_path, warm=light) as again:
        again.expect("1 turn resumed", READY)
        again.ask("second", "3 messages", READY)
        again.ask("/undo", "Removed: second", READY)
        again.ask("/retry", "you said second and 3 messages", READY)
        again.ask("/system Be brief.", "is set", READY)
        again.ask("/set temperature=0", "do_sample", "decoding is greedy", READY)
        again.ask("third", "6 messages", "greedy", READY)
        assert served.requests[-1]["messages"][0] == {"role": "system", "content": "Be brief."}
        assert served.requests[-1]["temperature"] == 0
        again.ask("/reset", "A new conversation", READY)
        again.ask("fourth", "2 messages", READY)
        again.ask("/save kept.jsonl", "1 turn saved", READY)
        again.ask("/save kept.jsonl", "already exists", READY)
        again.ask("/load kept.jsonl", "1 turn resumed", READY)
        again.ask("/raw", "you said fourth", READY)
        again.ask("/fold", "folded", READY)
        assert "╭─ reasoning ─" not in again.ask("harm", "reasoning · ", "answer", READY)
        again.ask("/compare", "on a server the adapter cannot", READY)
        again.ask("/undoo", "there is no command /undoo", "/undo?", READY)
        again.type("/quit\r")
        assert again.process.wait(30) == 0


def test_what_a_model_writes_never_steers_the_terminal(chat: Terminal) -> None:
    shown = chat.ask("nasty", "tokens/s", READY)
    for text in (
        "[/think]",
        "[red]x[/red]",
        "<U+001B>[2J",
        "<U+0007>",
        "<U+009B>31m",
        "<U+202E>",
        "<U+200B>",
        "\ufffd",
    ):
        assert text in shown
    assert not {"\x1b[2J", "\x07", "\x9b", "\u202e", "\u200b"} & set(re.findall(r"\x1b\[2J|.", chat.raw))


def test_a_hundred_thousand_characters_without_a_newline_are_all_shown(chat: Terminal) -> None:
    assert chat.ask("wide", "tokens/s", READY).count("x") >= 100_000


def test_ctrl_c_drops_the_answer_and_the_session_lives(chat: Terminal, tmp_path: Path) -> None:
    chat.type("endless\r")
    chat.shows("answering")
    chat.type("\x03")
    chat.expect("interrupted", "Dropped. /retry", READY)
    chat.ask("hello", "you said hello and 1 messages", READY)
    assert [turn["prompt"] for turn in saved(tmp_path)] == ["hello"]


def test_ctrl_c_while_typing_drops_the_line(chat: Terminal) -> None:
    chat.type("never sent\x03")
    chat.expect("ends the chat.")
    chat.ask("hello", "you said hello and 1 messages", READY)


def test_a_server_that_dies_in_the_middle_costs_one_line(chat: Terminal) -> None:
    shown = chat.ask("die", "interrupted", "Error: ", "connection broke in the middle", READY)
    assert "They ask and then" in shown
    assert "Traceback" not in shown
    chat.ask("hello", "you said hello and 1 messages", READY)


def test_a_server_is_made_to_answer_and_told_so_and_its_full_context_costs_the_oldest_turns(
    chat: Terminal,
) -> None:
    chat.ask("/set think=3", "think", READY)
    assert "So it is." in chat.ask("ponder", "hm hm hm", "answer · forced after 3 thinking tokens", READY)
    for number in range(4):
        chat.ask(f"turn {number}", f"and {2 * number + 3} messages", READY)
    chat.ask("one more", "The oldest turn is no longer sent", "and 9 messages", READY)
    chat.ask("/show", "6, 1 no longer sent", READY)


def test_several_lines_are_one_question(chat: Terminal, served: Served) -> None:
    chat.type('"""one\rtwo\r')
    chat.ask('three"""', "tokens/s", READY)
    assert served.requests[-1]["messages"][-1]["content"] == "one\ntwo\nthree"
    chat.ask("\x1b[200~pasted\rlines\x1b[201~", "tokens/s", READY)
    assert served.requests[-1]["messages"][-1]["content"] == "pasted\nlines"


def test_ctrl_g_opens_the_editor(light: Warm, served: Served, tmp_path: Path) -> None:
    editor = tmp_path / "editor.sh"
    editor.write_text('#!/bin/sh\nprintf "written elsewhere" > "$1"\n')
    editor.chmod(0o755)
    with Terminal(
        "chat", "--base-url", served.base_url, cwd=tmp_path, warm=light, EDITOR=str(editor)
    ) as chat:
        chat.expect(READY)
        chat.type("\x07")
        chat.expect("written elsewhere")
        chat.ask("", "you said written elsewhere", READY)


def test_probes_stand_in_the_line_and_each_is_a_fresh_conversation(
    light: Warm, served: Served, tmp_path: Path
) -> None:
    (tmp_path / "probes.txt").write_text("one\ntwo\nthree\n")
    with Terminal(
        "chat", "--base-url", served.base_url, "--prompts", "probes.txt", cwd=tmp_path, warm=light
    ) as chat:
        chat.expect("one", "prompt 1 of 3", READY)
        chat.ask("", "you said one and 1 messages", "prompt 2 of 3", READY)
        chat.type("\x03")
        chat.expect("prompt 3 of 3")
        chat.ask("", "you said three and 1 messages", READY)
        chat.ask("more", "you said more and 3 messages", READY)


def test_no_save_leaves_nothing_behind(served: Served, tmp_path: Path) -> None:
    with Terminal("chat", "--base-url", served.base_url, "--no-save", cwd=tmp_path) as chat:
        chat.expect(READY)
        chat.ask("hello", "tokens/s", READY)
        assert chat.end() == 0
    assert not list(tmp_path.rglob("*chat*"))


@pytest.mark.parametrize(
    ("columns", "environment"), [(40, {}), (80, {"NO_COLOR": "1"}), (80, {"TERM": "dumb"})], ids=str
)
def test_odd_terminals_show_the_same(
    light: Warm, columns: int, environment: dict[str, str], served: Served, tmp_path: Path
) -> None:
    with Terminal(
        "chat", "--base-url", served.base_url, cwd=tmp_path, columns=columns, warm=light, **environment
    ) as chat:
        chat.expect(">")
        chat.ask("harm", "understanding", "assessment", "harmful", "answer", "tokens/s", ">")
        if environment:
            assert not re.search(r"\x1b\[[\d;]*3[1-7]m", chat.raw)  # no colours
        assert "Traceback" not in chat.text


def test_a_terminal_that_is_resized_while_text_streams_goes_on(chat: Terminal) -> None:
    chat.type("endless\r")
    for columns in (40, 120, 20):
        chat.resize(columns, 20)
        chat.forget()
        chat.expect("answering")
    chat.type("\x03")
    chat.expect("Dropped.")
    chat.ask("hello", "you said", "tokens/s", ">")


@pytest.mark.skipif(TMUX is None, reason="needs tmux")
def test_a_resize_while_text_streams_leaves_nothing_torn_and_loses_no_word(tmp_path: Path) -> None:
    thoughts = " ".join(f"~thought{number}" for number in range(150))
    words = " ".join(f"word{number}" for number in range(150))

    def long(_: int, request: dict[str, Any]) -> str:
        return f"~This ~is ~harmful.\n {thoughts} {words} ."

    with (
        chat_server(long, pause=lambda: time.sleep(0.02)) as slow,
        Multiplexer("chat", "--base-url", slow.base_url, cwd=tmp_path, columns=100, lines=30) as chat,
    ):
        chat.expect(READY)
        chat.type("please")
        for seen, columns, lines in (("thought60", 50, 30), ("thought120", 100, 20), ("word60", 40, 30)):
            chat.expect(seen)
            chat.resize(columns, lines)
        chat.expect("· first after")
        shown = "".join(chat.text.split()).replace("│", "")
    for word in (*(f"thought{number}" for number in range(150)), *(f"word{number}" for number in range(150))):
        assert len(re.findall(rf"{word}(?!\d)", shown)) == 1, word
    for name in ("understanding", "assessment·harmful", "reasoning", "answer"):
        assert shown.count(name) == 1


def test_a_run_without_an_adapter_cannot_be_compared_and_says_what_can_be_done(
    light: Warm, tmp_path: Path
) -> None:
    recipe = Recipe.load("smollm2-135m", ("model.full_finetuning=true",))
    run = Run.create(tmp_path / "mine", recipe.name, recipe.to_yaml())
    run.adapter_path.mkdir()
    (run.adapter_path / "model.safetensors").touch()
    done = CliRunner().invoke(app, ["chat", str(run.path), "--compare", "-p", "Hi"])
    assert done.exit_code == 2
    assert "mine was fully fine-tuned, so it has no adapter" in done.stderr
    assert "--base" in done.stderr
    assert done.stderr.count("\n") == 1
    with Terminal("chat", run.path, "--no-save", cwd=tmp_path, warm=light) as chat:
        chat.expect("Loading mine")
        chat.ask("/compare on", "Error: mine was fully fine-tuned")


def test_a_script_gets_the_answer_alone(served: Served) -> None:
    done = CliRunner().invoke(app, ["chat", "--base-url", served.base_url, "-p", "harm"])
    assert done.stdout == "I can't help with that.\n"
    assert (
        done.stderr == "They ask for harm.\n\nThis is harmful, because it hurts people.\n\nI must say no.\n"
    )


def test_a_script_gets_the_completions_in_one_document(served: Served, tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"prompt": "harm"}\n{"prompt": "hello"}\n')
    words = ["chat", "--base-url", served.base_url, "--json", "--prompts", str(tmp_path / "p.jsonl")]
    done = CliRunner().invoke(app, words)
    assert done.stderr == ""
    first, second = result_of(done.stdout)
    assert len(done.stdout.splitlines()) == 4  # each as it arrives
    assert (first["verdict"], first["refused"], first["state"]) == ("harmful", True, "closed")
    assert (second["prompt"], second["verdict"], second["state"]) == ("hello", "missing", "absent")
    assert first["model"] == "tiny"
    assert first["tokens"] > 0
    assert first["seconds"] > 0


def test_a_server_and_its_model_are_one_word_and_the_old_options_mean_the_same(tmp_path: Path) -> None:
    with chat_server(answer, models=("small", "large")) as two:
        for words in ([f"{two.base_url} large"], ["--base-url", two.base_url, "--model", "large"]):
            done = CliRunner().invoke(app, ["chat", *words, "-p", "hello", "--json"])
            assert result_of(done.stdout)[0]["model"] == "large"
        assert [request["model"] for request in two.requests] == ["large", "large"]
        done = CliRunner().invoke(app, ["chat", two.base_url, "-p", "hello"])
    assert done.exit_code == 2
    assert "small, large" in done.stderr


def test_the_old_name_of_prompts_still_works(served: Served, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("one\ntwo\n")
    done = CliRunner().invoke(app, ["chat", served.base_url, "--prompts", str(tmp_path / "p.txt")])
    assert done.stdout == "you said one and 1 messages\nyou said two and 1 messages\n"


def test_standard_input_is_a_question(served: Served) -> None:
    done = CliRunner().invoke(app, ["chat", "--base-url", served.base_url, "-p", "-"], input="from a pipe\n")
    assert done.stdout == "you said from a pipe\n and 1 messages\n"
