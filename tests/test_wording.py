"""Texts are plain: no old or poetic words, no long sentences, one spelling; see tests/wording.py."""

import re
from collections.abc import Callable, Iterator

import pytest
import typer

from alttrain_cli.commands.shared.examples import COMMANDS
from tests import wording
from tests.command_lines import LINES, context_of
from tests.wording import AMERICAN, WORDS, Found, sentences

MOST_WORDS = 25  # in a sentence; CONTRIBUTING asks for 20, lists may have a few more
SOURCES: dict[str, Callable[[], Iterator[Found]]] = {
    "messages": wording.messages,
    "documents": wording.paragraphs,
    "comments": wording.comments,
    "pages": wording.pages,
}


def without_code(text: str) -> str:
    return re.sub(r"`[^`]*`|\"[^\"]*\"|'[^' ]*'|--\w[\w-]*", "CODE", text)


@pytest.mark.parametrize("source", SOURCES)
def test_no_text_has_a_word_that_is_old_or_has_a_plainer_one(source: str) -> None:
    found = [
        (one.place, said[0], f"write: {instead}")
        for one in SOURCES[source]()
        for words, instead in WORDS.items()
        if (said := re.search(words, without_code(one.text)))
    ]
    assert found == []


def test_no_docstring_has_an_old_word() -> None:
    old = [*WORDS][:10]
    found = [
        (one.place, said[0])
        for one in wording.docstrings()
        for words in old
        if (said := re.search(words, one.text))
    ]
    assert found == []


@pytest.mark.parametrize("source", SOURCES)
def test_the_spelling_is_british(source: str) -> None:
    found = [
        (one.place, said[0]) for one in SOURCES[source]() if (said := AMERICAN.search(without_code(one.text)))
    ]
    assert found == []


@pytest.mark.parametrize("source", SOURCES)
def test_no_sentence_is_long(source: str) -> None:
    found = [
        (one.place, len(sentence.split()), sentence)
        for one in SOURCES[source]()
        for sentence in sentences(one.text)
        if len(sentence.split()) > MOST_WORDS
    ]
    assert found == []


@pytest.mark.parametrize("words", [one for one in LINES if one], ids=" ".join)
def test_the_help_of_an_option_is_sentences(words: tuple[str, ...]) -> None:
    """A sentence starts with a capital letter, or with the value or file that it explains, and ends with a stop."""
    command = context_of(words).command
    texts = [COMMANDS.get(words[0], ""), command.help or ""]
    texts += [one.help for one in command.params if isinstance(one, typer.core.TyperOption) and one.help]
    wrong = [
        text
        for text in texts
        if text
        and not (text.rstrip().endswith((".", ":")) and (text[0].isupper() or "." in text or ":" in text))
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "text",
    [
        *(
            "Whom to ask.",
            "It was mended.",
            "8 rows a step",
            "the file stands in the folder",
            "This is no run.",
        ),
        *("the server says no", "as it has no traces", "out: exists already", "the system text"),
    ],
)
def test_each_of_these_is_found(text: str) -> None:
    assert any(re.search(words, text, re.IGNORECASE) for words in WORDS)
