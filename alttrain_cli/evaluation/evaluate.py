"""One evaluation from prompts to judgements: both models of a comparison, then every judge."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from alttrain_cli.backends.base import Backend, check_threshold
from alttrain_cli.backends.target import Target
from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.attacks.setup import AttackSetup, SetupOf
from alttrain_cli.evaluation.choices import Mode
from alttrain_cli.evaluation.claim import claim_folders
from alttrain_cli.evaluation.comparison import Comparison
from alttrain_cli.evaluation.eval_target import EvalTarget
from alttrain_cli.evaluation.generate import EvalRequest, GenerateJob, generate_all
from alttrain_cli.evaluation.judge import JudgeSet
from alttrain_cli.evaluation.plan import suite_folder
from alttrain_cli.evaluation.presets import Preset
from alttrain_cli.evaluation.suites.items import LoadedSuite
from alttrain_cli.evaluation.suites.suite import Suite
from alttrain_cli.progress import Progress

OpenTarget = Callable[[Target], Backend]


@dataclass(frozen=True)
class EvalOptions:
    """The request of a user, the same for every model."""

    suites: Sequence[tuple[Suite, LoadedSuite]]
    preset: Preset | None = None
    sampling: Mapping[str, float | bool | None] = field(
        default_factory=dict
    )  # fields that overrule recipe and preset
    max_new_tokens: int | None = None
    mode: Mode = "normal"
    samples: int = 1
    limit: int | None = None
    setup_of: SetupOf = lambda target: AttackSetup()  # of adaptive suites
    command: Sequence[str] = ()  # what was typed after "alttrain"

    @property
    def folders(self) -> list[str]:
        return sorted(suite_folder(Path(), suite, self.mode).name for suite, _ in self.suites)

    @property
    def _repeats(self) -> list[str]:
        """The suites that put the same prompt to the target again and again."""
        return [suite.name for suite, _ in self.suites if suite.attack and suite.attack.flow == "repetition"]

    def request(self, target: EvalTarget) -> EvalRequest:
        sampling = self.preset.generation if self.preset else target.sampling
        sampling = sampling.model_copy(update=dict(self.sampling))
        repeats = [f"--num-samples {self.samples}"] if self.samples > 1 else []
        repeats += [f"--suite {name}" for name in self._repeats]
        if repeats and not sampling.do_sample:
            raise DataError(
                f"{repeats[0]}: greedy decoding gives the same completion every time. Add --do-sample."
            )
        caveats = list(self.preset.caveats) if self.preset else []
        if self.preset and isinstance(target.model, Target):
            caveats += self.preset.kept_of(target.model.recipe.model)
        changed = [*self.sampling, *(["max_new_tokens"] if self.max_new_tokens else [])]
        if changed:
            caveats.append(f"applied only in part: the command line changes {', '.join(changed)}")
        return EvalRequest(
            suites=self.suites,
            sampling=sampling,
            max_new_tokens=self.max_new_tokens,
            mode=self.mode,
            samples=self.samples,
            limit=self.limit,
            command=tuple(self.command),
            caveats=tuple(f"--preset {self.preset.name}: {text}" for text in caveats) if self.preset else (),
        )


def evaluate(
    pair: Comparison, options: EvalOptions, judges: JudgeSet, open_target: OpenTarget, progress: Progress
) -> list[str]:
    """Create all missing completions and judgements; return a line for each judge that judged nothing."""
    pair.check_files(options.folders)
    pair = pair.with_preset(options.preset)
    for target in pair.targets:
        if isinstance(target.model, Target):  # what can be known before it is loaded
            check_threshold(target.model, _request(pair, options, target).sampling)
    with claim_folders(pair.roots, options.folders):
        judges.check_available()
        try:
            _generate(pair, options, open_target, progress)
        except KeyboardInterrupt:
            progress.warn(
                "interrupted. Finished completions are saved. To resume, run the same command again."
            )
            raise
        return judges.run(pair.roots, options.folders)


def _generate(pair: Comparison, options: EvalOptions, open_target: OpenTarget, progress: Progress) -> None:
    """Generate with both models. A model and its own base are loaded once, and served at the same time."""
    requests = {id(target): _request(pair, options, target) for target in pair.targets}

    def job(target: EvalTarget, backend: Backend) -> GenerateJob:
        request = replace(requests[id(target)], attack_setup=options.setup_of(backend))
        return GenerateJob(target.root, backend, request)

    base = None
    with closing(_open(pair.candidate, open_target)) as backend:
        _check_template(pair.candidate, backend, progress)
        jobs = [job(pair.candidate, backend)]
        if pair.baseline and pair.with_own_base and (base := backend.base):
            jobs.insert(0, job(pair.baseline, base))
        generate_all(jobs, progress)
    if pair.baseline and pair.baseline.model and base is None:
        with closing(_open(pair.baseline, open_target)) as backend:
            _check_template(pair.baseline, backend, progress)
            generate_all([job(pair.baseline, backend)], progress)


def _request(pair: Comparison, options: EvalOptions, target: EvalTarget) -> EvalRequest:
    """Return the completions that a model of a comparison must have; a base model has no threshold."""
    request = options.request(target)
    untrained = isinstance(target.model, Target) and target.model.adapter is None
    is_base = target is pair.baseline and (untrained or pair.with_own_base)
    return request.without_threshold() if is_base else request


def _open(target: EvalTarget, open_target: OpenTarget) -> Backend:
    if target.model is None:
        raise ValueError(f"{target.root}: only files")
    return open_target(target.model) if isinstance(target.model, Target) else target.model


def _check_template(target: EvalTarget, backend: Backend, progress: Progress) -> None:
    trained = target.model.trained_template if isinstance(target.model, Target) else None
    if trained not in (None, backend.fingerprint.template):
        progress.warn("this run was trained with another chat template or system prompt.")
