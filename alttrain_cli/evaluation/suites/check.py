"""Checks what is published of each suite: its revision, its hash and its count."""

from importlib.util import find_spec
from typing import NamedTuple

from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.suites.items import is_here, read_suite
from alttrain_cli.evaluation.suites.suite import Suite
from alttrain_cli.network import is_offline


class SuiteCheck(NamedTuple):
    """What was found of a suite's data; `is_right` is None if it was not looked for."""

    name: str
    is_right: bool | None
    found: str


def check_suite(suite: Suite) -> SuiteCheck:
    """Read a suite from where it is published, or from the cache. Nothing is fetched offline."""
    if not is_here(suite) and (suite.source.gated or is_offline()):
        why = "offline" if is_offline() else "it needs a login"
        return SuiteCheck(suite.name, None, f"not on this machine, and not fetched: {why}")
    if suite.needs == "lm-eval" and find_spec("lm_eval") is None:
        return SuiteCheck(suite.name, None, "not read: it needs the extra lm-eval")
    try:
        read = read_suite(suite)
    except DataError as error:
        return SuiteCheck(suite.name, False, str(error))
    count = f"{len(read.items):,} items" + ("" if suite.n else ", a number that is not published")
    revision = f"revision {suite.source.revision[:10]}" if suite.source.revision else "no revision is pinned"
    if suite.source.package:
        revision = "comes with alttrain"
    pinned = "its hash is right" if read.pinned else f"hash {read.sha256}, none is pinned"
    return SuiteCheck(suite.name, True, f"{count}; {revision}; {pinned}")
