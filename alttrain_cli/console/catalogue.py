"""The lists of suites and of judges on the screen."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from alttrain_cli.console.pairs import print_lines
from alttrain_cli.console.terminal import fit_columns, out, print_next, print_table
from alttrain_cli.evaluation.judges.judge import InstantJudge
from alttrain_cli.text import counted

if TYPE_CHECKING:
    from alttrain_cli.evaluation.judges.catalogue import AnyJudge
    from alttrain_cli.evaluation.suites.suite import Suite

_COLUMNS = ("suite", "items", "licence", "needs", "here", "source")
_KINDS = {"harmful": "harmful prompts", "benign": "benign prompts", "ability": "abilities"}
_NEEDS = {
    "eval": "pip install 'alttrain[eval]'",
    "lm-eval": "pip install 'alttrain[lm-eval]'",
    "code": "the option --allow-code, and Linux",
    "attacker": "a model that attacks: --attacker",
    "login": "accept the terms on the hub, then: hf auth login",
}


def print_suites(
    suites: Sequence[tuple["Suite", bool]], groups: Mapping[str, str], next_command: str
) -> None:
    """Print suites, each with whether its data is on this machine."""
    rows: list[tuple[str, ...]] = []
    for kind, title in _KINDS.items():
        rows.append((f"{title}:", *("" for _ in _COLUMNS[1:])))
        rows += [_suite(suite, here) for suite, here in suites if suite.kind == kind]
    columns, shown = fit_columns(_COLUMNS, rows, out().width)
    print_table(columns, shown, left=(0, 2, 3, 4, 5), whole=(0,))
    counts = {name: sum(name in suite.groups for suite, _ in suites) for name in groups}
    print_lines(
        [
            *([("items ?:", "counted when the data is read")] * any(suite.n is None for suite, _ in suites)),
            ("here:", "whether the data is on this machine; other data is downloaded when it is used"),
            ("AltTrain's paper:", ", ".join(suite.name for suite, _ in suites if suite.paper)),
            *((f"needs {word}:", how) for word, how in _NEEDS.items()),
            *(
                (f"group {name}:", f"{counted(counts[name], 'suite')}: {about}")
                for name, about in groups.items()
            ),
        ]
    )
    print_next(next_command)


def print_judges(judges: Sequence[tuple["AnyJudge", bool]], next_command: str) -> None:
    """Print judges, each with whether its model is on this machine."""
    print_lines((judge.name, _judge(judge, here)) for judge, here in judges)
    print_lines([("abilities:", "answers are compared with the right ones, without a judge")])
    print_next(next_command)


def _suite(suite: "Suite", here: bool) -> tuple[str, ...]:
    size = f"{suite.n:,}" if suite.n else "?"
    needs = suite.needs or "-"
    return (suite.name, size, suite.licence, needs, "yes" if here else "no", suite.source.short)


def _judge(judge: "AnyJudge", here: bool) -> str:
    words = {"behaviour": "refusals", "harmful": "harm", "score": "a harm score"}
    *some, last = (words[one] for one in judge.measures)
    measures = f"{', '.join(some)} and {last}" if some else last
    first = f"measures {measures}, on {' and '.join(judge.kinds)} prompts"
    if isinstance(judge, InstantJudge):
        return f"{first}\na rule over the opening words of an answer; for a first look only"
    if judge.model is None:
        return f"{first}\na rubric for any model on a server (--judge-url); licence {judge.licence}"
    place = "on this machine" if here else "not on this machine: it is downloaded when it is used"
    place += "; it can also run on a server (--judge-url)"
    login = "; accept its terms on the hub first" * judge.gated
    return f"{first}\n{judge.model}, {judge.size} parameters, licence {judge.licence}{login}\n{place}"
