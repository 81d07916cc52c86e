"""Texts are plain: no old or poetic words, no long sentences, one spelling (tests/wording.py)."""

import re
from collections.abc import Callable, Iterator
from functools import cache

import pytest

from alttrain_cli.commands.shared.examples import COMMANDS
from tests import wording
from tests.command_lines import LINES, context_of
from tests.wording import AMERICAN, OLD, WORDS, Found, sentences

MOST_WORDS = 25  # CONTRIBUTING asks for 20; a list may need a few more
SOURCES: dict[str, Callable[[], Iterator[Found]]] = {
    "messages": wording.messages,
    "documents": wording.paragraphs,
    "comments": wording.comments,
    "pages": wording.pages,
    "docstrings": wording.docstrings,
}
PLAIN = [one for one in SOURCES if one != "docstrings"]


def without_code(text: str) -> str:
    """Return a text without code, quotations and options, which are as they are."""
    return re.sub(r"`[^`]*`|\"[^\"]*\"|'[^' ]*'|--\w[\w-]*", "CODE", text)


@cache
def texts_of(source: str) -> list[Found]:
    return [*SOURCES[source]()]


def found_in(source: str, patterns: dict[str, str]) -> list[tuple[str, str, str]]:
    plain = [(one.place, without_code(one.text)) for one in texts_of(source)]
    return [
        (place, said[0], f"write: {instead}")
        for place, text in plain
        for pattern, instead in patterns.items()
        if (said := re.search(pattern, text))
    ]


@pytest.mark.parametrize("source", PLAIN)
def test_no_text_has_a_word_for_which_there_is_a_plainer_one(source: str) -> None:
    assert found_in(source, OLD | WORDS) == []


def test_no_docstring_has_an_old_word() -> None:
    assert found_in("docstrings", OLD) == []


@pytest.mark.parametrize("source", PLAIN)
def test_the_spelling_is_british(source: str) -> None:
    assert found_in(source, AMERICAN) == []


@pytest.mark.parametrize("source", PLAIN)
def test_no_sentence_is_long(source: str) -> None:
    long = [
        (one.place, sentence)
        for one in texts_of(source)
        for sentence in sentences(one.text)
        if len(sentence.split()) > MOST_WORDS
    ]
    assert long == []


@pytest.mark.parametrize("words", [one for one in LINES if one], ids=" ".join)
def test_help_is_written_in_sentences(words: tuple[str, ...]) -> None:
    """A sentence begins with a capital letter, or with the value that it explains, and ends with a full stop."""
    command = context_of(words).command
    texts = [COMMANDS.get(words[0], ""), (command.help or "").strip()]
    texts += [(getattr(one, "help", "") or "").strip() for one in command.params]
    wrong = [one for one in texts if one and not (one[0].isupper() or re.match(r"[\w.-]+:", one))]
    assert wrong + [one for one in texts if one and not one.endswith(".")] == []


@pytest.mark.parametrize(
    "text",
    [
        *("whom to call", "it was mended", "8 rows a step", "a file that stands in the folder", "is no run"),
        *("the server says no", "as it has no traces", "out: exists already", "the system text"),
        *("the base beside the run", "torn", "all but for the last", "a text is needed", "goes on with"),
    ],
)
def test_each_of_these_is_found(text: str) -> None:
    assert any(re.search(words, text) for words in OLD | WORDS)


@pytest.mark.parametrize(
    "text", ["there is no run", "it is no longer there", "as soon as it has room", "in a text file", "1 s a"]
)
def test_each_of_these_is_right(text: str) -> None:
    assert not any(re.search(words, text) for words in OLD | WORDS)
