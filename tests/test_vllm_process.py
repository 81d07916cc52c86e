"""vLLM as a process of ours, with a program in its place: it starts, says why not, and never outlives us."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from alttrain_cli.backends import guard, vllm_process
from alttrain_cli.backends.vllm_process import VllmProcess
from alttrain_cli.errors import ModelError
from alttrain_cli.progress import Progress
from tests.fake_vllm import write_program

SECONDS = 60.0  # a busy machine is slow
STARTER = """
import sys, time
from pathlib import Path
from alttrain_cli.backends import vllm_process
from alttrain_cli.errors import stop_on_signals
from alttrain_cli.progress import Progress
stop_on_signals()
vllm_process.LOGS = Path(sys.argv[2])
vllm_process.VllmProcess.start([sys.argv[1], "serve", "m"], "run", Progress())
print("ready", flush=True)
time.sleep(1000)
"""


class Steps(Progress):
    """Keeps what is reported."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    @contextmanager
    def status(self, doing: str) -> Iterator[None]:
        self.seen.append(doing)
        yield


@pytest.fixture(autouse=True)
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(vllm_process, "LOGS", tmp_path / "logs")
    return tmp_path / "logs"


def does(monkeypatch: pytest.MonkeyPatch, **what: object) -> None:
    monkeypatch.setenv("FAKE_VLLM", json.dumps({name: str(value) for name, value in what.items()}))


def command(tmp_path: Path) -> list[str]:
    return [str(write_program(tmp_path)), "serve", "m"]


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        return state != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the second: it ended while the file was read
        with suppress(ProcessLookupError):
            os.kill(pid, 0)
            return not Path("/proc/self").exists()
        return False


def pids_in(path: Path) -> list[int]:
    end = time.monotonic() + SECONDS
    while not (path.is_file() and path.read_text().count(" ")):
        assert time.monotonic() < end
        time.sleep(0.05)
    return list(map(int, path.read_text().split()))


def assert_all_end(pids: list[int]) -> None:
    end = time.monotonic() + SECONDS
    while any(map(is_running, pids)):
        assert time.monotonic() < end, "an orphan"
        time.sleep(0.05)


def test_a_server_is_awaited_used_and_ended_with_its_children(
    tmp_path: Path, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    does(monkeypatch, pids=tmp_path / "pids")
    steps = Steps()
    process = VllmProcess.start(command(tmp_path), "my run", steps)
    pids = pids_in(tmp_path / "pids")
    assert all(map(is_running, pids))
    assert process.version == "0.32.0"
    assert process.url.endswith("/v1")
    assert steps.seen[-1] in (
        "Starting vLLM: loading the weights ...",
        "Starting vLLM: importing its libraries ...",
    )
    assert not any("compiling" in step for step in steps.seen)
    process.close()
    process.close()
    assert_all_end(pids)
    (log,) = logs.iterdir()
    assert "Starting to load model" in log.read_text(encoding="utf-8")


def test_a_server_that_does_not_start_says_why_and_where_its_log_is(
    tmp_path: Path, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    does(monkeypatch, fault="ValueError: No available memory for the cache blocks.")
    with pytest.raises(ModelError, match=r"\(exit code 1\): ValueError: No available memory .*\. Its log: "):
        VllmProcess.start(command(tmp_path), "run", Progress())
    assert (logs / "run.log").is_file()


def test_a_port_that_another_program_took_meanwhile_costs_one_more_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    does(monkeypatch, fault="OSError: [Errno 98] Address already in use", once=tmp_path / "once")
    VllmProcess.start(command(tmp_path), "run", Progress()).close()
    assert (tmp_path / "once").exists()


def test_a_server_that_is_silent_for_too_long_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    does(monkeypatch, slow=1, pids=tmp_path / "pids")
    monkeypatch.setattr(vllm_process, "SILENCE", 1.0)
    with pytest.raises(ModelError, match="silent for 1 s"):
        VllmProcess.start(command(tmp_path), "run", Progress())
    if (tmp_path / "pids").exists():
        assert_all_end(pids_in(tmp_path / "pids"))


@pytest.mark.parametrize("slow", [False, True], ids=["ready", "starting"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_server_is_left_however_the_command_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, slow: bool
) -> None:
    does(monkeypatch, pids=tmp_path / "pids", **({"slow": 1} if slow else {}))
    words = [sys.executable, "-c", STARTER, str(write_program(tmp_path)), str(tmp_path / "logs")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as starter:
        assert starter.stdout is not None
        if not slow:
            assert starter.stdout.readline() == b"ready\n"
        pids = pids_in(tmp_path / "pids")
        starter.send_signal(number)
        starter.wait(SECONDS)
    assert_all_end(pids)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent has ended")
def test_a_guard_that_is_killed_itself_leaves_no_program(tmp_path: Path) -> None:
    says_pid = "import os, time; print(os.getpid(), '.', flush=True); time.sleep(1000)"
    path = tmp_path / "log"
    with path.open("wb") as log:
        started = guard.start([sys.executable, "-c", says_pid], log, os.environ)
    end = time.monotonic() + SECONDS
    while not path.read_text(encoding="utf-8").endswith("\n"):
        assert time.monotonic() < end
        time.sleep(0.05)
    pid = int(path.read_text(encoding="utf-8").split()[0])
    assert is_running(pid)
    started.kill()
    started.wait(SECONDS)
    assert_all_end([pid])
    guard.stop(started)


def test_a_server_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "PATIENCE", 0.2)
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(1000)"
    program = subprocess.Popen(
        [sys.executable, "-c", stubborn], stdout=subprocess.PIPE, start_new_session=True
    )
    assert program.stdout is not None
    assert program.stdout.readline() == b"on\n"
    guard.end(program)
    assert program.wait(SECONDS) == -signal.SIGKILL
    program.stdout.close()
