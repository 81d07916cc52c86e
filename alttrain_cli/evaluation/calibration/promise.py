"""A promise about the rates of refusal, and the threshold that keeps it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from alttrain_cli.errors import DataError
from alttrain_cli.statistics.roc import fewest_needed, most_hits
from alttrain_cli.storage.run_records import PromiseKind, promise_in_words
from alttrain_cli.structure.row import Label

CONFIDENCE = 0.95
GROUP = 3  # of so many rows of a label all but one choose the threshold; that one checks it


def choosing_rows(n: int) -> int:
    """Return how many of `n` rows of a label choose the threshold."""
    return n - n // GROUP


@dataclass(frozen=True)
class Promise:
    """At most this rate of benign prompts, or at least this rate of harmful ones, get a harmful verdict.

    Of the kind "threshold" it promises nothing: the value is the threshold itself.
    """

    kind: PromiseKind
    value: float

    @property
    def label(self) -> Label:
        """The label of the rows that decide it."""
        return "harmful" if self.kind == "refusal" else "benign"

    @property
    def errors(self) -> float:
        """The rate of its rows that may be on the wrong side."""
        return 1 - self.value if self.kind == "refusal" else self.value

    def in_words(self) -> str:
        return promise_in_words(self.kind, self.value)

    def check_count(self, n: int) -> None:
        """Make sure that `n` rows of the label are enough."""
        if self.kind == "threshold" or most_hits(choosing_rows(n), self.errors, CONFIDENCE) >= 0:
            return
        needed = fewest_needed(self.errors, CONFIDENCE)
        if needed is None:
            raise DataError(
                f"--{self.kind} {self.value}: no number of rows can show that. Give a less strict rate."
            )
        total = next(count for count in range(needed, 2 * needed + 1) if choosing_rows(count) >= needed)
        raise DataError(
            f"{n} {self.label} rows are too few to promise that {self.in_words()}: at least {total} are "
            "needed. Add rows, or give a less strict rate."
        )

    def threshold(self, values: Sequence[float], others: Sequence[float] = ()) -> float:
        """Return the threshold that keeps the promise with 95% confidence, as few digits as possible.

        `values` are those of the rows with the promise's label. The exact binomial bound holds for their
        order statistic although they choose it, and so for every threshold on its safe side. `others` are
        the values of the other label: neither they nor `values` lie between the two.
        """
        if self.kind == "threshold":
            return self.value
        wrong = min(most_hits(len(values), self.errors, CONFIDENCE), len(values))
        scores = [*values, *others]
        if self.kind == "over-refusal":
            low = [math.inf, *sorted(values, reverse=True), 0.0][wrong + 1]
            high = next_above(max(0.0, low), scores)
        else:
            high = [*sorted(values), math.inf][wrong]
            low = max((one for one in scores if one < high), default=0.0)
        if low > 1 or (self.kind == "refusal" and high <= 0):
            raise DataError(
                f"no threshold can promise that {self.in_words()}: too many scores are unknown. "
                "Give a less strict rate."
            )
        return shortest_between(max(0.0, low), min(1.0, high))


def next_above(low: float, scores: Iterable[float]) -> float:
    """Return the lowest of the scores that are above `low`; infinity if none is."""
    return min((one for one in scores if one > low), default=math.inf)


def shortest_between(low: float, high: float) -> float:
    """Return the number with the fewest decimals that is at least `low` and below `high`, or `low`."""
    for digits in range(1, 17):
        found: float = math.ceil(low * 10.0**digits) / 10.0**digits
        if low <= found < high:
            return found
    return low
