"""Command lines in processes that start at once: forked from one that has imported what they need.

Importing torch, TRL and Unsloth takes longer than training a small model. So a test of what a process does
(exit code, output, files, signals, kills) asks for one here. Each is a process of its own, with its own
folder, environment and descriptors; its threads are joined and its exit functions called. It does not show what the libraries print when
they are imported, nor variables that they read then: tests of those start Python itself.
"""

import atexit
import fcntl
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import IO, Any, NoReturn

import pytest

from tests import known_speed

ROOT = Path(__file__).parent.parent
Hook = tuple[str, str, dict[str, Any]]  # module, function and keywords: called in the process, first of all


class Process:
    """A running command line; as much of subprocess.Popen as tests need."""

    def __init__(self, pid: int, line: socket.socket, output: tuple[IO[bytes], ...]) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._line = line
        self._output = output
        self._said: list[str] = []

    def wait(self, timeout: float) -> int:
        """Return the exit code; minus the signal's number if one has killed it."""
        if self.returncode is None:
            self._line.settimeout(timeout)
            try:
                said = self._line.recv(8)
            except TimeoutError:
                self.send_signal(signal.SIGKILL)
                raise
            self.returncode = os.waitstatus_to_exitcode(int.from_bytes(said, "big"))
            self._line.close()
        return self.returncode

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Wait, and return what standard output and standard error got."""
        self.wait(timeout)
        for file in self._output:
            with file:
                file.seek(0)
                self._said.append(file.read().decode(errors="replace"))
        self._output = ()
        return self._said[0], self._said[1]

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        if self.returncode is None and not select.select([self._line], [], [], 0)[0]:
            return None
        return self.wait(0)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)


class Warm:
    """The process that forks others. `hooks` of its methods are called in the new process.

    All who give the same folder share it: the first one starts it, and it ends when the last one has closed.
    """

    def __init__(
        self, folder: Path, imports: str, watcher: Sequence[str] = (), env: Mapping[str, str] | None = None
    ) -> None:
        folder.mkdir(exist_ok=True)
        self._server: subprocess.Popen[bytes] | None = None
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._enter(folder / "door"):
                return
            self._server = start_server(folder, imports, watcher, env)
            assert self._enter(folder / "door"), (folder / "warm.txt").read_text()

    def _enter(self, path: Path) -> bool:
        """Connect to the process, and wait until it is ready; return False if there is none."""
        self._door = socket.socket(socket.AF_UNIX)
        with suppress(OSError):
            self._door.connect(str(path))
            if self._door.recv(1):
                return True
        self._door.close()
        return False

    def start(
        self,
        *arguments: str | Path,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        terminal: int | None = None,
        outputs: tuple[int | None, int | None] = (None, None),
        hooks: Sequence[Hook] = (),
        python: bool = False,
    ) -> Process:
        """Start `alttrain ARGUMENTS`, or `python ARGUMENTS` with -c or -m.

        `terminal` is a handle that it gets as its terminal, or None. `outputs` are the handles that it gets as
        standard output and standard error; what is None is kept.
        """
        given, out, err = (tempfile.TemporaryFile() for _ in range(3))  # noqa: SIM115
        given.write(stdin.encode())
        given.seek(0)
        ours, theirs = socket.socketpair()
        order = {
            "arguments": list(map(str, arguments)), "cwd": str(cwd), "hooks": hooks, "env": dict(env or os.environ),
            "python": python,
        }  # fmt: skip
        kept = [
            mine if mine is not None else one.fileno() for mine, one in zip(outputs, (out, err), strict=True)
        ]
        own = [terminal] * 3 if terminal is not None else [given.fileno(), *kept]
        handles = [theirs.fileno(), *own]
        socket.send_fds(self._door, [b"\0"], handles)
        self._door.sendall(json.dumps(order).encode() + b"\n")
        theirs.close()
        given.close()
        pid = ours.recv(8)
        assert pid, "the warm process has ended: see warm.txt"
        return Process(int.from_bytes(pid, "big"), ours, (out, err))

    def run(
        self, *arguments: str | Path, timeout: float = 300, **options: Any
    ) -> "subprocess.CompletedProcess[str]":
        """Run `alttrain ARGUMENTS` to its end."""
        process = self.start(*arguments, **options)
        stdout, stderr = process.communicate(timeout)
        return subprocess.CompletedProcess([*map(str, arguments)], process.wait(0), stdout, stderr)

    def close(self) -> None:
        """Leave the process; it ends if nobody else is there."""
        self._door.close()
        with suppress(subprocess.TimeoutExpired):
            if self._server:
                self._server.wait(5)


def start_server(
    folder: Path, imports: str, watcher: Sequence[str] = (), env: Mapping[str, str] | None = None
) -> "subprocess.Popen[bytes]":
    """Start the process that forks others; it has a door at once, and opens when it has imported all."""
    folder.mkdir(exist_ok=True)
    (folder / "door").unlink(missing_ok=True)
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    with socket.socket(socket.AF_UNIX) as listener, (folder / "warm.txt").open("wb") as log:
        listener.bind(str(folder / "door"))
        listener.listen()
        return subprocess.Popen(
            [*watcher, sys.executable, "-m", "tests.warm", imports, str(listener.fileno())],
            pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env={**(os.environ if env is None else env), "PYTHONPATH": paths}, cwd=folder,
        )  # fmt: skip


@pytest.fixture(scope="session")
def warm(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """Yield the process that forks others, with the engine imported: for tests marked `model`."""
    yield from _started(pytestconfig, tmp_path_factory, "engine")


@pytest.fixture(scope="session")
def light(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """Yield the process that forks others, without the engine."""
    yield from _started(pytestconfig, tmp_path_factory, "commands")


def _started(config: pytest.Config, factory: pytest.TempPathFactory, imports: str) -> Iterator[Warm]:
    base = factory.getbasetemp()  # workers have one each, in the same folder
    found = Warm((base.parent if hasattr(config, "workerinput") else base) / imports, imports)
    yield found
    found.close()


@pytest.fixture(scope="session")
def libraries(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """Yield the process that forks others, with torch and transformers alone: nothing of ours, no Unsloth.

    The first test that asks for it starts it.
    """
    yield from _started(pytestconfig, tmp_path_factory, "libraries")


class Early:
    """A plugin that spares the workers of `tests.forks` their imports, and starts their warm processes meanwhile."""

    def __init__(self) -> None:
        self._servers: list[subprocess.Popen[bytes]] = []

    @pytest.hookimpl
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Start them on the processors that have nothing to do while one process collects the tests."""
        base = session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
        kinds = ["commands"] if "not model" in session.config.option.markexpr else ["engine", "commands"]
        self._servers = [start_server(base / kind, kind) for kind in kinds]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Iterator[None]:
        import_commands()
        if any(item.get_closest_marker("model") for item in session.items):
            import_engine()
            do_once()
        gc.collect()
        gc.freeze()
        return (yield)

    @pytest.hookimpl
    def pytest_sessionfinish(self) -> None:
        for server in self._servers:
            server.terminate()
            server.wait()


def close_streams(numbers: Sequence[int]) -> None:
    """Close standard streams, and leave Python without them, as if it had been started so: a hook."""
    for number in numbers:
        os.close(number)
        name = ("stdin", "stdout", "stderr")[number]
        for one in (name, f"__{name}__"):
            setattr(sys, one, None)


def wait_for_line(path: Path, process: Process, seconds: float = 300, lines: int = 1) -> None:
    """Wait until a file has so many lines."""
    deadline = time.monotonic() + seconds
    while not path.is_file() or path.read_bytes().count(b"\n") < lines:
        assert process.poll() is None, process.communicate(0)
        assert time.monotonic() < deadline, f"{path} has fewer than {lines} lines"
        time.sleep(0.01)


def import_commands() -> None:
    """Import what all commands need but the engine, and read what never changes."""
    for name in ("build_data", "chat", "eval", "train", "recipes", "study"):
        import_module(f"alttrain_cli.commands.{name}")
    for name in (
        "httpx",
        "httpcore",
        "h11",
        "anyio",
        "certifi",
        "encodings.idna",
        "rich._emoji_codes",
        "psutil",
        "jinja2",
        "prompt_toolkit",
        "rensa",
        "scipy.stats",
        "rich.panel",
        "rich._unicode_data.unicode17-0-0",
        "encodings.utf_16_le",
        "alttrain_cli.backends.rendered_server",
        "alttrain_cli.backends.served_run",
        "alttrain_cli.backends.server",
        "alttrain_cli.cli",
        "alttrain_cli.commands.chat.steps",
        "alttrain_cli.commands.eval.attack_rules",
        "alttrain_cli.commands.build_data.steps",
        "alttrain_cli.commands.eval.rules",
        "alttrain_cli.commands.eval.steps",
        "alttrain_cli.commands.recipes.steps",
        "alttrain_cli.commands.train.steps",
        "alttrain_cli.console.chat",
        "alttrain_cli.console.data",
        "alttrain_cli.console.editor",
        "alttrain_cli.console.live",
        "alttrain_cli.console.reporter",
        "alttrain_cli.console.scorecard",
        "alttrain_cli.console.streams",
        "alttrain_cli.evaluation.evaluate",
        "alttrain_cli.evaluation.generate",
        "alttrain_cli.evaluation.judge",
        "alttrain_cli.evaluation.judge_requests",
        "alttrain_cli.evaluation.judges.card_prompt",
        "alttrain_cli.evaluation.report",
        "alttrain_cli.study.place",
    ):
        import_module(name)
    known_speed.install()
    _fill_caches()


def _fill_caches() -> None:
    """Read what every command reads and none changes. Modules that look for HOME are left to the commands."""
    from alttrain_cli.backends.connection import LIMITS, Connection
    from alttrain_cli.data.starter import starter_rows
    from alttrain_cli.evaluation.judgement import judgement_kind
    from alttrain_cli.evaluation.judges.catalogue import CHOSEN, GRADERS
    from alttrain_cli.evaluation.page.environment import environment
    from alttrain_cli.evaluation.published_tables import all_published
    from alttrain_cli.evaluation.suites.suite import all_suites
    from alttrain_cli.recipe.model import Recipe
    from tests.command_lines import context_of

    all_suites()
    all_published()
    for judge in (*CHOSEN.values(), *GRADERS.values()):
        judgement_kind(judge.measures)
    for direct in (False, True):
        Connection("http://127.0.0.1", "", LIMITS, direct=direct).close()  # which reads the certificates
    for name in environment().list_templates(extensions=["html"]):
        environment().get_template(name)
    for recipe in ("smollm2-135m", "r1-7b"):
        Recipe.load(recipe)
    for split in ("train", "heldout"):
        starter_rows(split)
    for command in ("build-data", "chat", "eval", "train"):
        context_of([command])


def import_engine() -> None:
    """Import the libraries and what the commands take of them."""
    from alttrain_cli.library_output import capture_output

    with capture_output(None):
        for name in (
            "unsloth",
            "datasets",
            "trl",
            "peft",
            "peft.utils.transformers_weight_conversion",
            "torch.utils.serialization.config",
            "alttrain_cli.backends.local",
            "alttrain_cli.console.curve",
            "alttrain_cli.console.training",
            "alttrain_cli.engine.generate",
            "alttrain_cli.training.checks",
            "alttrain_cli.training.train",
        ):
            import_module(name)
        from transformers import AutoTokenizer, DataCollatorForSeq2Seq, LlamaForCausalLM  # noqa: F401
        from transformers.conversion_mapping import get_checkpoint_conversion_mapping
        from trl import SFTConfig, SFTTrainer  # noqa: F401

        get_checkpoint_conversion_mapping("llama")  # of all models, at the first load


def do_once() -> None:
    """Load, save and ask a tiny model: what is the same each time then, templates for one, stays for all commands.

    It trains nothing: once gradients were computed, no process that is forked can compute any.
    """
    from contextlib import closing

    from alttrain_cli.backends.base import Request
    from alttrain_cli.backends.conversation import Conversation
    from alttrain_cli.recipe.model import Sampling
    from tests.trained import load_backend

    sampling = Sampling(max_new_tokens=4, do_sample=False)
    for family in ("r1-llama", "smollm2"):
        with tempfile.TemporaryDirectory() as folder, closing(load_backend(Path(folder), family)) as backend:
            [*backend.complete([Request("", Conversation.of("Hi"))], sampling)]


def import_libraries() -> None:
    """Import what a program with transformers loads, generates and serves with."""
    for name in (
        "transformers.generation.utils",
        "transformers.models.auto.modeling_auto",
        "transformers.models.auto.tokenization_auto",
        "transformers.models.llama.modeling_llama",
    ):
        import_module(name)


def _serve(listener: socket.socket) -> None:
    """Fork until all who came have left, and tell each how its command has ended.

    Nothing is between this process and a command: to fork takes longer than most of what a command does.
    """
    gc.collect()
    gc.freeze()  # so that a collection in a child copies no memory
    woken, wake = socket.socketpair()
    for end in (woken, wake):
        end.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    doors: list[socket.socket] = []
    lines: dict[int, socket.socket] = {}  # to those who wait for a command, by its pid
    while True:
        ready = select.select([woken, listener, *doors], [], [])[0]
        if woken in ready:
            woken.recv(1 << 16)
            _tell_ends(lines)
            continue
        if listener in ready:
            doors.append(listener.accept()[0])
            with suppress(OSError):  # it was killed
                doors[-1].sendall(b"\0")
            continue
        door = ready[0]
        found, handles, *_ = socket.recv_fds(door, 1, 4)
        if not found:
            doors.remove(door)
            if not doors and not select.select([listener], [], [], 0)[0]:
                return
            continue
        text = b""
        while not text.endswith(b"\n") and (some := door.recv(1 << 16)):
            text += some
        line, *given = handles
        if not (child := os.fork()):
            break
        lines[child] = socket.socket(fileno=line)
        for handle in given:
            os.close(handle)
        with suppress(OSError):
            lines[child].sendall(child.to_bytes(8, "big"))
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    os.close(line)
    for one in (listener, woken, wake, *doors, *lines.values()):
        one.close()
    _run(json.loads(text), given)


def _tell_ends(lines: dict[int, socket.socket]) -> None:
    """Tell those who wait for commands that have ended."""
    while lines:
        child, status = os.waitpid(-1, os.WNOHANG)
        if not child:
            return
        with lines.pop(child) as line, suppress(OSError):
            line.sendall(status.to_bytes(8, "big"))


def _run(order: dict[str, Any], handles: list[int]) -> NoReturn:
    for place, handle in enumerate(handles):
        os.dup2(handle, place)
        os.close(handle)
    if os.isatty(0):
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(  # type: ignore[misc]  # noqa: SIM115
        2, "w", 1, errors="backslashreplace", closefd=False
    )
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for module, function, keywords in order["hooks"]:
        getattr(import_module(module), function)(**keywords)
    code: Any = 0
    try:
        (_python if order["python"] else _alttrain)(order["arguments"])
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)  # to take down all modules would take longer than most commands


def _alttrain(arguments: list[str]) -> None:
    sys.argv = ["alttrain", *arguments]
    from alttrain_cli.cli import main

    main()


def _python(arguments: list[str]) -> None:
    option, what, *rest = arguments
    sys.argv = [option, *rest]
    if option == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    if sys.argv[1] == "libraries":
        import_libraries()
    else:
        import_commands()
    if sys.argv[1] == "engine":
        import_engine()
        do_once()
    _serve(socket.socket(fileno=int(sys.argv[2])))
