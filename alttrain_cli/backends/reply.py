"""Reads completions from what a server sends: every value is checked before its use."""

import json
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from alttrain_cli.backends.base import Completion, Finish
from alttrain_cli.backends.seen_tokens import WatchedTokens
from alttrain_cli.structure.markers import THINK
from alttrain_cli.structure.verdict import Verdict
from alttrain_cli.structure.verdict_score import VerdictScore
from alttrain_cli.text import escape_hidden

_STARTS_OF_EVENTS = (b"data:", b"event:", b"id:", b"retry:", b":")
_FINISHES = {  # the words of several servers; every other word, and none, means that the model stopped
    **dict.fromkeys(("stop", "eos", "eos_token", "end_turn", "stop_sequence"), Finish.STOP),
    **dict.fromkeys(("length", "max_tokens"), Finish.LENGTH),
    "model_length": Finish.CONTEXT,
    "content_filter": Finish.FILTERED,
}
# Neither an end nor a limit: vLLM and SGLang, for example when they are stopped; DeepSeek.
_BROKEN_OFF = ("abort", "insufficient_system_resource")
_MAY_BE_EMPTY = {reason for reason, finish in _FINISHES.items() if finish is not Finish.FILTERED}
_MOST_TOKENS = 10**9  # a larger count is nonsense
_SHOWN = 200  # characters of a server's message
LONGEST_NAME = 500  # characters of a model's name


class _VerdictField(TypedDict):
    """The field `verdict` of a choice, as our own server writes it."""

    score: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None
    own: Literal["harmful", "benign"]
    written: Literal["harmful", "benign"]


_VERDICT = TypeAdapter(_VerdictField)


class ProtocolError(Exception):
    """A server's answer does not follow the protocol, and how."""


class CutConnectionError(Exception):
    """A connection ended before the answer did."""


class ReportedError(Exception):
    """A server reports an error in the middle of its answer; the text is the server's."""

    @property
    def body(self) -> bytes:
        """The server's words, as a status error has them."""
        return str(self).encode()


class ReplyReader:
    """Takes the lines of one completion, of an event stream or of one JSON object.

    `most` is how many characters the text may have. `watched` gets the tokens, if they are requested.
    """

    def __init__(self, most: int, watched: WatchedTokens | None = None) -> None:
        self._most = most
        self._watched = watched
        if watched:
            watched.forget()  # what a try sent that broke
        self._length = 0
        self._fold = _Fold()
        self._half = ""
        self._streams: bool | None = None  # None: nothing but blank lines so far
        self._lines: list[bytes] = []
        self._reason: str | None = None
        self._usage: dict[str, Any] = {}
        self._score: VerdictScore | None = None
        self._is_raw = False  # the continuation of a rendered prompt, not a message
        self.complete = False  # the server sent the end marker
        self.ending = False  # the finish reason has arrived; only the token counts may follow

    def feed(self, line: bytes) -> str:
        """Take one line without its ending; return the text that it adds, which can be stored in any file.

        Raises:
            ProtocolError: if the line is not what the protocol allows, or the text is longer than `most`.
            ReportedError: if it reports an error.
        """
        if self._streams is None:
            line = line.removeprefix(b"\xef\xbb\xbf")
            if not line.strip():
                return ""
            self._streams = line.startswith(_STARTS_OF_EVENTS)
        if not self._streams:
            self._lines.append(line)
            return ""
        if line.startswith(b"data:"):
            self._lines.append(line[5:].strip())
        return self._event() if not line.strip() else ""

    def end(self) -> str:
        """Take the end of the answer; return what text is left.

        Raises:
            CutConnectionError: if the end marker of the server is missing.
            ProtocolError, ReportedError: as `feed`; also if there is no text, and no reason for that.
        """
        text = self._event() if self._lines else ""
        if not (self.complete or self.ending):
            raise CutConnectionError if self._length else ProtocolError("it sent no answer")
        if self._reason == "error":
            raise ProtocolError("it ended the answer with an error")
        if self._reason in _BROKEN_OFF:
            raise ReportedError(f"it ended the answer too early (finish_reason: {self._reason}).")
        if not self._length and self._reason not in _MAY_BE_EMPTY:
            raise ProtocolError(
                f"it sent no text (finish_reason: {escape_hidden(str(self._reason))[:_SHOWN]})"
            )
        cut = self._finish in (Finish.LENGTH, Finish.CONTEXT)
        return text + self._whole("" if cut else self._fold.end(), last=True)

    def completion(self, text: str) -> Completion:
        """Return the completion with the text that `feed` and `end` returned."""
        opened, closed = (marker in text for marker in (THINK.bare_open, THINK.bare_close))
        if closed and not opened and not self._is_raw:
            text = THINK.open + text  # the opening marker was in the prompt
        details = self._usage.get("completion_tokens_details")
        return Completion(
            text,
            self._finish,
            tokens=token_count(self._usage.get("completion_tokens")),
            prompt_tokens=token_count(self._usage.get("prompt_tokens")),
            reasoning_tokens=token_count(details.get("reasoning_tokens"))
            if isinstance(details, dict)
            else None,
            marked=opened or closed,
            score=self._score,
        )

    @property
    def _finish(self) -> Finish:
        return _FINISHES.get(self._reason or "", Finish.STOP)

    def _event(self) -> str:
        data, self._lines = b"\n".join(self._lines), []
        if not data.strip() or self.complete:
            return ""
        if data.strip() == b"[DONE]":
            self.complete = True
            return ""
        value = parse_reply(data)
        if error := value.get("error") or (value.get("object") == "error" and value):
            raise ReportedError(error_in_words(error))
        self.complete = not self._streams
        return self._whole(self._choice(value))

    def _choice(self, value: dict[str, Any]) -> str:
        """Return the text of one event or of a whole answer."""
        usage = value.get("usage")
        if isinstance(usage, dict):
            self._usage = usage
        choices = value.get("choices")
        if self._streams and (choices == [] or (choices is None and "usage" in value)):
            return ""
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise ProtocolError(f"choices is {_kind(choices)}")
        choice = choices[0]
        reason = choice.get("finish_reason")
        if not isinstance(reason, str | None):
            raise ProtocolError(f"finish_reason is {_kind(reason)}")
        self._reason = self._reason or reason or None  # some servers send "" until the last event
        self.ending = self._reason is not None
        self._score = _score(choice.get("verdict")) or self._score
        return self._written(choice)

    def _written(self, choice: dict[str, Any]) -> str:
        """Return the text of a choice: of a message, or of what follows a rendered prompt."""
        name = "delta" if self._streams else "message"
        message = choice.get(name)
        if message is None and isinstance(choice.get("text"), str):
            self._is_raw = True
            if self._watched:
                self._watched.take(choice)
            return str(choice["text"])
        if message is None and self._streams:
            return ""
        if not isinstance(message, dict):
            raise ProtocolError(f"{name} is {_kind(message)}")
        return self._fold.add(message)

    def _whole(self, text: str, *, last: bool = False) -> str:
        """Return text with its characters whole: some servers send one in two halves."""
        text, self._half = self._half + text, ""
        if not last and "\ud800" <= text[-1:] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        self._length += len(text)
        if self._length > self._most:
            raise ProtocolError(f"it sent more than {self._most:,} characters, more than the requested limit")
        return repair_surrogates(text)


class _Fold:
    """Puts reasoning that a server sends separately back into think markers."""

    def __init__(self) -> None:
        self._thinking = False

    def add(self, message: dict[str, Any]) -> str:
        """Return the next piece of text for one delta or message."""
        text = ""
        reasoning = _text(message, "reasoning_content") or _text(message, "reasoning")
        if reasoning:  # vLLM, SGLang and DeepSeek name it reasoning_content, others reasoning
            text += ("" if self._thinking else THINK.open) + reasoning
            self._thinking = True
        if content := _text(message, "content") or _text(message, "refusal"):
            text += self.end() + content
        return text

    def end(self) -> str:
        was, self._thinking = self._thinking, False
        return THINK.close if was else ""


def repair_surrogates(text: str) -> str:
    """Return text that can be written: surrogate pairs made one character, lone halves U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def parse_reply(data: bytes) -> dict[str, Any]:
    """Return the JSON object in what a server sent.

    Raises:
        ProtocolError: if there is none.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):  # RecursionError: thousands of brackets
        start = data.lstrip()[:1]
        page = " but a web page" if start == b"<" else "" if data.strip() else " but nothing"
        raise ProtocolError(f"it sent no JSON{page}") from None
    if not isinstance(value, dict):
        raise ProtocolError(f"it sent {'null' if value is None else _kind(value)} instead of an object")
    return value


def error_in_words(error: Any) -> str:
    """Return a server's error message as one line that can be printed and stored."""
    for name in ("error", "message", "detail"):
        if isinstance(error, dict) and error.get(name):
            error = error[name]
    return escape_hidden(" ".join(str(error)[: 50 * _SHOWN].split()))


def _text(message: dict[str, Any], name: str) -> str:
    """Return a text field; a list of text parts is joined."""
    value = message.get(name)
    if isinstance(value, list):
        value = "".join(_part(part, name) for part in value)
    if not isinstance(value, str | None):
        raise ProtocolError(f"{name} is {_kind(value)} instead of text")
    return value or ""


def _part(part: Any, name: str) -> str:
    text = part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None
    if not isinstance(text, str):
        raise ProtocolError(f"{name} has a part that is not text")
    return text


def token_count(value: Any) -> int | None:
    """Return a number of tokens if a value can be one."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 <= value <= _MOST_TOKENS else None


def _score(verdict: object) -> VerdictScore | None:
    """Return what `alttrain serve` says of a verdict; None if it says nothing, or another server does."""
    if verdict is None:  # as in every event but the last
        return None
    try:
        said = _VERDICT.validate_python(verdict)
    except ValidationError:
        return None
    harmful, benign = (0.0, 0.0) if said["score"] is None else (said["score"], 1 - said["score"])
    return VerdictScore(harmful, benign, Verdict(said["own"]), Verdict(said["written"]))


def _kind(value: object) -> str:
    if isinstance(value, list) and not value:
        return "an empty list"
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "missing"}
    return names.get(type(value), "a number")
