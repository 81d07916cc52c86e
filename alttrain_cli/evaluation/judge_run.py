"""One judge on stored completions: what its files are called, and what it has not judged yet."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import cast

from alttrain_cli.errors import AlttrainError
from alttrain_cli.evaluation.choices import JudgedPart
from alttrain_cli.evaluation.completion import StoredCompletion
from alttrain_cli.evaluation.judgement import Judgement, JudgementState, from_record, record, without_answer
from alttrain_cli.evaluation.judges.catalogue import judge_named
from alttrain_cli.evaluation.judges.judge import InstantJudge, Judge
from alttrain_cli.evaluation.plan import EvalPlan, SuiteDir
from alttrain_cli.evaluation.plan_keys import hash_of
from alttrain_cli.evaluation.suites.attack_spec import IN_TURNS
from alttrain_cli.evaluation.suites.suite import Item
from alttrain_cli.storage.key_table import KeyTable
from alttrain_cli.storage.names import earlier_model_file_name, model_file_name
from alttrain_cli.text import escape_hidden


@dataclass(frozen=True)
class JudgeRun:
    """A judge, the model that it uses if that is not its default, and the part that it sees."""

    judge: InstantJudge | Judge
    part: JudgedPart = "answer"
    model: str | None = None
    earlier: bool = False  # its files have the name that an earlier version gave them

    @property
    def name(self) -> str:
        """What its files are called: rule, strongreject~gpt-4o, wildguard@reasoning."""
        named = earlier_model_file_name if self.earlier else model_file_name
        model = "~" + named(self.model) if self.model else ""
        return self.judge.name + model + ("" if self.part == "answer" else f"@{self.part}")

    def found_in(self, cases: Iterable[tuple[SuiteDir, EvalPlan]]) -> "JudgeRun":
        """Return the same with the name of its files in some evaluations.

        Up to version 0.1 the models a/b and a:b had the same files. Those are used if all in them is its own.
        """
        before = replace(self, earlier=True)
        mine: list[bool] = []
        for folder, plan in cases if before.name != self.name else ():
            if folder.judgements(self.name).path.exists():
                return self
            lines = [one for one in folder.judgements(before.name) if one["completion"] in plan.keys]
            requests = plan.requests if lines else ()
            keys = {key for one in requests for key in self._keys(plan, one.key, one.item)}
            mine += [line["key"] in keys for line in lines]
        return before if mine and all(mine) else self

    def sees_turns(self, plan: EvalPlan, item: Item) -> bool:
        """Whether it sees the earlier messages too: an answer may mean something only after them."""
        if isinstance(self.judge, InstantJudge) or plan.attack is None:
            return False
        return plan.attack.flow in IN_TURNS and not (item.turns and not item.goal)

    def key(self, completion: str, item: Item | None = None, plan: EvalPlan | None = None) -> str:
        """Return the key of its judgement: of the completion, the item's reference and what it sees."""
        more: list[object] = [item.reference] if item and item.reference else []
        more += ["turns"] if item and plan and self.sees_turns(plan, item) else []
        return hash_of(self.judge.name, self.judge.version, self.model, self.part, completion, *more)

    def _keys(self, plan: EvalPlan, completion: str, item: Item) -> tuple[str, ...]:
        """Return its key, and those of earlier versions: without the reference, or without the turns."""
        return self.key(completion, item, plan), self.key(completion, item), self.key(completion)

    def unjudged(self, folder: SuiteDir, plan: EvalPlan) -> Iterator[tuple[str, StoredCompletion, Item]]:
        """Yield (key of the judgement, completion, item) of what is not judged yet.

        An unparsed judgement is made again. Earlier versions left the item's reference out of the key; what
        they judged counts, unless they showed fewer messages of a dialogue.
        """
        judged = KeyTable("I")
        for line in folder.judgements(self.name):
            if line["state"] is not JudgementState.UNPARSED:
                judged.number(line["key"])
        requests = iter(plan.requests)
        for completion in folder.stored(plan.keys, plan.order):
            item = next(request.item for request in requests if request.key == completion.key)
            key, *_, earlier = self._keys(plan, completion.key, item)
            if key not in judged and (self.sees_turns(plan, item) or earlier not in judged):
                yield key, completion, item

    def sort(self, folder: SuiteDir, plan: EvalPlan) -> None:
        keys = (self.key(request.key, request.item, plan) for request in plan.requests)
        folder.judgements(self.name).sort_by_keys(keys)


def judge_instantly(
    folder: SuiteDir, plan: EvalPlan, judge: InstantJudge, part: JudgedPart = "answer"
) -> int:
    """Judge all that is not judged yet; return how many were."""
    run = JudgeRun(judge, part)
    journal = folder.judgements(run.name)
    count = 0
    for key, completion, item in run.unjudged(folder, plan):
        judgement = without_answer(completion) if part == "answer" else None
        journal.append(
            record(key, completion.key, judgement or _judgement(judge, completion.part(part), item))
        )
        count += 1
    run.sort(folder, plan)
    return count


def _judgement(judge: InstantJudge, text: str, item: Item) -> Judgement:
    """Return the judgement; one item on which a judge fails is unparsed, and the others are judged."""
    try:
        return judge.judge(text, item)
    except AlttrainError:
        raise
    except Exception as error:
        return Judgement(JudgementState.UNPARSED, raw=escape_hidden(f"{type(error).__name__}: {error}")[:200])


def judgements(folder: SuiteDir, plan: EvalPlan, name: str) -> Iterator[tuple[str, Judgement]]:
    """Yield (key of the completion, judgement) of all judgements of the plan in a judge's file.

    Of two judgements of one completion the later one counts.
    """
    for line in folder.judgements(name):
        if line["completion"] in plan.keys:
            yield line["completion"], from_record(line)


def outdated(folder: SuiteDir, plan: EvalPlan, name: str) -> int:
    """Return how many of the judgements that count would be made again, by a judge that needs no model.

    Another version of the judge made them, or the item had another right answer then.
    """
    judge = judge_named(name)
    if not isinstance(judge, InstantJudge) or not judge.version_known:
        return 0
    run = JudgeRun(judge, cast(JudgedPart, name.partition("@")[2] or "answer"))
    latest = KeyTable()  # of each completion a hash of the key of its judgement
    for line in folder.judgements(name):
        latest[line["completion"]] = hash(line["key"])
    following = found = 0
    for request in plan.requests:
        if plan.keys.number(request.key) == following:  # not a copy of one that was looked at
            following += 1
            judged = latest.get(request.key)
            now = hash(run.key(request.key, request.item)), hash(run.key(request.key))
            found += judged is not None and judged not in now
    return found
