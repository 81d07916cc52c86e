"""What a reply is made of, whatever the pieces in which it arrives."""

import json

from hypothesis import given
from hypothesis import strategies as st

from alttrain_cli.backends.base import Completion, Finish
from alttrain_cli.backends.reply import ReplyReader, repair_surrogates


def read(*events: object) -> Completion:
    reader = ReplyReader(1000)
    lines = [line for value in events for line in (b"data: " + json.dumps(value).encode(), b"")]
    return reader.completion("".join([*map(reader.feed, lines), reader.end()]))


@given(st.text(max_size=20), st.lists(st.integers(1, 3), max_size=20))
def test_characters_that_a_server_cuts_in_halves_are_joined_again(text: str, sizes: list[int]) -> None:
    units = text.encode("utf-16-le", "surrogatepass")
    halves = [units[at : at + 2].decode("utf-16-le", "surrogatepass") for at in range(0, len(units), 2)]
    chunks = []
    for size in sizes:
        chunks.append("".join(halves[:size]))
        halves = halves[size:]
    deltas = [{"choices": [{"delta": {"content": chunk}}]} for chunk in [*chunks, "".join(halves)]]
    end = {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3}}
    assert read(*deltas, end) == Completion(
        repair_surrogates(text), prompt_tokens=3, marked="<think>" in repair_surrogates(text)
    )


def test_reasoning_that_the_limit_cut_stays_open_and_is_closed_otherwise() -> None:
    thought = {"choices": [{"delta": {"reasoning_content": "Hm"}}]}
    for reason, wanted in (("length", "<think>\nHm"), ("stop", "<think>\nHm\n</think>\n\n")):
        reply = read(thought, {"choices": [{"delta": None, "finish_reason": reason}]})
        assert (reply.text, reply.finish) == (wanted, Finish(reason))
        assert reply.marked


def test_a_finish_reason_that_is_empty_until_the_end_ends_nothing() -> None:
    """LocalAI sends "" with every piece. The rest would be given up after the seconds that token counts get."""
    reader = ReplyReader(1000)
    text, was_ending = "", []
    for words, reason in (("Hel", ""), ("lo.", ""), ("", "length")):
        choice = {"delta": {"content": words}, "finish_reason": reason}
        for line in (b"data: " + json.dumps({"choices": [choice]}).encode(), b""):
            text += reader.feed(line)
        was_ending.append(reader.ending)
    assert was_ending == [False, False, True]
    assert reader.completion(text + reader.end()) == Completion("Hello.", Finish.LENGTH, marked=False)
