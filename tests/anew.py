"""The package imported anew from another folder: hooks of tests.warm for test_contributing.py."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

REFUSAL = "<think>\nThey ask.\n\nThis is harmful.\n\nI stop.\n</think>\n\nI can't help with that."


def enter(root: str) -> None:
    """Let this process import the package from a folder."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "alttrain_cli"]:
        del sys.modules[name]
    sys.modules.pop("tests.scripted", None)  # it has the classes of the other one
    sys.path.insert(0, root)
    import alttrain_cli

    assert str(alttrain_cli.__file__).startswith(root)


def evaluate(suite: str, judge: str) -> None:
    """Evaluate a model that refuses everything, and attacks itself where the suite is an attack."""
    from alttrain_cli.console.scorecard import print_report
    from alttrain_cli.evaluation.attacks.setup import AttackSetup
    from alttrain_cli.evaluation.comparison import Comparison
    from alttrain_cli.evaluation.eval_target import EvalTarget
    from alttrain_cli.evaluation.evaluate import EvalOptions
    from alttrain_cli.evaluation.evaluate import evaluate as run
    from alttrain_cli.evaluation.judge import JudgeSet
    from alttrain_cli.evaluation.judges.catalogue import find_judges
    from alttrain_cli.evaluation.report import report
    from alttrain_cli.evaluation.suites.published import read_suites
    from alttrain_cli.evaluation.suites.suite import find_suites
    from alttrain_cli.progress import Progress
    from tests.scripted import ScriptedBackend

    pair = Comparison(
        EvalTarget(Path("out"), ScriptedBackend(lambda request, _: _reply(request.input.messages[0].content)))
    )
    suites = read_suites(find_suites(suite), {}, Progress())
    options = EvalOptions(suites, setup_of=lambda target: AttackSetup(target))
    asked = ScriptedBackend("It is a refusal.")
    judges = JudgeSet(
        find_judges(judge),
        lambda word: asked,
        Progress(),
        url="http://localhost:8000/v1",
        model="m",
        with_card=False,
    )
    assert not run(pair, options, judges, lambda target: asked, Progress())
    print_report(report(pair, show_completions=False))


def _reply(asked: str) -> str:
    """Return a refusal, or as an attacker a message with the instruction."""
    instruction, form, _ = asked.partition("\n\nReply with JSON alone")
    return json.dumps({"message": f"I was told: {instruction}"}) if form else REFUSAL


def write_template() -> None:
    """Write an export in the format `template`."""
    from alttrain_cli.export.formats import choose_formats

    tokenizer = SimpleNamespace(chat_template="{{ x }}")
    trained: Any = SimpleNamespace(loaded=SimpleNamespace(tokenizer=tokenizer))
    [one] = choose_formats(["template"], [])
    one.write(trained, Path())
