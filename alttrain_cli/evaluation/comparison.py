"""The two models of a paired comparison: the candidate, and the baseline if there is one."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from alttrain_cli.backends.target import Target
from alttrain_cli.errors import AlttrainError, DataError
from alttrain_cli.evaluation.eval_target import (
    EvalTarget,
    LastBaseline,
    existing_target,
    local_target,
    served_target,
)
from alttrain_cli.evaluation.plan import EvalPlan, SuiteDir, suite_dirs
from alttrain_cli.evaluation.presets import Preset
from alttrain_cli.evaluation.suites.suite import Kind


@dataclass(frozen=True)
class Comparison:
    """What is evaluated, and with what it is compared."""

    candidate: EvalTarget
    baseline: EvalTarget | None = None

    @classmethod
    def of(
        cls, candidate: EvalTarget, word: str | None, folders: Collection[str], *, generates: bool = False
    ) -> "Comparison":
        """Return the comparison that --baseline asks for: base, none, another model or its folder.

        By default a trained model is compared with its base. A baseline that a person names must have
        one of the suites in `folders`, or get it because the command `generates`.
        """
        baseline = _baseline(candidate, word)
        if baseline is None or word is None:
            return cls(candidate, baseline)
        if baseline.root.absolute() == candidate.root.absolute():
            raise DataError(f"--baseline {word}: is the target itself. Name another model.")
        shared = {folder.path.name for folder in suite_dirs(baseline.root)} & set(folders)
        if not shared and not (generates and baseline.model):
            names = ", ".join(sorted(folders))
            raise DataError(
                f"--baseline {word}: {baseline.root} has no completions of {names}. Evaluate it first."
            )
        return cls(candidate, baseline)

    @classmethod
    def existing(cls, candidate: EvalTarget, word: str | None) -> "Comparison":
        """Return the comparison of an evaluation that is stored."""
        folders = {folder.path.name for folder in suite_dirs(candidate.root)}
        if not folders:
            raise DataError(
                f"{candidate.root}: there is no evaluation here. To make one: {candidate.command}"
            )
        pair = cls.of(candidate, word, folders)
        last = LastBaseline.of(candidate.root) if word is None else None
        if last is None or (pair.baseline and pair.shares(folders)):
            return pair
        found = cls(candidate, last.find())
        if not found.shares(folders):
            place = pair.baseline.root if pair.baseline else next(iter(last.places), "its folder")
            raise DataError(
                f"{candidate.root / 'scorecard.json'}: compares with {last.name}, whose evaluation is not in "
                f"{place}. Nothing was replaced. If that folder was moved: --baseline FOLDER. "
                "For a scorecard without a comparison: --baseline none"
            )
        return found

    def shares(self, folders: Collection[str]) -> bool:
        """Whether the baseline has one of the suites in `folders`."""
        return bool(self.baseline and suite_dirs(self.baseline.root, folders))

    @property
    def targets(self) -> list[EvalTarget]:
        return [one for one in (self.baseline, self.candidate) if one]

    @property
    def roots(self) -> list[Path]:
        return [one.root for one in self.targets]

    def graded(self) -> set[tuple[Kind, str | None]]:
        """Return kind and grader of every suite that is stored."""
        plans = (EvalPlan.load(folder.path) for root in self.roots for folder in suite_dirs(root))
        return {(plan.suite.kind, plan.suite.grader) for plan in plans}

    @property
    def with_own_base(self) -> bool:
        """Whether the baseline is the candidate without its adapter."""
        model, other = self.candidate.model, self.baseline and self.baseline.model
        if isinstance(model, Target):
            return model.base == other
        return bool(model and model.base and other) and not isinstance(other, Target)

    def with_preset(self, preset: Preset | None) -> "Comparison":
        return Comparison(
            self.candidate.with_preset(preset), self.baseline and self.baseline.with_preset(preset)
        )

    def check_files(self, folders: Collection[str]) -> None:
        """Read earlier evaluations before a model is loaded."""
        for root in self.roots:
            for folder in folders:
                stored = SuiteDir(root / folder)
                stored.completions.keys()
                stored.dialogues.keys()


def _baseline(candidate: EvalTarget, word: str | None) -> EvalTarget | None:
    served = None if isinstance(candidate.model, Target | None) else candidate.model.base
    if word == "none" or (word is None and candidate.adapter is None and served is None):
        return None
    if word not in (None, "base"):
        try:
            return existing_target(str(word))
        except AlttrainError as error:
            raise DataError(f"--baseline {error}") from None
    if served is not None:
        return served_target(served)
    if not isinstance(candidate.model, Target) or candidate.adapter is None:
        raise DataError(
            "--baseline base: only a run or an adapter has a base model. Give another model, or none. "
            "On a server name the other model: --compare-model NAME"
        )
    return local_target(candidate.model.base)
