"""The sections of a structured completion: their names and their order.

Source: AltTrain (arXiv 2604.18946), section "Method". A style may use another order inside the
reasoning block, or leave a section out; rows and traces carry that order.
"""

from typing import Literal

Section = Literal["understanding", "assessment", "reasoning", "answer"]
Order = tuple[Section, ...]  # of the sections inside the reasoning block

SECTIONS: tuple[Section, ...] = ("understanding", "assessment", "reasoning", "answer")
THOUGHTS: Order = SECTIONS[:-1]  # the default order


def check_order(order: Order) -> Order:
    """Return an order.

    Raises:
        ValueError: if it is empty, holds a section twice, or holds the answer, which always comes last.
    """
    if not order or len(set(order)) < len(order) or not set(order) <= set(THOUGHTS):
        raise ValueError(f"must be some of {', '.join(THOUGHTS)}, each at most once")
    return order


def comes_before(order: Order, first: Section, second: Section) -> bool:
    """Whether both sections are in the order, the first one earlier."""
    return first in order and second in order and order.index(first) < order.index(second)
