"""The judge stage: who is asked, by what means, and how well it agrees with people."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from alttrain_cli import console
from alttrain_cli.backends.endpoint import Endpoint, EndpointError
from alttrain_cli.engine import quiet
from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.judge_card import CARD, SOURCE, question_card, questions_of
from alttrain_cli.evaluation.judge_requests import Question, ask, label_key, label_questions, questions
from alttrain_cli.evaluation.judge_run import JudgeRun, judge_instantly, judgements
from alttrain_cli.evaluation.judgement import FOUR_BITS, Judgement, State, from_record, judgement_kind
from alttrain_cli.evaluation.judges.catalogue import AnyJudge, judges_for
from alttrain_cli.evaluation.judges.judge import Asked, InstantJudge, Judge, Part
from alttrain_cli.evaluation.labels import Label, read_labels
from alttrain_cli.evaluation.labels import Question as Asks
from alttrain_cli.evaluation.plan import Facts, Plan, SuiteDir, hash_of, suite_dirs
from alttrain_cli.evaluation.sandbox.probe import refusal
from alttrain_cli.evaluation.suites.suite import Item
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.storage.checked import read_record_file
from alttrain_cli.storage.files import write_json
from alttrain_cli.storage.journal import Journal
from alttrain_cli.structure.markers import THINK
from alttrain_cli.structure.trace import parse

CARDS = Path(platformdirs.user_cache_dir("alttrain", appauthor=False)) / "cards"
_SETTLED = (State.UNFINISHED, State.EMPTY)  # there is nothing to judge
Labels = dict[Asks, list[Label]]
Cases = Sequence[tuple[SuiteDir, Plan]]
Tried = dict[Asks, list[tuple[Label, Judgement]]]
CODE_NEEDS_LEAVE = "runs code that a model wrote. Where that may be: --allow-code"


@dataclass(frozen=True)
class Bench:
    """The judges that a person chose, and how they are reached."""

    chosen: list[AnyJudge]
    part: Part = "answer"
    url: str | None = None
    model: str | None = None
    allow_code: bool = False
    with_card: bool = True

    def call(self) -> None:
        """Make sure that every judge can be had, before anything is generated for it.

        Raises:
            ModelError, EndpointError, DataError: if one cannot.
        """
        for judge in self.chosen:
            if isinstance(judge, Judge):
                self._reach(judge)

    def _reach(self, judge: Judge) -> "_Local | _Server":
        return _Local(judge, self.model) if judge.model else _Server.of(judge, self.url, self.model)

    def sit(self, roots: Sequence[Path], only: Collection[str] | None = None) -> list[str]:
        """Have every judgement that is not there yet, of all roots at once: a judge is loaded once.

        `only` names the folders of suites that are meant; None: all. Returns a line for each judge that
        judged nothing of what it was given.
        """
        cases = [
            (place, Plan.load(place.folder))
            for root in roots
            for place in suite_dirs(root)
            if only is None or place.folder.name in only
        ]
        problems: list[str] = []
        needed = {judge.name: judge for _, plan in cases for judge in _judges(plan, self.chosen)}
        for judge in needed.values():
            mine = [(place, plan) for place, plan in cases if judge in _judges(plan, self.chosen)]
            if isinstance(judge, InstantJudge):
                problems.append(self._judge_instantly(judge, mine, roots))
            else:
                problems.append(self._judge_by_asking(judge, mine, roots))
        return list(filter(None, problems))

    def _judge_instantly(self, judge: InstantJudge, cases: Cases, roots: Sequence[Path]) -> str:
        if judge.name == "code" and not self.allow_code:
            console.print_warning(f"not judged: this suite {CODE_NEEDS_LEAVE}")
            return ""  # what is judged besides may be all that is wanted
        if judge.name == "code" and (reason := refusal()):
            return reason
        part: Part = self.part if judge.triage else "answer"
        for place, plan in cases:
            judge_instantly(place, plan, judge, part)
        for root in roots if self.with_card else ():
            _save_card(JudgeRun(judge, part), root, _tried(judge))
        return _nothing_judged(JudgeRun(judge, part), cases)

    def _judge_by_asking(self, judge: Judge, cases: Cases, roots: Sequence[Path]) -> str:
        reached = self._reach(judge)
        sitting = JudgeRun(judge, self.part, reached.named)
        todo = [question for place, plan in cases for question in questions(place, plan, sitting)]
        labels = _labels(judge) if self.with_card else {}
        journal = Journal(CARDS / f"{hash_of(sitting.key(''))}.jsonl", judgement_kind(judge.measures))
        for some in labels.values():
            todo += label_questions(some, sitting, journal)
        if todo:
            _put(judge, reached, todo)
        for place, plan in cases:
            sitting.settle(place, plan)
        said = {line["key"]: from_record(line) for line in journal}
        for root in roots:
            _save_card(sitting, root, _told(labels, said, sitting))
        return _nothing_judged(sitting, cases, reached.failed)


def _nothing_judged(sitting: JudgeRun, cases: Cases, failed: Sequence[EndpointError] = ()) -> str:
    """Return in words that a judge came to no judgement of any completion; nothing if it came to one."""
    found = {key: one for place, plan in cases for key, one in judgements(place, plan, sitting.name)}
    if any(one.state is State.JUDGED for one in found.values()):
        return ""
    completions = {key for place, plan in cases for key in place.completions.keys() & set(plan.keys)}
    put = [key for key in completions if key not in found or found[key].state not in _SETTLED]
    if not put:
        return ""
    words = next((one.raw for one in found.values() if one.raw), "no answer")
    why = failed[0] if failed else words[:200]
    return f"--judge {sitting.judge.name}: none of {len(put)} completions was judged, the first: {why}"


def _judges(plan: Plan, chosen: list[AnyJudge]) -> list[AnyJudge]:
    return judges_for(plan.suite["kind"], plan.suite["grader"], chosen)


class _Server:
    """A judge behind an OpenAI-compatible server."""

    tries = 3

    def __init__(self, judge: Judge, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._settings = Sampling(max_new_tokens=judge.max_new_tokens, do_sample=False)
        self.named: str | None = endpoint.model
        self.failed: list[EndpointError] = []
        self.facts: dict[str, bool] = {}

    @classmethod
    def of(cls, judge: Judge, url: str | None, model: str | None) -> "_Server":
        if url is None:
            raise DataError(
                f"--judge {judge.name}: is put to a language model. Say which: --judge-url http://localhost:8000/v1"
            )
        return cls(judge, Endpoint.find(url, model, console.print_warning))

    def answers(self, asked: Sequence[Asked]) -> Iterator[tuple[int, str | None]]:
        requests = [(at, one) for at, one in enumerate(asked) if not isinstance(one, (str, Mapping))]
        failed: list[EndpointError] = []
        for index, reply in self._endpoint.ask_all(requests, self._settings):
            if isinstance(reply, EndpointError):
                failed.append(reply)
                yield index, None
            else:
                # A judge that reasons names verdicts in its thoughts, which are none.
                yield index, parse(reply.text, THINK, prefilled=False).answer
        if failed:
            self.failed += failed
            console.print_warning(f"{len(failed)} of {len(asked)} were not judged, the last: {failed[-1]}")


class _Local:
    """A classifier on this machine."""

    tries = 1  # greedy: asking again changes nothing

    def __init__(self, judge: Judge, model: str | None) -> None:
        self._judge = judge
        self.failed: list[EndpointError] = []  # a model in memory does not fail to answer
        self.named = model  # None: the judge's own
        self.facts: dict[str, bool] = {}  # kept with each judgement
        name = model or str(judge.model)
        with console.status(f"Looking for {name} ..."), quiet.captured(None):
            from alttrain_cli.engine.classify import fetch
            from alttrain_cli.engine.model_card import CardPrompt

            fetch(name)
            fields = judge.ask("", "")
            if isinstance(fields, Mapping):
                CardPrompt(name).filled(fields)  # said now, not hours later

    def answers(self, asked: Sequence[Asked]) -> Iterator[tuple[int, str | None]]:
        name = self.named or str(self._judge.model)
        with console.status(f"Loading {name} ..."), quiet.captured(None):
            from alttrain_cli.engine.classify import Classifier

            classifier = Classifier(name)
        if classifier.bits == 4:
            self.facts[FOUR_BITS] = True
            console.print_warning(f"{name} does not fit in memory in 16 bits: it is loaded in 4 bits")
        try:
            yield from classifier.answers(asked, self._judge.max_new_tokens)
        finally:
            classifier.close()


def _put(judge: Judge, reached: _Server | _Local, todo: list[Question]) -> None:
    with console.WorkView() as view:
        for done, _ in enumerate(ask(judge, todo, reached.answers, reached.tries, reached.facts), 1):
            view.show(f"judging by {judge.name}", done, len(todo))


def _labels(judge: AnyJudge) -> Labels:
    return {question: read_labels(question) for question in questions_of(judge.measures)}


def _tried(judge: InstantJudge) -> Tried:
    return {
        question: [(label, judge.judge(label.response, Item("", label.prompt))) for label in labels]
        for question, labels in _labels(judge).items()
    }


def _told(labels: Labels, said: dict[str, Judgement], sitting: JudgeRun) -> Tried:
    return {
        question: [(label, said[key]) for label in some if (key := label_key(label, sitting)) in said]
        for question, some in labels.items()
    }


def _save_card(sitting: JudgeRun, root: Path, tried: Tried) -> None:
    questions = {key: question_card(key, judged) for key, judged in tried.items() if judged}
    if questions:
        write_json(root / f"card.{sitting.name}.json", {"labels": SOURCE, "questions": questions})


def read_cards(root: Path) -> dict[str, Facts]:
    """Return the judge cards that lie with a target's evaluations, by the judges' file names.

    Raises:
        DataError: naming the file and the key that is wrong.
    """
    cards = {}
    for path in sorted(root.glob("card.*.json")):
        name = path.name.removeprefix("card.").removesuffix(".json")
        cards[name] = read_record_file(CARD, path, "Delete it: alttrain eval judge makes it again.")
    return cards


def have_labels() -> bool:
    """Whether there are human labels to try judges on."""
    return bool(read_labels("refused"))
