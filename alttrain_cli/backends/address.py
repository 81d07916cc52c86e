"""Addresses of servers without their secrets: user, password, and keys in the query."""

import re

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:[/\\]+", re.IGNORECASE)
_HOST = re.compile(r"[^:]*(:\d*)?|\[.*\](:\d*)?")  # with a port or without one


def shown(url: str) -> str:
    """Return an address without user information, query and fragment, for files and messages.

    Where a password was not escaped and makes the address ambiguous, more is cut rather than less.
    """
    scheme = match.group() if (match := _SCHEME.match(url)) else ""
    rest = url[len(scheme) :]
    authority = re.split(r"[/\\?#]", rest, maxsplit=1)[0]
    if "@" in authority:
        rest = _without_query(rest).rpartition("@")[2]
    elif not _HOST.fullmatch(authority):
        rest = rest.rpartition("@")[2]
    return scheme + _without_query(rest)


def _without_query(address: str) -> str:
    return re.split("[?#]", address, maxsplit=1)[0]
