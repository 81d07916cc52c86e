"""Recorded attacks: the user's turns of a live run become the script of another.

A replayed attack is a transfer. Its later turns answer to replies that this target never gave, so it is
weaker than a live one, and is labelled as replayed everywhere.
"""

from collections.abc import Sequence
from pathlib import Path

from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.attacks.dialogue import StoredDialogue
from alttrain_cli.evaluation.plan import EvalPlan, SuiteDir
from alttrain_cli.evaluation.suites.items import LoadedSuite
from alttrain_cli.evaluation.suites.suite import Suite, fingerprint
from alttrain_cli.storage.reading import sha256


def replayed(suites: Sequence[Suite], root: Path, word: str) -> list[tuple[Suite, LoadedSuite]]:
    """Return the suites with the turns that were recorded below `root`, the evaluations of `word`.

    Raises:
        DataError: if one was not recorded there, or is no attack.
    """
    return [_replayed(suite, SuiteDir(root / suite.name), word) for suite in suites]


def _replayed(suite: Suite, folder: SuiteDir, word: str) -> tuple[Suite, LoadedSuite]:
    if suite.attack is None or not folder.dialogues.path.is_file():
        raise DataError(
            f"--replay {word}: no dialogues of {suite.name} were recorded against it: {folder.path} holds "
            "none. Evaluate it with this suite first, or leave the suite out."
        )
    plan = EvalPlan.load(folder.path)
    turns: dict[str, tuple[str, ...]] = {}
    for one in sorted(folder.played(plan.keys), key=lambda one: one.sample):
        if found := _turns(one):
            turns.setdefault(one.item, found)
    items = [item._replace(goal=item.aim, turns=turns[item.id]) for item in plan.items if item.id in turns]
    if not items:
        raise DataError(
            f"--replay {word}: {folder.path}: no dialogue came to an end that can be replayed. "
            "Evaluate that target again."
        )
    path, samples = folder.dialogues.path, plan.samples
    first = (
        f"{samples} dialogues were recorded for each goal, and only the first that came to an end is replayed"
    )
    data = LoadedSuite(
        items,
        str(path),
        sha256(path),
        fingerprint(items),
        pinned=False,
        dropped=len(plan.items) - len(items),
        source=plan.suite.source,
        caveats=(first,) if samples > 1 else (),
    )
    return suite.model_copy(update={"attack": suite.attack.replayed(plan.target.name), "n": None}), data


def _turns(dialogue: StoredDialogue) -> tuple[str, ...]:
    """Return the user's messages up to the answer that decided; empty if none did."""
    return next((one.asked for one in dialogue.attempts if one.number == dialogue.deciding), ())
