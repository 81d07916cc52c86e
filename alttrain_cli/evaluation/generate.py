"""The generate stage: creates all missing completions."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from alttrain_cli.backends.base import Backend, BackendError, Completion, check_threshold
from alttrain_cli.backends.mixed import MixedRequest
from alttrain_cli.errors import AlttrainError
from alttrain_cli.evaluation.attacks.setup import AttackSetup
from alttrain_cli.evaluation.attacks.stage import play_missing
from alttrain_cli.evaluation.choices import Mode
from alttrain_cli.evaluation.completion import record
from alttrain_cli.evaluation.plan import EvalPlan, SuiteDir, suite_folder
from alttrain_cli.evaluation.plan_record import SuiteRecord
from alttrain_cli.evaluation.same_verdict import same_at_threshold
from alttrain_cli.evaluation.set_aside import SetAside, in_words
from alttrain_cli.evaluation.suites.items import LoadedSuite
from alttrain_cli.evaluation.suites.suite import SampleRequest, Suite, evenly_spaced_items
from alttrain_cli.evaluation.thinking import check_mode, complete, conversation_for, task_of
from alttrain_cli.progress import Progress
from alttrain_cli.recipe.model import Sampling

PROMPT_RESERVE_TOKENS = 1024  # of the context


@dataclass(frozen=True)
class EvalRequest:
    """The completions to generate."""

    suites: Sequence[tuple[Suite, LoadedSuite]]
    sampling: Sampling
    max_new_tokens: int | None = None  # overrules recipe and suite
    mode: Mode = "normal"
    samples: int = 1
    limit: int | None = None
    caveats: tuple[str, ...] = ()
    attack_setup: AttackSetup = field(default_factory=AttackSetup)  # of adaptive suites
    command: tuple[str, ...] = ()  # what was typed after "alttrain"

    def sampling_for(self, suite: Suite, context: int | None) -> Sampling:
        """Return the sampling with the tokens that a suite needs, as far as the context goes."""
        wanted = self._wanted(suite)
        most = max(context - PROMPT_RESERVE_TOKENS, context // 2) if context else wanted
        return self.sampling.limited(min(wanted, most))

    def _wanted(self, suite: Suite) -> int:
        return self.max_new_tokens or max(self.sampling.max_new_tokens, suite.max_new_tokens or 0)

    def _bounded(self, suite: Suite, backend: Backend) -> list[str]:
        """Return a line if the context leaves fewer tokens than a preset gives, or a server was asked for."""
        wanted, most = self._wanted(suite), self.sampling_for(suite, backend.context).max_new_tokens
        is_served = backend.fingerprint.server is not None
        if most == wanted or not (is_served or self.caveats):
            return []
        whose = "server" if is_served else "model"
        return [
            f"the {whose}'s context of {backend.context} tokens allows {most} new ones instead of {wanted}"
        ]

    def without_threshold(self) -> "EvalRequest":
        """Return the same completions at the model's own verdicts: a base model has no other."""
        return replace(self, sampling=self.sampling.without_threshold())

    def plan(self, suite: Suite, reading: LoadedSuite, backend: Backend) -> EvalPlan:
        return EvalPlan(
            suite=SuiteRecord.of(suite, reading),
            target=backend.fingerprint,
            settings=self.sampling_for(suite, backend.context),
            mode=self.mode,
            samples=self.samples,
            published=len(reading.items),
            items=tuple(evenly_spaced_items(reading.items, self.limit)),
            caveats=(*self.caveats, *reading.caveats, *self._bounded(suite, backend)),
            order=backend.order,
            attack=self.attack_setup.facts(suite) if suite.attack else None,
            instruction=suite.instruction,
            command=self.command,
        )


@dataclass(frozen=True)
class GenerateJob:
    """One model of an evaluation: where its files are, and which completions are wanted of it."""

    root: Path
    backend: Backend
    request: EvalRequest


class _Missing:
    """The completions of one model that are to be generated, and the folders that each belongs in."""

    def __init__(self, job: GenerateJob) -> None:
        self.name, self._mode = job.backend.name, job.request.mode
        self.plans: list[tuple[Suite, SuiteDir, EvalPlan]] = []
        self.tasks: dict[str, MixedRequest[SampleRequest]] = {}
        self._folders: dict[str, list[SuiteDir]] = {}
        self._failed: list[BackendError] = []
        self.set_aside: list[SetAside] = []
        self._replacing: list[tuple[SuiteDir, EvalPlan]] = []
        self._threshold = job.request.sampling.threshold
        self._same: dict[str, str] = {}  # of those that it does not change, with the keys without it
        for suite, reading in job.request.suites:
            plan = job.request.plan(suite, reading, job.backend)
            folder = SuiteDir(suite_folder(job.root, suite, self._mode))
            if lost := SetAside.of(folder, plan):
                self._replacing.append((folder, plan))
            else:
                plan.save(folder.path)
            self.plans.append((suite, folder, plan))
            for one in self._not_stored(folder, plan) if suite.attack is None else ():
                self.tasks.setdefault(one.key, task_of(job.backend, one, plan.settings, self._mode))
                self._folders.setdefault(one.key, []).append(folder)
            if left := lost and lost.without(self._same.values()):
                self.set_aside.append(left)

    def _not_stored(self, folder: SuiteDir, plan: EvalPlan) -> list[SampleRequest]:
        """Return what must be generated. What a threshold leaves as it is stored is stored for it too."""
        stored, missing = folder.completions.keys(), dict[str, SampleRequest]()
        for one in plan.requests:
            if one.key not in stored:
                missing.setdefault(one.key, one)
        for own_key, line in same_at_threshold(folder, plan, list(missing.values())):
            self.replace_plans()
            folder.completions.append(line)
            self._same[line["key"]] = own_key
            del missing[line["key"]]
        return list(missing.values())

    @property
    def reused(self) -> str:
        """How many completions were not generated again, in words, or nothing."""
        if not self._same:
            return ""
        count, at = len(self._same.keys() | self.tasks.keys()), self._threshold
        return f"reused: {len(self._same)} of {count} completions, whose verdict is the same at {at}"

    def take(self, request: SampleRequest, found: Completion | BackendError) -> None:
        """Store a completion, or keep why there is none."""
        if isinstance(found, BackendError):
            self._failed.append(found)
            return
        self.replace_plans()
        line = record(request, conversation_for(request.item.prompt, self._mode), found)
        for folder in dict.fromkeys(self._folders[request.key]):
            folder.completions.append(line)

    def replace_plans(self) -> None:
        """Write the plans without which more would count. Until something is generated, those are kept."""
        while self._replacing:
            folder, plan = self._replacing.pop()
            plan.save(folder.path)

    @property
    def failed(self) -> int:
        return len(self._failed)

    @property
    def all_failed(self) -> bool:
        """Whether something was asked, and nothing was answered."""
        return bool(self.tasks) and self.failed == len(self.tasks)

    @property
    def problem(self) -> str:
        """What failed, in words, or nothing."""
        if not self._failed:
            return ""
        if self.all_failed:
            return f"none of {len(self.tasks)} prompts was answered, the first error: {self._failed[0]}"
        return f"{self.failed} of {len(self.tasks)} were not answered, the last error: {self._failed[-1]}"


def generate_all(jobs: Sequence[GenerateJob], progress: Progress) -> None:
    """Create all missing completions of a model, or of a model and its base."""
    for job in jobs:
        check_mode(job.backend, job.request.mode)
        check_threshold(job.backend, job.request.sampling)
    missing = [_Missing(job) for job in jobs]
    for text in filter(None, (one.reused for one in missing)):
        progress.say(text)
    for text in in_words(lost for one in missing for lost in one.set_aside):
        progress.warn(text)
    _complete(missing, jobs[0].request.mode, progress)
    for job, one in zip(jobs, missing, strict=True):
        problems = [one.problem]
        if not one.all_failed or any(suite.attack for suite, _, _ in one.plans):
            one.replace_plans()
        for suite, folder, plan in one.plans:
            if suite.attack:
                setup = job.request.attack_setup
                problems.append(play_missing(folder, plan, suite, job.backend, setup, progress))
            else:
                folder.completions.sort_by_keys(plan.keys)
        answers = [(folder, plan) for _, folder, plan in one.plans]
        _check_answered(answers, list(filter(None, problems)), progress)


def _complete(missing: Sequence[_Missing], mode: Mode, progress: Progress) -> None:
    """Complete and store. Models of one server are in flight together."""
    names = " and ".join(one.name for one in missing if one.tasks)
    tasks = {key: task for one in missing for key, task in one.tasks.items()}
    if tasks:
        progress.show(f"generating with {names}", 0, len(tasks))
    for done, (request, found) in enumerate(complete(list(tasks.values()), mode), 1):
        for one in missing:
            if request.key in one.tasks:
                one.take(request, found)
        if not isinstance(found, BackendError):
            failed = sum(one.failed for one in missing)
            progress.show(f"generating with {names}", done - failed, len(tasks))


def _check_answered(
    plans: Sequence[tuple[SuiteDir, EvalPlan]], failed: Sequence[str], progress: Progress
) -> None:
    """Warn of what failed; if nothing at all was answered, that is an error."""
    answered = any(
        (folder.completions.keys() | folder.dialogues.keys()) & set(plan.keys) for folder, plan in plans
    )
    if failed and not answered:
        raise AlttrainError(failed[0])
    for problem in failed:
        progress.warn(problem)
