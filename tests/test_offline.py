"""Nothing beyond this machine is reached: what the kernel sees of build-data, train, chat and eval."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tiny import settings
from tests.warm import Warm

STRACE = shutil.which("strace")
pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(
        STRACE is None, reason="no strace: apt-get install strace, and connections are watched"
    ),
]
# Each way to reach an address; the kernel stops the processes at nothing else.
CALLS = ["-f", "--seccomp-bpf", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg"]
_ADDRESS = re.compile(
    r'sin6?_port=htons\((\d+)\).*?(?:inet_addr\("|inet_pton\(AF_INET6, "|")([0-9a-fA-F.:]+)"'
)


def watcher(log: Path) -> list[str]:
    return [str(STRACE), *CALLS, "-o", str(log)]


def beyond(log: Path) -> list[str]:
    """Return the lines that name an address of another machine, or a name server of this one."""
    found = []
    for line in log.read_text(errors="replace").splitlines():
        for port, address in _ADDRESS.findall(line):
            if port == "53" or not (address.startswith("127.") or address == "::1"):
                found.append(line)
    return found


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
@pytest.mark.parametrize("kind", ["SOCK_STREAM", "SOCK_DGRAM"])
def test_a_connection_is_seen(address: str, kind: str, tmp_path: Path) -> None:
    family = "AF_INET6" if ":" in address else "AF_INET"
    code = (
        f"import socket as s; one = s.socket(s.{family}, s.{kind}); one.settimeout(0.2)\n"
        f"try: one.connect(({address!r}, 9))\nexcept OSError: pass"
    )
    subprocess.run([*watcher(tmp_path / "log"), sys.executable, "-c", code], check=True)
    assert beyond(tmp_path / "log")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Warm, Path]]:
    """Commands that are watched, the imports of the libraries included; nothing tells them to be offline."""
    folder = tmp_path_factory.mktemp("offline")
    env = {key: value for key, value in os.environ.items() if not key.endswith("_OFFLINE")}
    found = Warm(folder, "engine", watcher(folder / "log"), {**env, "HOME": str(folder)})
    yield found, folder
    found.close()


@pytest.mark.parametrize("model", ["tiny", pytest.param("embedded", marks=pytest.mark.thorough)])
def test_the_journey_on_the_starter_set_reaches_nothing(
    model: str, watched: tuple[Warm, Path], tiny: Path
) -> None:
    warm, home = watched
    folder = home / model
    folder.mkdir()
    env = {key: value for key, value in os.environ.items() if not key.endswith("_OFFLINE")}
    few = ["train.max_steps=1", "train.per_device_train_batch_size=2", "generation.max_new_tokens=4"]
    few += settings(tiny) if model == "tiny" else ["train.learning_rate=0.01", "train.warmup_steps=0"]
    given = [part for one in few for part in ("--set", one)]
    for line in (
        ("build-data", "--source", "starter:8", "--out", "data.jsonl"),
        ("train", "--recipe", "smollm2-135m", "--data", "data.jsonl", "--out", "run", *given),
        ("chat", "run", "-p", "Hi", "--max-new-tokens", "4"),
        ("eval", "./run", "--suite", "smoke", "--limit", "1", "--max-new-tokens", "4"),
        ("eval", "report", "run"),
        ("runs",),
        ("doctor", "--offline"),
    ):
        done = warm.run(*line, cwd=folder, env={**env, "HOME": str(home)})
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == 0 or line[0] in ("chat", "doctor"), (line, done.stderr)
        if line[0] != "doctor":  # which says whether the hub can be reached
            assert beyond(home / "log") == [], line
    assert beyond(home / "log") == []
