"""The generate stage of an adaptive suite: plays the dialogues that are missing, and stores them."""

from alttrain_cli.backends.base import Backend, BackendError
from alttrain_cli.evaluation.attacks.dialogue import record
from alttrain_cli.evaluation.attacks.runner import Dialogue, play_all
from alttrain_cli.evaluation.attacks.setup import AttackSetup
from alttrain_cli.evaluation.completion import record as completion_record
from alttrain_cli.evaluation.plan import EvalPlan, SuiteDir
from alttrain_cli.evaluation.suites.suite import Suite
from alttrain_cli.progress import Progress


def play_missing(
    folder: SuiteDir, plan: EvalPlan, suite: Suite, target: Backend, setup: AttackSetup, progress: Progress
) -> str:
    """Play and store; return in words what failed, or nothing.

    Calls that were answered are in calls.jsonl, so an interrupted dialogue costs nothing twice.
    """
    _drop_undecided(folder)
    stored = folder.dialogues.keys()
    missing = {one.key: one for one in plan.requests if one.key not in stored}
    failed: list[BackendError] = []
    callers = setup.callers(suite, target, plan.settings, folder.calls)
    for dialogue in play_all(setup.attack(suite), list(missing.values()), callers, progress):
        if dialogue.error:
            failed.append(dialogue.error)
        else:
            _store(folder, dialogue)
    folder.dialogues.sort_by_keys(plan.keys)
    folder.completions.sort_by_keys(plan.keys)
    if not failed:
        return ""
    return f"{len(failed)} of {len(missing)} dialogues were stopped by an error, the last one: {failed[-1]}"


def _drop_undecided(folder: SuiteDir) -> None:
    """Remove the dialogues whose deciding answer is lost, because a person deleted completions.jsonl.

    They are played again, from the stored calls.
    """
    answers = folder.completions.keys()
    decided = (one["key"] for one in folder.dialogues if one["deciding"] is not None)
    folder.dialogues.drop({key for key in decided if key not in answers})


def _store(folder: SuiteDir, dialogue: Dialogue) -> None:
    """Store the answer that decides, then the dialogue: one that is stored has its answer."""
    if dialogue.done is None:
        raise ValueError(f"{dialogue.request.key}: has not ended")
    if deciding := dialogue.done.deciding:
        completion = dialogue.completions[deciding.number]
        folder.completions.append(completion_record(dialogue.request, deciding.asked, completion))
    folder.dialogues.append(record(dialogue, dialogue.done))
