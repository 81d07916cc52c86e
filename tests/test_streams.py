"""Closed, full and broken streams, and signals: the work is done, or the exit code says that it is not."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from alttrain_cli.data.starter import starter_rows
from alttrain_cli.storage.files import write_jsonl
from tests.servers import Served, chat_server
from tests.tiny import settings
from tests.warm import Process, Warm

REFUSAL = "<think>\nThey ask.\n\nThis is harmful.\n\nNo.\n</think>\n\nI can't help with that."
CLOSED, GONE, FULL = "closed", "gone", "/dev/full"


def opened(how: str) -> int | None:
    """Open a stream that nobody reads any more, or that is full."""
    if how == FULL:
        return os.open(FULL, os.O_WRONLY)
    if how != GONE:
        return None
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def start(*arguments: str, cwd: Path, out: str = "", err: str = "", **options: Any) -> subprocess.Popen[str]:
    """Start the command line with its streams as wanted: read, closed, read by nobody any more, or full."""
    shell = "".join((" >&-" if out == CLOSED else "", " 2>&-" if err == CLOSED else ""))
    files = [opened(one) for one in (out, err)]
    line = ["sh", "-c", f'exec "$@"{shell}', "sh", sys.executable, "-m", "alttrain_cli", *arguments]
    kept = [subprocess.PIPE if one is None else one for one in files]
    process = subprocess.Popen(line, cwd=cwd, text=True, stdout=kept[0], stderr=kept[1], **options)
    for file in files:
        if file is not None:
            os.close(file)
    return process


def run(
    *arguments: str, cwd: Path, out: str = "", err: str = "", warm: Warm | None = None
) -> tuple[int, str, str]:
    """Run the command line to its end; `warm` forks it, else Python itself starts with such streams."""
    if warm:
        files = opened(out), opened(err)
        closed = [number for number, how in enumerate((out, err), 1) if how == CLOSED]
        hooks = [("tests.warm", "close_streams", {"numbers": closed})]
        process: Any = warm.start(*arguments, cwd=cwd, outputs=files, hooks=hooks)
        for file in files:
            if file is not None:
                os.close(file)
    else:
        process = start(*arguments, cwd=cwd, out=out, err=err)
    printed, said = process.communicate(timeout=300)
    assert "Traceback" not in (said or "")
    assert "Exception ignored" not in (said or "")
    return process.returncode, printed or "", said or ""


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with chat_server(lambda *_: REFUSAL) as server:
        yield server


BUILD = ("build-data", "--source", "starter:20", "--suite", "", "--out", "data.jsonl")


def evaluation(served: Served) -> tuple[str, ...]:
    more = ("--suite", "smoke", "--limit", "1", "--no-judge-card", "--out", "ev")
    return ("eval", "--base-url", served.base_url, "--model", "tiny", *more)


@pytest.mark.parametrize(
    ("out", "err"),
    [("", CLOSED), ("", GONE), ("", FULL), (CLOSED, ""), (GONE, ""), (FULL, ""), (CLOSED, CLOSED)],
)
def test_a_command_whose_product_is_a_file_does_its_work(
    out: str, err: str, tmp_path: Path, light: Warm
) -> None:
    code, _, said = run(*BUILD, cwd=tmp_path, out=out, err=err, warm=None if out == CLOSED else light)
    assert code == 0, said
    assert {path.name for path in tmp_path.iterdir()} == {"data.jsonl", "data.manifest.json"}
    assert len((tmp_path / "data.jsonl").read_text().splitlines()) == 20
    # the next file that is opened would get the number of a closed stream, and every message
    assert all(path.read_text().startswith("{") for path in tmp_path.iterdir())
    if out == FULL and not err:
        assert "standard output: cannot write: no space left" in said


@pytest.mark.parametrize(("out", "err"), [("", GONE), (CLOSED, CLOSED)])
def test_an_evaluation_does_its_work(out: str, err: str, tmp_path: Path, served: Served, light: Warm) -> None:
    code, _, said = run(*evaluation(served), cwd=tmp_path, out=out, err=err, warm=light)
    assert code == 0, said
    assert (tmp_path / "ev" / "scorecard.html").is_file()
    card = tmp_path / "ev" / "scorecard.json"
    card.unlink()
    code, _, said = run("eval", "report", "--out", "ev", cwd=tmp_path, out=out, err=err, warm=light)
    assert code == 0, said
    assert card.is_file()


@pytest.mark.parametrize("command", ["show", "chat"])
def test_a_command_whose_product_is_what_it_prints_says_that_it_was_not_read(
    command: str, tmp_path: Path, served: Served, light: Warm
) -> None:
    line = {
        "show": ("recipes", "show", "r1-7b"),
        "chat": ("chat", "--base-url", served.base_url, "-p", "Hi"),
    }[command]
    for err in (CLOSED, GONE):
        code, printed, _ = run(*line, cwd=tmp_path, err=err, warm=light)
        assert code == 0
        assert printed.strip()
    for out in (CLOSED, GONE):
        assert run(*line, cwd=tmp_path, out=out, warm=light)[0] == 141
    assert command == "chat" or run(*line, cwd=tmp_path, out=CLOSED)[0] == 141
    code, _, said = run(*line, cwd=tmp_path, out=FULL, warm=light)
    assert code == 2
    assert "standard output: cannot write: no space left" in said


def test_a_chat_stops_asking_when_nobody_reads(tmp_path: Path, light: Warm) -> None:
    (tmp_path / "many.txt").write_text("\n".join(f"Question {n}" for n in range(50)))
    with chat_server(lambda *_: REFUSAL) as server:
        line = ("chat", "--base-url", server.base_url, "--prompts", "many.txt", "--json")
        assert run(*line, cwd=tmp_path, out=GONE, warm=light)[0] == 141
        assert len(server.requests) < 3


def test_an_error_keeps_its_exit_code_when_it_cannot_be_said(tmp_path: Path, light: Warm) -> None:
    for err in (CLOSED, GONE, FULL):
        assert run("recipes", "show", "nothing", cwd=tmp_path, err=err, warm=light)[0] == 2
        assert run("recipes", "--wrong", cwd=tmp_path, err=err, warm=light)[0] == 2


def when(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 100
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert is_so()


@pytest.fixture
def sample(tmp_path: Path) -> tuple[str, ...]:
    rows = starter_rows("train")[:60:6]
    samples = (
        {"prompt": row.prompt, "response": f"<think>\n{row.reasoning}\n</think>\n\nSo."} for row in rows
    )
    write_jsonl(tmp_path / "s.jsonl", samples)
    return ("build-data", "--source", "s.jsonl", "--suite", "", "--out", "d.jsonl", "--annotator", "endpoint")


def ended_by(process: Process, number: signal.Signals) -> str:
    """Send the signal until the process ends, as a person would; return its standard error."""
    for _ in range(4):  # a signal can arrive where Python drops the exception
        process.send_signal(number)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if process.poll() is not None:
                return process.communicate(60)[1]
            time.sleep(0.02)
    pytest.fail("the process does not end")


@pytest.mark.parametrize(
    ("command", "number"),
    [
        ("build-data", signal.SIGINT),
        ("build-data", signal.SIGTERM),
        ("eval", signal.SIGTERM),
        ("eval", signal.SIGHUP),
    ],
)
def test_a_signal_keeps_what_was_paid_for_and_the_next_run_asks_the_rest(
    number: signal.Signals, command: str, sample: tuple[str, ...], tmp_path: Path, light: Warm
) -> None:
    verdict = '{"understanding": "They ask.", "assessment": "It is harmless.", "verdict": "benign"}'
    stopped = threading.Event()

    def answer(at: int, _: object) -> str:
        if at >= 4:  # so that the signal comes in the middle, however busy the machine is
            stopped.wait(60)
        return verdict if command == "build-data" else REFUSAL

    with chat_server(answer) as server:
        where = ("--base-url", server.base_url, "--model", "tiny", "--concurrency", "1")
        more = ("--suite", "smoke", "--limit", "5", "--no-judge-card", "--out", "ev")
        line = (*sample, *where) if command == "build-data" else ("eval", *where, *more)
        process = light.start(*line, cwd=tmp_path)
        when(lambda: len(server.requests) >= 4)
        said = ended_by(process, number)
        stopped.set()
        assert process.returncode == 128 + number, said
        assert "Interrupted." in said
        assert "Traceback" not in said
        asked = len(server.requests)
        code, _, said = run(*line, cwd=tmp_path, warm=light)
        assert code in (0, 2), said  # 2: where the answers make no rows
        first = {str(request["messages"]) for request in server.requests[: asked - 1]}
        again = [request for request in server.requests[asked:] if str(request["messages"]) in first]
        assert not again
        assert not list(tmp_path.rglob(".*"))


def test_signals_that_are_ignored_stay_so(sample: tuple[str, ...], tmp_path: Path, light: Warm) -> None:
    with chat_server(lambda *_: REFUSAL, seconds=0.1) as server:
        more = ("--suite", "smoke", "--limit", "3", "--no-judge-card", "--out", "ev")
        line = ("eval", "--base-url", server.base_url, "--model", "tiny", "--concurrency", "1", *more)
        hooks = [("signal", "signal", {"signalnum": signal.SIGHUP, "handler": signal.SIG_IGN})]
        process = light.start(*line, cwd=tmp_path, hooks=hooks)
        when(lambda: len(server.requests) >= 2)
        process.send_signal(signal.SIGHUP)
        _, said = process.communicate(60)
        assert process.returncode == 0, said


@pytest.mark.parametrize("pause", [0.0, 0.05])
def test_a_second_signal_while_cleaning_up_is_no_traceback(
    pause: float, sample: tuple[str, ...], tmp_path: Path
) -> None:
    with chat_server(lambda *_: "benign", seconds=0.3) as server:
        process = start(*sample, "--base-url", server.base_url, "--model", "tiny", cwd=tmp_path)
        when(lambda: len(server.requests) >= 2)
        for _ in range(4):
            process.send_signal(signal.SIGINT)
            time.sleep(pause)
        _, said = process.communicate(timeout=60)
        assert process.returncode in (130, -signal.SIGINT), said  # which is 130 for a shell
        assert "Traceback" not in said


def test_a_signal_in_the_last_moment_is_no_traceback() -> None:
    script = (
        "import sys\nfrom alttrain_cli import cli\n"
        "def stopped():\n    raise KeyboardInterrupt\n"
        "cli.leave_at_once = stopped\nsys.argv = ['alttrain', '--version']\ncli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 130
    assert done.stderr == ""


@pytest.mark.model
def test_training_that_nobody_listens_to_ends_with_an_adapter(tiny: Path, tmp_path: Path, warm: Warm) -> None:
    """What the libraries say while they are imported, to standard output that nobody reads: test_model.py."""
    write_jsonl(tmp_path / "rows.jsonl", (row.model_dump() for row in starter_rows("train")[:6]))
    sets = (*settings(tiny), "train.num_train_epochs=1", "generation.max_new_tokens=8")
    options = [part for override in sets for part in ("--set", override)]
    line = ("train", "--recipe", "smollm2-135m", "--data", "rows.jsonl", "--out", "run", *options)
    code, _, said = run(*line, cwd=tmp_path, out=GONE, err=GONE, warm=warm)
    assert code == 0, said
    assert (tmp_path / "run" / "adapter" / "adapter_model.safetensors").is_file()
    assert '"status": "finished"' in (tmp_path / "run" / "manifest.json").read_text()
