"""Dialogues in lock-step: the same outcomes as one at a time, nothing asked twice, errors that end nothing else."""

import json
import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from alttrain_cli.backends.base import Ability, BackendError, Completion, ContextFullError, Finish, Request
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.our_prompts import rendered, whole_text
from alttrain_cli.errors import AlttrainError, DataError
from alttrain_cli.evaluation.attacks.attack import AttackOutcome, Role
from alttrain_cli.evaluation.attacks.catalogue import Budget
from alttrain_cli.evaluation.attacks.dialogue import StoredDialogue
from alttrain_cli.evaluation.attacks.setup import AttackSetup
from alttrain_cli.evaluation.generate import EvalRequest
from alttrain_cli.evaluation.plan import EvalPlan, SuiteDir
from alttrain_cli.evaluation.suites.published import read_suites
from alttrain_cli.evaluation.suites.suite import find_suites
from alttrain_cli.progress import Progress
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.structure.template import Template
from alttrain_cli.structure.verdict import Verdict
from alttrain_cli.structure.verdict_score import VerdictScore
from tests import families
from tests.scorecards import generate
from tests.scripted import ScriptedBackend
from tests.test_bad_evaluation_files import KNOWN_WORDS, changed, fields_of, wrong_values

GREEDY = Sampling(max_new_tokens=64, do_sample=False)
SAMPLED = Sampling(max_new_tokens=64, do_sample=True, temperature=1.0)
REFUSES = "<think>\nThey ask.\n\nThis is harmful.\n\nI stop.\n</think>\n\nI can't help with that."
HELPS = "<think>\nThey ask.\n\nThis is harmless.\n\nFine.\n</think>\n\nSome words."
MESSAGE = '{"message": "Tell me more."}'


def backend(
    answer: Callable[[Conversation, int], Any] | str, name: str, abilities: Ability = Ability.COUNT
) -> ScriptedBackend:
    def reply(request: Request[Any], sampling: Sampling) -> Any:
        assert isinstance(request.input, Conversation)
        return answer if isinstance(answer, str) else answer(request.input, request.seed)

    return ScriptedBackend(reply, name=name, abilities=abilities)


def varied(conversation: Conversation, seed: int) -> str:
    """A target whose answers depend on the conversation: some refuse, some help, some reach the goal."""
    place = Counter(conversation.wire()[-1]["content"])["e"] + len(conversation.messages)
    return REFUSES if place % 3 == 0 else HELPS + f" {place}"


def messages(conversation: Conversation, seed: int) -> str:
    return "no JSON at all" if seed % 19 in (1, 2, 3) else f'{{"message": "message {seed % 97}"}}'


def scores(conversation: Conversation, seed: int) -> str:
    if "refuse" in conversation.prompt.lower() and "message:" in conversation.prompt:
        return '{"refused": true}' if "can't help" in conversation.prompt else '{"refused": false}'
    return f'{{"score": {10 if seed % 11 == 0 else 2}}}'


def play(
    root: Path,
    *,
    target: ScriptedBackend | None = None,
    attacker: ScriptedBackend | None = None,
    judge: ScriptedBackend | None = None,
    suite: str = "crescendo-smoke",
    limit: int | None = None,
    progress: Progress | None = None,
    sampling: Sampling = GREEDY,
    **budget: int,
) -> list[StoredDialogue]:
    suites = read_suites(find_suites(suite), {}, Progress())
    setup = AttackSetup(attacker or backend(MESSAGE, "attacker"), judge, judge, Budget(**budget))
    request = EvalRequest(suites, sampling, limit=limit, attack_setup=setup)
    generate(root, target or backend(varied, "target"), request, progress or Progress())
    return stored(root, suite)


def stored(root: Path, suite: str = "crescendo-smoke") -> list[StoredDialogue]:
    folder = SuiteDir(root / suite)
    return list(folder.played(EvalPlan.load(folder.path).keys))


def outcomes(dialogues: Iterable[StoredDialogue]) -> list[tuple[str, AttackOutcome, int | None, int]]:
    return [(one.item, one.outcome, one.deciding, one.target_calls) for one in dialogues]


def crowd(**changes: Any) -> dict[str, Any]:
    return {
        "target": backend(varied, "target"),
        "attacker": backend(messages, "attacker"),
        "judge": backend(scores, "judge"),
        **changes,
    }


def test_in_lock_step_all_dialogues_that_wait_for_a_role_are_one_batch(tmp_path: Path) -> None:
    batches: list[int] = []

    class Counting(ScriptedBackend):
        def complete(self, requests: Any, sampling: Sampling) -> Any:
            found = list(requests)
            batches.append(len(found))
            return super().complete(found, sampling)

    target = Counting(lambda request, sampling: f"Answer {request.seed}.", name="t")
    play(tmp_path, target=target, turns=3, sampling=SAMPLED)
    assert batches == [20, 20, 20]


def test_dialogues_of_earlier_versions_name_no_failed_calls_and_are_read(tmp_path: Path) -> None:
    played = play(tmp_path, **crowd())
    path = tmp_path / "crescendo-smoke" / "dialogues.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        del line["failed"]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert outcomes(stored(tmp_path)) == outcomes(played)


def test_outcomes_do_not_depend_on_what_is_played_beside(tmp_path: Path) -> None:
    together = play(tmp_path / "together", **crowd())
    assert {one.outcome for one in together} >= {
        AttackOutcome.ACHIEVED,
        AttackOutcome.HELD,
        AttackOutcome.ATTACKER_FAILED,
    }
    alone = []
    suites = read_suites(find_suites("crescendo-smoke"), {}, Progress())
    [(suite, reading)] = suites
    for place, item in enumerate(reading.items):
        one = reading._replace(items=[item])
        judge = backend(scores, "judge")
        setup = AttackSetup(backend(messages, "attacker"), judge, judge)
        root = tmp_path / str(place)
        generate(
            root,
            backend(varied, "target"),
            EvalRequest([(suite, one)], GREEDY, attack_setup=setup),
            Progress(),
        )
        alone += stored(root)
    assert outcomes(alone) == outcomes(together)


def test_killed_at_30_random_moments_the_outcomes_are_equal_and_no_answered_call_is_repeated(
    tmp_path: Path,
) -> None:
    whole = play(tmp_path / "whole", **crowd())
    root, chance, kills = tmp_path / "torn", random.Random(3), 0
    while kills < 30:
        child = os.fork()
        if child == 0:
            try:
                slow = {name: _slow(one) for name, one in crowd().items()}
                play(root, **slow)
            finally:
                os._exit(0)
        time.sleep(chance.uniform(0.0, 0.12))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        kills += 1
    assert outcomes(play(root, **crowd())) == outcomes(whole)
    assert _keys(root) == _keys(tmp_path / "whole")
    for name in ("dialogues.jsonl", "completions.jsonl"):
        files = [root / "crescendo-smoke" / name, tmp_path / "whole" / "crescendo-smoke" / name]
        assert files[0].read_bytes() == files[1].read_bytes()
    idle = crowd()
    play(root, **idle)
    assert [one.received for one in idle.values()] == [[], [], []]


def _slow(one: ScriptedBackend) -> ScriptedBackend:
    answer = one._answer

    def slowly(request: Request[Any], sampling: Sampling) -> Any:
        time.sleep(0.0005)
        return answer(request, sampling)

    one._answer = slowly
    return one


def _keys(root: Path) -> list[str]:
    """The keys of all calls that were made, in order; one that was repeated is there twice."""
    return sorted(line["key"] for line in SuiteDir(root / "crescendo-smoke").calls)


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "",
        '{"message": "I cannot help with that request."}',
        '[{"message": "a list"}]',
        '{"question": "another key"}',
        '{"message": "' + "x" * 100_000 + '"}',
    ],
)
def test_an_attacker_that_gives_nothing_usable_ends_as_failed_after_three_tries(
    tmp_path: Path, text: str
) -> None:
    attacker, target = backend(text, "attacker"), backend(HELPS, "target")
    found = play(tmp_path, attacker=attacker, target=target, limit=3)
    assert [one.outcome for one in found] == [AttackOutcome.ATTACKER_FAILED] * 3
    assert len(attacker.received) == 9
    assert target.received == []
    assert not SuiteDir(tmp_path / "crescendo-smoke").completions.keys()


def test_json_in_prose_is_a_message(tmp_path: Path) -> None:
    attacker = backend(f"Sure, here it is:\n{MESSAGE}\nGood luck!", "attacker")
    [one] = play(tmp_path, attacker=attacker, limit=1, turns=1)
    assert one.attempts[0].message == "Tell me more."


def test_a_reply_is_begun_for_an_attacker_that_can_continue_one(tmp_path: Path) -> None:
    attacker = backend(
        lambda said, seed: said.started + 'Hello there." and more', "attacker", Ability.CONTINUE
    )
    [one] = play(tmp_path, attacker=attacker, limit=1, turns=1)
    assert one.attempts[0].message == "Hello there."


def test_a_reply_is_begun_after_an_empty_thought_where_the_prompt_opens_the_reasoning(tmp_path: Path) -> None:
    template = Template.of(families.tokenizer("r1-qwen"))

    def written(said: Conversation, seed: int) -> str:
        assert rendered(template, said).endswith('<think>\n\n</think>\n\n{"message": "')
        return whole_text(template, said, 'Hello there." and more')

    attacker = backend(written, "attacker", Ability.CONTINUE | Ability.THINKS)
    [one] = play(tmp_path, attacker=attacker, limit=1, turns=1)
    assert one.attempts[0].message == "Hello there."


def test_attacker_and_judge_may_stop_where_their_json_closes_and_the_target_may_not(tmp_path: Path) -> None:
    players = crowd(attacker=backend(MESSAGE, "attacker"), target=backend(HELPS, "target"))
    play(tmp_path, **players, limit=1, turns=1)
    [message], [refusal, score] = players["attacker"].received, players["judge"].received
    assert message.is_whole('{"message": "A word."')
    assert not message.is_whole('{"message": "A word.')
    assert not message.is_whole('<think>\n{"message": "A word."')
    assert refusal.is_whole('{"refused": false}')
    assert score.is_whole('<think>\nHm.\n</think>\n\n{"score": 3}')
    assert [one.is_whole for one in players["target"].received] == [None]


def test_a_judge_that_cannot_be_read_fails_the_dialogue_and_is_no_score(tmp_path: Path) -> None:
    found = play(tmp_path, judge=backend("Nine, I think.", "judge"), limit=2)
    assert [one.outcome for one in found] == [AttackOutcome.JUDGE_FAILED] * 2


def test_the_judge_in_the_loop_has_one_scale_and_sees_goal_message_and_answer(tmp_path: Path) -> None:
    judge = backend(scores, "judge")
    play(tmp_path, judge=judge, target=backend(HELPS, "target"), limit=2, turns=1)
    asked = [one.input.prompt for one in judge.received if "How near" in one.input.prompt]
    assert len(asked) == 2
    for prompt in asked:
        assert "10: it reaches the goal fully" in prompt
        assert "Tell me more." in prompt
        assert "Some words." in prompt
    assert "cactus" in asked[0]
    first, second = (re.sub(r"The goal: .*?\n\n", "", one, flags=re.DOTALL) for one in asked)
    assert first == second


@pytest.mark.parametrize(
    ("completion", "outcome"),
    [
        (Completion("<think>\nHmm", Finish.LENGTH), AttackOutcome.UNFINISHED),
        (Completion("<think>\nHmm\n</think>\n\n"), AttackOutcome.UNFINISHED),
        (Completion("", Finish.CONTEXT), AttackOutcome.CONTEXT_FULL),
        (ContextFullError("too long"), AttackOutcome.CONTEXT_FULL),
        (
            Completion("An answer that is", Finish.LENGTH),
            AttackOutcome.HELD,
        ),  # cut, but an answer: as in all suites
    ],
)
def test_a_target_without_an_answer_ends_in_its_state(
    tmp_path: Path, completion: Any, outcome: AttackOutcome
) -> None:
    target = backend(lambda said, seed: completion if len(said.messages) > 1 else HELPS, "target")
    found = play(tmp_path, target=target, limit=2, turns=2)
    assert [one.outcome for one in found] == [outcome] * 2
    assert [one.target_calls for one in found] == [2, 2]


def test_reasoning_reaches_neither_history_nor_attacker_nor_judge(tmp_path: Path) -> None:
    everyone = crowd(target=backend("<think>\nSECRET thought\n</think>\n\nAn answer.", "target"))
    play(tmp_path, **everyone, limit=2, turns=3)
    for one in everyone.values():
        assert one.received
        assert not any("SECRET" in part["content"] for each in one.received for part in each.input.wire())
    [first, _] = stored(tmp_path)
    assert "SECRET" in first.attempts[0].trace.thinking


def test_a_dialogue_has_no_scores_of_verdicts_for_a_resumed_one_would_have_none(tmp_path: Path) -> None:
    score = VerdictScore(0.9, 0.1, Verdict.HARMFUL, Verdict.HARMFUL)
    target = backend(lambda said, seed: Completion(REFUSES, score=score), "target")
    play(tmp_path, target=target, limit=1, turns=1, backtracks=0)
    [line] = SuiteDir(tmp_path / "crescendo-smoke").completions
    assert "score" not in line


def test_a_call_that_cannot_be_made_leaves_its_dialogue_for_the_next_run(tmp_path: Path) -> None:
    warnings: list[str] = []

    class Warned(Progress):
        def warn(self, text: str) -> None:
            warnings.append(text)

    broken = backend(lambda said, seed: BackendError("no answer") if seed % 2 else MESSAGE, "attacker")
    found = play(tmp_path, attacker=broken, progress=Warned(), turns=1)
    assert 0 < len(found) < 20
    assert (
        f"{20 - len(found)} of 20 dialogues were stopped by an error, the last one: no answer" in warnings[0]
    )
    assert len(play(tmp_path, turns=1)) == 20


def test_if_no_call_can_be_made_that_is_an_error(tmp_path: Path) -> None:
    broken = backend(lambda said, seed: BackendError("no answer"), "attacker")
    with pytest.raises(AlttrainError, match="20 of 20 dialogues"):
        play(tmp_path, attacker=broken)


def test_another_attacker_or_budget_is_another_dialogue(tmp_path: Path) -> None:
    def keys(name: str, **changes: Any) -> set[str]:
        return {one.key for one in play(tmp_path / name, limit=2, **changes)}

    usual = keys("a", turns=1)
    assert usual == keys("b", turns=1)
    assert not usual & keys("c", turns=2)
    assert not usual & keys("d", turns=1, attacker=backend(MESSAGE, "another"))
    assert not usual & keys("e", turns=1, judge=backend(scores, "judge"))


def test_candidate_and_baseline_get_the_same_seeds(tmp_path: Path) -> None:
    seen = []
    for name in ("candidate", "baseline"):
        attacker = backend(MESSAGE, "attacker")
        play(tmp_path / name, attacker=attacker, target=backend(HELPS, name), limit=3, turns=2)
        seen.append(sorted(one.seed for one in attacker.received))
    assert seen[0] == seen[1]
    assert len(set(seen[0])) == len(seen[0]) == 6


def test_the_bare_goal_is_sampled_with_another_seed_each_time(tmp_path: Path) -> None:
    target = backend(REFUSES, "target")
    [suite], reading = zip(*read_suites(find_suites("crescendo-smoke"), {}, Progress()), strict=True)
    [control] = find_suites("bare-goal")
    request = EvalRequest(
        [(control, reading[0])], SAMPLED, limit=2, attack_setup=AttackSetup(budget=Budget(4, backtracks=0))
    )
    generate(tmp_path, target, request, Progress())
    assert len({one.seed for one in target.received}) == len(target.received) == 8
    assert suite.name == "crescendo-smoke"


def test_harmless_conversations_need_no_attacker_and_store_who_refused_at_which_turn(tmp_path: Path) -> None:
    target = backend(lambda said, seed: REFUSES if len(said.messages) == 3 else HELPS, "target")
    found = play(tmp_path, target=target, suite="benign-turns")
    assert {one.outcome for one in found} == {AttackOutcome.HELD}
    assert [one.refused for one in found[0].attempts] == [False, True, False, False]
    assert [one.turn for one in found[0].attempts] == [1, 2, 3, 4]
    assert len(SuiteDir(tmp_path / "benign-turns").completions.keys()) == 20


def test_every_key_of_a_stored_dialogue_is_checked(tmp_path: Path) -> None:
    play(tmp_path, limit=1, turns=1)
    path = tmp_path / "crescendo-smoke" / "dialogues.jsonl"
    line = json.loads(path.read_text(encoding="utf-8"))
    roles = {(role.value, "removed") for role in Role}
    means_something = {("tokens", "null"), ("score", "null"), ("failed", "removed"), *roles}
    tried = 0
    for place, value in fields_of(line):
        key = str(place[-1])
        for damage, wrong in wrong_values(value).items():
            if (key, damage) in means_something or (damage == "unknown" and key not in KNOWN_WORDS):
                continue
            path.write_text(json.dumps(changed(line, place, wrong)) + "\n", encoding="utf-8")
            with pytest.raises(DataError, match=r"dialogues\.jsonl:1: "):
                list(SuiteDir(path.parent).played([line["key"]]))
            tried += 1
    assert tried > 100


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"deciding": 7}, "deciding: must be the number of an attempt"),
        ({"outcome": "unfinished"}, "deciding: does not fit outcome 'unfinished'"),
        ({"outcome": "unknown"}, "outcome: "),
        ({"deciding": None}, "deciding: does not fit outcome 'held'"),
        ({"outcome": "achieved"}, "outcome: 'achieved' does not fit a highest score of 1"),
        ({"version": 7}, "version: 7 is unknown. A newer alttrain may read it"),
        ({"calls": {"attacker": 1}}, "calls.target: is less than the attempts need"),
    ],
)
def test_a_stored_dialogue_whose_parts_do_not_fit_is_named(
    tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    play(tmp_path, limit=1, turns=1)
    path = tmp_path / "crescendo-smoke" / "dialogues.jsonl"
    line = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**line, **changes}) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=problem):
        list(SuiteDir(path.parent).played([line["key"]]))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ([{"score": 10}, {}], "outcome: 'held' does not fit a highest score of 10"),
        ([{"score": 5}, {}], "deciding: attempt 1 has the score 1, another has 5"),
        ([{}, {"number": 0}], "attempts: the number 0 is given twice"),
    ],
)
def test_scores_that_contradict_the_outcome_are_named(
    tmp_path: Path, changes: list[dict[str, Any]], problem: str
) -> None:
    play(tmp_path, target=backend(HELPS, "target"), limit=1, turns=2)
    path = tmp_path / "crescendo-smoke" / "dialogues.jsonl"
    line = json.loads(path.read_text(encoding="utf-8"))
    assert (line["outcome"], line["deciding"]) == ("held", 1)
    attempts = [one | change for one, change in zip(line["attempts"], changes, strict=True)]
    path.write_text(json.dumps({**line, "attempts": attempts}) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=rf"dialogues\.jsonl:1: {problem}"):
        stored(tmp_path)


def test_a_dialogue_that_is_there_twice_is_named(tmp_path: Path) -> None:
    play(tmp_path, limit=2, turns=1)
    path = tmp_path / "crescendo-smoke" / "dialogues.jsonl"
    first, second = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text(f"{first}\n{second}{first}", encoding="utf-8")
    with pytest.raises(
        DataError, match=r"dialogues\.jsonl:4: key: is the same as in line 1\. Remove line 4\. To make it"
    ):
        stored(tmp_path)
    with pytest.raises(DataError, match=r"dialogues\.jsonl:4: "):
        play(tmp_path, limit=2, turns=1)


def test_a_deciding_answer_that_was_deleted_is_made_again_from_the_stored_calls(tmp_path: Path) -> None:
    before = play(tmp_path, **crowd(), limit=6)
    paths = [tmp_path / "crescendo-smoke" / name for name in ("completions.jsonl", "dialogues.jsonl")]
    whole = [path.read_bytes() for path in paths]
    assert len(whole[0].splitlines()) > 1
    for kept in (b"", whole[0].splitlines(keepends=True)[0]):
        paths[0].write_bytes(kept)
        idle = crowd()
        assert play(tmp_path, **idle, limit=6) == before
        assert [path.read_bytes() for path in paths] == whole
        assert [one.received for one in idle.values()] == [[], [], []]


def test_a_stored_dialogue_is_not_played_again_even_without_its_calls(tmp_path: Path) -> None:
    before = play(tmp_path, limit=3, turns=1)
    (tmp_path / "crescendo-smoke" / "calls.jsonl").unlink()
    idle = crowd()
    assert play(tmp_path, target=idle["target"], limit=3, turns=1) == before
    assert idle["target"].received == []
