"""Whether code passes its tests. It is code that a model wrote: it runs only where a person allows it.

It runs in the sandbox (docs/sandbox.md), and where the system cannot confine it, it does not run.
"""

import re
from textwrap import dedent

from alttrain_cli.evaluation.judgement import Judgement, JudgementState
from alttrain_cli.evaluation.judges.judge import InstantJudge
from alttrain_cli.evaluation.suites.suite import Item
from alttrain_cli.sandbox.probe import refusal
from alttrain_cli.sandbox.runner import run
from alttrain_cli.text import escape_hidden

SECONDS = 10
_REASON = 200  # characters
# Of any language: else the end of a block of another one would be read as the start of the next.
BLOCK = re.compile(r"```[^\n`]*\n(.*?)```", re.DOTALL)
_TO_THE_END = re.compile(r"```[^\n`]*\n(.*?)(?:```|\Z)", re.DOTALL)
_FUNCTION = re.compile(r"^def (\w+)", re.MULTILINE)


def judge_code(text: str, item: Item) -> Judgement:
    """Right if the tests pass; unparsed, and so judged again later, if they could not be run."""
    if reason := refusal():
        return Judgement(JudgementState.UNPARSED, raw=reason)
    stub = f"{item.stub or ''}\n    pass\n"
    asked = _FUNCTION.findall(stub)[-1:]
    return code_judgement(*run(stub, code_in(text, *asked), item.tests or "", SECONDS))


def code_judgement(correct: bool | None, reason: str | None) -> Judgement:
    """Return the judgement of code; `correct` is None if its tests could not be run."""
    raw = None if reason is None else escape_hidden(reason)[:_REASON]
    if correct is None:
        return Judgement(JudgementState.UNPARSED, raw=raw)
    return Judgement(correct=correct, raw=raw)


def code_in(text: str, asked: str = "") -> str:
    """Return the last code block that defines the function that was asked for.

    Without one it is the last block that defines anything, else the last one, else the whole text. A block
    that is not closed goes to the end. Blocks in a list are indented; that is no part of the code.
    """
    blocks = [dedent(block) for block in _TO_THE_END.findall(text)]
    defining = [block for block in blocks if "def " in block]
    right = [block for block in defining if asked and re.search(rf"\bdef {re.escape(asked)}\b", block)]
    return (right or defining or blocks or [text])[-1]


CODE = InstantJudge("code", "passes its tests", judge_code, version="3", runs_code=True)
