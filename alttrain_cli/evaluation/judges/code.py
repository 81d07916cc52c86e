"""Whether code passes its tests. It is code that a model wrote: it runs only where a person allows it.

In a process of its own, in an empty folder, without environment, with limits on time, memory, files and
processes (a superuser's are not limited), and, where the system lets us (unshare on Linux), without
network and with nothing that outlives it. That stops accidents, not an attacker: a container does more.
"""

import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from functools import cache

from alttrain_cli.evaluation.judgement import Judgement
from alttrain_cli.evaluation.judges.judge import InstantJudge
from alttrain_cli.evaluation.suite import Item

SECONDS = 10
_MEMORY = 2**30  # bytes
_FILE = 2**20  # bytes
_BLOCK = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL | re.IGNORECASE)
_LIMITS = f"""\
import resource
for name, most in (("CPU", {SECONDS}), ("AS", {_MEMORY}), ("FSIZE", {_FILE}), ("NOFILE", 64), ("CORE", 0)):
    resource.setrlimit(getattr(resource, "RLIMIT_" + name), (most, most))
try:
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
except (ValueError, OSError):
    pass
"""


def passes(text: str, item: Item) -> Judgement:
    """Right if the code ends well behind its tests and says so."""
    done_word = secrets.token_hex()  # so that code cannot say itself that it passed
    stub = f"{item.answer or 'def stub():'}\n    pass\n"
    program = f"{_LIMITS}\n{stub}\n{code_in(text)}\n\n{item.tests or ''}\nprint({done_word!r})\n"
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                [*_apart(), sys.executable, "-I", "-S", "-c", program],
                cwd=folder,
                env={},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=SECONDS,
            )
        except subprocess.TimeoutExpired:
            return Judgement(correct=False, raw="timeout")
    right = done.returncode == 0 and done.stdout.rstrip().endswith(done_word)
    last = (done.stderr.strip().splitlines() or [""])[-1]
    return Judgement(correct=right, raw=None if right else last[:200])


def code_in(text: str) -> str:
    """Return the last code block that defines something, else the last one, else the whole text."""
    blocks: list[str] = _BLOCK.findall(text)
    defining = [block for block in blocks if "def " in block]
    return (defining or blocks or [text])[-1]


@cache
def _apart() -> tuple[str, ...]:
    unshare = shutil.which("unshare")
    command = (unshare or "", "--net", "--pid", "--fork", "--kill-child", "--map-root-user")
    works = unshare and subprocess.run([*command, "true"], capture_output=True).returncode == 0
    return command if works else ()


CODE = InstantJudge(
    name="code",
    title="passes its tests",
    kinds=("ability",),
    measures=("correct",),
    judge=passes,
    version="1",
)
