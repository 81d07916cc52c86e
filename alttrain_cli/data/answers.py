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
from typing import Annotated, Any

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from alttrain_cli.backends.endpoint import Reply
from alttrain_cli.errors import AlttrainError
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.storage.checked import IGNORE, MOST, read_record
from alttrain_cli.storage.files import check_torn, opened, writable
from alttrain_cli.structure.template import Message

Question = Sequence[Message]
Ask = Callable[[Iterable[tuple[str, Question]], Sampling], Iterator[tuple[str, Reply | AlttrainError]]]

_OPENING = b'{"key": "'  # of each line

OnAnswer = Callable[[int, int, "Usage"], None]  # questions done, questions in all, what they cost


Count = Annotated[int, Field(ge=0, le=MOST)]


class AnswerRecord(TypedDict):
    """A line of the file as it is read back."""

    __pydantic_config__ = IGNORE  # type: ignore[misc]

    key: Annotated[str, Field(min_length=1)]
    model: str
    text: str
    finished: bool
    prompt_tokens: Count
    completion_tokens: Count


_ANSWER = TypeAdapter(AnswerRecord)


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

    def __init__(self, path: Path, asker: Asker, settings: Sampling, on_answer: OnAnswer) -> None:
        self.usage = Usage()
        self._path = path
        self._asker = asker
        self._settings = settings
        self._on_answer = on_answer
        self._used: set[str] = set()
        self._places: dict[str, int] = {}
        self._failures: dict[str, str] = {}
        if path.exists():
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
            reply = _reply(self._parse(file.readline(), f"byte {self._places[key]}"))
        self._count(key, reply)
        return reply

    def fetch(self, questions: Callable[[], Iterable[Question]]) -> int:
        """Ask what is not known, keep every answer as it arrives, and return how many were asked.

        Raises:
            AlttrainError: if the model cannot be asked, or has never answered; what arrived is kept.
        """
        total = sum(1 for _ in self._unknown(questions()))
        if not total:
            return 0
        self._on_answer(0, total, self.usage)
        failed = 0
        answers = self._asker.ask(self._unknown(questions()), self._settings)
        for done, (key, reply) in enumerate(answers, 1):
            if isinstance(reply, AlttrainError):
                self._failures[key] = str(reply)
                self.usage.failures += 1
            else:
                self._keep(key, reply)
            self._on_answer(done, total, self.usage)
            failed += isinstance(reply, AlttrainError)
        if failed == total and not self._places and isinstance(reply, AlttrainError):
            raise reply
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
            DataError: naming the line and the key that is wrong, or if the file is not ours.
        """
        whole = 0
        with opened(self._path) as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    check_torn(self._path, line, _OPENING)
                    break
                if line.strip():
                    self._places[self._parse(line, str(number))["key"]] = whole
                whole += len(line)
        if whole < self._path.stat().st_size:
            with writable(self._path):
                os.truncate(self._path, whole)

    def _parse(self, line: bytes, number: str) -> dict[str, Any]:
        place = f"{self._path}:{number}"
        next_step = f"Remove line {number}, or delete the file: the same command asks for it again."
        record: dict[str, Any] = read_record(_ANSWER, line, place, next_step)
        return record

    def _key(self, question: Question) -> str:
        shaping = [self.model, self._settings.model_dump(mode="json"), list(question)]
        return hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()


def _reply(value: dict[str, Any]) -> Reply:
    return Reply(**{name: value[name] for name in Reply._fields})
