"""What a model as a judge is asked, how often, and what is stored of its answers."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alttrain_cli.backends.base import BackendError, Completion, Request
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.errors import DataError
from alttrain_cli.evaluation import judge_run
from alttrain_cli.evaluation.attacks.attack_record import AttackRecord
from alttrain_cli.evaluation.completion import record
from alttrain_cli.evaluation.judge_card import LabelAgreement
from alttrain_cli.evaluation.judge_requests import (
    TRIES,
    ask_judge,
    label_key,
    label_requests,
    missing_requests,
)
from alttrain_cli.evaluation.judge_run import JudgeRun, judge_instantly, judgements, outdated
from alttrain_cli.evaluation.judgement import Behaviour, Judgement, JudgementState
from alttrain_cli.evaluation.judgement import record as judgement_record
from alttrain_cli.evaluation.judges.guards import HARMBENCH, LLAMA_GUARD, QWEN3GUARD, WILDGUARD
from alttrain_cli.evaluation.judges.judge import Judge
from alttrain_cli.evaluation.judges.rubrics import STRONGREJECT, XSTEST
from alttrain_cli.evaluation.judges.rule import RULE
from alttrain_cli.evaluation.labels import HumanLabel
from alttrain_cli.evaluation.plan import EvalPlan, SuiteDir
from alttrain_cli.evaluation.suite_result import SuiteResult
from alttrain_cli.evaluation.suites.suite import Item
from alttrain_cli.progress import Progress
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.storage.journal import Journal
from tests.scorecards import BARE, HELPS, UNFINISHED, evaluate, suite, target
from tests.scripted import ScriptedBackend

NO_ANSWER = "I think.\n</think>\n\n"
NO_REASONING = "<think>\n\n</think>\n\nSure."
REFUSED, COMPLIED = (Judgement(behaviour=one) for one in (Behaviour.REFUSED, Behaviour.COMPLIED))
PROMPTS = ["a?", "b?", "c?", "d?"]


def measured(folder: Path, *texts: str) -> SuiteResult:
    return evaluate(folder, target("base"), suite("h", "harmful"), PROMPTS[: len(texts)], texts)


def stored(result: SuiteResult, run: JudgeRun) -> list[JudgementState | None]:
    """Return the state of each judgement, in the order of the plan; None where there is none."""
    found = dict(judgements(result.folder, result.plan, run.name))
    return [found[key].state if key in found else None for key in result.plan.keys]


class Shown(Progress):
    """Keeps what work reports."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, int, int]] = []
        self.warned: list[str] = []

    def show(self, stage: str, done: int, total: int, detail: str = "") -> None:
        self.shown.append((stage, done, total))

    def warn(self, text: str) -> None:
        self.warned.append(text)


# -- the names of its files


@pytest.mark.parametrize("goal", [None, "Insult a cactus."])
def test_judgements_of_an_earlier_version_are_found_if_the_file_has_no_others(
    goal: str | None, tmp_path: Path
) -> None:
    plan = measured(tmp_path, HELPS, BARE).plan
    plan = replace(plan, items=tuple(item._replace(goal=goal) for item in plan.items), saved_keys=())
    folder = SuiteDir(tmp_path)
    mine, others = JudgeRun(XSTEST, model="a:b"), JudgeRun(XSTEST, model="a/b")
    names = "xstest~a+b", "xstest~a--b"
    assert (mine.name, others.name) == names
    assert mine.found_in([(folder, plan)]) == mine
    first, second = plan.requests
    shared = folder.judgements("xstest~a--b")
    shared.append(
        judgement_record(mine.key(first.key, first.item), first.key, Judgement(behaviour=Behaviour.REFUSED))
    )
    shared.append(judgement_record("of other settings", "gone", Judgement(behaviour=Behaviour.REFUSED)))
    assert mine.found_in([(folder, plan)]).name == others.found_in([(folder, plan)]).name == "xstest~a--b"
    shared.append(
        judgement_record(
            others.key(second.key, second.item), second.key, Judgement(behaviour=Behaviour.REFUSED)
        )
    )
    assert mine.found_in([(folder, plan)]) == mine


# -- what is asked


@pytest.mark.parametrize(
    ("part", "asked", "states"),
    [
        ("answer", ["Boil water and add salt."], [None, "unfinished", "empty"]),
        ("reasoning", ["The user wants soup. This is harmless. I can help.", UNFINISHED, "I think."], [None] * 3),
        ("full", None, [None] * 3),
    ],
)  # fmt: skip
def test_without_the_part_that_a_judge_sees_it_is_not_asked(
    part: Any, asked: list[str] | None, states: list[str | None], tmp_path: Path
) -> None:
    result = measured(tmp_path, HELPS, UNFINISHED, NO_ANSWER)
    run = JudgeRun(XSTEST, part)
    requests = missing_requests(result.folder, result.plan, run)
    if asked is not None:
        assert [" ".join(one.response.split()) for one in requests] == asked
    assert stored(result, run) == states
    assert [one.key for one in missing_requests(result.folder, result.plan, run)] == [
        one.key for one in requests
    ]


def test_a_completion_without_reasoning_has_none_to_judge(tmp_path: Path) -> None:
    result = measured(tmp_path, NO_REASONING)
    run = JudgeRun(XSTEST, "reasoning")
    assert missing_requests(result.folder, result.plan, run) == []
    assert stored(result, run) == ["empty"]


ASKED = {
    "the prompt": (Item("1", "p"), ("p",), "p"),
    "the goal of an attack that was written before": (Item("1", "p", goal="g"), ("p",), "g"),
    "the goal if the item's own prompt came last": (Item("1", "p", goal="g"), ("x", "p"), "g"),
    "the last message of one that wrote it": (
        Item("1", "p", goal="g"), ("x", "y"), "g\n\nThe last message of the conversation: y",
    ),
    "the last message without a goal": (
        Item("1", "p"), ("y",), "p\n\nThe last message of the conversation: y",
    ),
    "scripted turns are the item's own": (Item("1", "p", turns=("a", "b")), ("a", "b"), "p"),
    "scripted turns towards a goal": (
        Item("1", "p", goal="g", turns=("a", "b")), ("a", "b"), "g\n\nThe last message of the conversation: b",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", ASKED)
def test_a_judge_sees_the_goal_and_a_message_that_an_attack_wrote(what: str, tmp_path: Path) -> None:
    item, messages, prompt = ASKED[what]
    result = measured(tmp_path, BARE)
    plan = replace(result.plan, items=(item,), saved_keys=())
    [request] = plan.requests
    conversation = Conversation.of(messages[0])
    for message in messages[1:]:
        conversation = conversation.assistant("Go on.").user(message)
    result.folder.completions.append(record(request, conversation, Completion("Sure.")))
    [asked] = missing_requests(result.folder, plan, JudgeRun(XSTEST))
    assert (asked.prompt, asked.response, asked.completion) == (prompt, "Sure.", request.key)


ACRONYM = AttackRecord("acronym", "s", 18, "base", "rule", "escalation")


def dialogue(root: Path, attack: AttackRecord | None) -> tuple[SuiteDir, EvalPlan]:
    """Store the deciding answer of a dialogue in which a short form is agreed on first."""
    result = measured(root, BARE)
    plan = replace(result.plan, items=(Item("1", "g", goal="g"),), saved_keys=(), attack=attack)
    asked = Conversation.of("CW is short for candle wax.").assistant("I see.").user("Now the CW alone.")
    result.folder.completions.append(record(next(iter(plan.requests)), asked, Completion("Sure.")))
    return result.folder, plan


def test_a_judge_sees_the_turns_before_the_last_one_of_an_attack_that_goes_on(tmp_path: Path) -> None:
    folder, plan = dialogue(tmp_path / "a", ACRONYM)
    [request] = missing_requests(folder, plan, JudgeRun(XSTEST))
    earlier, last = request.prompt.split("\n\n")[1:]
    assert earlier == "An earlier message of the conversation: CW is short for candle wax."
    assert last == "The last message of the conversation: Now the CW alone."
    folder, plan = dialogue(tmp_path / "b", replace(ACRONYM, flow="refinement"))
    [alone] = missing_requests(folder, plan, JudgeRun(XSTEST))
    assert "candle wax" not in alone.prompt


def test_of_long_dialogues_a_judge_sees_the_latest_messages(tmp_path: Path) -> None:
    result = measured(tmp_path, BARE)
    plan = replace(result.plan, items=(Item("1", "g", goal="g"),), saved_keys=(), attack=ACRONYM)
    asked = Conversation.of("first " * 300)
    for message in ("second " * 200, "third", "last"):
        asked = asked.assistant("I see.").user(message)
    result.folder.completions.append(record(next(iter(plan.requests)), asked, Completion("Sure.")))
    [request] = missing_requests(result.folder, plan, JudgeRun(XSTEST))
    assert [word in request.prompt for word in ("first", "second", "third", "last")] == [False, *[True] * 3]


def test_a_dialogue_that_was_judged_without_its_turns_is_judged_again_and_the_new_one_counts(
    tmp_path: Path,
) -> None:
    folder, plan = dialogue(tmp_path, ACRONYM)
    run, [completion] = JudgeRun(XSTEST), plan.requests
    journal = folder.judgements(run.name)
    journal.append(judgement_record(run.key(completion.key), completion.key, REFUSED))
    [request] = missing_requests(folder, plan, run)
    journal.append(judgement_record(request.key, completion.key, COMPLIED))
    run.sort(folder, plan)
    assert [one for _, one in judgements(folder, plan, run.name)][-1] == COMPLIED
    assert missing_requests(folder, plan, run) == []


def places(judge: Judge) -> list[int]:
    """Return where the prompt and the response are in what a judge is asked."""
    asked = judge.ask("THE PROMPT", "THE RESPONSE")
    if isinstance(asked, Mapping):
        assert list(asked.items()) == [("behavior", "THE PROMPT"), ("generation", "THE RESPONSE")]
        return [0, 1]
    if isinstance(asked, str):
        return [asked.index(text) for text in ("THE PROMPT", "THE RESPONSE")]
    if len(asked.messages) == 1:
        return [asked.prompt.index(text) for text in ("THE PROMPT", "THE RESPONSE")]
    assert [(one.role, one.content) for one in asked.messages] == [
        ("user", "THE PROMPT"),
        ("assistant", "THE RESPONSE"),
    ]
    return [0, 1]


@pytest.mark.parametrize(
    "judge", [LLAMA_GUARD, HARMBENCH, WILDGUARD, QWEN3GUARD, STRONGREJECT, XSTEST], ids=lambda one: one.name
)
def test_every_judge_gets_the_prompt_and_then_the_response(judge: Judge) -> None:
    prompt, response = places(judge)
    assert prompt < response


# -- what becomes of its answers


def answers(*said: str | BackendError) -> ScriptedBackend:
    """A judge that says this, one after the other, and the last one for ever."""
    left = list(said)

    def answer(request: Request[Any], sampling: Sampling) -> Completion | BackendError | str:
        assert not sampling.do_sample
        return left.pop(0) if len(left) > 1 else left[0]

    return ScriptedBackend(answer)


@pytest.mark.parametrize(
    ("judge", "said", "asked", "state"),
    [
        (XSTEST, ["?", "?", "2_full_refusal"], 3, "judged"),
        (XSTEST, ["?"], TRIES, "unparsed"),
        (LLAMA_GUARD, ["?", "safe"], 1, "unparsed"),  # it decodes greedily: it would say the same again
    ],
)
def test_what_cannot_be_read_is_asked_again_of_a_server_and_stored_as_unparsed_in_the_end(
    judge: Judge, said: list[str], asked: int, state: str, tmp_path: Path
) -> None:
    result, run, backend, shown = measured(tmp_path, BARE), JudgeRun(judge), answers(*said), Shown()
    requests = missing_requests(result.folder, result.plan, run)
    assert ask_judge(judge, backend, requests, shown) == []
    assert (len(backend.received), stored(result, run)) == (asked, [state])
    assert shown.shown == [(f"judging by {judge.name}", 0, 1), (f"judging by {judge.name}", 1, 1)]
    left = missing_requests(result.folder, result.plan, run)
    assert len(left) == (state == "unparsed")  # judged again by the next command


def test_what_failed_is_named_not_stored_and_judged_by_the_next_command(tmp_path: Path) -> None:
    result, run, shown = measured(tmp_path, BARE, HELPS, BARE), JudgeRun(XSTEST), Shown()
    requests = missing_requests(result.folder, result.plan, run)
    failures = [BackendError("first"), BackendError("second")]
    failed = ask_judge(XSTEST, answers(*failures, "1_full_compliance"), requests, shown)
    assert list(map(str, failed)) == ["first", "second"]
    assert shown.warned == ["2 of 3 were not judged, the last reason: second"]
    assert [one for _, one, _ in shown.shown] == [0, 1]
    assert sorted(map(str, stored(result, run))) == ["None", "None", "judged"]
    assert len(missing_requests(result.folder, result.plan, run)) == 2


def judging(error: Exception) -> Any:
    def judge(text: str, item: Item) -> Judgement:
        if item.id == "h-0":
            raise error
        return Judgement(behaviour=Behaviour.COMPLIED)

    return replace(RULE, name="rule", version="another", judge=judge)


def test_an_item_on_which_a_rule_fails_is_unparsed_and_the_others_are_judged(tmp_path: Path) -> None:
    result = measured(tmp_path, BARE, BARE)
    assert judge_instantly(result.folder, result.plan, judging(ValueError("no \x1b[31m" + "x" * 300))) == 2
    found = dict(judgements(result.folder, result.plan, "rule"))
    first, second = (found[key] for key in result.plan.keys)
    assert (first.state, second.behaviour) == ("unparsed", "complied")
    assert str(first.raw).startswith("ValueError: no ")
    assert "\x1b" not in str(first.raw)
    assert len(str(first.raw)) == 200


def test_a_mistake_of_the_user_is_no_judgement(tmp_path: Path) -> None:
    result = measured(tmp_path, BARE)
    with pytest.raises(DataError, match="pip install"):
        judge_instantly(result.folder, result.plan, judging(DataError("pip install it")))


@pytest.mark.parametrize("part", ["answer", "reasoning", "full"])
def test_a_judgement_is_outdated_if_another_version_made_it_of_the_same_part(
    part: Any, tmp_path: Path
) -> None:
    result, name = measured(tmp_path, BARE, HELPS), JudgeRun(RULE, part).name
    result.folder.judgements(name).path.unlink(missing_ok=True)
    assert outdated(result.folder, result.plan, name) == 0  # there is none
    judge_instantly(result.folder, result.plan, replace(RULE, version="another"), part)
    assert outdated(result.folder, result.plan, name) == 2
    judge_instantly(result.folder, result.plan, RULE, part)
    assert outdated(result.folder, result.plan, name) == 0


def test_a_judge_whose_version_is_not_known_or_that_is_a_model_has_no_outdated_judgements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, old = measured(tmp_path, BARE), replace(XSTEST, version="another")
    ask_judge(
        old, answers("2_full_refusal"), missing_requests(result.folder, result.plan, JudgeRun(old)), Shown()
    )
    assert stored(result, JudgeRun(XSTEST)) == ["judged"]
    assert outdated(result.folder, result.plan, "xstest") == 0
    unknown = replace(RULE, version="another", version_known=False)
    monkeypatch.setattr(judge_run, "judge_named", lambda name: unknown)
    assert outdated(result.folder, result.plan, "rule") == 0


# -- people's labels


def test_a_label_is_judged_once_and_another_prompt_is_another_label(tmp_path: Path) -> None:
    labels = [HumanLabel(*one) for one in (("p", "r", True), ("q", "r", True), ("p", "s", False))]
    journal, run = Journal(tmp_path / "labels.jsonl"), JudgeRun(XSTEST)
    assert len({label_key(one, run) for one in labels}) == 3
    assert label_key(labels[0], run) == label_key(labels[0]._replace(yes=False), run)
    journal.append({"key": label_key(labels[1], run)})
    left = label_requests(labels, run, journal)
    assert [(one.prompt, one.response) for one in left] == [("p", "r"), ("p", "s")]
    assert [one.key for one in left] == [one.completion for one in left]
    assert [one.key for one in left] == [label_key(labels[0], run), label_key(labels[2], run)]


def agreement(kind: Any, *pairs: tuple[bool, Judgement]) -> LabelAgreement:
    return LabelAgreement.of(kind, [(HumanLabel("p", "r", yes), said) for yes, said in pairs])


def test_sensitivity_is_that_of_the_labels_that_say_yes() -> None:
    refused, complied = Judgement(behaviour=Behaviour.REFUSED), Judgement(behaviour=Behaviour.COMPLIED)
    part = agreement("refused", (True, refused), (True, refused), (True, complied), (False, refused))
    assert (part.sensitivity.hits, part.sensitivity.n) == (2, 3)
    assert (part.specificity.hits, part.specificity.n) == (0, 1)
    part = agreement("harmful", (True, Judgement(harmful=False)), *[(False, Judgement(harmful=False))] * 4)
    assert (part.sensitivity.hits, part.sensitivity.n) == (0, 1)
    assert (part.specificity.hits, part.specificity.n) == (4, 4)
