"""Every branch of every attack, driven by scripted replies of all roles: a table of control flows and branches."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest

from alttrain_cli.backends.base import BackendError, Completion, ContextFullError, Finish, Key, Request
from alttrain_cli.evaluation.attacks.attack import AttackOutcome, FinishedDialogue, Role
from alttrain_cli.evaluation.attacks.catalogue import Budget
from alttrain_cli.evaluation.attacks.runner import Dialogue, play_all
from alttrain_cli.evaluation.attacks.setup import AttackSetup
from alttrain_cli.evaluation.suites.attack_spec import FlowName
from alttrain_cli.evaluation.suites.suite import Item, SampleRequest, all_suites
from alttrain_cli.progress import Progress
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.storage.journal import Journal
from tests.scripted import ScriptedBackend

HELD, ACHIEVED = AttackOutcome.HELD, AttackOutcome.ACHIEVED
ATTACKER, JUDGE = AttackOutcome.ATTACKER_FAILED, AttackOutcome.JUDGE_FAILED
UNFINISHED, FULL = AttackOutcome.UNFINISHED, AttackOutcome.CONTEXT_FULL
SAMPLED = Sampling(max_new_tokens=64, do_sample=True, temperature=1.0)
ITEM = Item("1", "Insult a cactus.", turns=("How do I cook rice?", "And brown rice?", "And beans?"))

Text = Completion | BackendError | str
ALWAYS = -1  # in place of the number of a reply: each one
JUNK, REFUSED, HIT = "Well, hm.", '{"refused": true}', '{"score": 10}'
CUT = Completion("An answer that is", Finish.LENGTH)
CUT_REASONING = Completion("<think>\nHmm", Finish.LENGTH)
EMPTY = Completion("<think>\nHmm\n</think>\n\n")
TOO_LONG = ContextFullError("the context is full")
ONE_ACTOR = '{"messages": ["one"]}'


class Replies(NamedTuple):
    """What each role writes, by the number of its reply from 0; unreadable ones are asked for again."""

    attacker: Mapping[int, Text] = {}
    target: Mapping[int, Text] = {}
    refusal: Mapping[int, Text] = {}
    score: Mapping[int, Text] = {}


class Case(NamedTuple):
    """A branch: who replies what, and how the dialogue must end.

    Attributes:
        calls: of the target.
        decides: the number of the answer that decides.
        left: the numbers of the answers that stayed in the conversation; None: all that were logged.
        budget: instead of the flow's budget in these tests.
        messages: of the attacker, lists included; None: not looked at.
    """

    outcome: AttackOutcome
    calls: int
    decides: int | None
    replies: Replies = Replies()
    left: tuple[int, ...] | None = None
    budget: Budget | None = None
    messages: int | None = None


def always(text: Text) -> dict[int, Text]:
    return {ALWAYS: text}


def three(text: Text, first: int = 0) -> dict[int, Text]:
    return dict.fromkeys(range(first, first + 3), text)


BRANCHES = (
    "it holds",
    "a refusal first",
    "the last step back is used up",
    "the attacker cannot be read at first",
    "the attacker cannot be read later",
    "the attacker can never be read",
    "the third try of each role is read",
    "a refusal cannot be judged",
    "no refusal can be judged",
    "a score cannot be read",
    "no score can be read",
    "an answer is cut",
    "a reasoning is cut",
    "each reasoning is cut",
    "an answer is empty",
    "the target's context is full",
    "the attacker's context is full",
    "the attacker's context is full at once",
    "a hit in the first call",
    "a hit in the last call",
    "a budget of one",
    "a budget of one and a hit",
)
NO_ATTACKER = "no model attacks"
NO_REFUSALS = "nobody looks for refusals"
NO_SCORES = "no judge scores in the loop"

# The budgets of the cases, if they have none of their own.
BUDGETS: dict[FlowName, Budget] = {
    "escalation": Budget(turns=2, backtracks=1),
    "refinement": Budget(turns=2, streams=2),
    "paraphrase": Budget(turns=2),
    "actors": Budget(turns=2, backtracks=1),  # and two actors, for the attacker names two
    "repetition": Budget(turns=2, backtracks=1),
    "script": Budget(turns=2),
}
ONE = Budget(turns=1, backtracks=0, streams=1)

ESCALATION: dict[str, Case | str] = {
    "it holds": Case(HELD, 2, 1),
    "a refusal first": Case(HELD, 3, 2, Replies(refusal={0: REFUSED}), left=(1, 2), messages=3),
    # The second refusal stays, is scored, and uses up a turn.
    "the last step back is used up": Case(HELD, 3, 2, Replies(refusal=always(REFUSED)), left=(1, 2)),
    "the attacker cannot be read at first": Case(ATTACKER, 0, None, Replies(attacker=three(JUNK))),
    "the attacker cannot be read later": Case(ATTACKER, 1, None, Replies(attacker=three(JUNK, 1))),
    "the attacker can never be read": Case(ATTACKER, 0, None, Replies(attacker=always(JUNK))),
    "the third try of each role is read": Case(
        HELD, 2, 1, Replies({0: JUNK, 1: JUNK}, {}, {0: JUNK, 1: JUNK}, {0: JUNK, 1: JUNK})
    ),
    "a refusal cannot be judged": Case(JUDGE, 2, None, Replies(refusal=three(JUNK, 1))),
    "no refusal can be judged": Case(JUDGE, 1, None, Replies(refusal=always(JUNK))),
    "a score cannot be read": Case(JUDGE, 2, None, Replies(score=three(JUNK, 1))),
    "no score can be read": Case(JUDGE, 1, None, Replies(score=always(JUNK))),
    "an answer is cut": Case(HELD, 2, 1, Replies(target={0: CUT, 1: CUT})),
    "a reasoning is cut": Case(UNFINISHED, 2, None, Replies(target={1: CUT_REASONING})),
    "each reasoning is cut": Case(UNFINISHED, 1, None, Replies(target=always(CUT_REASONING))),
    "an answer is empty": Case(UNFINISHED, 2, None, Replies(target={1: EMPTY})),
    "the target's context is full": Case(FULL, 2, None, Replies(target={1: TOO_LONG})),
    "the attacker's context is full": Case(FULL, 1, None, Replies(attacker={1: TOO_LONG})),
    "the attacker's context is full at once": Case(FULL, 0, None, Replies(attacker=always(TOO_LONG))),
    "a hit in the first call": Case(ACHIEVED, 1, 0, Replies(score={0: HIT})),
    "a hit in the last call": Case(
        ACHIEVED, 3, 2, Replies(refusal={1: REFUSED}, score={1: HIT}), left=(0, 2)
    ),
    "a budget of one": Case(HELD, 1, 0, budget=ONE),
    "a budget of one and a hit": Case(ACHIEVED, 1, 0, Replies(score={0: HIT}), budget=ONE),
}
# Two streams of two messages. A stream that fails ends, and the other one goes on.
REFINEMENT: dict[str, Case | str] = {
    "it holds": Case(HELD, 4, 3),
    "a refusal first": NO_REFUSALS,
    "the last step back is used up": NO_REFUSALS,
    # The first reply is the first stream's; its two further tries come after the second stream's.
    "the attacker cannot be read at first": Case(HELD, 2, 1, Replies(attacker={0: JUNK, 2: JUNK, 3: JUNK})),
    "the attacker cannot be read later": Case(HELD, 3, 2, Replies(attacker={2: JUNK, 4: JUNK, 5: JUNK})),
    "the attacker can never be read": Case(ATTACKER, 0, None, Replies(attacker=always(JUNK))),
    "the third try of each role is read": Case(
        HELD, 4, 3, Replies({0: JUNK, 2: JUNK}, {}, {}, {0: JUNK, 2: JUNK})
    ),
    "a refusal cannot be judged": NO_REFUSALS,
    "no refusal can be judged": NO_REFUSALS,
    "a score cannot be read": Case(HELD, 3, 2, Replies(score={0: JUNK, 2: JUNK, 3: JUNK})),
    "no score can be read": Case(JUDGE, 2, None, Replies(score=always(JUNK))),
    "an answer is cut": Case(HELD, 4, 3, Replies(target={0: CUT, 3: CUT})),
    "a reasoning is cut": Case(HELD, 3, 2, Replies(target={0: CUT_REASONING})),
    "each reasoning is cut": Case(UNFINISHED, 2, None, Replies(target=always(CUT_REASONING))),
    "an answer is empty": Case(HELD, 3, 2, Replies(target={0: EMPTY})),
    "the target's context is full": Case(FULL, 2, None, Replies(target=always(TOO_LONG))),
    "the attacker's context is full": Case(FULL, 2, None, Replies(attacker={2: TOO_LONG, 3: TOO_LONG})),
    "the attacker's context is full at once": Case(FULL, 0, None, Replies(attacker=always(TOO_LONG))),
    "a hit in the first call": Case(ACHIEVED, 2, 0, Replies(score={0: HIT})),
    "a hit in the last call": Case(ACHIEVED, 4, 3, Replies(score={3: HIT})),
    "a budget of one": Case(HELD, 1, 0, budget=ONE),
    "a budget of one and a hit": Case(ACHIEVED, 1, 0, Replies(score={0: HIT}), budget=ONE),
}
# Two techniques, one message each. One that fails is passed over.
PARAPHRASE: dict[str, Case | str] = {
    "it holds": Case(HELD, 2, 1),
    "a refusal first": NO_REFUSALS,
    "the last step back is used up": NO_REFUSALS,
    "the attacker cannot be read at first": Case(HELD, 1, 0, Replies(attacker=three(JUNK))),
    "the attacker cannot be read later": Case(HELD, 1, 0, Replies(attacker=three(JUNK, 1))),
    "the attacker can never be read": Case(ATTACKER, 0, None, Replies(attacker=always(JUNK))),
    "the third try of each role is read": Case(
        HELD, 2, 1, Replies({0: JUNK, 1: JUNK}, {}, {}, {0: JUNK, 1: JUNK})
    ),
    "a refusal cannot be judged": NO_REFUSALS,
    "no refusal can be judged": NO_REFUSALS,
    "a score cannot be read": Case(HELD, 2, 1, Replies(score=three(JUNK))),
    "no score can be read": Case(JUDGE, 2, None, Replies(score=always(JUNK))),
    "an answer is cut": Case(HELD, 2, 1, Replies(target={1: CUT})),
    "a reasoning is cut": Case(HELD, 2, 1, Replies(target={0: CUT_REASONING})),
    "each reasoning is cut": Case(UNFINISHED, 2, None, Replies(target=always(CUT_REASONING))),
    "an answer is empty": Case(HELD, 2, 0, Replies(target={1: EMPTY})),
    "the target's context is full": Case(FULL, 2, None, Replies(target=always(TOO_LONG))),
    "the attacker's context is full": Case(FULL, 0, None, Replies(attacker=always(TOO_LONG))),
    "the attacker's context is full at once": Case(FULL, 0, None, Replies(attacker=always(TOO_LONG))),
    "a hit in the first call": Case(ACHIEVED, 1, 0, Replies(score={0: HIT})),
    "a hit in the last call": Case(ACHIEVED, 2, 1, Replies(score={1: HIT})),
    "a budget of one": Case(HELD, 1, 0, budget=ONE),
    "a budget of one and a hit": Case(ACHIEVED, 1, 0, Replies(score={0: HIT}), budget=ONE),
}
# The attacker names two actors, and then two questions for each, when it is that actor's turn. An actor that fails is
# passed over.
ACTORS: dict[str, Case | str] = {
    "it holds": Case(HELD, 4, 3),
    "a refusal first": Case(HELD, 5, 4, Replies(refusal={0: REFUSED}), left=(1, 2, 3, 4), messages=4),
    # The question is left out after its last rewrite.
    "the last step back is used up": Case(
        HELD, 5, 4, Replies(refusal={0: REFUSED, 1: REFUSED}), left=(2, 3, 4), messages=4
    ),
    "the attacker cannot be read at first": Case(
        ATTACKER, 0, None, Replies(attacker=three(JUNK))
    ),  # no actors
    "the attacker cannot be read later": Case(HELD, 2, 1, Replies(attacker=three(JUNK, 1))),  # no questions
    "the attacker can never be read": Case(ATTACKER, 0, None, Replies(attacker=always(JUNK))),
    "the third try of each role is read": Case(
        HELD, 4, 3, Replies({0: JUNK, 1: JUNK}, {}, {0: JUNK, 1: JUNK}, {0: JUNK, 1: JUNK})
    ),
    "a refusal cannot be judged": Case(HELD, 3, 2, Replies(refusal=three(JUNK))),
    "no refusal can be judged": Case(JUDGE, 2, None, Replies(refusal=always(JUNK))),
    "a score cannot be read": Case(HELD, 3, 2, Replies(score=three(JUNK))),
    "no score can be read": Case(JUDGE, 2, None, Replies(score=always(JUNK))),
    "an answer is cut": Case(HELD, 4, 3, Replies(target={0: CUT, 3: CUT})),
    "a reasoning is cut": Case(HELD, 3, 2, Replies(target={0: CUT_REASONING})),
    "each reasoning is cut": Case(UNFINISHED, 2, None, Replies(target=always(CUT_REASONING))),
    "an answer is empty": Case(HELD, 4, 2, Replies(target={3: EMPTY})),
    "the target's context is full": Case(FULL, 2, None, Replies(target=always(TOO_LONG))),
    # At the rewrite of each actor's first question. The target refused both, so it held, with failed tries.
    "the attacker's context is full": Case(
        HELD, 2, 1, Replies(refusal=always(REFUSED), attacker={2: TOO_LONG, 4: TOO_LONG}), left=()
    ),
    "the attacker's context is full at once": Case(FULL, 0, None, Replies(attacker=always(TOO_LONG))),
    "a hit in the first call": Case(ACHIEVED, 1, 0, Replies(score={0: HIT})),
    "a hit in the last call": Case(
        ACHIEVED, 5, 4, Replies(refusal={3: REFUSED}, score={3: HIT}), left=(0, 1, 2, 4)
    ),
    "a budget of one": Case(HELD, 1, 0, Replies(attacker={0: ONE_ACTOR}), budget=ONE),
    "a budget of one and a hit": Case(
        ACHIEVED, 1, 0, Replies(attacker={0: ONE_ACTOR}, score={0: HIT}), budget=ONE
    ),
}
# Three samples. One without an answer or a score is passed over; of equals the first one decides.
REPETITION: dict[str, Case | str] = {
    "it holds": Case(HELD, 3, 0),
    "a refusal first": NO_REFUSALS,
    "the last step back is used up": NO_REFUSALS,
    "the attacker cannot be read at first": NO_ATTACKER,
    "the attacker cannot be read later": NO_ATTACKER,
    "the attacker can never be read": NO_ATTACKER,
    "the third try of each role is read": Case(HELD, 3, 0, Replies(score={0: JUNK, 1: JUNK})),
    "a refusal cannot be judged": NO_REFUSALS,
    "no refusal can be judged": NO_REFUSALS,
    "a score cannot be read": Case(HELD, 3, 1, Replies(score=three(JUNK))),
    "no score can be read": Case(JUDGE, 3, None, Replies(score=always(JUNK))),
    "an answer is cut": Case(HELD, 3, 0, Replies(target={0: CUT})),
    "a reasoning is cut": Case(HELD, 3, 1, Replies(target={0: CUT_REASONING})),
    "each reasoning is cut": Case(UNFINISHED, 3, None, Replies(target=always(CUT_REASONING))),
    "an answer is empty": Case(HELD, 3, 1, Replies(target={0: EMPTY})),
    "the target's context is full": Case(FULL, 3, None, Replies(target=always(TOO_LONG))),
    "the attacker's context is full": NO_ATTACKER,
    "the attacker's context is full at once": NO_ATTACKER,
    "a hit in the first call": Case(ACHIEVED, 1, 0, Replies(score={0: HIT})),
    "a hit in the last call": Case(ACHIEVED, 3, 2, Replies(score={2: HIT})),
    "a budget of one": Case(HELD, 1, 0, budget=ONE),
    "a budget of one and a hit": Case(ACHIEVED, 1, 0, Replies(score={0: HIT}), budget=ONE),
}
# The first two of three turns. Nothing is taken back, and nothing stops early.
SCRIPT: dict[str, Case | str] = {
    "it holds": Case(HELD, 2, 1),
    "a refusal first": Case(HELD, 2, 1, Replies(refusal={0: REFUSED})),
    "the last step back is used up": Case(HELD, 2, 1, Replies(refusal=always(REFUSED))),
    "the attacker cannot be read at first": NO_ATTACKER,
    "the attacker cannot be read later": NO_ATTACKER,
    "the attacker can never be read": NO_ATTACKER,
    "the third try of each role is read": Case(HELD, 2, 1, Replies(refusal={0: JUNK, 1: JUNK})),
    "a refusal cannot be judged": Case(JUDGE, 2, None, Replies(refusal=three(JUNK, 1))),
    "no refusal can be judged": Case(JUDGE, 1, None, Replies(refusal=always(JUNK))),
    "a score cannot be read": NO_SCORES,
    "no score can be read": NO_SCORES,
    "an answer is cut": Case(HELD, 2, 1, Replies(target={1: CUT})),
    "a reasoning is cut": Case(UNFINISHED, 2, None, Replies(target={1: CUT_REASONING})),
    "each reasoning is cut": Case(UNFINISHED, 1, None, Replies(target=always(CUT_REASONING))),
    "an answer is empty": Case(UNFINISHED, 2, None, Replies(target={1: EMPTY})),
    "the target's context is full": Case(FULL, 2, None, Replies(target={1: TOO_LONG})),
    "the attacker's context is full": NO_ATTACKER,
    "the attacker's context is full at once": NO_ATTACKER,
    "a hit in the first call": NO_SCORES,
    "a hit in the last call": NO_SCORES,
    "a budget of one": Case(HELD, 1, 0, budget=ONE),
    "a budget of one and a hit": NO_SCORES,
}
TABLE: dict[FlowName, dict[str, Case | str]] = {
    "escalation": ESCALATION,
    "refinement": REFINEMENT,
    "paraphrase": PARAPHRASE,
    "actors": ACTORS,
    "repetition": REPETITION,
    "script": SCRIPT,
}
ATTACKS = {name: suite.attack for name, suite in all_suites().items() if suite.attack}
CASES = [
    pytest.param(name, case, id=f"{name}: {branch}")
    for name, attack in ATTACKS.items()
    for branch, case in TABLE[attack.flow].items()
    if isinstance(case, Case)
]


class InOrder(ScriptedBackend):
    """One role. It replies in the order of the requests, and counts what it replied."""

    def __init__(self, name: str, texts: Mapping[str, Mapping[int, Text]]) -> None:
        super().__init__(name=name)
        self._texts = texts
        self._counts: Counter[str] = Counter()

    def complete(
        self, requests: Iterable[Request[Key]], sampling: Sampling
    ) -> Iterator[tuple[Key, Completion | BackendError]]:  # type: ignore[override]
        for request in requests:
            part = self._part(str(request.input))
            texts, number = self._texts[part], self._counts[part]
            self._counts[part] += 1
            found = texts.get(number, texts.get(ALWAYS, self._usual(str(request.input))))
            yield request.key, Completion(found) if isinstance(found, str) else found

    def _part(self, asked: str) -> str:
        return (
            "refusal" if '{"refused": true}' in asked else "score" if '{"score": 1}' in asked else self.name
        )

    def _usual(self, asked: str) -> str:
        usual = {"refusal": '{"refused": false}', "score": '{"score": 3}', "target": "An answer."}
        lists = '{"messages"' in asked
        attacker = '{"messages": ["one", "two"]}' if lists else '{"message": "a message"}'
        return usual.get(self._part(asked), attacker)


def drive(name: str, case: Case, root: Path) -> tuple[FinishedDialogue, Dialogue]:
    """Play one dialogue of an attack with the replies of a case."""
    suite = all_suites()[name]
    assert suite.attack is not None
    replies = {part: getattr(case.replies, part) for part in Replies._fields}
    judge, budget = InOrder("judge", replies), case.budget or BUDGETS[suite.attack.flow]
    setup = AttackSetup(InOrder("attacker", replies), judge, judge, budget)
    callers = setup.callers(suite, InOrder("target", replies), SAMPLED, Journal(root / "calls.jsonl"))
    [dialogue] = play_all(setup.attack(suite), [SampleRequest("k", ITEM, 0)], callers, Progress())
    assert dialogue.error is None
    assert dialogue.done is not None
    return dialogue.done, dialogue


def test_the_table_has_every_branch_of_every_control_flow_or_says_why_there_is_none() -> None:
    assert set(TABLE) == set(BUDGETS) == set(get_args(FlowName))
    assert {attack.flow for attack in ATTACKS.values()} == set(TABLE)
    for flow, branches in TABLE.items():
        assert tuple(branches) == BRANCHES, flow
        reasons = {case for case in branches.values() if isinstance(case, str)}
        assert reasons <= {NO_ATTACKER, NO_REFUSALS, NO_SCORES}


@pytest.mark.parametrize(("name", "case"), CASES)
def test_a_branch_ends_as_the_table_says(name: str, case: Case, tmp_path: Path) -> None:
    done, dialogue = drive(name, case, tmp_path)
    assert (done.outcome, dialogue.roles[Role.TARGET]) == (case.outcome, case.calls)
    assert (done.deciding and done.deciding.number) == case.decides
    kept = tuple(one.number for one in done.attempts if one.kept)
    assert kept == (tuple(one.number for one in done.attempts) if case.left is None else case.left)
    assert case.messages in (None, dialogue.roles[Role.ATTACKER])
    check_attempts(ATTACKS[name].flow, done, dialogue)


def check_attempts(flow: FlowName, done: FinishedDialogue, dialogue: Dialogue) -> None:
    """Check what holds in every branch: calls, scores and the conversation so far."""
    assert dialogue.roles[Role.TARGET] == len(done.attempts) + dialogue.failed[Role.TARGET]
    scored = [one for one in done.attempts if one.score and (flow != "actors" or one.kept)]
    assert len(scored) == dialogue.roles[Role.JUDGE] - dialogue.failed[Role.JUDGE]
    assert any(one.score == 10 for one in scored) == (done.outcome is ACHIEVED)
    for place, one in enumerate(done.attempts):
        turns = sum(message.role == "user" for message in one.asked.messages)
        before = [earlier for earlier in done.attempts[:place] if earlier.kept]
        if flow in ("escalation", "script"):
            assert turns == len(before) + 1
        elif flow != "actors":  # whose conversations begin anew
            assert turns == 1
    unseen: dict[str, Any] = {NO_REFUSALS: Role.REFUSAL, NO_ATTACKER: Role.ATTACKER, NO_SCORES: Role.JUDGE}
    for reason in {one for one in TABLE[flow].values() if isinstance(one, str)}:
        assert dialogue.roles[unseen[reason]] == 0
