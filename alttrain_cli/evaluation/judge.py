"""The judge stage: judge backends, judge runs, and the judge card (accuracy on human labels)."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from alttrain_cli.backends.base import Backend, BackendError
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.choices import JudgedPart
from alttrain_cli.evaluation.judge_card import label_kinds, save_card
from alttrain_cli.evaluation.judge_requests import ask_judge, label_key, label_requests, missing_requests
from alttrain_cli.evaluation.judge_run import JudgeRun, judge_instantly, judgements
from alttrain_cli.evaluation.judgement import JudgementState, from_record, judgement_kind
from alttrain_cli.evaluation.judges.card_prompt import CardPrompt
from alttrain_cli.evaluation.judges.catalogue import AnyJudge, judges_for
from alttrain_cli.evaluation.judges.judge import InstantJudge, Judge
from alttrain_cli.evaluation.labels import read_labels
from alttrain_cli.evaluation.plan import EvalPlan, SuiteDir, suite_dirs
from alttrain_cli.evaluation.plan_keys import hash_of
from alttrain_cli.evaluation.suites.suite import Item
from alttrain_cli.library_output import capture_output
from alttrain_cli.progress import Progress
from alttrain_cli.sandbox.probe import refusal
from alttrain_cli.storage.journal import Journal
from alttrain_cli.storage.key_table import KeyTable
from alttrain_cli.storage.user_folders import CACHE

CARDS = CACHE / "cards"
CODE_NOT_ALLOWED = "needs to run code that the model wrote. To allow this, add --allow-code"


@dataclass(frozen=True)
class Cases:
    """Evaluations to judge. Their plans are long, so one at a time is in memory."""

    folders: Sequence[SuiteDir]

    def __iter__(self) -> Iterator[tuple[SuiteDir, EvalPlan]]:
        return ((folder, EvalPlan.load(folder.path)) for folder in self.folders)


@dataclass(frozen=True)
class JudgeSet:
    """The judges that a person chose, and how their backends are opened."""

    chosen: list[AnyJudge]
    open_model: Callable[[str], Backend]  # opens a model by one word: a folder, a hub id, or "URL MODEL"
    progress: Progress
    with_card: bool
    part: JudgedPart = "answer"
    url: str | None = None  # the server of rubrics; where there are none, of classifiers
    # for a local judge another model than its own, for a server's judge its name there
    model: str | None = None
    allow_code: bool = False

    def check_available(self) -> None:
        """Make sure that every judge can be used, before anything is generated for it."""
        for judge in self.chosen:
            if isinstance(judge, Judge):
                self._check(judge)

    def run(self, roots: Sequence[Path], only: Collection[str] | None = None) -> list[str]:
        """Create all missing judgements of all roots. Each judge is loaded only once.

        `only` names the folders of suites that are meant; None: all. Returns a line for each judge that
        judged nothing of what it was given.
        """
        folders = [folder for root in roots for folder in suite_dirs(root, only)]
        suites = (plan.suite for _, plan in Cases(folders))
        judges = [judges_for(suite.kind, suite.grader, self.chosen) for suite in suites]
        needed = {judge.name: judge for some in judges for judge in some}
        problems = []
        for judge in needed.values():
            mine = Cases([folder for folder, some in zip(folders, judges, strict=True) if judge in some])
            if isinstance(judge, InstantJudge):
                problems.append(self._judge_instantly(judge, mine, roots))
            else:
                problems.append(self._judge_by_model(judge, mine, roots))
        return list(filter(None, problems))

    def _judge_instantly(self, judge: InstantJudge, cases: Cases, roots: Sequence[Path]) -> str:
        if judge.runs_code and not self.allow_code:
            self.progress.warn(f"not judged: this suite {CODE_NOT_ALLOWED}")
            return ""  # what else is judged may be all that is wanted
        if judge.runs_code and (reason := refusal()):
            return reason
        run = JudgeRun(judge, self.part if judge.triage else "answer")
        for folder, plan in cases:
            judge_instantly(folder, plan, judge, run.part)
        for root in roots if self.with_card else ():
            labelled = {
                kind: [(one, judge.judge(one.response, Item("", one.prompt))) for one in read_labels(kind)]
                for kind in label_kinds(judge.measures)
            }
            save_card(root, run.name, labelled)
        return _nothing_judged(run, cases)

    def _judge_by_model(self, judge: Judge, cases: Cases, roots: Sequence[Path]) -> str:
        run = JudgeRun(judge, self.part, self._check(judge)).found_in(cases)
        requests = [one for folder, plan in cases for one in missing_requests(folder, plan, run)]
        labels = {kind: read_labels(kind) for kind in label_kinds(judge.measures)} if self.with_card else {}
        journal = Journal(CARDS / f"{hash_of(run.key(''))}.jsonl", judgement_kind(judge.measures))
        for some in labels.values():
            requests += label_requests(some, run, journal)
        failed: list[BackendError] = []
        if requests:
            with closing(self._opened(judge)) as backend:
                failed = ask_judge(judge, backend, requests, self.progress)
        for folder, plan in cases:
            run.sort(folder, plan)
        stored = {line["key"]: from_record(line) for line in journal}
        labelled = {
            kind: [(one, stored[key]) for one in some if (key := label_key(one, run)) in stored]
            for kind, some in labels.items()
        }
        for root in roots:
            save_card(root, run.name, labelled)
        return _nothing_judged(run, cases, failed)

    def _check(self, judge: Judge) -> str | None:
        """Make sure that a judge can be used. Return the model that it uses if that is not its default."""
        if not self._is_served(judge):
            name = self._word(judge)
            with self.progress.status(f"Looking for {name} ..."), capture_output(None):
                from alttrain_cli.backends.classifier import ClassifierBackend

                ClassifierBackend.fetch(name)
                if judge.card_fields:
                    CardPrompt(name).filled(dict.fromkeys(judge.card_fields, ""))
            return self.model
        if self.url is None:
            raise DataError(
                f"--judge {judge.name}: this judge needs a language model on a server. "
                "Add --judge-url, for example http://localhost:8000/v1"
            )
        with closing(self._opened(judge)) as backend:
            if judge.card_fields:
                self._check_card(judge, backend.name)
            return backend.fingerprint.model

    def _check_card(self, judge: Judge, name: str) -> None:
        with self.progress.status(f"Looking for the card of {name} ..."), capture_output(None):
            from alttrain_cli.backends.classifier import ClassifierBackend

            ClassifierBackend.fetch_card(name)
            CardPrompt(name).filled(dict.fromkeys(judge.card_fields, ""))

    def _opened(self, judge: Judge) -> Backend:
        backend = self.open_model(self._word(judge))
        if judge.model is None:
            return backend
        from alttrain_cli.backends.served_classifier import ServedClassifier

        return ServedClassifier.of(backend, by_chat=isinstance(judge.ask("", ""), Conversation))

    def _is_served(self, judge: Judge) -> bool:
        """Whether a server has its model. With a rubric beside it, the URL is that of the rubric."""
        rubrics = [one for one in self.chosen if isinstance(one, Judge) and one.model is None]
        return judge.model is None or (self.url is not None and not rubrics)

    def _word(self, judge: Judge) -> str:
        if self._is_served(judge):
            return f"{self.url} {self.model or ''}".strip()
        return str(self.model or judge.model)


def _nothing_judged(run: JudgeRun, cases: Cases, failed: Sequence[BackendError] = ()) -> str:
    """Return in words that a judge judged no completion; nothing if it judged one, or there was none."""
    given, first = KeyTable("I"), ""
    for folder, plan in cases:
        without = KeyTable("I")  # completions that have no answer to judge
        for key, found in judgements(folder, plan, run.name):
            if found.state is JudgementState.JUDGED:
                return ""
            if found.state in (JudgementState.UNFINISHED, JudgementState.EMPTY):
                without.number(key)
            first = first or found.raw or ""
        for completion in folder.stored(plan.keys):
            if completion.key not in without:
                given.number(completion.key)
    if not given:
        return ""
    why = failed[0] if failed else first[:200] or "no answer"
    return f"--judge {run.judge.name}: none of {len(given)} completions was judged, the first reason: {why}"
