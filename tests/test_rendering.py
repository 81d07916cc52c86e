"""A chat template is a program of its author's: what it may compute, how long it may take, what it may drop."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from alttrain_cli.errors import ModelError
from alttrain_cli.structure import rendering
from alttrain_cli.structure.probing import (
    PROBE,
    SYSTEM_PROBE,
    Probing,
    check_judging,
    dropped_beside_system,
    dropped_parts,
)
from alttrain_cli.structure.rendering import DeadlineError, check_bounded, deadline, render

Messages = list[dict[str, str]]


class Tokenizer:
    """A tokenizer of characters, with a chat template written in Python."""

    bos_token = eos_token = None
    all_special_tokens: Sequence[str] = ()
    chat_template: str | None = None

    def __init__(self, template: Callable[[Messages], Any]) -> None:
        self._template = template

    def apply_chat_template(self, conversation: Messages, **options: Any) -> Any:
        written = self._template(conversation)
        return written + "answer:" if options["add_generation_prompt"] else written

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        return list(map(ord, text))

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        return "".join(map(chr, token_ids))

    def get_vocab(self) -> dict[str, int]:
        return {}


def without(role: str) -> Tokenizer:
    return Tokenizer(lambda messages: "".join(one["content"] for one in messages if one["role"] != role))


WHOLE = without("nobody")


@pytest.mark.parametrize(
    "source",
    [
        *("{{ 9**9 }}", "{{ 9 ** 9 }}", "{{ messages[0] ** 9 }}", "{{ (9)**9 }}"),
        *("{{ 'a' * 1234567 }}", "{{ range(1234567) }}"),
    ],
)
def test_a_template_may_not_compute_what_no_deadline_ends(source: str) -> None:
    with pytest.raises(ModelError, match="computes huge numbers"):
        check_bounded(source)
    broken = Tokenizer(lambda _: pytest.fail("it was rendered"))
    broken.chat_template = source
    with pytest.raises(ModelError, match="computes huge numbers"):
        Probing.of(broken)


@pytest.mark.parametrize(
    "source",
    [
        *(
            "{{ 'a' * 123456 }}",
            "{{ f(**options) }}",
            "{{ f( **options) }}",
            "{{ f(1,\n  **options) }}",
            "a ** b",
        ),
        *("{{ '9**9 1234567' }}", "{# 9**9 #}", "{% for %}", None),
    ],
)
def test_what_only_looks_like_a_huge_number_is_allowed(source: str | None) -> None:
    check_bounded(source)


def test_what_a_template_renders_is_text() -> None:
    with pytest.raises(ModelError, match="renders nothing"):
        render(Tokenizer(lambda _: None), [], add_generation_prompt=False)
    assert render(WHOLE, [{"role": "user", "content": "a"}], add_generation_prompt=True) == "aanswer:"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("tokenizer.chat_template is not set"), "the model's tokenizer has no chat template"),
        (ValueError("no chat template is known"), "the model's tokenizer has no chat template"),
        (
            ValueError("roles must alternate\nso"),
            r"the chat template fails \(ValueError: roles must alternate\)",
        ),
        (KeyError("chat_template"), r"the chat template fails \(KeyError: 'chat_template'\)"),
    ],
)
def test_a_model_without_a_template_is_told_from_one_whose_template_fails(
    error: Exception, message: str
) -> None:
    def fail(_: Messages) -> str:
        raise error

    with pytest.raises(ModelError, match=f"^{message}"):
        render(Tokenizer(fail), [], add_generation_prompt=False)


def test_a_template_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "SECONDS", 0.01)
    end = time.monotonic() + 60

    def loop(_: Messages) -> str:
        while time.monotonic() < end:
            pass
        return ""

    with pytest.raises(ModelError, match=r"was not rendered within 0\.01 s"):
        render(Tokenizer(loop), [], add_generation_prompt=False)
    assert time.monotonic() < end


def test_code_that_ends_in_time_is_not_interrupted_later() -> None:
    before = set(threading.enumerate())
    with deadline(3600):
        [timer] = set(threading.enumerate()) - before
    timer.join(60)
    assert not timer.is_alive()  # it was cancelled, and has raised nothing
    with pytest.raises(DeadlineError), deadline(3600):
        raise DeadlineError


def test_what_a_template_drops_is_named() -> None:
    def dropped(tokenizer: Tokenizer) -> list[str]:
        return [*dropped_parts(tokenizer, Probing.of(tokenizer), with_system=True)]

    assert dropped(WHOLE) == []
    assert dropped(without("system")) == ["the system prompt"]
    assert dropped(without("assistant")) == ["an earlier answer"]
    assert dropped(without("user")) == ["the question", "the question"]
    first = Tokenizer(lambda messages: messages[0]["content"])
    assert list(dropped_beside_system(first)) == ["the question"]


def test_a_judges_template_keeps_what_is_judged() -> None:
    check_judging(WHOLE)
    for role, what in (("user", "the request"), ("assistant", "the response")):
        with pytest.raises(ModelError, match=f"the judge's chat template drops {what}"):
            check_judging(without(role))


def test_a_judges_template_is_checked_as_it_is_used() -> None:
    asked: list[tuple[Messages, bool]] = []
    judge = without("nobody")

    def remember(conversation: Messages, **options: Any) -> str:
        asked.append((conversation, options["add_generation_prompt"]))
        return "".join(one["content"] for one in conversation)

    judge.apply_chat_template = remember  # type: ignore[method-assign]
    check_judging(judge)
    conversation = [{"role": "user", "content": SYSTEM_PROBE}, {"role": "assistant", "content": PROBE}]
    assert asked == [(conversation, True)]
