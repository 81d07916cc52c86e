"""Texts: control characters made visible, and how much two texts overlap."""

import difflib
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

# Characters of English per token. tests/test_data.py compares the estimate to 10% of SmolLM2's tokenizer on
# the starter set.
CHARS_PER_TOKEN = 4.2
NGRAM = 8  # words in a row
MIN_CONTAINMENT = 0.8  # share of an item's content words
FEWEST_WORDS = 3  # content words; an item with fewer is compared exactly only
MAX_SPREAD = 2  # contained words must be within this many times the length of the item

_WORD = re.compile(r"\w+(?:'\w+)?")
# Scripts without spaces between words (Thai, Lao, Burmese, Khmer, Japanese, Chinese), and their marks.
_NO_SPACES = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_MARKS = "\u3000-\u303f\uff00-\uffef"
_SPACED = re.compile(rf"[{_NO_SPACES}]|[^\s{_NO_SPACES}{_MARKS}]+")
_CHARACTER = re.compile(f"[{_NO_SPACES}]")
_LITTLE = (
    "a about all am an and any are as at be been but by can could did do does for from get give had has have "
    "he her his how i if in into is it its me my of on one or our out please she should so some tell than "
    "that the their them there they this to up us use was way ways we were what when where which who why "
    "will with without would you your"
)
_FUNCTION_WORDS = frozenset(_LITTLE.split())


def did_you_mean(word: str, words: Iterable[str], cutoff: float = 0.6) -> str:
    """Return a question with the nearest of `words`, or nothing. `cutoff`: how alike, up to 1."""
    known = {one.casefold(): one for one in words}
    near = difflib.get_close_matches(word[:100].casefold(), known, n=1, cutoff=cutoff)
    return f"Did you mean {known[near[0]]!r}?" if near else ""


def suggest(word: str, known: Iterable[str], to_list: str = "") -> str:
    """Return a suggestion for an unknown word: the nearest of `known`, or how to see all of them.

    `to_list` is a sentence for long lists. Without it, all words are listed.
    """
    words = list(known)
    return did_you_mean(word, words) or to_list or f"Choose among: {', '.join(words)}."


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: 1 turn, 2 turns."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def after_names(found: Iterable[tuple[str, str]]) -> list[str]:
    """Return each text once, after all names that come with it."""
    names: dict[str, list[str]] = {}
    for name, text in found:
        names.setdefault(text, []).append(name)
    return [f"{', '.join(having)}: {text}" for text, having in names.items()]


def listed(words: Sequence[str], most: int, more: str = "more") -> str:
    """Return the first words of a list, and how many there are besides."""
    rest = len(words) - most
    return ", ".join(words[:most]) + (f" and {rest} {more}" if rest > 0 else "")


def estimate_tokens(text: str) -> int:
    """Return about how many tokens a text has, before a tokenizer is loaded.

    English is measured. In scripts without spaces a character is taken as a token.
    """
    characters = 0 if text.isascii() else len(_CHARACTER.findall(text))
    return round((len(text) - characters) / CHARS_PER_TOKEN) + characters


def split_words(text: str) -> list[str]:
    """Return the words of a text; in scripts without spaces each character counts as one."""
    return text.split() if text.isascii() else _SPACED.findall(text) or text.split()


class MatchType(StrEnum):
    """How a row and an item are alike."""

    EXACT = "exact"
    NGRAM = "ngram"
    CONTAINMENT = "containment"


class PromptMatch(NamedTuple):
    """Row `row` and suite item `item` (positions in what was given) are alike."""

    row: int
    item: int
    sign: MatchType
    shared: str  # the words in common


def overlap(row_prompts: Iterable[str], suite_prompts: Sequence[str]) -> list[PromptMatch]:
    """Return one hit, with its strongest sign, for each pair that is alike, by row, then by item."""
    index = PromptIndex(suite_prompts)
    return [hit for row, prompt in enumerate(row_prompts) for hit in index.hits(row, prompt)]


def words(text: str) -> tuple[str, ...]:
    """Return the words of a text as they are compared."""
    text = unicodedata.normalize("NFKC", text).replace("\u2019", "'").casefold()
    return tuple(_WORD.findall(text))


def content_words(text: str) -> frozenset[str]:
    """Return the words that carry a text's meaning, as they are compared."""
    return frozenset(words(text)) - _FUNCTION_WORDS


class PromptIndex:
    """The items of a suite, indexed so that a row is compared with few of them."""

    def __init__(self, prompts: Sequence[str]) -> None:
        self._items = [words(prompt) for prompt in prompts]
        self._exact: dict[tuple[str, ...], list[int]] = defaultdict(list)
        self._ngrams: dict[tuple[str, ...], list[int]] = defaultdict(list)
        self._rare: dict[str, list[int]] = defaultdict(list)
        self._content = [content_words(prompt) for prompt in prompts]
        common = Counter(word for content in self._content for word in content)
        for position, item in enumerate(self._items):
            if item:
                self._exact[item].append(position)
            for gram in set(_ngrams(item)):
                self._ngrams[gram].append(position)
            for word in _rarest(self._content[position], common):
                self._rare[word].append(position)

    def hits(self, row: int, prompt: str) -> list[PromptMatch]:
        """Return one hit, with its strongest sign, for each item that the prompt of row `row` is like."""
        row_words = words(prompt)
        found: dict[int, PromptMatch] = {}
        for item in self._exact.get(row_words, ()):
            found[item] = PromptMatch(row, item, MatchType.EXACT, " ".join(row_words))
        for gram in _ngrams(row_words):
            for item in self._ngrams.get(gram, ()):
                found.setdefault(item, PromptMatch(row, item, MatchType.NGRAM, " ".join(gram)))
        candidates = {item for word in set(row_words) for item in self._rare.get(word, ())}
        for item in candidates - found.keys():
            shared = self._contained(item, row_words)
            if shared:
                found[item] = PromptMatch(row, item, MatchType.CONTAINMENT, " ".join(shared))
        return [found[item] for item in sorted(found)]

    def _contained(self, item: int, row_words: tuple[str, ...]) -> list[str]:
        """Return the item's content words in the row, if enough of them are close together."""
        content = self._content[item]
        places = [(at, word) for at, word in enumerate(row_words) if word in content]
        needed, stretch = _needed(content), MAX_SPREAD * len(self._items[item])
        window: Counter[str] = Counter()
        first = 0
        for at, word in places:
            window[word] += 1
            while at - places[first][0] >= stretch:
                window[places[first][1]] -= 1
                first += 1
            shared = +window
            if len(shared) >= needed:
                return sorted(shared)
        return []


def _ngrams(text: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
    return (text[at : at + NGRAM] for at in range(len(text) - NGRAM + 1))


def _needed(content: frozenset[str]) -> int:
    return math.ceil(MIN_CONTAINMENT * len(content))


def _rarest(content: frozenset[str], common: Counter[str]) -> list[str]:
    """Return the rarest words, enough that a row without any of them cannot contain enough of the rest."""
    if len(content) < FEWEST_WORDS:
        return []
    return sorted(content, key=lambda word: (common[word], word))[: len(content) - _needed(content) + 1]


# First and last code point: C0 and C1 without tab and line feed, soft hyphen, bidirectional controls,
# characters without width, byte order marks, lone surrogates, tags.
_RANGES = (
    *((0x00, 0x08), (0x0B, 0x1F), (0x7F, 0x9F), (0xAD, 0xAD), (0x61C, 0x61C), (0x180E, 0x180E)),
    *((0x200B, 0x200F), (0x2028, 0x202E), (0x2060, 0x206F), (0xFEFF, 0xFEFF), (0xFFF9, 0xFFFB)),
    *((0xD800, 0xDFFF), (0xE0000, 0xE007F)),
)
_INVISIBLE = re.compile(f"[{''.join(f'{chr(first)}-{chr(last)}' for first, last in _RANGES)}]")


def hidden_characters() -> list[str]:
    """Return every character that `escape_hidden` replaces."""
    return [chr(code) for first, last in _RANGES for code in range(first, last + 1)]


def escape_hidden(text: str) -> str:
    """Replace characters that steer a terminal or hide in a page by their code point; lines stay lines."""
    return _INVISIBLE.sub(lambda match: f"<U+{ord(match.group()):04X}>", text)


def date_and_time(moment: str) -> str:
    """Return an ISO time as a person reads it: 2026-11-25 at 15:33 UTC. Any other text stays as it is."""
    try:
        found = datetime.fromisoformat(moment)
        shown = found.astimezone(UTC) if found.tzinfo else found
    except (ValueError, OverflowError):
        return moment
    return f"{shown:%Y-%m-%d at %H:%M}{' UTC' if shown.tzinfo else ''}"


def quoted(value: object, limit: int = 80) -> str:
    """Return a value for an error message: quoted as Python does, visible, and cut to `limit` characters."""
    words = {None: "null", True: "true", False: "false"}
    try:
        plain = value is None or isinstance(value, bool)
        text = words[value] if plain else escape_hidden(repr(value))  # type: ignore[index]
    except (ValueError, RecursionError):  # a number of thousands of digits, a value nested too deep
        return "a value too large to show"
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text):,} characters)"
