"""The contract of backends, held by every one: in memory, behind a server, scripted."""

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
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
from alttrain_cli.backends.deferred_backend import DeferredBackend
from alttrain_cli.backends.local import LocalBackend
from alttrain_cli.backends.model_list import read_models
from alttrain_cli.backends.rendered_server import RenderedServer
from alttrain_cli.backends.server import ServerBackend
from alttrain_cli.cli import app
from alttrain_cli.commands.build_data import steps
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.serve.served_models import served_models
from alttrain_cli.structure.row import read_rows
from alttrain_cli.structure.sections import Order
from alttrain_cli.structure.trace import TraceState
from tests.fake_vllm import rendered_server
from tests.samples import TRACE, put
from tests.scripted import ScriptedBackend
from tests.serve_here import eventually, server_here
from tests.servers import Fault, chat_server
from tests.trained import load_backend

GREEDY = Sampling(max_new_tokens=6, do_sample=False)
DRAWN = Sampling(max_new_tokens=6, do_sample=True, temperature=1.0)
QUESTIONS = [f"What is {n} plus {n}?" for n in range(4)]


def requests(*prompts: str) -> list[Request[str]]:
    return [Request(prompt, Conversation.of(prompt)) for prompt in prompts or QUESTIONS]


def texts(backend: Any, sampling: Sampling = GREEDY, *prompts: str) -> dict[str, str]:
    return {key: one.text for key, one in backend.complete(requests(*prompts), sampling)}


def streamed(backend: Any, conversation: Conversation, sampling: Sampling = GREEDY, **options: Any) -> Any:
    """Return the chunks and the completion."""
    chunks, stream = [], backend.stream(conversation, sampling, **options)
    while True:
        try:
            chunks.append(next(stream))
        except StopIteration as end:
            return chunks, end.value


def echo(number: int, request: dict[str, Any]) -> str | Fault:
    last = request["messages"][-1]
    if last["role"] == "assistant" and "continue_final_message" not in request:
        return Fault("status", 400, message="roles must alternate")
    return (
        " and so on"
        if last["role"] == "assistant"
        else f"<think>\nHm.\n</think>\n\nYou said {last['content']}"
    )


def smollm_echo(prompt: str) -> str:
    question = prompt.rpartition("<|im_start|>user\n")[2].partition("<|im_end|>")[0]
    is_begun = not prompt.endswith("<|im_start|>assistant\n")
    return " and so on" if is_begun else f"<think>\nHm.\n</think>\n\nYou said {question}"


def scripted_echo(request: Request[Any], sampling: Sampling) -> str:
    if request.input.started:
        return f"{request.input.started} and so on"
    return f"<think>\nHm.\n</think>\n\nYou said {request.input.prompt}"


@pytest.fixture
def scripted() -> ScriptedBackend:
    return ScriptedBackend(scripted_echo, base=ScriptedBackend("as the base", name="base"))


@pytest.fixture
def loopback() -> Iterator[ServerBackend]:
    with chat_server(echo) as served:
        yield ServerBackend.find(served.base_url, in_flight=3)


@pytest.fixture
def rendered() -> Iterator[RenderedServer]:
    with rendered_server(smollm_echo, "smollm2") as (backend, _):
        yield backend


@pytest.fixture
def real_server(server: tuple[str, str]) -> ServerBackend:
    return ServerBackend.find(*server, in_flight=2)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBackend]:
    """A tiny model with an adapter that changes what it writes."""
    with closing(load_backend(tmp_path_factory.mktemp("local"))) as backend:
        yield backend


@pytest.fixture
def our_server(local: Any) -> Iterator[ServerBackend]:
    with server_here(served_models(local)) as here:
        yield ServerBackend.find(here.url, "run", in_flight=3)
        eventually(here.is_idle)
        assert local.streams.in_flight == 0


@pytest.fixture(
    params=[
        "scripted",
        "loopback",
        "rendered",
        pytest.param("local", marks=pytest.mark.model),
        pytest.param("real_server", marks=pytest.mark.model),
        pytest.param("our_server", marks=pytest.mark.model),
    ]
)
def backend(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


# the contract


def test_every_request_is_returned_once(backend: Any) -> None:
    got = list(backend.complete(requests(), GREEDY))
    assert sorted(key for key, _ in got) == sorted(QUESTIONS)
    assert all(isinstance(one, Completion) and one.text for _, one in got)


def test_a_greedy_stream_gives_the_same_completion(backend: Any) -> None:
    whole = texts(backend)
    for prompt in QUESTIONS[:3]:
        chunks, completion = streamed(backend, Conversation.of(prompt))
        assert completion.text.strip() == whole[prompt].strip()
        assert "".join(chunk.text for chunk in chunks).strip() == whole[prompt].strip()
        assert completion.finish in (Finish.STOP, Finish.LENGTH)


def test_requests_are_taken_lazily_and_closing_stops_the_work(
    backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alttrain_cli.backends.local.LOOK_AHEAD", 8)
    taken = itertools.count()
    endless = (Request(n, Conversation.of(f"Count from {n}.")) for n in taken)
    completions = backend.complete(endless, GREEDY)
    for _ in range(2):
        next(completions)
    completions.close()
    before = next(taken)
    assert before <= 16
    assert texts(backend, GREEDY, QUESTIONS[0])  # it can be used again
    assert next(taken) == before + 1


def test_leaving_a_stream_stops_the_work(backend: Any) -> None:
    stream = backend.stream(Conversation.of("Tell me about eggs."), GREEDY)
    assert isinstance(next(stream), Chunk)
    stream.close()
    assert texts(backend, GREEDY, QUESTIONS[0])


def test_streams_that_are_open_in_several_threads_do_not_change_each_other(backend: Any) -> None:
    whole = texts(backend)
    with ThreadPoolExecutor(len(QUESTIONS)) as pool:
        found = list(pool.map(lambda prompt: streamed(backend, Conversation.of(prompt))[1], QUESTIONS))
    assert [one.text.strip() for one in found] == [whole[prompt].strip() for prompt in QUESTIONS]


def test_a_message_that_was_begun_is_continued(backend: Any, request: pytest.FixtureRequest) -> None:
    started = "<think>\nTwo plus two is"
    conversation = Conversation.of("What is two plus two?").start(started)
    ((_, completion),) = backend.complete([Request(0, conversation)], GREEDY)
    if "real_server" in request.node.name:  # transformers serve has no field for it
        assert isinstance(completion, BackendError)
        assert "does not continue a partial message" in str(completion)
        return
    assert completion.text.startswith(started)
    assert len(completion.text) > len(started)
    chunks, same = streamed(backend, conversation)
    assert same.text.strip() == completion.text.strip()
    assert (started + "".join(chunk.text for chunk in chunks)).strip() == same.text.strip()


def test_a_count_is_true_or_none(backend: Any) -> None:
    ((_, one),) = backend.complete(requests(QUESTIONS[0]), GREEDY)
    assert one.tokens is None or one.tokens > 0
    counted = backend.count(Conversation.of(QUESTIONS[0]))
    assert (counted is not None) == (Ability.COUNT in backend.abilities)
    if counted is not None:
        assert counted == one.prompt_tokens > 0


def test_a_text_that_is_whole_is_no_other_text(backend: Any) -> None:
    for prompt, text in texts(backend).items():
        wanted = [Request(0, Conversation.of(prompt), is_whole=lambda found: len(found) >= 4)]
        ((_, completion),) = backend.complete(wanted, GREEDY)
        assert text.startswith(completion.text)
        assert len(completion.text) >= min(4, len(text))


@pytest.mark.model
def test_a_model_in_memory_stops_where_its_text_is_whole(local: Any) -> None:
    """What was begun is part of that text."""
    conversation, seen = Conversation.of("How many?").start("<think>\nTwo"), []

    def is_whole(text: str) -> bool:
        seen.append(text)
        return len(seen) == 3

    ((_, completion),) = local.complete([Request(0, conversation, is_whole=is_whole)], GREEDY)
    assert (completion.tokens, completion.finish) == (3, Finish.STOP)
    assert completion.text == seen[-1]
    assert all(text.startswith("<think>\nTwo") for text in seen)


def test_a_fingerprint_has_a_record_that_is_read_back(backend: Any) -> None:
    record = backend.fingerprint.record()
    assert type(backend.fingerprint)(**record) == backend.fingerprint


# failures


def test_a_request_that_fails_is_a_value_and_costs_only_itself() -> None:
    bad = QUESTIONS[3]

    def by_server(number: int, request: dict[str, Any]) -> str | Fault:
        return Fault("status", 400) if request["messages"][0]["content"] == bad else "Yes."

    def by_script(request: Request[Any], sampling: Sampling) -> Any:
        return BackendError("no") if request.input.prompt == bad else "Yes."

    with chat_server(by_server) as served:
        for one in (ScriptedBackend(by_script), ServerBackend.find(served.base_url, in_flight=3)):
            got = dict(one.complete(requests(), GREEDY))
            assert isinstance(got.pop(bad), BackendError)
            assert all(isinstance(completion, Completion) for completion in got.values())
            assert len(got) == len(QUESTIONS) - 1


def test_an_error_that_every_request_would_meet_is_raised() -> None:
    with chat_server(lambda *_: Fault("status", 401)) as served:
        backend = ServerBackend.find(served.base_url, in_flight=4)
        endless = (Request(n, Conversation.of(str(n))) for n in itertools.count())
        with pytest.raises(BackendError, match="requires a key"):
            list(backend.complete(endless, GREEDY))
        assert len(served.requests) < 50


def test_a_full_context_is_an_error_of_its_own_behind_a_server() -> None:
    full = Fault("status", 400, message="This model's maximum context length is 64 tokens.")
    with chat_server(lambda *_: full) as served:
        ((_, error),) = ServerBackend.find(served.base_url).complete(requests("a"), GREEDY)
    assert isinstance(error, ContextFullError)


# a server


def test_a_server_is_sent_every_field_of_the_sampling() -> None:
    with chat_server(echo) as served:
        backend = ServerBackend.find(served.base_url)
        every = DRAWN.model_copy(update={"top_k": 5, "repetition_penalty": 1.1})
        for sampling in (GREEDY, DRAWN, every):
            list(backend.complete([Request(0, Conversation.of("a"), seed=3)], sampling))
    names = ("temperature", "top_p", "max_tokens", "seed", "top_k", "repetition_penalty")
    sent = [{name: one[name] for name in names if name in one} for one in served.requests]
    assert sent == [
        {"temperature": 0, "top_p": 1, "max_tokens": 6},
        {"temperature": 1, "top_p": 1, "max_tokens": 6, "seed": 3},
        {"temperature": 1, "top_p": 1, "max_tokens": 6, "seed": 3, "top_k": 5, "repetition_penalty": 1.1},
    ]


def test_a_servers_record_is_what_earlier_versions_wrote() -> None:
    with chat_server(echo) as served:
        address = served.base_url.replace("://", "://user:secret@")
        backend = ServerBackend.find(address)
    assert backend.fingerprint.record() == {
        "name": "tiny", "model": "tiny", "server": served.base_url, "weights": "unknown: on a server"
    }  # fmt: skip


def test_a_completion_that_is_cut_without_any_marker_may_be_all_reasoning() -> None:
    cut = Completion("I wonder", Finish.LENGTH, marked=False)
    assert cut.trace.state is TraceState.UNCLOSED
    assert replace(cut, marked=True).trace.state is TraceState.ABSENT
    with chat_server(lambda *_: "I wonder") as served:
        ((_, one),) = ServerBackend.find(served.base_url).complete(requests("a"), GREEDY)
    assert not one.marked


def test_a_servers_parser_marks_a_block_that_is_open_once_more() -> None:
    with chat_server(lambda *_: "~four. Four.") as served:
        backend = ServerBackend.find(served.base_url)
        begun = Conversation.of("2+2?").start("<think>\nIt is ")
        ((_, one),) = backend.complete([Request(0, begun)], GREEDY)
        assert one.text == "<think>\nIt is four. \n</think>\n\nFour. "
        assert streamed(backend, begun)[1].text == one.text
        closed = Conversation.of("2+2?").start("<think>\n\n</think>\n\n")
        ((_, error),) = backend.complete([Request(0, closed)], GREEDY)
    assert isinstance(error, BackendError)
    assert "starts to reason again" in str(error)


NOTHING: list[dict[str, Any]] = [{"index": 0, "delta": {}, "finish_reason": "stop"}]


def thinker(answer: "str | Fault | list[dict[str, Any]]", thought: str) -> Any:
    return lambda _, request: answer if request["messages"][-1]["role"] == "assistant" else thought


APART, WITHIN = "~I ~wonder " * 200, "<think> " + "I wonder " * 200


@pytest.mark.parametrize("thought", [APART, WITHIN])
def test_when_the_budget_ends_a_server_continues_after_the_closed_block(thought: str) -> None:
    with chat_server(thinker("Like this.", thought)) as served:
        backend = ServerBackend.find(served.base_url)
        chunks, completion = streamed(
            backend, Conversation.of("How?"), GREEDY.model_copy(update={"max_new_tokens": 40}), budget=5
        )
    assert completion.trace.state is TraceState.CLOSED
    assert completion.trace.answer == "Like this."
    assert [chunk.text for chunk in chunks if chunk.forced] == ["\n</think>\n\n"]
    _, second = served.requests
    assert second["messages"][-1]["content"].endswith("\n</think>\n\n")
    assert second["continue_final_message"] is True
    assert second["max_tokens"] == 40 - 5


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Fault("status", 400, message="Unknown field."), "(status 400: Unknown field."),
        ("~Hmm, ~once ~more. Like this.", "starts to reason again"),
        (" <think> Once more </think> Like this.", "starts to reason again"),
        ("", "adds nothing"),
        (NOTHING, "adds nothing"),
    ],
)
def test_a_server_that_does_not_continue_leaves_the_block_open_with_a_warning(
    answer: "str | Fault | list[dict[str, Any]]", why: str
) -> None:
    with chat_server(thinker(answer, APART)) as served:
        backend = ServerBackend.find(served.base_url)
        sampling = GREEDY.model_copy(update={"max_new_tokens": 40})
        chunks, completion = streamed(backend, Conversation.of("How?"), sampling, budget=5)
    assert completion.trace.state is TraceState.UNCLOSED
    assert not any(chunk.forced for chunk in chunks)
    assert why in chunks[-1].warning
    assert chunks[-1].warning.startswith(served.base_url)


def test_the_context_of_a_server_is_what_its_list_says_an_adapters_that_of_its_parent() -> None:
    cards = [{"id": "base", "max_model_len": 64}, {"id": "lora", "max_model_len": None, "parent": "base"}]
    listed = read_models([*cards, {"id": "other"}])
    assert {name: one.context for name, one in listed.items()} == {"base": 64, "lora": 64, "other": None}


def test_a_deferred_backend_is_opened_by_its_first_request() -> None:
    opened = []
    backend = DeferredBackend("late", lambda: opened.append(1) or ScriptedBackend(scripted_echo))  # type: ignore[func-returns-value]
    assert list(backend.complete([], GREEDY)) == []
    backend.close()
    assert (backend.name, opened) == ("late", [])
    assert len(texts(backend)) == len(QUESTIONS)
    assert opened == [1]


# a run and its base


def test_a_scripted_base_has_another_fingerprint(scripted: ScriptedBackend) -> None:
    assert scripted.base is not None
    assert scripted.base.fingerprint != scripted.fingerprint


@pytest.mark.model
def test_the_base_of_a_run_writes_as_the_model_alone_and_the_adapter_stays_on(local: Any) -> None:
    aligned = texts(local)
    assert texts(local.base) != aligned
    assert texts(local) == aligned
    assert local.base.base is None
    ours, base = local.fingerprint, local.base.fingerprint
    assert ours.adapter
    assert base.adapter is None
    assert replace(ours, name="", adapter=None) == replace(base, name="")
    with local.loaded.model.disable_adapter():
        assert texts(local) == texts(local.base)


@pytest.mark.model
def test_a_model_in_memory_and_its_base_read_completions_in_the_order_of_the_run(local: Any) -> None:
    order: Order = ("assessment", "reasoning")
    ordered = LocalBackend(replace(local._target, order=order), local.loaded)
    for one in (ordered, ordered.base):
        assert one is not None
        ((_, whole),) = one.complete(requests(QUESTIONS[0]), GREEDY)
        assert isinstance(whole, Completion)
        assert one.order == whole.order == whole.trace.order == order
        assert streamed(one, Conversation.of(QUESTIONS[0]))[1].order == order


@pytest.mark.model
def test_open_iterators_of_a_run_and_its_base_do_not_change_each_other(local: Any) -> None:
    alone = texts(local), texts(local.base)
    for first, second in ((0, 1), (1, 0)):
        views = (local, local.base)
        iterators = [views[n].complete(requests(), GREEDY) for n in (first, second)]
        found: list[dict[str, str]] = [{}, {}]
        for n in (0, 1, 0, 1, 1):
            key, one = next(iterators[n])
            found[n][key] = one.text
        iterators[0].close()  # the first to be opened is the first to be left
        found[1].update({key: one.text for key, one in iterators[1]})
        assert found[1] == alone[second]
        assert found[0].items() <= alone[first].items()
    streams = [view.stream(Conversation.of(QUESTIONS[0]), GREEDY) for view in (local, local.base)]
    read = ["", ""]
    for n in (0, 1, 0, 1):
        read[n] += next(streams[n]).text
    for n in (0, 1):
        read[n] += "".join(chunk.text for chunk in streams[n])
        assert read[n] == alone[n][QUESTIONS[0]]


@pytest.mark.model
def test_blocks_of_precise_may_be_left_in_any_order(local: Any) -> None:
    from alttrain_cli.engine.float32 import compute_in_float32

    local._weights.float32.close()  # what the backend itself holds
    local._weights.is_float32 = False
    dtype = local.loaded.model.dtype
    first, second = compute_in_float32(local.loaded), compute_in_float32(local.loaded)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert str(local.loaded.model.dtype) == "torch.float32"
    second.__exit__(None, None, None)
    assert local.loaded.model.dtype == dtype
    assert str(dtype) == "torch.bfloat16"


@pytest.mark.model
def test_a_full_context_is_a_finish_of_its_own_in_memory(local: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    longest = local.count(Conversation.of(QUESTIONS[0])) + 3
    monkeypatch.setattr(local.loaded.model.config, "max_position_embeddings", longest)
    ((_, one),) = local.complete(requests(QUESTIONS[0]), GREEDY)
    _, same = streamed(local, Conversation.of(QUESTIONS[0]))
    assert (one.finish, one.tokens, one.text) == (same.finish, same.tokens, same.text)
    assert (one.finish, one.tokens) == (Finish.CONTEXT, 3)
    monkeypatch.setattr(local.loaded.model.config, "max_position_embeddings", 4)
    assert streamed(local, Conversation.of(QUESTIONS[0]))[1].finish is Finish.CONTEXT


@pytest.mark.model
@pytest.mark.parametrize("prefilled", [False, True])
def test_in_memory_a_block_that_outgrows_its_budget_is_closed_and_the_answer_forced(
    local: Any, prefilled: bool
) -> None:
    loaded = replace(local.loaded, template=replace(local.loaded.template, prefilled=prefilled))
    thinker = LocalBackend(local._target, loaded)
    begun = Conversation.of("What is two plus two?")
    started = "" if prefilled else "<think>\nI"
    chunks, completion = streamed(
        thinker, begun.start(started), GREEDY.model_copy(update={"max_new_tokens": 30}), budget=5
    )
    assert completion.text.startswith("<think>\n")
    assert completion.trace.state is TraceState.CLOSED
    assert completion.trace.thinking
    assert started + "".join(chunk.text for chunk in chunks) == completion.text
    assert completion.text.count("<think>") == 1
    assert "</think>" in "".join(chunk.text for chunk in chunks if chunk.forced)
    thinker._weights.float32.close()


@pytest.mark.model
def test_samples_depend_on_conversation_and_seed_alone(local: Any) -> None:
    two = [Request(seed, Conversation.of(QUESTIONS[0]), seed) for seed in (0, 1)]
    once = {key: one.text for key, one in local.complete(two, DRAWN)}
    again = {key: one.text for key, one in local.complete([*two[::-1], *requests()], DRAWN)}
    assert once[0] != once[1]
    assert once == {key: again[key] for key in once}


def test_a_backend_that_is_closed_twice_is_closed(backend: Any, request: pytest.FixtureRequest) -> None:
    if "local" not in request.node.name:
        backend.close()
        backend.close()


@pytest.mark.model
def test_a_real_model_that_is_no_annotator_loses_no_row(
    server: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brief = steps.SAMPLING.model_copy(update={"max_new_tokens": 32})  # few layers come to no end
    monkeypatch.setattr(steps, "SAMPLING", brief)
    sample = {"prompt": "How do I boil an egg?", "response": TRACE, "label": "benign"}
    path = put(tmp_path / "s.jsonl", sample)
    command = [
        *("build-data", "--source", str(path), "--source", "starter:4", "--out", str(tmp_path / "d.jsonl")),
        *("--annotator", "endpoint", "--base-url", server[0], "--model", server[1]),
    ]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    dropped = (tmp_path / "d.dropped.jsonl").read_text() if (tmp_path / "d.dropped.jsonl").exists() else ""
    assert len(read_rows(tmp_path / "d.jsonl")) + len(dropped.splitlines()) == 5
    answers = tmp_path / "d.answers" / "annotations.jsonl"
    before = answers.read_bytes()
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 0
    assert answers.read_bytes().startswith(before)  # nothing is lost; what was invalid is asked again
