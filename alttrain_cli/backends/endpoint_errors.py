"""Explains in one line why a request failed, and the next step; no line contains a key or a password."""

import json
import re
import time
from base64 import b64encode
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any

from alttrain_cli.backends.address import KEY_VARIABLES, NO_KEY, without_secrets
from alttrain_cli.backends.base import BackendError, ContextFullError
from alttrain_cli.backends.connection import ConnectError, SilenceError, StatusError
from alttrain_cli.backends.reply import CutConnectionError, ProtocolError, ReportedError, error_in_words

FAILURES = (CutConnectionError, ProtocolError, StatusError, ReportedError, SilenceError, ConnectError)
REFUSALS = (StatusError, ReportedError)  # of a field; vLLM reports some in a stream, with status 200
_LONGEST = 200  # characters of a server's message
_PASSING = (408, 409, 425, 429)  # and 5xx: another try may help
_RETRIES = 2  # further ones where a server breaks the protocol
# How servers report that a request is longer than their context: OpenAI and vLLM (in two ways), llama.cpp,
# SGLang, TGI.
_FULL = re.compile(
    r"context[ _-]?(length|size|window)|max_model_len|exceed_context|max_new_tokens.* must be <=",
    re.IGNORECASE,
)


def backend_error(failure: Exception, base_url: str, api_key: str, model: str, retries: int) -> BackendError:
    """Return the one line that a user needs; `retries` is how often a passing failure is tried again.

    `model` is empty while the server is asked for its list of models.
    """
    server = without_secrets(base_url)
    match failure:
        case ConnectError():
            text = f"{server}: cannot be reached: {failure}. Start the server, or check the address."
            return BackendError(text, down=True, retries=retries)
        case SilenceError() if not model:
            return BackendError(
                f"{server}: the list of models did not arrive ({failure}). Name the model with --model.",
                down=True,
            )
        case SilenceError():
            return BackendError(
                f"{server}: {failure}. Is it still loading the model, or overloaded? Run the command again.",
                down=True,
            )
        case CutConnectionError():
            return BackendError(
                f"{server}: the connection broke in the middle of the answer. Is the server still running?",
                retries=retries,
            )
        case StatusError():
            return _refusal(failure, server, _Secrets(base_url, api_key), model, retries)
        case ReportedError():
            said = _Secrets(base_url, api_key).hidden(str(failure))
            kind = ContextFullError if _FULL.search(said) else BackendError
            return kind(f"{server}: reports an error: {said}", retries=min(_RETRIES, retries))
        case _:
            return BackendError(
                f"{server}: the response is not a valid OpenAI-compatible response: {failure}. "
                "Check the URL: most server URLs end in /v1.",
                retries=min(_RETRIES, retries),
            )


def all_down(failed: Mapping[str, BackendError]) -> BackendError:
    """Return one error for servers that are all down; a reason that several share is in it once."""
    sharing: dict[str, list[str]] = {}
    for address, error in failed.items():
        sharing.setdefault(str(error).removeprefix(address), []).append(address)
    return BackendError(" ".join(", ".join(names) + reason for reason, names in sharing.items()), down=True)


class _Secrets:
    """What must not appear in a message: the key, and the user, password and query of the address."""

    def __init__(self, base_url: str, api_key: str) -> None:
        import httpx

        url = httpx.URL(base_url)
        both = f"{url.username}:{url.password}"
        raw = url.userinfo.decode("ascii", "replace")
        values = [value for _, value in url.params.multi_items()]
        raw_values = [pair.partition("=")[2] for pair in url.query.decode("ascii", "replace").split("&")]
        self.user, self.key = bool(raw), api_key != NO_KEY
        words = [api_key, both, raw, url.password, raw.partition(":")[2], url.fragment, *values, *raw_values]
        words.append(b64encode(both.encode()).decode())
        self._words = sorted({word for word in words if len(word) > 2 and word != NO_KEY}, key=len)

    def hidden(self, text: str) -> str:
        """Return a server's words without secrets, at a length that fits a message."""
        for word in reversed(self._words):  # the longest first: one may be part of another
            text = text.replace(word, "***")
        return text if len(text) <= _LONGEST else text[:_LONGEST] + " ..."


def _refusal(refused: StatusError, server: str, secrets: _Secrets, model: str, retries: int) -> BackendError:
    """Return the problem that a status other than success means."""
    status, said = refused.status, secrets.hidden(_said(refused.body))
    if why := _always(refused, said, secrets, model, server):
        return BackendError(f"{server}: {why}", fatal=True, status=status)
    if status in (400, 413, 422) and _FULL.search(f"{said} {_kind(refused.body)}"):
        return ContextFullError(f"{server}: status {status}: {said}", status=status)
    passing = status in _PASSING or status >= 500
    wait = _retry_after(refused) if passing else 0.0
    step = "Try again later." if passing else "The server's log may have details."
    step = f"It requests a pause of {wait:.0f} s." if wait else step
    text = f"{server}: status {status}: {said}{'' if said.endswith('.') else '.'} {step}"
    return BackendError(text, status=status, retries=retries if passing else 0, wait=wait)


def _always(refused: StatusError, said: str, secrets: _Secrets, model: str, server: str) -> str:
    """Return why a server refuses every request alike, and what to do; empty if it may take others."""
    if refused.status in (401, 403):
        if secrets.user:
            return f"refuses user and password ({said}). Correct them in the address."
        what = "refuses the key" if secrets.key else "requires a key"
        return f"{what} ({said}). Set {' or '.join(KEY_VARIABLES)}."
    if refused.status == 404:
        if model and server.endswith("/v1"):
            how = f"To list its models: curl {server}/models"
            return f"the server does not know the model {model!r} ({said}). {how}"
        what = f"the server does not know the model {model!r}" if model else "the server lists no models"
        step = "" if model else " Or name the model with --model."
        return f"{what}, or the URL is wrong ({said}). Most server URLs end in /v1.{step}"
    if 300 <= refused.status < 400:
        return f"redirects to {secrets.hidden(refused.target)}. Give that URL instead."
    return ""


def _said(body: bytes) -> str:
    value = _parsed(body)
    if value is None:
        text = body.decode("utf-8", "replace").strip()
        value = "a web page" if text.startswith("<") else text
    return error_in_words(value) or "no reason given"


def _kind(body: bytes) -> str:
    """Return the code and the type that a server gives an error."""
    value = _parsed(body)
    error = value.get("error", value) if isinstance(value, dict) else None
    return f"{error.get('code')} {error.get('type')}" if isinstance(error, dict) else ""


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _retry_after(refused: StatusError) -> float:
    """Return the seconds that the server requests to wait; 0 if there are none that can be read."""
    value = refused.headers.get("Retry-After", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return 0.0
    return max(seconds, 0.0) if isfinite(seconds) else 0.0
