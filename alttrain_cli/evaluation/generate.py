"""The generate stage: creates all missing completions."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from alttrain_cli.backends.base import Backend, BackendError, check_threshold
from alttrain_cli.errors import AlttrainError
from alttrain_cli.evaluation.attacks.setup import AttackSetup
from alttrain_cli.evaluation.attacks.stage import play_missing
from alttrain_cli.evaluation.choices import Mode
from alttrain_cli.evaluation.completion import record
from alttrain_cli.evaluation.plan import EvalPlan, SuiteDir, suite_folder
from alttrain_cli.evaluation.plan_record import SuiteRecord
from alttrain_cli.evaluation.suites.items import LoadedSuite
from alttrain_cli.evaluation.suites.suite import SampleRequest, Suite, evenly_spaced_items
from alttrain_cli.evaluation.thinking import check_mode, complete, conversation_for
from alttrain_cli.progress import Progress
from alttrain_cli.recipe.model import Sampling

PROMPT_RESERVE_TOKENS = 1024  # of the context


class NothingAnsweredError(AlttrainError):
    """A backend failed on every prompt."""


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

    def sampling_for(self, suite: Suite, context: int | None) -> Sampling:
        """Return the sampling with the tokens that a suite needs, as far as the context goes."""
        wanted = self._wanted(suite)
        most = max(context - PROMPT_RESERVE_TOKENS, context // 2) if context else wanted
        return self.sampling.model_copy(update={"max_new_tokens": min(wanted, most)})

    def _wanted(self, suite: Suite) -> int:
        return self.max_new_tokens or max(self.sampling.max_new_tokens, suite.max_new_tokens or 0)

    def _bounded(self, suite: Suite, backend: Backend) -> list[str]:
        """Return a line if a server's context leaves fewer tokens than requested."""
        wanted, most = self._wanted(suite), self.sampling_for(suite, backend.context).max_new_tokens
        if backend.fingerprint.server is None or most == wanted:
            return []
        return [
            f"the server's context of {backend.context} tokens allows {most} new ones instead of {wanted}"
        ]

    def without_threshold(self) -> "EvalRequest":
        """Return the same completions at the model's own verdicts: a base model has no other."""
        return replace(self, sampling=self.sampling.model_copy(update={"threshold": None}))

    def plan(self, suite: Suite, reading: LoadedSuite, backend: Backend) -> EvalPlan:
        """Return one suite's plan for a model."""
        return EvalPlan(
            suite=SuiteRecord.of(suite, reading),
            target=backend.fingerprint,
            settings=self.sampling_for(suite, backend.context),
            mode=self.mode,
            samples=self.samples,
            published=len(reading.items),
            items=tuple(evenly_spaced_items(reading.items, self.limit)),
            caveats=(*self.caveats, *self._bounded(suite, backend)),
            order=backend.order,
            attack=self.attack_setup.facts(suite) if suite.attack else None,
        )


@dataclass
class _Missing:
    """The completions to generate with one sampling, and the folders that each belongs in."""

    requests: dict[str, SampleRequest] = field(default_factory=dict)
    folders: dict[str, list[SuiteDir]] = field(default_factory=dict)

    def add(self, request: SampleRequest, folder: SuiteDir) -> None:
        self.requests.setdefault(request.key, request)
        folders = self.folders.setdefault(request.key, [])
        if folder not in folders:
            folders.append(folder)


def generate(root: Path, backend: Backend, request: EvalRequest, progress: Progress) -> None:
    """Create all missing completions of a model below `root`.

    Raises:
        NothingAnsweredError: if there is none at the end.
        ModelError: if the backend cannot do the thinking ablation.
    """
    check_mode(backend, request.mode)
    check_threshold(backend, request.sampling)
    missing: dict[Sampling, _Missing] = {}
    plans: list[tuple[Suite, SuiteDir, EvalPlan]] = []
    for suite, reading in request.suites:
        plan = request.plan(suite, reading, backend)
        folder = SuiteDir(suite_folder(root, suite, request.mode))
        plan.save(folder.path)
        plans.append((suite, folder, plan))
        stored = folder.completions.keys()
        for one in plan.requests if suite.attack is None else ():
            if one.key not in stored:
                missing.setdefault(plan.settings, _Missing()).add(one, folder)
    problems = [
        _complete(backend, wanted, sampling, request.mode, progress) for sampling, wanted in missing.items()
    ]
    for suite, folder, plan in plans:
        if suite.attack:
            problems.append(play_missing(folder, plan, suite, backend, request.attack_setup, progress))
        else:
            folder.completions.sort_by_keys(plan.keys)
    _check_answered([(folder, plan) for _, folder, plan in plans], list(filter(None, problems)), progress)


def _check_answered(
    plans: Sequence[tuple[SuiteDir, EvalPlan]], failed: Sequence[str], progress: Progress
) -> None:
    """Warn of what failed; if nothing at all was answered, that is an error."""
    answered = any(
        (folder.completions.keys() | folder.dialogues.keys()) & set(plan.keys) for folder, plan in plans
    )
    if failed and not answered:
        raise NothingAnsweredError(failed[0])
    for problem in failed:
        progress.warn(problem)


def _complete(backend: Backend, missing: _Missing, sampling: Sampling, mode: Mode, progress: Progress) -> str:
    """Complete and store; return in words what failed, or nothing."""
    total = len(missing.requests)
    failed: list[BackendError] = []
    stage = f"generating with {backend.name}"
    progress.show(stage, 0, total)
    found = complete(backend, list(missing.requests.values()), sampling, mode)
    for done, (request, completion) in enumerate(found, 1):
        if isinstance(completion, BackendError):
            failed.append(completion)
            continue
        line = record(request, conversation_for(request.item.prompt, mode), completion)
        for folder in missing.folders[request.key]:
            folder.completions.append(line)
        progress.show(stage, done - len(failed), total)
    if not failed:
        return ""
    if len(failed) == total:
        return f"none of {total} prompts was answered, the first: {failed[0]}"
    return f"{len(failed)} of {total} were not answered, the last: {failed[-1]}"
