"""A chat with a server: made to answer when the budget ends, and fitted to a context that only it knows."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from alttrain_cli.backends.base import BackendError, ContextFullError
from alttrain_cli.backends.connection import ConnectionLimits
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.endpoint import Endpoint
from alttrain_cli.backends.server import ServerBackend
from alttrain_cli.chat.completion import MeasuredCompletion, stream_completion
from alttrain_cli.chat.exchange import send
from alttrain_cli.chat.screen import QuietScreen
from alttrain_cli.chat.settings import Settings
from alttrain_cli.chat.transcript import Transcript, Turn
from alttrain_cli.cli import app
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.structure.trace import TraceState
from tests.servers import Answer, Fault, Served, chat_server, nothing_listens
from tests.terminals import Terminal
from tests.warm import Warm

BUDGET = Settings(Recipe.load("smollm2-135m").generation).set("max_new_tokens=40").set("thinking_budget=5")
APART = "~I ~wonder " * 200  # reasoning_content
WITHIN = "<think> " + "I wonder " * 200  # in the text, as a server without a reasoning parser sends it
Go = Callable[[dict[str, Any]], "str | Fault"]


def is_begun(request: dict[str, Any]) -> bool:
    return bool(request["messages"][-1]["role"] == "assistant")


def thinker(go_on: Go, thought: str = APART) -> Answer:
    """Return who thinks for too long, and goes on as told when its message was begun for it."""
    return lambda _, request: go_on(request) if is_begun(request) else thought


def backend(served: Served) -> ServerBackend:
    return ServerBackend(Endpoint(served.base_url, "tiny", "none", ConnectionLimits(retries=0)))


def said(answer: Answer, settings: Settings = BUDGET) -> tuple[MeasuredCompletion, Served]:
    with chat_server(answer) as served:
        return stream_completion(backend(served), Conversation.of("How?"), settings), served


@pytest.mark.parametrize("thought", [APART, WITHIN])
def test_when_the_budget_ends_a_server_is_made_to_answer(thought: str) -> None:
    completion, served = said(thinker(lambda request: "Like this.", thought))
    assert completion.trace.state is TraceState.CLOSED
    assert completion.trace.answer == "Like this."
    assert completion.stats.forced
    assert completion.stats.thinking_tokens == 5
    assert not completion.warning
    first, second = served.requests
    (question, begun) = second["messages"]
    assert question == first["messages"][0]
    assert begun["content"].startswith("<think>")
    assert begun["content"].endswith("I wonder\n</think>\n\n") or begun["content"].endswith("I\n</think>\n\n")
    assert second["continue_final_message"] is True
    assert second["add_generation_prompt"] is False
    assert second["max_tokens"] == 40 - 5


def test_a_block_that_ends_by_itself_is_not_forced() -> None:
    completion, served = said(lambda *_: "~I ~see. Like this.")
    assert not completion.stats.forced
    assert len(served.requests) == 1


def test_without_a_token_left_nobody_is_made_to_answer() -> None:
    completion, served = said(thinker(lambda request: "no"), BUDGET.set("thinking_budget=40"))
    assert (completion.trace.state, len(served.requests)) == (TraceState.UNCLOSED, 1)
    assert completion.stats.truncated_by


def test_a_server_that_wants_thinking_off_before_it_goes_on_gets_that() -> None:
    def go_on(request: dict[str, Any]) -> str | Fault:
        if "chat_template_kwargs" in request:
            return "Like this."
        return Fault(
            "status", 400, message="Assistant response prefill is incompatible with enable_thinking."
        )

    completion, served = said(thinker(go_on))
    assert completion.trace.answer == "Like this."
    assert served.requests[-1]["chat_template_kwargs"] == {"enable_thinking": False}


@pytest.mark.parametrize(
    ("go_on", "why"),
    [
        (Fault("status", 400, message="Unknown field."), r"does not continue .*\(status 400: Unknown field."),
        (Fault("status", 500, message="Roles must alternate."), "status 500: Roles must alternate."),
        ("~Hmm, ~once ~more. Like this.", "starts to reason again"),
        (" <think> Once more </think> Like this.", "starts to reason again"),
        ("", "adds nothing"),
    ],
)
def test_a_server_that_cannot_be_made_to_answer_is_said_to_and_the_block_stays_open(
    go_on: str | Fault, why: str
) -> None:
    completion, served = said(thinker(lambda request: go_on))
    assert completion.trace.state is TraceState.UNCLOSED
    assert completion.trace.answer == ""
    assert not completion.stats.forced
    assert completion.warning.startswith(
        f"{served.base_url}: no answer after the thinking budget was used up: "
    )
    assert completion.warning.count(served.base_url) == 1
    assert "\n" not in completion.warning
    assert re.search(why, completion.warning)


def test_a_server_that_dies_while_it_goes_on_is_no_refusal() -> None:
    with pytest.raises(BackendError, match="connection broke in the middle"):
        said(thinker(lambda request: "Like DIE"))


def test_a_script_is_told_in_one_line_and_ends_as_unfinished() -> None:
    with chat_server(thinker(lambda request: Fault("status", 400, message="No."))) as served:
        words = ["chat", "--base-url", served.base_url, "--set", "think=5", "-p", "How?"]
        done = CliRunner().invoke(app, words)
    assert done.exit_code == 3
    assert done.stdout == "\n"
    (line,) = (line for line in done.stderr.splitlines() if "no answer after the thinking budget" in line)
    assert line.startswith("Warning: ")
    assert line.endswith("Raise thinking_budget with --set or /set.")  # "think" is its older name


FULL = [
    Fault(
        "status", 400, message="This model's maximum context length is 64 tokens. However, you requested 99."
    ),
    Fault(
        "status",
        400,
        message="max_tokens=4000 cannot be greater than max_model_len=2048. Please request less.",
    ),
    Fault("status", 400, message="the request exceeds the available context size, try increasing it"),
    Fault("status", 422, message="`inputs` tokens + `max_new_tokens` must be <= 64. Given: 60 and 40"),
]


def limited(most: int, refusal: Fault) -> Answer:
    return lambda _, request: refusal if len(request["messages"]) > most else "Yes."


def asked(answer: Answer, turns: int) -> tuple[Transcript, list[str], Served]:
    transcript = Transcript(turns=[Turn(f"q{number}", "a") for number in range(turns)])
    told: list[str] = []
    with chat_server(answer) as served:
        try:
            send(backend(served), transcript, "next", BUDGET, QuietScreen(told.append))
        except ContextFullError as error:
            told.append(str(error))
    return transcript, told, served


@pytest.mark.parametrize("refusal", FULL, ids=lambda fault: str(fault.message[:20]))
def test_when_a_servers_context_is_full_the_oldest_turns_leave_and_it_says_so(refusal: Fault) -> None:
    transcript, told, served = asked(limited(5, refusal), 5)
    assert told == [
        "The context is full. The oldest turn is no longer sent to the model.",
        "The context is full. The 2 oldest turns are no longer sent to the model.",
    ]
    assert [message["content"] for message in served.requests[-1]["messages"][::2]] == ["q3", "q4", "next"]
    assert transcript.dropped_turns == 3


def test_a_question_that_no_server_context_holds_costs_few_requests_and_no_turn() -> None:
    transcript, told, served = asked(limited(0, FULL[0]), 20)
    assert "The message alone is too long" in told[-1]
    assert "lower max_new_tokens" in told[-1]
    assert transcript.dropped_turns == 0
    assert len(served.requests) == 6  # with 20, 19, 17, 13, 5 and no turns


def test_another_refusal_costs_no_turn() -> None:
    with pytest.raises(BackendError, match="no such tool"):
        asked(limited(0, Fault("status", 400, message="no such tool")), 2)


def test_a_question_that_fails_costs_one_line_and_the_chat_goes_on(light: Warm, tmp_path: Path) -> None:
    def answer(number: int, request: dict[str, Any]) -> str | Fault:
        match request["messages"][-1]["content"]:
            case "refused":
                return Fault("status", 400, message="Not that.")
            case "nonsense":
                return Fault("nonsense")
            case "die":
                return "One DIE"
        return f"fine with {len(request['messages'])} messages"

    with (
        chat_server(answer) as served,
        Terminal("chat", "--base-url", served.base_url, cwd=tmp_path, warm=light) as chat,
    ):
        chat.expect("/help")
        chat.ask("refused", f"Error: {served.base_url}: status 400: Not that.", "/help")
        chat.ask("nonsense", "no JSON but a web page", "/help")
        chat.ask("die", "connection broke in the middle", "/help")
        chat.ask("well", "fine with 1 messages", "/help")
        assert chat.end() == 0


def test_a_server_that_is_not_there_ends_a_chat_before_anything_is_typed(light: Warm, tmp_path: Path) -> None:
    for more in ([], ["--model", "tiny"]):
        with (
            nothing_listens() as address,
            Terminal("chat", "--base-url", address, *more, cwd=tmp_path, warm=light) as chat,
        ):
            chat.expect("cannot be reached: nothing listens there")
            assert chat.process.wait(timeout=60) == 2


def test_a_chat_shows_the_facts_of_the_server_and_never_those_of_a_recipe(
    light: Warm, tmp_path: Path
) -> None:
    with (
        chat_server(lambda *_: "Yes.") as served,
        Terminal("chat", served.base_url, cwd=tmp_path, warm=light) as chat,
    ):
        chat.expect(f"Chat with tiny at {served.base_url}.", "/help")
        shown = chat.ask("/show", "thinking_budget", "/help")
        assert re.search(rf"model:?\s+tiny\s+server:?\s+{served.base_url}\s+context:?\s+not reported", shown)
        assert "of the server's chat template" in " ".join(shown.split())
        assert "DeepSeek" not in shown
        assert "recipe" not in shown
        assert chat.end() == 0
