"""Prompts that were read are not read again: the completions are the same, and less is computed."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from alttrain_cli.backends.base import Request
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.local import LocalBackend
from alttrain_cli.engine import batcher as module
from alttrain_cli.engine.batch import Batch
from alttrain_cli.engine.batch_request import BatchRequest
from alttrain_cli.engine.generate import complete
from alttrain_cli.engine.load import LoadedModel
from alttrain_cli.engine.prefixes import Prefixes
from alttrain_cli.recipe.model import Sampling
from tests.test_generate import BRIEF, GREEDY, SAMPLED, tiny
from tests.trained import load_backend

ROOM = 1 << 30
BRIEFLY_SAMPLED = SAMPLED.model_copy(update={"max_new_tokens": BRIEF.max_new_tokens})
QUESTIONS = (
    "Hi",
    "What is a river?",
    "Name a colour, and say why it is yours. " * 3,
    "How do I boil an egg?",
)


def row(tokens: int, value: float = 0.0) -> list[tuple[Any, Any]]:
    """Return two layers of one row: 8 bytes a token and layer."""
    import torch

    one = torch.full((1, 1, tokens, 1), value)
    return [(one, one + 1), (one, one + 1)]


def kept(prefixes: Prefixes, *prompts: Sequence[int]) -> None:
    for prompt in prompts:
        prefixes.keep([prompt], [len(prompt)], row(len(prompt)))


def known(prefixes: Prefixes, prompt: Sequence[int]) -> int:
    found = prefixes.find(prompt)
    return found.tokens if found else 0


def test_the_longest_that_two_prompts_share_is_known_but_for_the_last_token() -> None:
    prefixes = Prefixes(ROOM)
    kept(prefixes, [1, 2, 3, 4, 9, 9, 9], [1, 2, 7])
    for prompt, shared in (
        ([1, 2, 3, 4, 5, 6], 4),
        ([1, 2, 7, 7], 3),
        ([1, 2, 7], 2),
        ([5, 1, 2], 0),
        ([], 0),
    ):
        assert known(prefixes, prompt) == shared


def test_a_prompt_takes_the_place_of_the_one_that_it_continues_and_of_no_other() -> None:
    prefixes, first, other = Prefixes(ROOM), [1, *range(100, 180)], [1, *range(200, 280)]
    kept(prefixes, first, other)
    before = prefixes.left
    kept(prefixes, [*first[:-4], 5, 6, 7])  # the end of a prompt may be written in another way
    assert ROOM - prefixes.left == (80 + 81) * 16
    assert prefixes.left > before - 17
    assert known(prefixes, [*first[:-4], 5, 6, 7, 8]) == 80
    assert known(prefixes, [*other, 8]) == 81


def test_it_holds_no_more_than_its_room_and_the_oldest_leave_first() -> None:
    prefixes = Prefixes(room=16 * 100)
    kept(prefixes, [1] * 40, [2] * 40, [3] * 40)
    assert [known(prefixes, [one] * 50) for one in (1, 2, 3)] == [0, 40, 40]
    kept(prefixes, [4] * 101)
    assert [known(prefixes, [one] * 50) for one in (2, 3, 4)] == [0, 0, 0]
    assert prefixes.left == 1600


def test_rows_are_kept_without_their_padding_and_without_what_was_written() -> None:
    import torch

    ids = torch.arange(12, dtype=torch.float32).reshape(2, 1, 6, 1)
    prefixes = Prefixes(ROOM)
    prefixes.keep([[7, 8], [1, 2, 3, 4, 5]], [5, 6], [(ids, ids)])
    for prompt, values in (([7, 8, 9], [3, 4]), ([1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11])):
        found = prefixes.find(prompt)
        assert found
        assert found.layers[0][0].flatten().tolist() == values


def test_rows_that_lost_their_beginning_to_a_window_are_not_kept() -> None:
    prefixes = Prefixes(ROOM)
    prefixes.keep([[1] * 9], [9], [row(9)[0], row(4)[0]])
    assert prefixes.left == ROOM


def dialogues(
    loaded: LoadedModel, sampling: Sampling, prefixes: Prefixes | None, turns: int = 4
) -> list[str]:
    """Play dialogues in lock-step, two rows at a time; return all that was written."""
    written, talks = [], [Conversation() for _ in QUESTIONS]
    for turn in range(turns):
        asked = [talk.user(f"{one} {turn}") for talk, one in zip(talks, QUESTIONS, strict=True)]
        prompts = [loaded.template.prompt(one.wire()) for one in asked]
        found = dict(complete(loaded, prompts, sampling, slots=2, prefixes=prefixes))
        texts = [found[place].text for place in range(len(prompts))]
        talks = [one.assistant(text) for one, text in zip(asked, texts, strict=True)]
        written += texts
    return written


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many tokens were read, padding included, admission by admission."""
    counts: list[int] = []
    admit = Batch.admit

    def counted(self: Batch, requests: list[BatchRequest], *rest: Any) -> Any:
        counts.append(len(requests) * max(one.unread for one in requests))
        return admit(self, requests, *rest)

    monkeypatch.setattr(Batch, "admit", counted)
    return counts


@pytest.mark.model
@pytest.mark.parametrize(
    ("kind", "options", "sampling"),
    [
        ("llama", {}, BRIEFLY_SAMPLED),
        *((kind, {}, BRIEF) for kind in ("qwen2", "qwen3", "phi3")),
        *(("mistral", {"sliding_window": 64}, sampling) for sampling in (BRIEF, BRIEFLY_SAMPLED)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_dialogues_are_the_same_and_less_is_read(
    kind: str, options: dict[str, Any], sampling: Sampling, read: list[int]
) -> None:
    loaded = tiny(kind, **options)
    expected = dialogues(loaded, sampling, None)
    whole = sum(read)
    read.clear()
    assert dialogues(loaded, sampling, Prefixes(ROOM)) == expected
    assert kind == "mistral" or sum(read) < 0.6 * whole
    assert dialogues(loaded, sampling, Prefixes(room=40_000)) == expected  # some are known, some are not


@pytest.mark.model
def test_out_of_memory_forgets_what_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, prefixes = tiny("llama"), Prefixes(ROOM)
    expected = dialogues(loaded, GREEDY, None)
    step, steps, left = module.Batcher._step, dict[Any, int](), []

    def torn(self: Any, check: Any) -> Any:
        steps[self] = steps.get(self, 0) + 1
        if steps[self] == 3:
            left.append(prefixes.left)
            raise MemoryError
        if steps[self] == 4:
            left.append(prefixes.left)
        return step(self, check)

    monkeypatch.setattr(module.Batcher, "_step", torn)
    assert dialogues(loaded, GREEDY, prefixes) == expected
    assert all(one < ROOM for one in left[::2])
    assert left[1::2] == [ROOM] * 4


def talk(*words: str) -> Conversation:
    found = Conversation()
    for word in words:
        found = found.user(word).assistant("Yes.")
    return found.user("And then?")


@pytest.mark.model
def test_a_run_and_its_base_keep_what_they_read_of_dialogues_apart(tmp_path: Path) -> None:
    with closing(load_backend(tmp_path)) as run:
        assert run.base

        def texts(backend: Any, *words: str) -> list[str]:
            return [one.text for _, one in backend.complete([Request(0, talk(*words))], GREEDY)]

        held = run._weights.prefixes
        rooms = {on: prefixes.left for on, prefixes in held.items()}
        assert texts(run) != texts(run.base)
        assert {on: prefixes.left for on, prefixes in held.items()} == rooms  # one turn is no dialogue
        first = [texts(one, "Who are you?") for one in (run, run.base)]
        assert all(prefixes.left < rooms[on] for on, prefixes in held.items())
        assert [texts(one, "Who are you?") for one in (run, run.base)] == first
        fresh = LocalBackend(run._target, run.loaded)
        assert not fresh._weights.prefixes  # its weights may change
        assert [texts(one, "Who are you?") for one in (fresh, fresh.base)] == first
    assert not run._weights.prefixes
