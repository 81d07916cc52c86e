"""The data of a suite, from the package, a file or the hub."""

from pathlib import Path

from alttrain_cli import console
from alttrain_cli.engine import quiet
from alttrain_cli.evaluation.suites.items import Reading, read_suite
from alttrain_cli.evaluation.suites.suite import Suite


def suite_data(suite: Suite, given: Path | None) -> Reading:
    """Read a suite; where that may mean the network, say so, and keep the libraries' talk away.

    Raises:
        DataError: as `read_suite`.
    """
    if given or suite.source.package:
        return read_suite(suite, given)
    with console.status(f"Looking for {suite.name} ..."), quiet.captured(None):
        return read_suite(suite)
