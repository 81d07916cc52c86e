"""Names what `make test` leaves to `make thorough`, so that nobody takes it for tested.

Tests with this marker are slow for what they show, and their claims are held by quicker tests too, or are about
scripts that nothing depends on. The weekly job runs them.
"""

from typing import Any

import pytest

_left: set[str] = set()


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Note tests that are left out, without their parameters."""
    _left.update(item.nodeid.partition("[")[0] for item in items if item.get_closest_marker("thorough"))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say which tests were left out."""
    for name in sorted(_left):
        terminalreporter.write_line(f"LEFT TO make thorough: {name}")
