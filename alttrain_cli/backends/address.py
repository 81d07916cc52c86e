"""Addresses of servers without their secrets (user, password, keys in the query), and the API key."""

import os
import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from alttrain_cli.backends.base import BackendError

KEY_VARIABLES = ("ALTTRAIN_API_KEY", "OPENAI_API_KEY")
NO_KEY = "none"  # what is sent to a server that wants none

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:[/\\]+", re.IGNORECASE)
_HOST = re.compile(r"[^:]*(:\d*)?|\[.*\](:\d*)?")  # with a port or without one


def is_address(word: str) -> bool:
    """Whether a word names a server, not a model on this machine."""
    return word.startswith(("http://", "https://"))


def addresses(urls: str) -> list[str]:
    """Return the addresses of a list with commas; a comma within an address stays."""
    return list(dict.fromkeys(re.split(r"\s*,\s*(?=https?://)", urls.strip())))


def without_secrets(url: str) -> str:
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


def is_here(url: str) -> bool:
    """Whether an address is on this machine: localhost, or a loopback address."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # another name, or no address at all
        return False


def check_url(text: str) -> str:
    """Return the reason why a text is not a server's address, without the text itself; else nothing."""
    import httpx

    try:
        url = httpx.URL(text)
        host = url.host.encode("idna").decode()
    except (httpx.InvalidURL, ValueError):  # ValueError: a host that no name can have
        return "it cannot be read"
    if url.scheme not in ("http", "https"):
        return "it must begin with http:// or https://"
    if not host or "%" in host or not 0 < (url.port or 1) < 65_536:
        return "host or port is wrong"
    return ""


def key_of_environment() -> str:
    for name in KEY_VARIABLES:
        if key := os.environ.get(name, "").strip():
            if not (key.isascii() and key.isprintable()):
                raise BackendError(f"{name}: the key has characters that no key can have. Set it again.")
            return key
    return NO_KEY


def _without_query(address: str) -> str:
    return re.split("[?#]", address, maxsplit=1)[0]
