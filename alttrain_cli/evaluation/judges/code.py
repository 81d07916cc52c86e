"""Whether code passes its tests. It is code that a model wrote: it runs only where a person allows it.

It runs in the sandbox (docs/sandbox.md), and where the system cannot confine it, it does not run.
"""

import re

from alttrain_cli.evaluation.judgement import Judgement, JudgementState
from alttrain_cli.evaluation.judges.judge import InstantJudge
from alttrain_cli.evaluation.suites.suite import Item
from alttrain_cli.sandbox.probe import refusal
from alttrain_cli.sandbox.runner import run
from alttrain_cli.text import escape_hidden

SECONDS = 10
_REASON = 200  # characters
_BLOCK = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL | re.IGNORECASE)


def judge_code(text: str, item: Item) -> Judgement:
    """Right if the tests pass; unparsed, and so judged again later, if they could not be run."""
    if reason := refusal():
        return Judgement(JudgementState.UNPARSED, raw=reason)
    stub = f"{item.stub or ''}\n    pass\n"
    return code_judgement(*run(stub, code_in(text), item.tests or "", SECONDS))


def code_judgement(correct: bool | None, reason: str | None) -> Judgement:
    """Return the judgement of code; `correct` is None if its tests could not be run."""
    raw = None if reason is None else escape_hidden(reason)[:_REASON]
    if correct is None:
        return Judgement(JudgementState.UNPARSED, raw=raw)
    return Judgement(correct=correct, raw=raw)


def code_in(text: str) -> str:
    """Return the last code block that defines something, else the last one, else the whole text."""
    blocks: list[str] = _BLOCK.findall(text)
    defining = [block for block in blocks if "def " in block]
    return (defining or blocks or [text])[-1]


CODE = InstantJudge(
    name="code",
    title="passes its tests",
    kinds=("ability",),
    measures=("correct",),
    judge=judge_code,
    version="2",
    runs_code=True,
)
