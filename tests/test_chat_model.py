"""Chat on the embedded 135M model, for real: streamed, forced, stopped, seeded, adapter off and on."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alttrain_cli.chat.ask import ask_within_context
from alttrain_cli.chat.conversation import ContextError, Conversation, Turn
from alttrain_cli.chat.reading import Completion, Reading, listen
from alttrain_cli.chat.settings import Settings
from alttrain_cli.engine import quiet
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.run import Run
from alttrain_cli.structure.template import Message
from alttrain_cli.structure.trace import State
from tests.terminals import Terminal

pytestmark = pytest.mark.model

RECIPE = Recipe.load("smollm2-135m")
GREEDY = Settings(RECIPE.generation).set("max_new_tokens=16")
ASKED = [{"role": "user", "content": "What is two plus two?"}]


def test_a_run_is_chosen_and_what_cannot_be_loaded_is_one_line(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "runs" / "mine", RECIPE.name, RECIPE.to_yaml())
    run.adapter_path.mkdir()
    (run.adapter_path / "adapter_model.safetensors").touch()
    with Terminal("chat", "--no-save", cwd=tmp_path) as chat:
        chat.expect("runs/mine", "Which one")
        chat.type("1\r")
        chat.expect("loading mine")
        chat.type("hello\r")
        assert chat.process.wait(120) == 2
        chat.expect("Error: ", "adapter")
        assert "Traceback" not in chat.text


def test_one_may_ask_before_the_model_is_there_and_sees_no_talk_of_the_libraries(tmp_path: Path) -> None:
    with Terminal("chat", "smollm2-135m", "--max-new-tokens", "8", "--no-save", cwd=tmp_path) as chat:
        chat.expect("loading smollm2-135m: ")
        chat.type("What is two plus two?\r")
        chat.expect("loading smollm2-135m: ")
        # Ctrl-D is none before the line editor is there
        chat.expect("answer", "cut at max_new_tokens", "tokens/s", "· /help", seconds=120)
        assert "nsloth:" not in chat.text
        assert "nsloth 20" not in chat.text
        assert chat.end() == 0


@pytest.fixture(scope="module")
def speaker() -> Iterator[Any]:
    """The embedded model with an adapter that changes what it says."""
    import torch
    import unsloth  # noqa: F401

    with quiet.captured(None):
        from alttrain_cli.backends.local_speaker import ModelSpeaker
        from alttrain_cli.engine.load import load_base

        loaded = load_base(RECIPE, training=True)
        torch.manual_seed(1)
        with torch.no_grad():
            for name, weight in loaded.model.named_parameters():
                if "lora_B" in name:
                    weight.normal_(0, 0.05)
        yield ModelSpeaker("trained", loaded, "base")


def said(speaker: Any, settings: Settings = GREEDY) -> str:
    return listen(speaker, ASKED, settings, lambda reading: None).text


def test_base_and_aligned_model_share_the_weights_and_differ_in_what_they_say(speaker: Any) -> None:
    aligned = said(speaker)
    assert said(speaker.base) != aligned
    assert said(speaker) == aligned  # the adapter is on again
    assert speaker.base.loaded is speaker.loaded
    assert speaker.base.base is None
    with speaker.loaded.model.disable_adapter():
        assert said(speaker) == said(speaker.base)


def test_a_block_that_outgrows_its_budget_is_closed_and_the_answer_forced(speaker: Any) -> None:
    template = replace(speaker.loaded.template, prefilled=True)  # so that it thinks from the first token
    thinker = replace(speaker.base, loaded=replace(speaker.loaded, template=template))
    completion = listen(thinker, ASKED, GREEDY.set("think=5"), lambda reading: None)
    assert completion.trace.state is State.CLOSED
    assert completion.figures.forced
    assert completion.trace.thinking
    assert completion.trace.answer
    assert not completion.text.startswith("\n</think>")


def test_the_same_seed_says_the_same_and_another_one_something_else(speaker: Any) -> None:
    warm = GREEDY.set("temperature=1")
    first = said(speaker.base, warm)
    assert said(speaker.base, warm) == first
    assert said(speaker.base, warm.set("seed=7")) != first


def test_leaving_in_the_middle_stops_the_model_and_it_can_be_asked_again(speaker: Any) -> None:
    seen = []

    def leave(reading: Reading) -> None:
        seen.append(reading.figures.tokens)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        listen(speaker, ASKED, GREEDY.set("max_new_tokens=4000"), leave)
    assert seen[-1] < 8
    assert said(speaker.base)


def test_when_the_context_is_full_the_oldest_turns_leave_and_the_model_still_answers(
    speaker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation, told, seen = Conversation(), [], []
    short = GREEDY.set("max_new_tokens=4")
    monkeypatch.setattr(speaker.loaded.model.config, "max_position_embeddings", 60)

    def ask(messages: list[Message]) -> Completion:
        seen.append(speaker.count(messages))
        return listen(speaker.base, messages, short, lambda reading: None)

    for number in range(4):
        prompt = f"What is {number} plus {number}?"
        completion = ask_within_context(speaker, conversation, prompt, short, ask, told.append)
        assert completion.figures.tokens
        conversation.add(Turn.of(prompt, completion.trace))
    assert told == ["The context is full: the oldest turn left it."] * len(told)
    assert len(told) == conversation.forgotten > 0
    assert max(seen) <= 60 - 4
    with pytest.raises(ContextError, match="but only 56 are left for it"):
        ask_within_context(speaker, conversation, "word " * 100, short, ask, told.append)
    assert conversation.forgotten == len(told)


def test_tokens_of_a_conversation_are_counted_as_the_model_sees_them(speaker: Any) -> None:
    template = speaker.loaded.template
    assert speaker.count(ASKED) == len(template.encode_text(template.prompt(ASKED)))
    assert speaker.context == 8192
