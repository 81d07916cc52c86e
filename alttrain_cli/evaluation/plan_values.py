"""One value for each completion of a plan, in a few bytes."""

from array import array
from collections.abc import Iterator, Mapping, ValuesView
from dataclasses import replace
from typing import TypeVar

from alttrain_cli.evaluation.plan_keys import PlanKeys
from alttrain_cli.structure.verdict_score import VerdictScore

V = TypeVar("V")


class ValuesByKey(Mapping[str, V]):
    """One of few values for each of some completions of a plan: 2 bytes for each completion.

    `V` has few different objects, for example the members of an enum.
    """

    def __init__(self, keys: PlanKeys) -> None:
        self._keys = keys
        self._codes = array("H", bytes(2 * len(keys)))  # 0: it has no value
        self._values: list[V] = []
        self._code_of: dict[int, int] = {}  # identity of a value -> its code

    def __setitem__(self, key: str, value: V) -> None:
        number = self._keys.number(key)
        if number is None:
            raise KeyError(key)
        code = self._code_of.get(id(value))
        if code is None:
            self._values.append(value)
            code = self._code_of[id(value)] = len(self._values)
            if code == 2**16:
                self._codes = array("I", self._codes)
        self._codes[number] = code

    def __getitem__(self, key: str) -> V:
        number = self._keys.number(key)
        if number is None or not (code := self._codes[number]):
            raise KeyError(key)
        return self._values[code - 1]

    def __iter__(self) -> Iterator[str]:
        return (key for key, code in zip(self._keys, self._codes, strict=True) if code)

    def __len__(self) -> int:
        return len(self._codes) - self._codes.count(0)

    def values(self) -> ValuesView[V]:
        return _Values(self)

    def each(self) -> Iterator[V]:
        """Yield the values in the order of the plan."""
        return (self._values[code - 1] for code in self._codes if code)


class ScoresByKey(Mapping[str, VerdictScore]):
    """The scores of the verdicts of some completions of a plan: 18 bytes for each completion."""

    def __init__(self, keys: PlanKeys) -> None:
        self._keys = keys
        self._verdicts = ValuesByKey[VerdictScore](keys)  # the same score without the probabilities
        self._shared: dict[VerdictScore, VerdictScore] = {}
        self._probabilities = array("d")  # of harmful and benign

    def __setitem__(self, key: str, score: VerdictScore) -> None:
        if not self._probabilities:
            self._probabilities = array("d", bytes(16 * len(self._keys)))
        bare = replace(score, harmful=0.0, benign=0.0)
        self._verdicts[key] = self._shared.setdefault(bare, bare)
        place = 2 * (self._keys.number(key) or 0)
        self._probabilities[place : place + 2] = array("d", [score.harmful, score.benign])

    def __getitem__(self, key: str) -> VerdictScore:
        bare = self._verdicts[key]
        place = 2 * (self._keys.number(key) or 0)
        return replace(bare, harmful=self._probabilities[place], benign=self._probabilities[place + 1])

    def __iter__(self) -> Iterator[str]:
        return iter(self._verdicts)

    def __len__(self) -> int:
        return len(self._verdicts)


class _Values(ValuesView[V]):
    """The values, for which the keys need not be read."""

    _mapping: ValuesByKey[V]

    def __iter__(self) -> Iterator[V]:
        return self._mapping.each()
