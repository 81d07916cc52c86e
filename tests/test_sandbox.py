"""The sandbox for generated code. Each attack first succeeds in a plain process, as the old judge started one."""

import json
import os
import platform
import secrets
import shutil
import socket
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import alttrain_cli
from alttrain_cli.cli import app
from alttrain_cli.evaluation import judge as eval_judges
from alttrain_cli.evaluation.judgement import JudgementState
from alttrain_cli.evaluation.judges import code as code_judge
from alttrain_cli.evaluation.suites.suite import Item
from alttrain_cli.sandbox import probe
from alttrain_cli.sandbox.literals import LiteralError, dump, load
from alttrain_cli.sandbox.runner import CodeResult, run
from tests.servers import chat_server

if probe.refusal():
    pytest.skip(f"no sandbox here: {probe.refusal()}", allow_module_level=True)

STUB = 'def double(x):\n    """Twice x."""\n    pass\n'
CHECK = "def check(f):\n    assert f(2) == 4\n    assert f(5) == 10\n\ncheck(double)\n"
GOOD = "def double(x):\n    return 2 * x\n"
SECONDS = 30  # more than any of these takes on a machine that is busy


def plain(stub: str, code: str, tests: str, seconds: float = SECONDS) -> CodeResult:
    """Judge as it was done before: one interpreter, and a word at the end that says that all passed."""
    word = secrets.token_hex()
    program = f"{stub}\n{code}\n\n{tests}\nprint({word!r})\n"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program],
        env={},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        start_new_session=True,  # what it kills is not this test
    )
    return CodeResult(done.returncode == 0 and done.stdout.rstrip().endswith(word), done.stderr[-300:])


CHEATS = {
    "says the word that it finds in its own command": (
        "import os, re, sys\n"
        "sys.stdout.write(re.findall(r\"print\\('(\\w+)'\\)\", sys.orig_argv[-1])[-1])\n"
        "sys.stdout.flush()\nos._exit(0)"
    ),
    "says the word that it finds in /proc": (
        "import os, re\n"
        "print(re.findall(r\"print\\('(\\w+)'\\)\", open('/proc/self/cmdline').read())[-1], flush=True)\nos._exit(0)"
    ),
    "says the word that it finds in the frame": (
        "import os, sys\n"
        "print(max((c for c in sys._getframe().f_code.co_consts if isinstance(c, str)), key=lambda c: len(c) * c.isalnum()), flush=True)\n"
        "os._exit(0)"
    ),
    "returns what equals everything": (
        "class Any(int):\n    __eq__ = lambda self, other: True\n    __hash__ = int.__hash__\n"
        "def double(x):\n    return Any()"
    ),
    "reads the expected values in the caller's frame": (
        "import sys\ndef double(x):\n"
        "    consts = [c for c in sys._getframe(1).f_code.co_consts if isinstance(c, int)]\n"
        "    return consts[consts.index(x) + 1]"
    ),
}


@pytest.mark.parametrize("cheat", CHEATS.values(), ids=CHEATS)
def test_code_that_cheats_was_right_and_is_wrong(cheat: str) -> None:
    assert plain(STUB, cheat, CHECK).correct is True
    assert run(STUB, cheat, CHECK, SECONDS).correct is False


def test_code_that_ends_the_tests_iteration_is_wrong() -> None:
    tests = "assert all(map(lambda x: double(x) == 2 * x, [1, 2]))\n"
    code = "def double(x):\n    raise StopIteration"
    assert plain(STUB, code, tests).correct is True
    assert run(STUB, code, tests, SECONDS).correct is False


class Surroundings(NamedTuple):
    """What code must not reach: a process with a secret in its environment, a listener, a folder with a file."""

    process: int
    port: int
    folder: str


@pytest.fixture
def around(tmp_path: Path) -> Iterator[tuple[Surroundings, "subprocess.Popen[bytes]", socket.socket]]:
    (tmp_path / "kept").write_text("canary")
    victim = subprocess.Popen(["sleep", "100"], env={"SECRET": "canary"}, start_new_session=True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield Surroundings(victim.pid, listener.getsockname()[1], str(tmp_path)), victim, listener
    victim.kill()
    victim.wait()


# Each returns True where it reaches its end.
ATTACKS = {
    "reads a file": "open(folder + '/kept').read() == 'canary'",
    "reads an environment": "b'canary' in open(f'/proc/{process}/environ', 'rb').read()",
    "lists a folder": "'kept' in os.listdir(folder)",
    "writes a file": "open(folder + '/new', 'w').write('x') == 1",
    "writes over a file": "open(folder + '/kept', 'r+').write('x') == 1",
    "deletes a file": "os.unlink(folder + '/kept') is None",
    "renames a file": "os.rename(folder + '/kept', folder + '/new') is None",
    "makes a folder": "os.mkdir(folder + '/new') is None",
    "makes a symbolic link": "os.symlink(folder + '/kept', folder + '/new') is None",
    "makes a hard link": "os.link(folder + '/kept', folder + '/new') is None",
    "changes rights": "os.chmod(folder + '/kept', 0) is None",
    "truncates a file": "os.truncate(folder + '/kept', 0) is None",
    "fills a disk": "[open(folder + f'/new{n}', 'wb').write(bytes(2**16)) for n in range(9)] and True",
    "leaves shared memory": "shared_memory.SharedMemory(create=True, size=9).unlink() is None",
    "takes System V memory": "libc.shmget(0, 4096, 0o1600) >= 0",
    "takes memory by a file": "os.memfd_create('x') > 0",
    "makes a socket": "bool(socket.socket())",
    "makes a virtual socket": "bool(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))",
    "connects": "bool(socket.create_connection(('127.0.0.1', port), 1))",
    "signals": "os.kill(process, 0) is None",
    "kills": "os.kill(process, 9) is None",
    "kills a group": "os.killpg(process, 9) is None",
    "limits another process": "bool(resource.prlimit(process, resource.RLIMIT_CPU))",
    "slows another process": "os.setpriority(os.PRIO_PROCESS, process, 19) is None",
    "traces": "libc.ptrace(16, process, 0, 0) == 0",
    "writes to another process's memory": "open(f'/proc/{process}/mem', 'r+b') is not None",
    "looks at its own descriptors": "len(os.listdir('/proc/self/fd')) > 0",
    "forks": "os.fork() >= 0",
    "forks a daemon": "os.fork() or os.setsid() or True",
    "runs a program": "subprocess.run(['/bin/true']).returncode == 0",
    "runs a shell": "libc.system(b'exit 0') == 0",
    "starts a thread": "threading.Thread(target=int).start() is None",
    "makes a namespace": "libc.unshare(0x400) == 0",
    "changes its own limits": "resource.setrlimit(resource.RLIMIT_CORE, (0, 0)) is None",
    "ignores the alarm": "signal.signal(signal.SIGALRM, signal.SIG_IGN) is not None",
    "survives its parent": "libc.prctl(1, 0, 0, 0, 0) == 0",
}
ATTACK_STUB = "def attack(process, port, folder):\n    pass\n"
ATTACK = """\
{}

def attack(process, port, folder):
    return {}
"""
# What a name in an attack needs. Each process imports its own alone: all of them take longer than Python's start.
NEEDS = {
    "libc": "import ctypes\nlibc = ctypes.CDLL(None)",
    "os": "import os",
    "resource": "import resource",
    "shared_memory": "from multiprocessing import shared_memory",
    "signal": "import signal",
    "socket": "import encodings.idna, socket",
    "subprocess": "import subprocess",
    "threading": "import threading",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_code_that_reaches_out_does_so_in_a_plain_process_and_not_in_the_sandbox(
    attack: str, around: tuple[Surroundings, "subprocess.Popen[bytes]", socket.socket], tmp_path: Path
) -> None:
    surroundings, victim, listener = around
    needs = [line for name, line in NEEDS.items() if f"{name}." in ATTACKS[attack]]
    code = ATTACK.format("\n".join(needs), ATTACKS[attack])
    tests = f"assert attack{tuple(surroundings)!r}\n"
    assert run(ATTACK_STUB, code, tests, SECONDS).correct is False
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept").read_text() == "canary"
    assert victim.poll() is None
    with pytest.raises(BlockingIOError):
        listener.accept()
    assert plain(ATTACK_STUB, code, tests).correct is True, plain(ATTACK_STUB, code, tests).reason


def test_code_sees_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALTTRAIN_API_KEY", "canary")
    seen = "import os\nassert os.environ.get('ALTTRAIN_API_KEY') == 'canary'\n"
    subprocess.run([sys.executable, "-I", "-S", "-c", seen], check=True)  # a plain process inherits it
    assert run(STUB, f"{seen}{GOOD}", CHECK, SECONDS).correct is False
    bare = "import os\nassert {*os.environ} <= {'LC_CTYPE'}\n"  # which Python sets itself
    assert run(STUB, f"{bare}{GOOD}", CHECK, SECONDS).correct is True


# Code that does something when it is loaded. It leaves a file where it got through, at once or later.
LOADED = {
    "becomes another program": "os.execv('/bin/sh', ['sh', '-c', 'echo > ' + NEW])",
    "has a child that outlives it": (
        "if not os.fork():\n    os.setsid()\n    os.close(1)\n    os.close(2)\n    time.sleep(0.5)\n    open(NEW, 'w')\n    os._exit(0)"
    ),
}


@pytest.mark.parametrize("code", LOADED.values(), ids=LOADED)
def test_code_leaves_nothing_behind(code: str, tmp_path: Path) -> None:
    for judge in (run, plain):
        new = tmp_path / judge.__name__
        judge(STUB, f"import os, time\nNEW = {str(new)!r}\n{code}\n{GOOD}", CHECK, SECONDS)
    wait_for((tmp_path / "plain").exists)  # its code began later
    assert [path.name for path in tmp_path.iterdir()] == ["plain"]


MACHINE_CODE = """\
import ctypes, mmap

def double(x):
    memory = mmap.mmap(-1, 4096, prot=7)
    memory.write(bytes.fromhex("{}"))
    call = ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
    return call()
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="machine code for x86-64")
@pytest.mark.parametrize(
    "machine_code", ["b814000000cd80c3", "b86e0000000f05c3"], ids=["getpid by int 0x80", "getppid by syscall"]
)
def test_machine_code_has_no_more_ways_than_python(machine_code: str) -> None:
    code, tests = MACHINE_CODE.format(machine_code), "assert double(0) > 0\n"
    assert plain(STUB, code, tests).correct is True
    assert run(STUB, code, tests, SECONDS).correct is False


# Run as a process of its own, as `eval` is one: what the code kills is this, or nothing.
JUDGE = """\
import subprocess, sys
sys.path.insert(0, sys.argv[1])
from alttrain_cli.sandbox.runner import run
stub, code, tests, how = sys.argv[2:6]
if how == "run":
    print(run(stub, code, tests, 10).correct)
else:
    subprocess.run([sys.executable, "-c", code + tests])
    print("alive")
"""
ROOT = str(Path(alttrain_cli.__file__).parents[1])


def judged_apart(code: str, how: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", JUDGE, ROOT, STUB, code, CHECK, how]
    return subprocess.run(command, capture_output=True, text=True, start_new_session=True, **options)


@pytest.mark.parametrize(
    "target", ["os.kill(os.getppid(), 9)", "os.kill(0, 9)", "os.killpg(os.getpgid(0), 9)"]
)
def test_code_cannot_kill_who_judges_it(target: str) -> None:
    code = f"import os\ntry:\n    {target}\nexcept OSError:\n    pass\n{GOOD}"
    assert judged_apart(code, "plain").returncode == -9
    done = judged_apart(code, "run")
    assert (done.returncode, done.stdout) == (0, "True\n")  # it is right, and did no harm


def test_sleeping_code_ends_with_a_judge_that_is_killed() -> None:
    code = f"import time\ntime.sleep(60)\n{GOOD}"
    command = [sys.executable, "-c", JUDGE, ROOT, STUB, code, CHECK, "run"]
    with subprocess.Popen(command, start_new_session=True) as judge:
        children = wait_for(lambda: len(found := psutil.Process(judge.pid).children()) == 2 and found)
        time.sleep(1.0)  # until the code is loaded: then it sleeps
        judge.kill()
    wait_for(lambda: not any(child.is_running() and child.status() != "zombie" for child in children))


def wait_for(found: Any, seconds: float = 60.0) -> Any:
    end = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)
    return result


ENDLESS = {
    "runs": "while True: pass",
    "sleeps": "import time; time.sleep(60)",
    "ignores signals": "import signal\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n    except Exception: pass\nimport time; time.sleep(60)",
    "writes": "import time\nwhile True: print('x' * 2**20); time.sleep(0.01)",
    "writes errors": "import sys, time\nwhile True: sys.stderr.write('x' * 2**20); time.sleep(0.01)",
}


@pytest.mark.parametrize("code", ENDLESS.values(), ids=ENDLESS)
def test_endless_code_ends_in_time_and_is_wrong(code: str) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        plain(STUB, code, CHECK, 0.3)
    before = psutil.Process().children()
    assert run(STUB, code, CHECK, 1) == CodeResult(False, "timeout")
    assert psutil.Process().children() == before


# Written to every descriptor that is open: one of them is the channel.
WRITES = "import os\ndef everywhere(data):\n    for n in range(64):\n        try: os.write(n, data)\n        except OSError: pass\n"
GARBAGE = {
    "garbage": "everywhere(b'garbage\\n')",
    "a verdict": 'everywhere(b\'{"correct": true, "reason": null}\\n\')',
    "a packed verdict": 'everywhere(b\'["dict", ["correct", true], ["reason", null]]\\n\')',
    "answers": 'everywhere(b\'["dict", ["value", true]]\\n\' * 9)',
    "an unknown kind": "everywhere(b'[\"object\", 1]\\n')",
    "a deep answer": "everywhere(b'[' * 10**6 + b'\\n')",
    "an answer without an end": "while True: everywhere(b'x' * 2**20)",
    "half an answer": "everywhere(b'[\"dict\"')\nos._exit(0)",
    "nothing": "os.closerange(0, 64)",
    "nothing, and ends": "os._exit(0)",
    "nothing, and breaks": "import ctypes\nctypes.string_at(0)",
}


@pytest.mark.parametrize("code", GARBAGE.values(), ids=GARBAGE)
def test_what_code_writes_to_the_channel_does_not_make_it_right(code: str) -> None:
    assert run(STUB, f"{WRITES}{code}\ndef double(x):\n    return True", CHECK, SECONDS).correct is False


def test_output_does_not_fill_the_judges_memory() -> None:
    code = f"import sys\nfor _ in range(100): print('x' * 2**20)\n{GOOD}"
    assert len(subprocess.run([sys.executable, "-c", code], capture_output=True).stdout) > 10**8
    tracemalloc.start()
    try:
        assert run(STUB, code, CHECK, SECONDS).correct is True
        assert tracemalloc.get_traced_memory()[1] < 10**7
    finally:
        tracemalloc.stop()


WRONG = {
    "nothing": "",
    "NUL": "\0",
    "NUL in code": f"{GOOD}\0",
    "a lone surrogate": f"{GOOD}# \ud800",
    "a lone surrogate in a text": f"{GOOD}x = '\udfff'",
    "200 KB": f"{GOOD}x = '{'y' * 200_000}'\nboom",
    "10 MB": f"x = '{'y' * 10**7}'\n{GOOD}",
    "deep brackets": "(" * 50_000,
    "deep sum": f"x = {'+'.join('1' * 100_000)}",
    "no syntax": "def double(x: return",
    "sys.exit": f"import sys\nsys.exit(0)\n{GOOD}",
    "raises what no one knows": "class Odd(BaseException): pass\ndef double(x): raise Odd",
    "an exception without words": "class Odd(Exception):\n    def __str__(self): raise Odd\ndef double(x): raise Odd",
    "another name": "def treble(x): return 2 * x",
    "no function": "double = 4",
    "deep recursion": "import sys\nsys.setrecursionlimit(10**9)\ndef double(x):\n    a = []\n    for _ in range(2 * 10**5): a = [a]\n    return len(repr(a))",
    "too much memory": "def double(x): return len(bytes(2**34))",
    "much memory, bit by bit": "def double(x):\n    a = []\n    while True: a.append(bytes(2**20))",
    "a generator": "def double(x): yield 2 * x",
    "an endless iterator": "import itertools\ndef double(x): return itertools.repeat(4)",
    "a list that holds itself": "def double(x):\n    a = []\n    a.append(a)\n    return a",
    "a function": "def double(x): return double",
    "reads the input": f"input()\n{GOOD}",
    "imports what is not there": f"import numpy\n{GOOD}",
    "imports what acts": "import antigravity, venv.__main__, this\ndef double(x): return 0",
}


@pytest.mark.parametrize("code", WRONG.values(), ids=WRONG)
def test_bad_code_is_wrong_and_nothing_more(code: str) -> None:
    assert run(STUB, code, CHECK, SECONDS).correct is False


RIGHT = {
    "plain": GOOD,
    "a future import": f"from __future__ import annotations\n{GOOD}",
    "a main part": f"{GOOD}\nif __name__ == '__main__':\n    import sys\n    print(input())\n    sys.exit(1)",
    "prints": "print('hello')\ndef double(x):\n    print(x, flush=True)\n    return 2 * x",
    "a class that is a number": "class Int(int): pass\ndef double(x): return Int(2 * x)",
    "a dataclass": "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass Box:\n    x: int\ndef double(x): return Box(x).x * 2",
    "imports": "import collections.abc, concurrent.futures, datetime, hashlib, os.path, re, sys, time, typing\nfrom decimal import Decimal\nfrom random import randint\ndef double(x):\n    time.strptime('2020', '%Y')\n    collections.Counter('aab').most_common(1)\n    hashlib.sha256(b'').hexdigest()\n    return int(Decimal(x) * randint(2, 2))",
    "an import within": "def double(x):\n    import heapq\n    return heapq.nlargest(1, [2 * x])[0]",
    "names of characters": "s = '\\N{BULLET}'\ndef double(x): return 2 * x",
    "keeps a state": "seen = []\ndef double(x):\n    seen.append(x)\n    return 2 * seen[-1]",
    "recursion": "def double(x): return 0 if x == 0 else 2 + double(x - 1)",
    "expects no input": f"try:\n    input()\nexcept EOFError:\n    pass\n{GOOD}",
    "sleeps a little": "import time\ndef double(x):\n    time.sleep(0.01)\n    return 2 * x",
}


@pytest.mark.parametrize("code", RIGHT.values(), ids=RIGHT)
def test_good_code_is_right(code: str) -> None:
    assert run(STUB, code, CHECK, SECONDS) == CodeResult(True)


VALUES = "(0, -1, True, None, 1.5, float('inf'), 1j, 'a', b'a', [(), {}], {'a': {1, 2}, 3: [4]}, 10**5000)"
TESTS = {
    "every plain value": f"value = {VALUES}\nassert double(value) == value * 2\n",
    "not a number": "import math\nassert math.isnan(double(float('nan')))\n",
    "kinds": "assert type(double([1])) is list\nassert type(double((1,))) is tuple\nassert double(False) == 0\n",
    "keywords": "assert double(x=2) == 4\n",
    "an expected exception": "try:\n    double(None)\nexcept TypeError as error:\n    assert 'NoneType' in str(error)\nelse:\n    raise AssertionError\n",
    "helpers": "from random import randint\nn = randint(1, 9)\nassert half(double(n)) == n\n",
    "the function by its name": "def check(candidate):\n    assert candidate([1]) == double([1])\ncheck(double)\n",
}


@pytest.mark.parametrize("tests", TESTS.values(), ids=TESTS)
def test_checks_may_use_plain_values_helpers_of_the_prompt_and_exceptions(tests: str) -> None:
    stub = f"def half(x):\n    return x // 2\n\n{STUB}"
    assert run(stub, GOOD, tests, SECONDS) == CodeResult(True)
    assert run(stub, "def double(x):\n    return 70", tests, SECONDS).correct is (
        tests == TESTS["the function by its name"]
    )


@pytest.mark.parametrize(
    ("stub", "tests"),
    [("x = 1\n", CHECK), ("def double(x):\n", CHECK), (STUB, "def check("), (STUB, "")],
    ids=["no function", "a torn prompt", "torn tests", "no tests"],
)
def test_broken_tests_say_nothing_of_the_code(stub: str, tests: str) -> None:
    outcome = run(stub, GOOD, tests, SECONDS)
    assert outcome.correct is None
    assert "test" in (outcome.reason or "")


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner)
    ),
)


@given(plain_values)
def test_a_plain_value_comes_back_as_it_was(value: object) -> None:
    assert repr(load(dump(value))) == repr(value)


@given(st.binary() | st.text().map(lambda text: json.dumps([text, text]).encode()))
def test_a_line_that_is_no_value_is_a_literal_error(line: bytes) -> None:
    with suppress(LiteralError):
        load(line)


@settings(max_examples=20, deadline=None)
@given(
    st.text(alphabet=st.characters(exclude_categories=()))
    | st.text("def double(x):\n retun2*[]{}'\"\\", max_size=80)
)
@example("```python\n\0\ud800\n```")
def test_no_text_raises_or_is_right(text: str) -> None:
    judgement = code_judge.judge_code(text, Item("1", "p", stub=STUB.removesuffix("    pass\n"), tests=CHECK))
    assert judgement.correct is False
    json.dumps(judgement._asdict()).encode()
    (judgement.raw or "").encode()


def test_an_ordinary_user_is_confined_as_well(tmp_path: Path) -> None:
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if os.geteuid() != 0 or not python:
        pytest.skip("needs to be root, and a Python that everyone may run")
    for name in ("__init__.py", "sandbox"):
        source, copy = Path(ROOT, "alttrain_cli", name), tmp_path / "alttrain_cli" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, copy) if source.is_dir() else shutil.copy(source, copy)
    for folder in (tmp_path, *(one for one in tmp_path.parents if len(one.parts) > 2)):
        folder.chmod(0o755)
    code = "import os; from alttrain_cli.sandbox.probe import refusal; print(os.getuid(), refusal())"
    done = subprocess.run(
        [python, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {code}"],
        user=65534,
        group=65534,
        extra_groups=[],
        env={},
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("65534 None\n", "")


@pytest.fixture
def fresh() -> Iterator[None]:
    probe.refusal.cache_clear()
    yield
    probe.refusal.cache_clear()


@pytest.mark.usefixtures("fresh")
def test_a_kernel_that_only_pretends_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "run", plain)
    said = probe.refusal() or ""
    assert "cannot confine generated code" in said
    assert all(way in said for way in ("connect", "write", "delete", "signal", "fork"))


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(("name", "value"), [("system", "Darwin"), ("machine", "riscv64")])
def test_where_nothing_confines_code_it_does_not_run(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, name, lambda: value)
    monkeypatch.setattr(sys, "platform", "darwin" if value == "Darwin" else sys.platform)
    monkeypatch.setattr(code_judge, "run", lambda *_: pytest.fail("code was run"))
    judgement = code_judge.judge_code(GOOD, Item("1", "p", stub=STUB, tests=CHECK))
    assert (judgement.state, judgement.correct) == (JudgementState.UNPARSED, None)
    assert value in (judgement.raw or "")
    assert "WSL" in (judgement.raw or "")


HOSTILE = {
    0: GOOD,
    1: "import os\nos.kill(0, 9)\nos.kill(os.getppid(), 9)\n" + GOOD,
    2: "\0" + GOOD,
    3: f"x = '{'y' * 200_000}'\n" + GOOD,
    4: "x = '\ud800'\n" + GOOD,
    5: CHEATS["says the word that it finds in its own command"],
}


def humaneval(tmp_path: Path) -> Path:
    """Write 164 rows as HumanEval's, of our own."""
    row = {
        "prompt": STUB.removesuffix("    pass\n"),
        "test": CHECK.removesuffix("\ncheck(double)\n"),
        "entry_point": "double",
    }
    rows = [{**row, "task_id": f"own/{n}", "prompt": f"# Task {n}.\n{row['prompt']}"} for n in range(164)]
    path = tmp_path / "humaneval.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def evaluated(tmp_path: Path, exit_code: int = 0) -> tuple[str, dict[str, Any]]:
    """Evaluate code that comes from a server, by the command line; return output and the metric."""

    places = [n * 164 // 6 for n in range(6)]  # --limit spreads them evenly

    def answer(number: int, request: dict[str, Any]) -> str:
        asked = request["messages"][-1]["content"]
        at = places.index(int(asked.split("# Task ")[1].split(".")[0]))
        return f"<think>\nEasy.\n</think>\n\n```python\n{HOSTILE[at]}\n```"

    with chat_server(answer) as server:
        command = [
            "eval",
            "--base-url",
            server.base_url,
            "--suite",
            "humaneval",
            "--limit",
            "6",
            "--out",
            "e",
        ]
        command += ["--suite-file", f"humaneval={humaneval(tmp_path)}", "--allow-code", "--no-judge-card"]
        done = CliRunner().invoke(app, command)
    assert done.exit_code == exit_code, done.output
    card = json.loads((tmp_path / "e" / "scorecard.json").read_text(encoding="utf-8"))
    metrics = card["suites"][0]["metrics"]
    return " ".join(done.output.split()), metrics[0] if metrics else {}


def test_an_evaluation_survives_hostile_code_and_judges_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, metric = evaluated(tmp_path)
    assert metric["states"] == {"judged": 6, "unfinished": 0, "empty": 0, "unparsed": 0, "unjudged": 0}
    assert (metric["target"]["hits"], metric["target"]["n"]) == (3, 6)  # a lone surrogate becomes U+FFFD


def test_one_item_on_which_a_judge_fails_is_counted_and_judged_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(stub: str, code: str, tests: str, seconds: int) -> CodeResult:
        if "kill" in code:
            raise ValueError("\ud800\x1b[31m")
        return run(stub, code, tests, seconds)

    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(code_judge, "run", failing)
        _, metric = evaluated(tmp_path)
    assert (metric["states"]["judged"], metric["states"]["unparsed"]) == (5, 1)
    done = CliRunner().invoke(app, ["eval", "judge", "e", "--allow-code", "--no-judge-card"])
    assert done.exit_code == 0, done.output
    card = json.loads((tmp_path / "e" / "scorecard.json").read_text(encoding="utf-8"))
    assert card["suites"][0]["metrics"][0]["states"]["judged"] == 6


def test_where_code_cannot_be_confined_the_evaluation_says_so_and_runs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(eval_judges, "refusal", lambda: "this system cannot confine generated code (a test).")
    monkeypatch.setattr(code_judge, "run", lambda *_: pytest.fail("code was run"))
    output, metric = evaluated(tmp_path, exit_code=2)
    assert "there are no judgements" in output
    assert "Error: this system cannot confine generated code" in output
    assert metric == {} or metric["states"]["unjudged"] == 6
    assert not list(tmp_path.rglob("judgements.code.jsonl"))
