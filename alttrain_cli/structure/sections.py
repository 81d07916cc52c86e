"""The sections of a structured completion: their names and their order.

Source: AltTrain (arXiv 2604.18946), section "Method". A style may use another order inside the
reasoning block, or leave sections out. Rows, traces, backends and runs carry that order.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal, cast

from alttrain_cli.errors import RunError

if TYPE_CHECKING:
    from alttrain_cli.storage.run import Run

Section = Literal["understanding", "assessment", "reasoning", "answer"]
Order = tuple[Section, ...]  # of the sections inside the reasoning block

SECTIONS: tuple[Section, ...] = ("understanding", "assessment", "reasoning", "answer")
THOUGHTS: Order = SECTIONS[:-1]  # the default order


def check_order(names: Sequence[str]) -> Order:
    """Return names as an order. The answer is not part of it: it always comes last.

    Raises:
        ValueError: if a name is unknown, or is there twice.
    """
    if len(set(names)) < len(names) or not set(names) <= set(THOUGHTS):
        raise ValueError(f"must be some of {', '.join(THOUGHTS)}, each at most once")
    return cast(Order, tuple(names))


def order_of(run: "Run") -> Order:
    """Return the order of the sections that a run learned."""
    order = run.manifest().order
    try:
        return THOUGHTS if order is None else check_order(order)
    except ValueError as error:
        raise RunError(f"{run.manifest_path}: order {error}. Restore the file from a copy.") from None


def merge_orders(orders: Iterable[Order]) -> Order:
    """Return the one order that all the others are parts of.

    Raises:
        ValueError: naming two orders that do not fit together.
    """
    found = sorted(dict.fromkeys(orders), key=len, reverse=True)
    for whole in (*found, THOUGHTS):
        if all(tuple(name for name in whole if name in order) == order for order in found):
            return whole
    first, other = found[:2]
    raise ValueError(f"{in_words(first)} and {in_words(other)}")


def in_words(order: Order) -> str:
    return " - ".join(order) or "no sections"


def comes_before(order: Order, first: Section, second: Section) -> bool:
    """Whether both sections are in the order, the first one earlier."""
    return first in order and second in order and order.index(first) < order.index(second)
