"""Chat on a model in memory, for real: streamed, forced, stopped, seeded, adapter off and on."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from alttrain_cli.backends.base import ContextFullError
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.local import LocalBackend
from alttrain_cli.backends.target import Target
from alttrain_cli.chat.completion import StreamingCompletion, stream_completion
from alttrain_cli.chat.exchange import send
from alttrain_cli.chat.screen import QuietScreen
from alttrain_cli.chat.settings import Settings
from alttrain_cli.chat.transcript import Transcript, Turn
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.run import Run
from alttrain_cli.storage.user_folders import CACHE
from alttrain_cli.structure.trace import TraceState
from tests.terminals import Terminal
from tests.tiny import SHAPE
from tests.trained import load_backend
from tests.warm import Warm

pytestmark = pytest.mark.model

RECIPE = Recipe.load("smollm2-135m")
GREEDY = Settings(RECIPE.generation).set("max_new_tokens=8")
PROMPT = Conversation.of("What is two plus two?")


def test_a_run_is_chosen_and_what_cannot_be_loaded_is_one_line(warm: Warm, tmp_path: Path) -> None:
    run = Run.create(tmp_path / "runs" / "mine", RECIPE.name, RECIPE.to_yaml())
    run.adapter_path.mkdir()
    (run.adapter_path / "adapter_model.safetensors").touch()
    with Terminal("chat", "--no-save", cwd=tmp_path, warm=warm) as chat:
        chat.expect("runs/mine", "Which one")
        chat.type("1\r")
        chat.shows("mine could not be loaded")
        chat.type("hello\r")
        assert chat.process.wait(120) == 2
        chat.expect("Error: ", "adapter")
        assert "Traceback" not in chat.text


@pytest.mark.parametrize(
    "is_warm", [True, pytest.param(False, marks=pytest.mark.thorough)], ids=["warm", "own Python"]
)
def test_one_may_ask_before_the_model_is_there_and_sees_no_talk_of_the_libraries(
    is_warm: bool, warm: Warm, tmp_path: Path
) -> None:
    line = ("chat", "smollm2-135m", "--max-new-tokens", "8", "--no-save")
    cache = {"XDG_CACHE_HOME": str(CACHE.parent)}  # has the model
    with Terminal(*line, cwd=tmp_path, warm=warm if is_warm else None, **cache) as chat:
        chat.expect("Loading smollm2-135m: ")
        chat.type("What is two plus two?\r")
        chat.expect("Loading smollm2-135m: ")
        # Ctrl-D is none before the line editor is there
        chat.expect("answer", "cut at max_new_tokens", "tokens/s", "· /help", seconds=120)
        assert "nsloth:" not in chat.text
        assert "nsloth 20" not in chat.text
        assert chat.end() == 0


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBackend]:
    """A tiny model with an adapter that changes what it writes."""
    with closing(load_backend(tmp_path_factory.mktemp("chat"))) as loaded:
        yield loaded


def text(backend: LocalBackend, settings: Settings = GREEDY) -> str:
    return stream_completion(backend, PROMPT, settings).text


def base(backend: LocalBackend) -> LocalBackend:
    found = backend.base
    assert isinstance(found, LocalBackend)
    return found


def test_base_and_fine_tuned_model_share_the_weights_and_differ_in_what_they_write(
    backend: LocalBackend,
) -> None:
    tuned = text(backend)
    assert text(base(backend)) != tuned
    assert text(backend) == tuned  # the adapter is on again
    assert base(backend).loaded is backend.loaded
    assert base(backend).base is None
    with backend.loaded.model.disable_adapter():
        assert text(backend) == text(base(backend))


def test_a_comparison_sends_both_models_the_same_seed_and_messages(backend: LocalBackend) -> None:
    transcript = Transcript(turns=[Turn("Hi.", "Hello.")])
    exchange = send(backend, transcript, "And now?", GREEDY, QuietScreen(), compare=True)
    first, second = exchange.completions
    conversation = transcript.conversation("And now?")
    assert first.text == stream_completion(base(backend), conversation, GREEDY).text
    assert second.text == stream_completion(backend, conversation, GREEDY).text
    assert exchange.completion is second
    assert exchange.record()["aligned"]["model"] == "run"


def test_a_block_that_outgrows_its_budget_is_closed_and_the_answer_forced(backend: LocalBackend) -> None:
    template = replace(backend.loaded.template, prefilled=True)  # so that it thinks from the first token
    thinker = LocalBackend(Target("thinker", RECIPE), replace(backend.loaded, template=template))
    completion = stream_completion(thinker, PROMPT, GREEDY.set("max_new_tokens=30").set("thinking_budget=5"))
    assert completion.trace.state is TraceState.CLOSED
    assert completion.stats.forced
    assert completion.trace.thinking
    assert completion.trace.answer
    assert completion.text.startswith("<think>")


def test_the_same_seed_writes_the_same_and_another_one_something_else(backend: LocalBackend) -> None:
    warm = GREEDY.set("temperature=1")
    first = text(base(backend), warm)
    assert text(base(backend), warm) == first
    assert text(base(backend), warm.set("seed=7")) != first


def test_a_sampled_completion_does_not_depend_on_the_models_own_generation_config(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    warm = GREEDY.set("temperature=1.5").set("max_new_tokens=12")
    config = backend.loaded.model.generation_config
    plain = text(base(backend), warm)
    for name, value in (("top_k", 1), ("repetition_penalty", 5.0), ("top_p", 0.01), ("temperature", 0.01)):
        monkeypatch.setattr(config, name, value)
    assert text(base(backend), warm) == plain
    assert text(base(backend), warm.set("top_k=1")) != plain  # a field that is set has its effect


def test_leaving_in_the_middle_stops_the_model_and_it_can_be_asked_again(backend: LocalBackend) -> None:
    seen = []

    def leave(streaming: StreamingCompletion) -> None:
        seen.append(streaming.stats.tokens)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stream_completion(backend, PROMPT, GREEDY.set("max_new_tokens=4000"), leave)
    assert seen[-1] < 8
    assert text(base(backend))


def test_when_the_context_is_full_the_oldest_turns_leave_and_the_model_still_answers(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    transcript, told = Transcript(), list[str]()
    screen = QuietScreen(told.append)
    short = GREEDY.set("max_new_tokens=4")
    monkeypatch.setattr(backend.loaded.model.config, "max_position_embeddings", 60)
    for number in range(4):
        prompt = f"What is {number} plus {number}?"
        completion = send(base(backend), transcript, prompt, short, screen).completion
        assert completion.stats.tokens
        assert (backend.count(transcript.conversation(prompt)) or 99) <= 60 - 4
        transcript.turns.append(Turn.of(prompt, completion.trace))
    assert told == ["The context is full. The oldest turn is no longer sent to the model."] * len(told)
    assert len(told) == transcript.dropped_turns > 0
    with pytest.raises(ContextFullError, match="but only 56 fit in the context"):
        send(base(backend), transcript, "word " * 100, short, screen)
    assert transcript.dropped_turns == len(told)


def test_tokens_of_a_conversation_are_counted_as_the_model_sees_them(backend: LocalBackend) -> None:
    template = backend.loaded.template
    assert backend.count(PROMPT) == len(template.encode_text(template.prompt(PROMPT.wire())))
    assert backend.context == SHAPE["max_position_embeddings"]
