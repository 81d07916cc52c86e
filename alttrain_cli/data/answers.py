"""What a language model answered: asked for once, and on disk the moment it arrives.

The file is the memory of an interrupted run: the next one asks only what is missing, and since
everything that follows reads from here, in the order of the samples, it ends with the same rows.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from alttrain_cli.endpoint import Reply
from alttrain_cli.errors import AlttrainError
from alttrain_cli.files import check_torn, writable
from alttrain_cli.recipe import Generation
from alttrain_cli.template import Message

Question = Sequence[Message]
Ask = Callable[[Iterable[tuple[str, Question]], Generation], Iterator[tuple[str, Reply | AlttrainError]]]

_OPENING = b'{"key": "'  # of each line

OnAnswer = Callable[[int, int, "Usage"], None]  # questions done, questions in all, what they cost


@dataclass(frozen=True)
class Asker:
    """A language model, behind a server or in our own engine."""

    model: str
    ask: Ask


@dataclass
class Usage:
    """What the answers cost that were used, those from earlier runs included."""

    answers: int = 0
    failures: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def tokens(self) -> int:
        """All tokens, asked and answered."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    def facts(self) -> dict[str, int]:
        """Return what the manifest says: the same for an undisturbed run and a resumed one."""
        return {
            "answers": self.answers,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
        }

    def count(self, reply: Reply) -> None:
        """Add one answer."""
        self.answers += 1
        self.prompt_tokens += reply.prompt_tokens
        self.completion_tokens += reply.completion_tokens


class Answers:
    """The answers of one model with one way of generating, for one purpose, kept in a file."""

    def __init__(self, path: Path, asker: Asker, settings: Generation, on_answer: OnAnswer) -> None:
        self.usage = Usage()
        self._path = path
        self._asker = asker
        self._settings = settings
        self._on_answer = on_answer
        self._used: set[str] = set()
        self._places: dict[str, int] = {}
        self._failures: dict[str, str] = {}
        if path.is_file():
            self._index()

    @property
    def model(self) -> str:
        """Who answers."""
        return self._asker.model

    def get(self, question: Question) -> Reply | str | None:
        """Return the answer, the reason why there is none, or None if it was not asked for yet."""
        key = self._key(question)
        if key in self._failures:
            return self._failures[key]
        if key not in self._places:
            return None
        with self._path.open("rb") as file:
            file.seek(self._places[key])
            reply = _reply(json.loads(file.readline()))
        self._count(key, reply)
        return reply

    def fetch(self, questions: Callable[[], Iterable[Question]]) -> int:
        """Ask what is not known, keep every answer as it arrives, and return how many were asked.

        Raises:
            AlttrainError: if the model cannot be asked at all; what arrived before is kept.
        """
        total = sum(1 for _ in self._unknown(questions()))
        if not total:
            return 0
        self._on_answer(0, total, self.usage)
        answers = self._asker.ask(self._unknown(questions()), self._settings)
        for done, (key, reply) in enumerate(answers, 1):
            if isinstance(reply, AlttrainError):
                self._failures[key] = str(reply)
                self.usage.failures += 1
            else:
                self._keep(key, reply)
            self._on_answer(done, total, self.usage)
        return total

    def _unknown(self, questions: Iterable[Question]) -> Iterator[tuple[str, Question]]:
        taken: set[str] = set()
        for question in questions:
            key = self._key(question)
            if key not in self._places and key not in self._failures and key not in taken:
                taken.add(key)
                yield key, question

    def _keep(self, key: str, reply: Reply) -> None:
        line = json.dumps({"key": key, "model": self.model, **reply._asdict()}, ensure_ascii=False) + "\n"
        with writable(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                self._places[key] = file.tell()
                file.write(line.encode())
        self._count(key, reply)

    def _count(self, key: str, reply: Reply) -> None:
        """Count what an answer cost when it is used first, whether it is from this run or an earlier one."""
        if key not in self._used:
            self._used.add(key)
            self.usage.count(reply)

    def _index(self) -> None:
        """Find where each answer stands; cut off a last line that was torn.

        Raises:
            DataError: if the file is somebody else's.
        """
        whole = 0
        with self._path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    check_torn(self._path, line, _OPENING)
                    break
                value = _parse(line)
                if value is not None:
                    self._places[value["key"]] = whole
                whole += len(line)
        if whole < self._path.stat().st_size:
            with writable(self._path):
                os.truncate(self._path, whole)

    def _key(self, question: Question) -> str:
        shaping = [self.model, self._settings.model_dump(mode="json"), list(question)]
        return hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()


def _parse(line: bytes) -> dict[str, Any] | None:
    """Return a whole record; a line that is none is left alone and asked for again."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) and {"key", "model", *Reply._fields} <= value.keys() else None


def _reply(value: dict[str, Any]) -> Reply:
    return Reply(**{name: value[name] for name in Reply._fields})
