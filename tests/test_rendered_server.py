"""A run behind vLLM is asked as it was trained: prompts as token ids, every family's markers, system prompt."""

from typing import Any

import pytest

from alttrain_cli.backends.base import Completion, Finish, Request
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.structure.template import Template
from alttrain_cli.structure.trace import TraceState
from tests import families
from tests.fake_vllm import SYSTEM, rendered_server
from tests.test_backends import streamed

GREEDY = Sampling(max_new_tokens=40, do_sample=False)
ASKED = Conversation.of("Why?")
# How each family writes the same completion after its prompt.
WROTE = {
    "smollm2": "<think>\nThey ask.\n</think>\n\nSure.",
    "r1-qwen": "They ask.\n</think>\n\nSure.",
    "qwen3-thinking-2507": "They ask.\n</think>\n\nSure.",
    "s1": "<|im_start|>think\nThey ask.\n<|im_start|>answer\nSure.",
}


def completed(backend: Any, asked: Conversation | str = ASKED, sampling: Sampling = GREEDY) -> Completion:
    ((_, one),) = backend.complete([Request(0, asked, 3)], sampling)
    assert isinstance(one, Completion), one
    return one


@pytest.mark.parametrize("family", WROTE)
@pytest.mark.parametrize("system", [None, "", "Be brief."])
def test_the_server_reads_exactly_the_prompt_of_training(family: str, system: str | None) -> None:
    template = Template.of(families.tokenizer(family), system)
    prompts: list[str] = []

    def answer(prompt: str) -> str:
        prompts.append(prompt)
        return WROTE[family]

    with rendered_server(answer, family, system) as (backend, served):
        one = completed(backend)
        chunks, same = streamed(backend, ASKED, GREEDY)
        assert backend.count(ASKED) == len(template.encode_text(template.prompt("Why?")))
    assert prompts == [template.prompt("Why?")] * 2
    assert SYSTEM not in prompts[0]
    for found in (one, same):
        assert found.text.split() == ["<think>", "They", "ask.", "</think>", "Sure."]
        assert (found.trace.state, found.trace.answer) == (TraceState.CLOSED, "Sure.")
        assert found.reasoning_tokens == len(template.encode_text(found.trace.thinking))
    assert "".join(chunk.text for chunk in chunks) == same.text
    for request in served.requests:
        assert request["stop_token_ids"] == [template.terminator_id]
        assert request["skip_special_tokens"] is False
        assert (request["temperature"], request["top_k"], "seed" in request) == (0, -1, False)


@pytest.mark.parametrize("family", WROTE)
def test_a_thinking_ablation_begins_the_message_in_the_familys_own_markers(family: str) -> None:
    template = Template.of(families.tokenizer(family))
    prompts: list[str] = []
    started = "<think>\n\n</think>\n\n"
    with rendered_server(lambda prompt: prompts.append(prompt) or "Sure.", family) as (backend, _):  # type: ignore[func-returns-value]
        one = completed(backend, ASKED.start(started))
        same = streamed(backend, ASKED.start(started), GREEDY)[1]
    assert prompts == [template.prompt("Why?") + template.own(started)] * 2
    assert one.text.split() == same.text.split() == ["<think>", "</think>", "Sure."]


@pytest.mark.parametrize("family", WROTE)
def test_the_thinking_budget_closes_the_block_in_the_familys_own_markers(family: str) -> None:
    template = Template.of(families.tokenizer(family))
    close = template.markers.close
    opening = "" if template.prefilled else template.markers.open
    prompts: list[str] = []

    def answer(prompt: str) -> str:
        prompts.append(prompt)
        return "Like this." if prompt.endswith(close) else opening + "I wonder " * 100

    with rendered_server(answer, family) as (backend, served):
        chunks, one = streamed(backend, ASKED, GREEDY, budget=6)
    assert (one.trace.state, one.trace.answer) == (TraceState.CLOSED, "Like this.")
    assert [chunk.text.strip() for chunk in chunks if chunk.forced] == ["</think>"]
    assert "".join(chunk.text for chunk in chunks) == one.text
    assert prompts[1].startswith(prompts[0])
    assert served.requests[1]["max_tokens"] == GREEDY.max_new_tokens - 6


def test_what_does_not_fit_into_the_context_is_not_asked_for() -> None:
    cut = lambda prompt: "<think> I wonder"  # noqa: E731
    tokenizer = families.tokenizer("smollm2")
    size = len(Template.of(tokenizer).encode_text(Template.of(tokenizer).prompt("Why?")))
    with rendered_server(cut, "smollm2", context=size + 9) as (backend, served):
        completed(backend)
        assert served.requests[0]["max_tokens"] == 9
    with rendered_server(cut, "smollm2", context=5) as (backend, served):
        one = completed(backend)
        assert (one.finish, streamed(backend, ASKED, GREEDY)[1].finish) == (Finish.CONTEXT, Finish.CONTEXT)
    assert served.requests == []


def test_text_that_is_rendered_already_is_sent_as_it_is() -> None:
    with rendered_server(lambda prompt: prompt, "smollm2") as (backend, _):
        assert completed(backend, "Once upon a time").text.strip() == "Once upon a time"


def test_the_base_is_the_same_server_without_the_adapter() -> None:
    with rendered_server(lambda prompt: "Yes.", "smollm2") as (backend, served):
        base = backend.base
        assert base is not None
        assert base.base is None
        completed(base)
        base.close()
        completed(backend)
    assert [request["model"] for request in served.requests] == ["base", "tuned"]
    assert (backend.fingerprint.adapter, base.fingerprint.adapter) == ("hash", None)
    assert base.name == "HuggingFaceTB/SmolLM2-135M-Instruct"
