"""What was completed is kept, found again, and never paid for twice."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from alttrain_cli.backends.base import BackendError, Completion, Finish, Request
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.remembering import RECORD, Remembering
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.storage.journal import Journal
from tests.scripted import ScriptedBackend

SAMPLING = Sampling(max_new_tokens=1024, do_sample=False)


def requests(*prompts: str) -> list[Request[str]]:
    return [Request(f"{number} {prompt}", Conversation.of(prompt)) for number, prompt in enumerate(prompts)]


def remembering(path: Path, backend: ScriptedBackend) -> Remembering:
    return Remembering(backend, Journal(path, RECORD))


def asked(backend: ScriptedBackend) -> list[str]:
    return sorted(one.input.prompt for one in backend.received)


def test_what_is_kept_comes_first_and_only_the_rest_is_requested_once(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    list(remembering(path, ScriptedBackend("yes")).complete(requests("a", "b"), SAMPLING))
    again = ScriptedBackend("no")
    wanted = requests("c", "a", "c", "b", "d")
    got = list(remembering(path, again).complete(wanted, SAMPLING))
    assert sorted(key for key, _ in got) == sorted(one.key for one in wanted)
    texts = {key: one.text for key, one in got if isinstance(one, Completion)}
    assert {key[2]: text for key, text in texts.items()} == {"a": "yes", "b": "yes", "c": "no", "d": "no"}
    assert asked(again) == ["c", "d"]


def test_what_is_kept_does_not_wait_for_the_end_of_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    list(remembering(path, ScriptedBackend("yes")).complete(requests("a"), SAMPLING))
    wanted = requests(*map(str, range(40)), "a", *map(str, range(40, 100)))
    got = [key for key, _ in remembering(path, ScriptedBackend("no")).complete(wanted, SAMPLING)]
    assert len(got) == 101
    assert got.index("40 a") < 80


class OneByOne(ScriptedBackend):
    """Takes a request only when the one before is answered, as a server with one slot does."""

    def complete(self, requests: Iterable[Request[Any]], sampling: Sampling) -> Any:
        for request in requests:
            yield from super().complete([request], sampling)


@pytest.mark.parametrize("kind", [ScriptedBackend, OneByOne])
@pytest.mark.parametrize("last", ["kept", "new"])
def test_what_is_known_when_the_last_request_is_made_is_returned_too(
    last: str, kind: type[ScriptedBackend], tmp_path: Path
) -> None:
    backend = remembering(tmp_path / "r.jsonl", kind("yes"))
    assert backend.is_empty
    list(backend.complete(requests("kept"), SAMPLING))
    assert not backend.is_empty
    wanted = requests("new", last)
    assert sorted(key for key, _ in backend.complete(wanted, SAMPLING)) == ["0 new", f"1 {last}"]


def test_what_is_kept_is_returned_as_soon_as_its_turn_comes(tmp_path: Path) -> None:
    backend = remembering(tmp_path / "r.jsonl", OneByOne("yes"))
    list(backend.complete(requests("kept"), SAMPLING))
    got = [key for key, _ in backend.complete(requests("a", "kept", "b", "c"), SAMPLING)]
    assert got.index("1 kept") < got.index("3 c")


def test_where_everything_is_kept_nothing_is_requested(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    list(remembering(path, ScriptedBackend("yes")).complete(requests("a", "b"), SAMPLING))
    again = ScriptedBackend("no")
    assert len(list(remembering(path, again).complete(requests("a", "b", "a"), SAMPLING))) == 3
    assert not again.received


def test_a_completion_is_on_disk_the_moment_it_arrives(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    completions = remembering(path, ScriptedBackend("yes")).complete(requests(*"abcdef"), SAMPLING)
    for arrived in range(1, 4):
        next(completions)
        assert path.read_bytes().count(b"\n") == arrived
    completions.close()
    with path.open("ab") as file:
        file.write(b'{"key": "torn')
    rest = ScriptedBackend("yes")
    assert len(list(remembering(path, rest).complete(requests(*"abcdef"), SAMPLING))) == 6
    assert len(rest.received) == 3
    assert path.read_bytes().count(b"\n") == 6


def test_a_failure_is_no_completion_and_is_requested_again_by_the_next_run(tmp_path: Path) -> None:
    path, failing = tmp_path / "r.jsonl", ScriptedBackend(lambda request, sampling: BackendError("no"))
    backend = remembering(path, failing)
    (request,) = requests("a")
    assert backend.get(request, SAMPLING) is None
    for _ in range(2):
        ((_, error),) = backend.complete([request], SAMPLING)
        assert isinstance(error, BackendError)
    assert isinstance(backend.get(request, SAMPLING), BackendError)
    assert len(failing.received) == 1
    assert not path.exists()
    assert isinstance(
        dict(remembering(path, ScriptedBackend("yes")).complete([request], SAMPLING))["0 a"], Completion
    )


def test_every_field_of_a_completion_is_read_back(tmp_path: Path) -> None:
    wanted = Completion("text", Finish.CONTEXT, None, 3, 2, marked=False)
    path = tmp_path / "r.jsonl"
    (request,) = requests("a")
    list(remembering(path, ScriptedBackend(lambda *_: wanted)).complete([request], SAMPLING))
    assert remembering(path, ScriptedBackend()).get(request, SAMPLING) == wanted


def test_a_file_of_an_earlier_version_is_read_and_its_keys_are_valid(tmp_path: Path) -> None:
    settings = {"max_new_tokens": 1024, "do_sample": False, "temperature": None, "top_p": None}
    messages = [{"role": "system", "content": "Judge."}, {"role": "user", "content": "a"}]
    shaping: list[Any] = ["scripted", settings, messages]
    key = hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()
    old = {
        "key": key,
        "model": "scripted",
        "text": "kept",
        "finished": False,
        "prompt_tokens": 7,
        "completion_tokens": 5,
    }
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps(old) + "\n", encoding="utf-8")
    found = remembering(path, ScriptedBackend()).get(Request(0, Conversation.of("a", "Judge.")), SAMPLING)
    assert found == Completion("kept", Finish.LENGTH, tokens=5, prompt_tokens=7)


def test_what_was_forgotten_is_made_once_more_and_kept_until_then(tmp_path: Path) -> None:
    path, (one, other) = tmp_path / "r.jsonl", requests("a", "b")
    list(remembering(path, ScriptedBackend("old")).complete([one, other], SAMPLING))
    backend = remembering(path, new := ScriptedBackend("new"))
    backend.forget(one, SAMPLING)
    assert not backend.has(one, SAMPLING)
    assert backend.get(one, SAMPLING) is None
    assert getattr(remembering(path, ScriptedBackend("")).get(one, SAMPLING), "text", None) == "old"
    for _ in range(2):
        made = [found for _, found in backend.complete([one, other], SAMPLING)]
        assert sorted(found.text for found in made if isinstance(found, Completion)) == ["new", "old"]
        backend.forget(one, SAMPLING)  # made by this object: no effect
    assert asked(new) == ["a"]
