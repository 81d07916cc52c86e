"""Checks what is published of each suite: its revision, its hash and its count."""

from importlib.util import find_spec
from typing import NamedTuple

from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.suites.items import is_here, read_suite
from alttrain_cli.evaluation.suites.suite import Suite
from alttrain_cli.network import is_offline

ONLINE = "To download it, repeat without --offline and HF_HUB_OFFLINE."
_EXTRA = "pip install 'alttrain[lm-eval]'"


class SuiteCheck(NamedTuple):
    """What was found of a suite's data; `is_right` is None if it was not looked for.

    `cure` is what to do about it; empty if it is right.
    """

    name: str
    is_right: bool | None
    found: str
    cure: str = ""


def check_suite(suite: Suite) -> SuiteCheck:
    """Read a suite from where it is published, or from the cache. Nothing is fetched offline."""
    if not is_here(suite) and (suite.source.gated or is_offline()):
        why, cure = ("offline", ONLINE) if is_offline() else ("it needs a login", _login(suite))
        return SuiteCheck(suite.name, None, f"not on this machine, and not fetched: {why}", cure)
    if suite.needs == "lm-eval" and find_spec("lm_eval") is None:
        return SuiteCheck(suite.name, None, "not read: it needs the extra lm-eval", _EXTRA)
    try:
        read = read_suite(suite)
    except DataError as error:
        return SuiteCheck(suite.name, False, str(error), _other_file(suite))
    count = f"{len(read.items):,} items" + ("" if suite.n else ", a number that is not published")
    revision = f"revision {suite.source.revision[:10]}" if suite.source.revision else "no revision is pinned"
    if suite.source.package:
        revision = "comes with alttrain"
    pinned = "its hash is right" if read.pinned else f"hash {read.sha256}, none is pinned"
    return SuiteCheck(suite.name, True, f"{count}; {revision}; {pinned}")


def _login(suite: Suite) -> str:
    return (
        "Accept its terms on the hub. After the login, eval fetches it:\n"
        f"hf auth login\nalttrain eval RUN --suite {suite.name}"
    )


def _other_file(suite: Suite) -> str:
    """Return how to get the published data in place of what is here."""
    source = suite.source
    command = f"alttrain eval RUN --suite {suite.name} --suite-file {suite.name}=FILE"
    if source.package:
        return "This file comes with alttrain. Install alttrain again."
    if not is_here(suite):
        again = "Connect to the network, and repeat."
    elif source.hub:  # the name of a file there is only a link to what was downloaded
        folder = f"datasets--{source.hub.replace('/', '--')}"
        again = f"Delete {folder} in the hub's cache, and repeat: it is downloaded again."
    else:
        again = "Delete this file, and repeat: it is downloaded again."
    return f"{again} Or give the published file:\n{command}"
