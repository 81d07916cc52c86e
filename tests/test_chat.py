"""What a chat is made of: turns, settings, typed lines, and a completion while it arrives."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from alttrain_cli.backends.base import (
    Ability,
    BackendError,
    Chunk,
    Completion,
    ContextFullError,
    Finish,
    Request,
)
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.chat import files
from alttrain_cli.chat.chat import Chat
from alttrain_cli.chat.completion import MeasuredCompletion, StreamingCompletion
from alttrain_cli.chat.exchange import Exchange, fit, send, send_all
from alttrain_cli.chat.files import ChatFile, new_chat, newest_chat, read_prompts
from alttrain_cli.chat.handlers import HANDLERS
from alttrain_cli.chat.loader import ChatTarget
from alttrain_cli.chat.screen import QuietScreen
from alttrain_cli.chat.session import Session
from alttrain_cli.chat.settings import Settings
from alttrain_cli.chat.slash import COMMANDS, SlashCommand, is_multiline_open, read_line
from alttrain_cli.chat.transcript import Transcript, Turn
from alttrain_cli.cli import app
from alttrain_cli.errors import AlttrainError, DataError, GateError, RecipeError
from alttrain_cli.progress import Progress
from alttrain_cli.recipe.model import Recipe, Sampling
from alttrain_cli.structure.markers import THINK
from alttrain_cli.structure.row import read_rows
from alttrain_cli.structure.trace import Trace, TraceState, parse
from alttrain_cli.structure.verdict import Verdict
from alttrain_cli.structure.verdict_score import VerdictScore
from tests.scripted import ScriptedBackend

GREEDY = Settings(Recipe.load("smollm2-135m").generation)
SAMPLED = Settings(Recipe.load("qwen3-4b").generation)


def ten_per_message(conversation: Conversation) -> int:
    return 10 * len(conversation.messages)


TRACE = Trace("They ask about eggs.", "This is benign.", "I can help.", "Boil them.")


def turns(count: int) -> Transcript:
    return Transcript(turns=[Turn.of(f"q{number}", TRACE) for number in range(count)])


def test_earlier_turns_reach_the_model_without_their_thoughts() -> None:
    assert turns(1).conversation("next").wire() == [
        {"role": "user", "content": "q0"},
        {"role": "assistant", "content": "Boil them."},
        {"role": "user", "content": "next"},
    ]


def test_a_system_text_comes_first() -> None:
    assert Transcript("Be brief.").conversation("a").wire()[0] == {"role": "system", "content": "Be brief."}


def test_when_the_context_is_full_the_oldest_turns_leave_and_stay_in_the_file(tmp_path: Path) -> None:
    transcript = turns(5)
    assert transcript.truncate_to_context("next", ten_per_message, 55) == 3
    assert [one.content for one in transcript.conversation("next").messages[::2]] == ["q3", "q4", "next"]
    assert transcript.truncate_to_context("next", ten_per_message, 55) == 0
    transcript.save(tmp_path / "chat.jsonl")
    assert len(Transcript.load(tmp_path / "chat.jsonl").turns) == 5


def test_where_nobody_can_count_no_turn_is_dropped() -> None:
    for limit in (1, 0, -500):
        assert turns(3).truncate_to_context("next", lambda conversation: None, limit) == 0


def test_a_question_that_is_too_long_is_named_and_costs_no_turn() -> None:
    transcript = turns(3)
    with pytest.raises(ContextFullError, match="The message has 100 tokens, but only 50"):
        transcript.truncate_to_context("next", lambda conversation: 100, 50)
    assert transcript.dropped_turns == 0


def test_a_turn_can_be_taken_back_also_one_that_left_the_context() -> None:
    transcript = turns(2)
    transcript.drop_oldest_turns(2)
    assert transcript.undo() == Turn.of("q1", TRACE)
    assert transcript.dropped_turns == 1
    assert turns(0).undo() is None


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=4), st.none() | texts.filter(bool))
def test_what_is_saved_is_taken_up_again_unchanged(
    tmp_path_factory: pytest.TempPathFactory, said: list[tuple[str, str]], system: str | None
) -> None:
    path = tmp_path_factory.mktemp("chat") / "chat.jsonl"
    transcript = Transcript(system, [Turn(prompt, response, {"seed": 1}) for prompt, response in said])
    transcript.save(path)
    loaded = Transcript.load(path)
    assert loaded == transcript
    assert loaded.conversation("next") == transcript.conversation("next")


def test_a_saved_chat_is_a_source_for_build_data(tmp_path: Path) -> None:
    turns(1).save(tmp_path / "chat.jsonl")
    words = [
        "build-data",
        "--source",
        tmp_path / "chat.jsonl",
        "--label",
        "benign",
        "--out",
        tmp_path / "d.jsonl",
    ]
    assert CliRunner().invoke(app, [str(word) for word in words]).exit_code == 0
    (row,) = read_rows(tmp_path / "d.jsonl")
    assert (row.prompt, row.answer) == ("q0", TRACE.answer)


def test_an_unfinished_turn_is_saved_as_unfinished(tmp_path: Path) -> None:
    cut = Trace("They ask.", "", "Hm.", "", TraceState.UNCLOSED)
    assert parse(Turn.of("q", cut).response, THINK, prefilled=False).state is TraceState.UNCLOSED
    assert Turn.of("q", cut).answer == ""


def test_a_file_that_is_no_chat_is_named(tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    path.write_text('{"prompt": "a", "response": "b"}\n{"prompt": "a"}\n')
    with pytest.raises(DataError, match=r"chat\.jsonl:2: not a turn"):
        Transcript.load(path)


def test_chats_are_found_again_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="chats/: there is no saved conversation with org/name"):
        newest_chat("org/name")
    now = datetime(2026, 1, 2, 3, 4, 5)
    turns(1).save(new_chat("org/name", now))
    turns(2).save(second := new_chat("org/name", now))
    turns(1).save(new_chat("org/name-2", now))
    assert str(second) == "chats/org-name-20260102-030405-2.jsonl"
    assert newest_chat("org/name") == second
    assert newest_chat("host:8000/v1", "org/name") == second


def test_probes_are_lines_or_objects_with_a_prompt(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("one\n\n two \n")
    (tmp_path / "p.jsonl").write_text('{"prompt": "a\\nb", "label": "benign"}\n')
    assert read_prompts(tmp_path / "p.txt") == ["one", "two"]
    assert read_prompts(tmp_path / "p.jsonl") == ["a\nb"]
    (tmp_path / "p.jsonl").write_text('{"question": "a"}\n')
    with pytest.raises(DataError, match=r"p\.jsonl:1: prompt: the key is missing"):
        read_prompts(tmp_path / "p.jsonl")


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("/help", SlashCommand("help", "")),
        (" /SET temperature=0.6 ", SlashCommand("set", "temperature=0.6")),
        ("/system a\nb", SlashCommand("system", "a\nb")),
        ("/etc/hosts is what?", "/etc/hosts is what?"),
        ("what is /help", "what is /help"),
        ('"""a\n/help\nb"""', "a\n/help\nb"),
        ("  ", ""),
    ],
)
def test_a_typed_line_is_a_command_or_a_question(line: str, meant: object) -> None:
    assert read_line(line) == meant


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("/temperature 0.7", "/set temperature=0.7"),
        ("/TOP-P", "/set top_p=VALUE"),
        ("--temperature 0.7", "/set temperature=0.7"),
        ("--max-new-tokens=64", "/set max_new_tokens=64"),
    ],
)
def test_a_setting_that_is_typed_as_a_command_or_an_option_gets_the_line_that_sets_it(
    line: str, meant: str
) -> None:
    with pytest.raises(AlttrainError, match=rf"Did you mean {re.escape(meant)}\?"):
        read_line(line)
    assert read_line("--verbose is which option?") == "--verbose is which option?"


def test_every_setting_is_shown_in_words() -> None:
    for settings in (
        GREEDY,
        SAMPLED,
        SAMPLED.set("temperature=1", "top_p=null", "top_k=null", "threshold=0.7"),
    ):
        shown = {name: str(value) for name, value in settings.in_words()}
        assert {*shown} == {*settings.values()}
        assert not {"None", "True", "False"} & {*shown.values()}
        assert ("greedy" in shown["top_k"]) == (not settings.sampling.do_sample)
    assert shown["top_p"] == "not set: all tokens"


def test_a_mistyped_command_is_answered_with_the_nearest() -> None:
    with pytest.raises(AlttrainError, match=r"there is no command /comapre\. Did you mean /compare"):
        read_line("/comapre")


def test_three_quotes_keep_a_text_open() -> None:
    assert is_multiline_open('"""a\nb')
    assert not is_multiline_open('"""a\nb"""')
    assert not is_multiline_open('say """ and go')


def test_a_temperature_of_zero_is_greedy_and_any_other_samples() -> None:
    assert SAMPLED.sent_seed == 1995
    greedy = SAMPLED.set("temperature=0")
    assert not greedy.sampling.do_sample
    assert greedy.sent_seed is None
    warm = greedy.set("temperature=0.6").set("seed=7")
    assert (warm.sampling.temperature, warm.sent_seed) == (0.6, 7)


def test_a_quarter_of_the_tokens_is_kept_for_the_answer_unless_told_otherwise() -> None:
    assert GREEDY.budget == 192
    assert GREEDY.set("thinking_budget=10").budget == 10
    assert GREEDY.set("think=10").set("max_new_tokens=4").budget == 4
    assert GREEDY.set("max_new_tokens=1").budget == 1


@pytest.mark.parametrize("off", ["threshold off", "threshold=none", "threshold=null", "threshold="])
def test_a_threshold_is_taken_away_again(off: str) -> None:
    careful = GREEDY.set("threshold 0.7")
    assert (
        dict(careful.in_words())["threshold"] == "0.7: above this score the verdict is harmful, else benign"
    )
    assert dict(careful.set(off).in_words())["threshold"] == "not set: the model's own verdict"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("temprature=1", "Did you mean 'temperature'"),
        ("temperature", "give key=value"),
        ("temperature=hot", "temperature cannot be 'hot'"),
        ("top_p=2", "top_p cannot be '2'"),
        ("think=0", "think cannot be '0'"),
        ("thinking_budget=0", "thinking_budget cannot be '0'"),
        ("seed=-1", "seed cannot be"),
        ("max_new_tokens=a: b: c", "max_new_tokens cannot be"),
    ],
)
def test_a_wrong_setting_is_named_and_changes_nothing(change: str, says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        GREEDY.set(change)


def streamed(*chunks: Chunk) -> StreamingCompletion:
    now = iter(range(1000))
    streaming = StreamingCompletion(10, clock=lambda: float(next(now)))
    for chunk in chunks:
        streaming.add(chunk)
    return streaming


def test_a_completion_counts_thinking_and_answer_apart() -> None:
    completion = streamed(
        Chunk("<think>\nI see.\n", 4), Chunk("This is harmful.", 3), Chunk("\n</think>\n\nNo.", 2)
    ).finish("m")
    assert (completion.stats.tokens, completion.stats.thinking_tokens) == (9, 7)
    assert completion.stats.time_to_first_token == 1
    assert completion.outcome == "assesses it as harmful, does not refuse"
    assert not completion.record()["cut"]
    assert completion.record()["verdict"] == "harmful"


@pytest.mark.parametrize(
    ("finish", "limit"), [(Finish.LENGTH, "max_new_tokens"), (Finish.CONTEXT, "the end of the context")]
)
def test_forced_and_cut_are_said(finish: Finish, limit: str) -> None:
    chunks = (Chunk("<think>\nHm", 3), Chunk("\n</think>\n\n", 2, True), Chunk("I can't", 2))
    completion = streamed(*chunks).finish("m", finish)
    assert completion.stats.forced
    assert completion.stats.truncated_by == limit
    assert completion.record()["cut"]


def test_a_completion_of_nothing_is_one() -> None:
    completion: MeasuredCompletion = streamed().finish("m")
    assert completion.stats.tokens_per_second == 0
    assert completion.outcome == "does not reason, gives no answer"


def test_every_command_has_a_handler() -> None:
    assert set(COMMANDS) - set(HANDLERS) == {"quit"}


def test_two_chats_of_one_second_do_not_share_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    one, other = ChatFile("m"), ChatFile("m")
    other.path = one.path
    one.save(turns(1))
    other.save(turns(2))
    assert len(Transcript.load(one.path).turns) == 1
    assert len(Transcript.load(other.path).turns) == 2
    other.save(Transcript())
    assert not other.path.exists()


def recorded(compare: bool = False) -> tuple[ScriptedBackend, Transcript, Exchange]:
    backend = ScriptedBackend(
        "<think>\nThis is harmful.\n</think>\n\nNo.", name="tuned", base=ScriptedBackend("Yes.", name="base")
    )
    transcript = turns(2)
    return backend, transcript, send(backend, transcript, "next", SAMPLED, QuietScreen(), compare=compare)


def test_a_message_is_sent_with_its_transcript_and_the_seed() -> None:
    backend, transcript, exchange = recorded()
    (request,) = backend.received
    assert request.input == transcript.conversation("next")
    assert request.seed == SAMPLED.seed
    assert exchange.completion.trace.verdict.value == "harmful"
    assert exchange.record()["model"] == "tuned"


def test_a_comparison_sends_base_and_fine_tuned_model_the_same_request() -> None:
    backend, _, exchange = recorded(compare=True)
    assert isinstance(backend.base, ScriptedBackend)
    assert backend.base.received == backend.received
    assert [one.model for one in exchange.completions] == ["base", "tuned"]
    record = exchange.record()
    assert (record["base"]["refused"], record["aligned"]["verdict"]) == (False, "harmful")


def test_without_an_adapter_nothing_is_compared() -> None:
    with pytest.raises(AlttrainError, match="scripted has no adapter"):
        send(ScriptedBackend(), Transcript(), "a", GREEDY, QuietScreen(), compare=True)


def test_a_context_that_only_the_backend_knows_drops_ever_more_turns() -> None:
    def limited(request: Request[object], sampling: Sampling) -> str | ContextFullError:
        full = not isinstance(request.input, Conversation) or len(request.input.messages) > 3
        return ContextFullError("full") if full else "Yes."

    told: list[str] = []
    transcript = turns(6)
    backend = ScriptedBackend(limited, abilities=Ability.NOTHING)
    send(backend, transcript, "next", GREEDY, QuietScreen(told.append))
    assert transcript.dropped_turns == 6  # 1, 2 more, and the 3 that are left
    assert len(backend.received) == 4
    assert "The 2 oldest turns are no longer sent" in told[1]


def test_a_context_that_the_limit_alone_would_fill_lowers_the_limit_and_says_so() -> None:
    told: list[str] = []
    for context, most in ((2048, 1024), (256, 128), (257, 256), (None, 256)):
        backend = ScriptedBackend("Yes.", name="small", context=context)
        wanted = GREEDY.set("max_new_tokens=2048") if context == 2048 else GREEDY
        settings = fit(wanted, backend, QuietScreen(told.append))
        assert settings.sampling.max_new_tokens == most
        send(backend, Transcript(), "Hi.", settings, QuietScreen())
    assert told == [
        "small has a context of 2,048 tokens, so max_new_tokens is 1,024 instead of 2,048.",
        "small has a context of 256 tokens, so max_new_tokens is 128 instead of 256.",
    ]


class Sitting(QuietScreen):
    """A screen with nobody in front of it."""

    fold = False

    @contextmanager
    def waiting(self, message: Callable[[], str]) -> Iterator[Callable[[], None]]:
        yield lambda: None


def chat_with(answer: Callable[[str], str | BackendError], transcript: Transcript) -> Chat:
    backend = ScriptedBackend(lambda request, sampling: answer(request.input.prompt))
    target = ChatTarget("tuned", Recipe.load("smollm2-135m"))
    chat = Chat(target, lambda progress: backend, transcript, SAMPLED, Sitting())  # type: ignore[arg-type]
    chat.loader.start()
    return chat


def test_an_answer_is_replaced_only_when_there_is_another_one() -> None:
    fails = False
    chat = chat_with(lambda prompt: BackendError("lost") if fails else f"To {prompt}", Transcript())
    for _ in range(2):
        chat.send("Hi.")  # the same twice: only the last one is retried
    fails = True
    for _ in range(2):
        with pytest.raises(BackendError, match="lost"):
            chat.retry()
        assert [turn.prompt for turn in chat.transcript.turns] == ["Hi.", "Hi."]
    with pytest.raises(BackendError, match="lost"):
        chat.send("Hi.")
    fails = False
    chat.retry()  # what was not answered replaces nothing
    assert len(chat.transcript.turns) == 3
    chat.retry()
    assert len(chat.transcript.turns) == 3
    chat.undo()
    chat.retry()
    assert len(chat.transcript.turns) == 3


def test_a_chat_is_possible_where_typed_lines_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(files, "HISTORY", tmp_path / "file" / "history")  # as in a home that is read-only
    told: list[str] = []
    target = ChatTarget("tuned", Recipe.load("smollm2-135m"))
    chat = Chat(target, lambda _: ScriptedBackend(), Transcript(), SAMPLED, Sitting(told.append))  # type: ignore[arg-type]
    chat.file = ChatFile("tuned", tmp_path / "chat.jsonl")
    assert Session(chat)._history() is None
    assert [line.endswith("In this chat, typed lines are not kept.") for line in told] == [True]


def test_what_a_backend_warns_of_is_shown_after_the_load_and_after_the_completion() -> None:
    told: list[str] = []

    def load(progress: Progress) -> ScriptedBackend:
        def answer(request: Request[Any], sampling: Sampling) -> str:
            progress.warn("A server is left out.")
            return "Yes."

        progress.warn("Another system prompt.")
        return ScriptedBackend(answer)

    target = ChatTarget("tuned", Recipe.load("smollm2-135m"))
    chat = Chat(target, load, Transcript(), SAMPLED, Sitting(told.append))  # type: ignore[arg-type]
    chat.loader.start()
    chat.backend()
    assert told == ["Another system prompt."]
    chat.send("Hi.")
    assert told[1:] == ["A server is left out."]


@pytest.mark.parametrize("line", ["Hi\udcff.", "/system Hi\udcff."])
def test_bytes_of_another_encoding_become_characters_that_a_tokenizer_takes(line: str) -> None:
    chat = chat_with(lambda prompt: prompt, Transcript())
    Session(chat)._take(line)
    assert (chat.transcript.system or chat.transcript.turns[0].answer) == "Hi\ufffd."


def test_messages_of_a_script_do_not_see_one_another_and_cut_reasoning_fails_the_gate() -> None:
    backend = ScriptedBackend("<think>\nHm")
    with pytest.raises(GateError, match="Raise --max-new-tokens"):
        list(send_all(backend, Transcript(), ["a", "b"], GREEDY, QuietScreen()))
    assert [request.input for request in backend.received] == [Conversation.of("a"), Conversation.of("b")]


def turned(request: Request[Any], sampling: Sampling) -> Completion:
    score = VerdictScore(0.6, 0.4, Verdict.HARMFUL, Verdict.HARMFUL)
    written = score.own if sampling.threshold is None else score.decide(sampling.threshold)
    text = f"<think>\nA lock.\n\nIt is {written}.\n\nSo.\n</think>\n\nHere."
    return Completion(text, score=replace(score, written=written))


@pytest.mark.parametrize("typed", ["threshold=0.7", "threshold 0.7"])
def test_a_threshold_turns_the_verdict_and_both_are_kept(typed: str) -> None:
    backend = ScriptedBackend(turned, unscored="")
    plain, set_to = GREEDY, GREEDY.set(typed)
    one, two = (
        send(backend, Transcript(), "A lock?", each, QuietScreen()).completion for each in (plain, set_to)
    )
    assert one.score is not None
    assert one.score.in_words() == "score 0.60"
    assert two.score is not None
    assert two.score.in_words() == "score 0.60, own verdict harmful, with the threshold benign"
    summary = two.record()
    assert (summary["verdict"], summary["own_verdict"], summary["score"]) == ("benign", "harmful", 0.6)


JUDGED = "<think>\nA lock.\n\nIt is benign.\n\nSo.\n</think>\n\nHere."


@pytest.mark.parametrize(
    ("completion", "words"),
    [
        (Completion("<think>\nA lock", Finish.LENGTH), "this completion has no verdict"),
        (Completion("<think>\nA lock.\n\nIt is odd.\n\nSo.\n</think>\n\nHere."), "has no verdict"),
        (Completion(JUDGED), "is unknown"),
        (Completion(JUDGED, Finish.LENGTH), ""),  # perhaps a server's, whose score did not arrive
        (Completion(JUDGED, score=VerdictScore.unknown(Verdict.BENIGN)), "is unknown"),
        (Completion(JUDGED, score=VerdictScore(0.9, 0.1, Verdict.HARMFUL, Verdict.BENIGN)), ""),
        (Completion(JUDGED, score=VerdictScore(0.1, 0.9, Verdict.BENIGN, Verdict.BENIGN)), ""),
    ],
)
def test_a_threshold_that_had_no_effect_says_why(completion: Completion, words: str) -> None:
    backend = ScriptedBackend(lambda request, sampling: completion, unscored="")
    with_one, without = (
        send(backend, Transcript(), "A lock?", settings, QuietScreen()).completion.warning
        for settings in (GREEDY.set("threshold=0.7"), GREEDY)
    )
    assert words in with_one
    assert with_one.startswith("The threshold had no effect: ") == bool(words)
    assert without == ""


def test_a_threshold_is_refused_where_it_has_no_effect_and_the_base_of_a_comparison_has_none() -> None:
    settings = GREEDY.set("threshold=0.7")
    with pytest.raises(AlttrainError, match="a threshold has no effect here: it is scripted"):
        send(ScriptedBackend("Hi."), Transcript(), "A lock?", settings, QuietScreen())
    run = ScriptedBackend(turned, unscored="", base=ScriptedBackend("Hi.", name="base"))
    exchange = send(run, Transcript(), "A lock?", settings, QuietScreen(), compare=True)
    assert [one.score is None for one in exchange.completions] == [True, False]


@pytest.mark.parametrize("value", ["1.1", "-0.1", "high"])
def test_a_threshold_outside_0_to_1_is_named(value: str) -> None:
    with pytest.raises(RecipeError, match="threshold cannot be"):
        GREEDY.set(f"threshold {value}")
