"""`alttrain serve` as a process: its screen, its end by a signal, and what cannot be served."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from alttrain_cli.cli import app
from alttrain_cli.commands.serve import steps
from alttrain_cli.errors import AlttrainError
from alttrain_cli.serve.server import listen, take_address
from tests.run_folders import make
from tests.scripted import ScriptedBackend
from tests.serve_here import eventually
from tests.terminals import Terminal

# The command with a backend that needs no model: it writes words for as long as one lets it.
PROGRAM = """
import sys
from functools import partial
from tests.scripted import ScriptedBackend
from alttrain_cli.cli import main
from alttrain_cli.commands.serve import steps as serve
from alttrain_cli.serve.limits import ServeLimits
from tests.serve_here import Words

def open_backend(found, progress):
    with progress.status(f"Loading {found.name} ..."):
        backend = Words(500_000, pause=0.005)
        backend.name, backend.base = found.name, ScriptedBackend("As the base.")
        return backend

serve.Serving = partial(serve.Serving, limits=ServeLimits(grace=0.5))
serve.open_backend, serve.warm_up = open_backend, lambda backend: None
sys.argv[0] = "alttrain"
main()
"""
RECIPE = "smollm2-135m"
ROOT = Path(__file__).parent.parent
HI: Any = {"messages": [{"role": "user", "content": "Hi."}]}


# The same with a model that is never loaded: in Python, which notices a signal, or in a library, which does not.
LOADING = """
import time
from alttrain_cli.library_output import capture_output

def open_backend(found, progress):
    with progress.status("Loading ..."), capture_output(None):
        while True:
            time.sleep({seconds})
"""


@contextmanager
def running(
    tmp_path: Path, *arguments: str, program: str = PROGRAM, **environment: str
) -> Iterator["subprocess.Popen[str]"]:
    """Run the command with its standard error in a file."""
    with (tmp_path / "err").open("w") as err:
        process = subprocess.Popen(
            [sys.executable, "-c", program, "serve", RECIPE, "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            stderr=err,
            text=True,
            env={**os.environ, "COLUMNS": "80", "PYTHONPATH": str(ROOT), **environment},
        )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_in_a_pipe_it_writes_plain_lines_and_a_signal_ends_it(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with running(tmp_path) as process:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(8)]
        labels = [line[:12].strip() for line in lines if not line.startswith(" ")]
        assert labels == ["address", "models", "curl", "Python", "Open WebUI"]
        assert max(len(line.rstrip()) for line in lines) <= 80
        assert lines[1].split(maxsplit=1)[1] == f"{RECIPE} (fine-tuned), base (adapter switched off)\n"
        url = lines[0].split()[1]
        with httpx.stream(
            "POST", f"{url}/chat/completions", json={**HI, "stream": True}, timeout=60
        ) as reply:
            events = reply.iter_lines()
            assert next(events).startswith("data: ")
            process.send_signal(number)
            try:
                rest = "".join(events)
            except httpx.RemoteProtocolError:
                rest = "cut"
        assert process.wait(60) == code
        assert "being stopped" in rest
        assert process.stdout.read() == ""
    shown = (tmp_path / "err").read_text().splitlines()
    assert shown[:2] == [f"Loading {RECIPE} ...", "Ctrl-C stops the server."]
    assert shown[-1] == "Interrupted."
    assert all(line.startswith("0 completed · ") for line in shown[2:-1])
    assert len(shown) <= 5


@pytest.mark.parametrize("seconds", [0.05, 600])
def test_a_signal_while_the_model_is_loaded_ends_it_soon(tmp_path: Path, seconds: float) -> None:
    slow = PROGRAM.replace("\nserve.Serving", f"{LOADING.format(seconds=seconds)}\nserve.Serving")
    with running(tmp_path, program=slow) as process:
        eventually(lambda: "Loading" in (tmp_path / "err").read_text())
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
    assert (tmp_path / "err").read_text().splitlines() == ["Loading ...", "Interrupted."]


def test_a_signal_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with running(tmp_path) as process:
            assert process.stdout
            url = process.stdout.readline().split()[1]
            assert httpx.get(f"{url}/models", timeout=60).json()["data"][1]["id"] == "base"
            process.send_signal(signal.SIGINT)
            time.sleep(0.5)
            assert httpx.get(f"{url}/models", timeout=60).status_code == 200
    finally:
        signal.signal(signal.SIGINT, before)


def test_on_a_terminal_it_shows_a_live_line_and_a_curl_line_that_works(tmp_path: Path) -> None:
    with Terminal(
        "serve", RECIPE, "--port", "0", cwd=tmp_path, program=("-c", PROGRAM), PYTHONPATH=str(ROOT)
    ) as screen:
        screen.expect("address", "Ctrl-C stops the server.", "0 completed · 0 in flight")
        url = screen.text.partition("address")[2].split()[0]
        curl = screen.text.partition("curl")[2].partition("Python")[0].replace("\r\n", "\n").strip()
        assert url in curl
        curl = curl.replace(f'"model":"{RECIPE}"', '"model":"base"')
        done = subprocess.run(["sh", "-c", curl], capture_output=True, text=True, check=True)
        assert json.loads(done.stdout)["choices"][0]["message"]["content"] == "As the base."
        screen.expect("1 completed · 0 in flight")
        with httpx.stream(
            "POST", f"{url}/chat/completions", json={**HI, "stream": True}, timeout=60
        ) as reply:
            events = reply.iter_lines()
            assert next(events)
            screen.expect("1 in flight")
            screen.type("\x03")
            assert screen.process.wait(60) == 130
        assert "Traceback" not in screen.text


def test_a_key_is_taken_from_the_environment_and_shown_nowhere(tmp_path: Path) -> None:
    with running(tmp_path, "--api-key-env", "MY_KEY", MY_KEY="s3cret") as process:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(9)]
        url = lines[0].split()[1]
        assert httpx.get(f"{url}/models", timeout=60).status_code == 401
        key = {"Authorization": "Bearer s3cret"}
        assert httpx.get(f"{url}/models", headers=key, timeout=60).status_code == 200
        assert "Bearer $MY_KEY" in "".join(lines[2:7])
        assert 'os.environ["MY_KEY"]' in lines[7]
        assert "s3cret" not in "".join(lines) + (tmp_path / "err").read_text()


def test_other_machines_may_connect_with_a_warning_unless_there_is_a_key(tmp_path: Path) -> None:
    with running(tmp_path, "--host", "0.0.0.0") as process:
        assert process.stdout
        url = process.stdout.readline().split()[1]
        assert url.startswith("http://127.0.0.1:")
        host = {"Host": "mybox.lan"}
        assert httpx.get(f"{url}/models", headers=host, timeout=60).status_code == 200
        eventually(lambda: "Set a key" in (tmp_path / "err").read_text())


def refused(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["serve", *arguments])
    assert done.exit_code == 2, done.output
    assert len(done.stderr.splitlines()) == 1
    return done.stderr


def test_what_cannot_be_served_is_one_line_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"Choose another port: --port {port + 1}" in refused(RECIPE, "--port", str(port))
    assert "this is already a server" in refused("http://localhost:8000/v1")
    assert "holds no key" in refused(RECIPE, "--api-key-env", "NO_SUCH_KEY")
    for name in ("no.such.host.invalid", "a..b", "x" * 70):
        assert "does not know the address" in refused(RECIPE, "--host", name)
    assert "does not have the address. Give 127.0.0.1" in refused(RECIPE, "--host", "192.0.2.1")
    assert "no run" in refused(str(tmp_path))
    assert "is empty" in refused(RECIPE, "--host", "")
    assert "a threshold has no effect here: a model without an adapter" in refused(
        RECIPE, "--threshold", "0.7"
    )
    monkeypatch.setattr("alttrain_cli.serve.server.find_spec", lambda name: None)
    assert "pip install 'alttrain[serve]'" in refused(RECIPE)


@pytest.mark.parametrize(("option", "threshold"), [([], 0.4), (["--threshold", "0.7"], 0.7)])
def test_a_threshold_takes_the_place_of_the_recipes_and_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: list[str], threshold: float
) -> None:
    served: list[Any] = []
    run = make(str(tmp_path / "mine"))
    recipe = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(recipe.replace("threshold: null", "threshold: 0.4"))
    backend = ScriptedBackend(name="mine", unscored="", base=ScriptedBackend(name="base"))
    monkeypatch.setattr(steps, "open_backend", lambda found, progress: backend)
    monkeypatch.setattr(steps, "warm_up", lambda backend: None)
    monkeypatch.setattr(steps, "run_server", lambda serving, taken, show, report: served.append(serving))
    done = CliRunner().invoke(app, ["serve", str(run), "--port", "0", *option], catch_exceptions=False)
    assert done.exit_code == 0
    assert [one.defaults.threshold for one in served] == [threshold]
    assert f"threshold   {threshold} for mine, unless a request has its own" in done.stdout


def test_of_two_servers_that_load_for_one_port_the_second_is_told_another_port() -> None:
    """Both can bind the port; only one of them can accept connections."""
    with take_address("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with take_address("127.0.0.1", port) as second:
            listen(first)
            with pytest.raises(AlttrainError, match=f"in use. Choose another port: --port {port + 1}"):
                listen(second)


@pytest.mark.parametrize(("port", "code", "step"), [(80, errno.EACCES, 8000), (65_535, errno.EADDRINUSE, 0)])
def test_the_port_that_is_suggested_can_be_used(
    monkeypatch: pytest.MonkeyPatch, port: int, code: int, step: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(AlttrainError, match=rf"--port {step}$"):
        take_address("127.0.0.1", port)
