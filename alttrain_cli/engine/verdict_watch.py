"""Finds the place where a completion writes its verdict, scores it there, and applies a threshold.

A verdict word is recognised by its tokens, at the moment when one is chosen. So the score costs one look at
the probabilities of that token: no other pass and no other model.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from alttrain_cli.structure.sections import Order
from alttrain_cli.structure.template import Template
from alttrain_cli.structure.trace import TraceState, parse
from alttrain_cli.structure.verdict import Verdict
from alttrain_cli.structure.verdict_score import VerdictScore
from alttrain_cli.structure.verdict_words import VerdictWords

Tokens = tuple[int, ...]
Chances = Callable[[Sequence[int]], Sequence[float]]  # of some tokens: how likely each was to be next


def chances_of(logits: Any, ids: Sequence[int]) -> list[float]:
    """Return how likely some tokens are to be next, by the logits of the vocabulary: (vocabulary,)."""
    values = logits.float()
    return [float(one) for one in (values[list(ids)] - values.logsumexp(-1)).exp()]


class _Word(NamedTuple):
    text: str
    tokens: Tokens
    meaning: Verdict


class VerdictTokens:
    """The verdict words of a run as tokens of its model. Words may have several tokens, and begin alike."""

    def __init__(self, template: Template, words: VerdictWords, order: Order) -> None:
        self.template, self.order = template, order
        given = [(text, Verdict.HARMFUL) for text in words.harmful]
        given += [(text, Verdict.BENIGN) for text in words.benign]
        found = [_Word(text, _inside(template, text), meaning) for text, meaning in given]
        # A word that another one begins with decides already.
        self._words = [one for one in found if not any(_extends(one.tokens, other.tokens) for other in found)]
        self.first = tuple(self.next_of(()))
        self.all = tuple(dict.fromkeys(token for one in self._words for token in one.tokens))

    def next_of(self, path: Tokens) -> dict[int, list[_Word]]:
        """Return the tokens that may follow the start of a word, each with the words that continue it."""
        following: dict[int, list[_Word]] = {}
        for word in self._words:
            if len(word.tokens) > len(path) and word.tokens[: len(path)] == path:
                following.setdefault(word.tokens[len(path)], []).append(word)
        return following


class VerdictWatch:
    """Watches one completion until its verdict is written.

    Attributes:
        is_open: the verdict has not been written yet.
        score: of the verdict; None before it and without one.
        tokens: those of the verdict words.
    """

    def __init__(self, tokens: VerdictTokens, started: str, threshold: float | None) -> None:
        self.is_open = True
        self.score: VerdictScore | None = None
        self.tokens = tokens
        self._started = started  # of the completion, in the family's own markers
        self._threshold = threshold
        self._start_again()
        self._negated = False
        self._forced: list[int] = []  # the rest of the word that a threshold chose
        self._seen: tuple[int, int | None] = (-1, None)  # at how many tokens, and what was returned

    def _start_again(self) -> None:
        self._path: Tokens = ()  # of a word whose verdict is still open
        self._weight = 1.0  # the probability of that path
        self._following = self.tokens.next_of(())
        self._masses = {Verdict.HARMFUL: 0.0, Verdict.BENIGN: 0.0}

    @property
    def awaited(self) -> tuple[int, ...] | None:
        """The tokens that `see` must see; None: the next one, whichever it is."""
        return None if self._path or self._forced else self.tokens.first

    def is_due(self, written: Sequence[int]) -> bool:
        """Whether `see` must see the next token: the verdict is open, or was decided at this very place."""
        return self.is_open or self._seen[0] == len(written)

    def see(self, written: Sequence[int], token: int, chances: Chances) -> int | None:
        """Look at the token that is chosen next. Return the token that must take its place, or None.

        It may be called twice at the same place: some devices compute a token more than is used.
        """
        if self._seen[0] != len(written):
            self._seen = (len(written), self._look(written, token, chances))
        return self._seen[1]

    def take_forced(self) -> list[int]:
        """Return the rest of the word that a threshold chose, where nobody looks at each of its tokens."""
        rest, self._forced = self._forced, []
        self.is_open = self.is_open and not rest
        return rest

    def _look(self, written: Sequence[int], token: int, chances: Chances) -> int | None:
        if self._forced and len(written) != self._seen[0] + 1:  # a thinking budget ended inside the word
            self._forced, self.is_open = [], False
            return None
        if self._forced:
            self.is_open = len(self._forced) > 1
            return self._forced.pop(0)
        if self._path and token not in self._following:  # it was another word
            self._start_again()
        if token not in self._following or not (self._path or self._is_place(written, token)):
            return None
        odds = self._add_masses(chances)
        meanings = {word.meaning for word in self._following[token]}
        if len(meanings) > 1:
            self._path, self._weight = (*self._path, token), self._weight * odds[token]
            self._following = self.tokens.next_of(self._path)
            return None
        [own] = meanings
        return self._decide(own, odds)

    def _is_place(self, written: Sequence[int], token: int) -> bool:
        """Whether a verdict word at this place gives the verdict of the assessment."""
        template, word = self.tokens.template, self._following[token][0]
        so_far = self._started + template.tokenizer.decode(list(written), skip_special_tokens=False)
        trace = parse(
            f"{so_far}{word.text}.", template.markers, prefilled=template.prefilled, order=self.tokens.order
        )
        if trace.state is not TraceState.UNCLOSED:
            self.is_open = False
        if not trace.assessment or not self.is_open:
            return False
        is_last = trace.thinking.endswith(trace.assessment)
        here = is_last and trace.assessment.endswith(f"{word.text.strip()}.")
        self.is_open = here  # else the verdict was given before, in other words
        self._negated = trace.verdict is not word.meaning
        return here

    def _add_masses(self, chances: Chances) -> dict[int, float]:
        """Add the words that the next token decides for, and return the probability of each token."""
        ids = list(self._following)
        found = chances(ids)
        for chance, words in zip(found, self._following.values(), strict=True):
            meanings = {word.meaning for word in words}
            if len(meanings) == 1:
                self._masses[meanings.pop()] += self._weight * chance
        return dict(zip(ids, found, strict=True))

    def _decide(self, own: Verdict, odds: dict[int, float]) -> int | None:
        self.is_open = False
        said = {one: one.other if self._negated else one for one in Verdict}
        harmful, benign = (self._masses[said[one]] for one in (Verdict.HARMFUL, Verdict.BENIGN))
        score = VerdictScore(harmful, benign, said[own], said[own])
        if self._threshold is not None:
            score = replace(score, written=score.decide(self._threshold))
        self.score = score
        if not score.is_changed:
            return None
        likely = sorted(self._following.items(), key=lambda one: -odds[one[0]])
        word = next(one for _, words in likely for one in words if one.meaning is not own)
        token, *self._forced = word.tokens[len(self._path) :]
        self.is_open = bool(self._forced)
        return token


def _inside(template: Template, text: str) -> Tokens:
    """Return a word's tokens as they are inside a text: which tokenizers treat unlike its start."""
    before = "is" if text.startswith(" ") else "\n"
    head, whole = template.encode_text(before), template.encode_text(before + text)
    return tuple(whole[len(head) :] if whole[: len(head)] == head else template.encode_text(text))


def _extends(longer: Tokens, shorter: Tokens) -> bool:
    return len(longer) > len(shorter) and longer[: len(shorter)] == shorter
