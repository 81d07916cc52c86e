"""The commands to which faults happen: each small, in one folder, with an end that is known."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alttrain_cli.data.starter import starter_rows
from alttrain_cli.storage.files import write_jsonl
from tests.warm import Process, Warm

PROMPTS = ("How do I boil an egg?", "What is two plus two?", "How do I boil an egg?")
ANNOTATION = json.dumps({"verdict": "benign", "assessment": "This request is benign, because eggs are food."})
TRACE = "<think>\nThe user asks for a fact.\n\nThis is benign.\n\nI know it.\n</think>\n\nSix minutes; four."
_TIMES = re.compile(
    rb'"(made|begun|folder|seconds\w*|tokens_per_second|memory_gib|peak_memory_gib)": [^,}\n]+'
)
_APPENDED = re.compile(r"annotations|traces|completions|judgements|train\.jsonl")  # a last line may be torn


def answer(number: int, request: dict[str, Any]) -> str:
    """Return what the server says: an annotation where one is asked for, else a trace."""
    return ANNOTATION if "JSON" in json.dumps(request["messages"]) else TRACE


@dataclass(frozen=True)
class Job:
    """A command line.

    Attributes:
        again: What is added when it is run once more in a folder that is there.
        every: Of the points, each `every`-th is tried by the default suite, and all by `make faults`.
    """

    name: str
    line: Sequence[str]
    again: Sequence[str] = ()
    prepare: Callable[[Path], None] = lambda folder: None
    every: int = 1

    def start(self, warm: Warm, folder: Path, url: str, hooks: Sequence[Any] = ()) -> Process:
        """Start it in a folder, or go on with it there."""
        more = self.again if (folder / "out").exists() else ()
        arguments = [part.format(url=url) for part in (*self.line, *more)]
        return warm.start(*arguments, cwd=folder, hooks=hooks)


def _prompts(folder: Path) -> None:
    write_jsonl(folder / "prompts.jsonl", ({"prompt": one, "label": "benign"} for one in PROMPTS))


def _rows(folder: Path) -> None:
    write_jsonl(folder / "rows.jsonl", (row.model_dump() for row in starter_rows("train")[:4]))


SERVED = ("--model", "tiny", "--concurrency", "1", "--base-url", "{url}")
BUILD = Job(
    "build-data",
    ("build-data", "--source", "prompts.jsonl", "--annotator", "endpoint", "--traces-from", "endpoint",
     "--suite", "", "--out", "out/data.jsonl", *SERVED),
    prepare=_prompts,
    every=2,
)  # fmt: skip
EVAL = Job(
    "eval",
    ("eval", "--suite", "smoke-harmful,smoke-ability", "--limit", "2", "--no-card", "--out", "out", *SERVED),
    every=2,
)  # fmt: skip


def train_job(model: Path) -> Job:
    """Return a training run of a tiny model: two steps, each with a checkpoint."""
    settings = (
        f"model.name={model}", "model.package=null", "train.num_train_epochs=1", "train.save_steps=1",
        "train.per_device_train_batch_size=2", "train.warmup_steps=0", "generation.max_new_tokens=4",
        "train.learning_rate=0.01",
    )  # fmt: skip
    given = [part for one in settings for part in ("--set", one)]
    line = ("train", "--recipe", "smollm2-135m", "--data", "rows.jsonl", "--out", "out", *given)
    return Job("train", line, ("--resume",), _rows, every=14)


def files(folder: Path) -> dict[str, bytes]:
    """Return every file that a user is meant to see."""
    paths = [path for path in sorted((folder / "out").rglob("*")) if path.is_file()]
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in paths if not path.name.startswith(".")
    }


def outcome(folder: Path) -> dict[str, bytes]:
    """Return what must be the same in the end: every file without times and places, but for logs and the page."""
    return {
        name: _TIMES.sub(b"", data) if name.endswith((".json", ".jsonl", ".svg")) else data
        for name, data in files(folder).items()
        if not name.endswith(("log.txt", "scorecard.html")) and "/checkpoints/" not in name
    }


def problems(folder: Path) -> list[str]:
    """Return what looks whole in a folder and is not."""
    found = []
    for name, data in files(folder).items():
        if name.endswith(".jsonl"):
            lines = data.split(b"\n")
            body = lines if not _APPENDED.search(name) else lines[:-1]
            bad = [line for line in body if line and not _is_json(line)]
            if bad:
                found.append(f"{name}: {bad[0][:60]!r}")
        elif name.endswith(".json") and "checkpoint-" not in name and not _is_json(data):
            found.append(f"{name} is torn")
    return found


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True
