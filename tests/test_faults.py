"""Nothing is lost under fault, at every point at which a command changes a file: docs/faults.md lists them."""

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import pytest

from alttrain_cli.chat.transcript import Transcript
from tests.fault_jobs import BUILD, EVAL, Job, answer, outcome, problems, train_job
from tests.faults import NEEDS_SPACE
from tests.servers import Served, chat_server
from tests.terminals import Terminal
from tests.warm import Hook, Process, Warm

ENDS = {"kill": -signal.SIGKILL, "full": 2, "term": 143, "twice": 130}
COMMANDS = ("build-data", "train", "eval", "chat")
ALL = bool(os.environ.get("ALTTRAIN_ALL_FAULTS"))  # make faults
RANDOM_KILLS = dict.fromkeys(COMMANDS, 10) if ALL else {"build-data": 3, "train": 4, "eval": 3}
DOCS = Path(__file__).parent.parent / "docs" / "faults.md"


class Bench:
    """A folder in which one job is done undisturbed, and others in which a fault happens to it."""

    def __init__(self, job: Job, warm: Warm, place: Path, served: Served) -> None:
        self.job, self.warm, self.place, self.served = job, warm, place, served
        self._count = 0
        folder, asked, begun = self.folder(), len(served.requests), time.monotonic()
        self.points_file = place / "points.txt"
        self.end(self.start(folder, log=self.points_file), 0)
        self.seconds = time.monotonic() - begun
        self.whole, self.requests = outcome(folder), len(served.requests) - asked

    @cached_property
    def points(self) -> list[str]:
        return self.points_file.read_text().splitlines()

    def folder(self) -> Path:
        """Make a folder in which the job can start."""
        self._count += 1
        folder = self.place / f"{self._count}"
        folder.mkdir()
        self.job.prepare(folder)
        return folder

    def start(
        self, folder: Path, kind: str = "", at: int = 0, log: Path | None = None, more: Sequence[Hook] = ()
    ) -> Process:
        """Start the job, or go on with it, with a fault at a point."""
        where = {"root": str(folder), "log": str(log or self.place / "log"), "kind": kind, "at": at}
        return self.job.start(
            self.warm, folder, self.served.base_url, [("tests.faults", "install", where), *more]
        )

    def end(self, process: Process, code: int, *words: str) -> None:
        """Wait for a process that must end so, with these words and without a traceback."""
        out, said = process.communicate(200)
        text = " ".join((out + said).split())
        assert process.returncode == code, text[-1500:]
        assert "Traceback" not in text, text[-3000:]
        assert all(word in text for word in words), text

    def check(self, folder: Path) -> bool:
        """Nothing in the folder looks whole that is not; the same command ends as if nothing had been.

        Return whether work was unfinished.
        """
        assert not problems(folder)
        unfinished = outcome(folder) != self.whole
        self.end(self.start(folder), 0)
        found = outcome(folder)
        assert [name for name in found | self.whole if found.get(name) != self.whole.get(name)] == []
        return unfinished

    def trial(self, kind: str, at: int) -> bool:
        """Let a fault happen and run the command again; return whether work was unfinished."""
        folder, asked = self.folder(), len(self.served.requests)
        self.end(self.start(folder, kind, at), ENDS[kind], *(["the disk is full"] if kind == "full" else []))
        unfinished = self.check(folder)
        assert len(self.served.requests) - asked <= self.requests + 1  # one was on its way
        if kind in ("full", "term"):  # the others leave at once
            assert [str(path.relative_to(folder)) for path in folder.rglob(".*.*")] == []
        shutil.rmtree(folder)
        return unfinished

    def places(self, kind: str) -> list[int]:
        """Return the points to try: the last of each name, for a kill the first too, of a second Ctrl-C some."""
        numbered = list(enumerate(self.points, 1))
        last = {name: at for at, name in numbered}
        first = {name: at for at, name in reversed(numbered)}
        chosen = {*last.values(), *(first.values() if kind == "kill" else ())}
        found = sorted(at for at in chosen if kind != "full" or self.points[at - 1].startswith(NEEDS_SPACE))
        found = found[::3] if kind == "twice" else found
        return found if ALL else found[:: self.job.every]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with chat_server(answer) as found:
        yield found


@pytest.fixture(scope="module", params=["build-data", "eval", pytest.param("train", marks=pytest.mark.model)])
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, served: Served) -> Bench:
    place = tmp_path_factory.mktemp("faults")
    if request.param == "train":
        job, warm = train_job(request.getfixturevalue("tiny")), "warm"
    else:
        job, warm = {"build-data": BUILD, "eval": EVAL}[request.param], "light"
    return Bench(job, request.getfixturevalue(warm), place, served)


@pytest.mark.timeout(3600 if ALL else 900)
@pytest.mark.parametrize("kind", ENDS)
def test_a_fault_at_any_point_loses_nothing(bench: Bench, kind: str) -> None:
    wrong, hits = [], 0
    chosen = bench.places(kind)
    for at in chosen:
        try:
            hits += bench.trial(kind, at)
        except AssertionError as error:
            wrong.append(f"{at}, {bench.points[at - 1]}: {error}")
    assert not wrong, "\n\n".join(wrong)
    assert hits >= len(chosen) - 3, hits  # all but the last points hit unfinished work


def test_kills_at_random_moments_lose_nothing(bench: Bench) -> None:
    chance, kills, hits, seconds = random.Random(25), 0, 0, bench.seconds
    folder, wanted = bench.folder(), RANDOM_KILLS[bench.job.name]
    while kills < wanted:
        is_new, begun = not (folder / "out").exists(), time.monotonic()
        process = bench.start(folder)
        with suppress(TimeoutError):  # after which it is killed
            process.wait(chance.uniform(0, seconds))
            seconds = time.monotonic() - begun if is_new else seconds  # the first of all took longer
        process.communicate(60)
        kills += process.returncode == -signal.SIGKILL
        if outcome(folder) == bench.whole:
            folder = bench.folder()
        else:
            hits += process.returncode == -signal.SIGKILL
    bench.check(folder)
    assert hits >= wanted // 3, hits


def test_a_second_process_in_the_same_folder_is_refused_and_disturbs_nothing(bench: Bench) -> None:
    folder = bench.folder()
    first = bench.start(folder, "pause", len(bench.points) // 2)
    while "T" not in Path(f"/proc/{first.pid}/stat").read_text().rpartition(")")[2][:3]:
        assert first.poll() is None
        time.sleep(0.01)
    before = outcome(folder)
    bench.end(bench.start(folder), 2, "another alttrain process is writing here")
    assert outcome(folder) == before
    first.send_signal(signal.SIGCONT)
    bench.end(first, 0)
    assert outcome(folder) == bench.whole


def test_a_read_only_folder_is_one_line_before_and_in_the_middle(bench: Bench) -> None:
    obey: Hook = ("tests.faults", "obey_permissions", {})
    folder = bench.folder()
    folder.chmod(0o555)
    bench.end(bench.start(folder, more=[obey]), 2, "no permission to write here")
    assert not (folder / "out").exists()
    folder.chmod(0o755)
    bench.end(bench.start(folder, "kill", 2 * len(bench.points) // 3), -signal.SIGKILL)
    before = outcome(folder)
    inner = [path for path in (folder / "out", *(folder / "out").rglob("*")) if path.is_dir()]
    for path in inner:
        path.chmod(0o555)
    bench.end(bench.start(folder, more=[obey]), 2, "no permission to write here")
    assert outcome(folder) == before
    for path in inner:
        path.chmod(0o755)
    bench.check(folder)


class ChatBench:
    """Chats of two turns in a terminal, to which faults happen."""

    def __init__(self, warm: Warm, place: Path, served: Served) -> None:
        self._warm, self._place, self._served = warm, place, served
        self._count = 0
        folder, code, self.said = self.talk()
        assert code == 0, self.said
        self.points = (self._place / f"{self._count}.txt").read_text().splitlines()
        assert prompts(folder) == ["one", "two"]

    def talk(self, kind: str = "", at: int = 0) -> tuple[Path, int, str]:
        """Send two messages and leave; return the folder, the exit code and the screen."""
        self._count += 1
        folder = self._place / f"{self._count}"
        folder.mkdir()
        log = str(self._place / f"{self._count}.txt")
        hooks: list[Hook] = [
            ("tests.faults", "history_in", {"folder": str(folder)}),
            ("tests.faults", "install", {"root": str(folder), "log": log, "kind": kind, "at": at}),
        ]
        line = ("chat", self._served.base_url)
        with Terminal(*line, cwd=folder, warm=self._warm, hooks=hooks) as chat:
            self._wait(chat, "· /help", 1)
            for number, turn in enumerate(("one", "two"), 1):
                chat.type(turn + "\r")
                self._wait(chat, "tokens/s", number)
            while chat.process.poll() is None:
                chat.type("\x04")
                time.sleep(0.05)
            return folder, chat.ended(), " ".join(chat.text.split())

    def _wait(self, chat: Terminal, words: str, times: int) -> None:
        deadline = time.monotonic() + 60
        while chat.text.count(words) < times and chat.process.poll() is None:
            assert time.monotonic() < deadline, chat.text
            time.sleep(0.01)


def prompts(folder: Path) -> list[str]:
    """Return what is saved of a chat, and nothing if there is no file."""
    found = [turn.prompt for path in folder.glob("chats/*.jsonl") for turn in Transcript.load(path).turns]
    assert found == ["one", "two"][: len(found)]
    return found


@pytest.fixture(scope="module")
def chats(light: Warm, tmp_path_factory: pytest.TempPathFactory, served: Served) -> ChatBench:
    return ChatBench(light, tmp_path_factory.mktemp("chats"), served)


def test_a_chat_that_is_killed_keeps_the_turns_that_were_saved(chats: ChatBench) -> None:
    for at, name in enumerate(chats.points, 1):
        folder, code, said = chats.talk("kill", at)
        assert code == -signal.SIGKILL, (name, said)
        done = sum("replace chats" in one for one in chats.points[: at - 1])
        assert len(prompts(folder)) == done, name


def test_a_full_disk_costs_a_chat_one_line_and_no_turn_that_was_saved(chats: ChatBench) -> None:
    for at, name in enumerate(chats.points, 1):
        if name.startswith(NEEDS_SPACE):
            folder, code, said = chats.talk("full", at)
            assert (code, "Traceback" in said) in ((0, False), (2, False)), (name, said)
            assert "the disk is full" in said, (name, said)
            done = sum("replace chats" in one for one in chats.points[: at - 1])
            assert len(prompts(folder)) == done, name


def documented(command: str) -> set[str]:
    """Return the points that docs/faults.md lists for a command."""
    rows = [line.strip("| ").split(" | ") for line in DOCS.read_text(encoding="utf-8").splitlines()]
    table = [row for row in rows if len(row) == 1 + len(COMMANDS)]
    column = table[0].index(f"`{command}`")
    return {row[0].replace("`", "") for row in table[1:] if row[column] == "x"}


def test_the_docs_list_every_point(bench: Bench, chats: ChatBench) -> None:
    assert documented(bench.job.name) == set(bench.points)
    assert documented("chat") == set(chats.points)
