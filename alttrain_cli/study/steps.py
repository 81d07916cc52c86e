"""The steps of a study: each is one command, and is done when its files say so."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from alttrain_cli.data.outputs import Outputs
from alttrain_cli.evaluation.attacks.catalogue import Budget
from alttrain_cli.evaluation.judges.catalogue import find_judges
from alttrain_cli.evaluation.judges.judge import Judge
from alttrain_cli.evaluation.plan_keys import hash_of
from alttrain_cli.evaluation.suites.suite import Suite
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.runs.scores import Scores, read_scorecard
from alttrain_cli.storage.lock import is_locked
from alttrain_cli.storage.names import earlier_model_file_name, model_file_name
from alttrain_cli.storage.run import Run, RunState

USUAL_SUITE = 100  # prompts of a suite whose number is not known
StepKind = Literal["build", "train", "eval", "judge"]


class Status(StrEnum):
    """What of a step is there."""

    DONE = "done"
    BUSY = "busy"  # another process writes its files
    STARTED = "started"  # resumes
    MISSING = "missing"


@dataclass(frozen=True)
class Step(ABC):
    """One command of a study. Steps with the same key are the same step.

    Attributes:
        key: the hash of all that decides its result.
        title: what it makes, in a few words.
        out: the file or folder that it makes.
    """

    kind: ClassVar[StepKind]

    key: str
    title: str
    out: Path

    @property
    def needs(self) -> tuple["Step", ...]:
        """The steps that must be done before it."""
        return ()

    @abstractmethod
    def words(self) -> list[str]:
        """Return its command line as it is now, without the program."""

    def status(self) -> Status:
        """Look at its files."""
        return Status.BUSY if is_locked(self.out) else self._made()

    @abstractmethod
    def _made(self) -> Status:
        """Look at its files, which no other process writes."""


@dataclass(frozen=True)
class BuildStep(Step):
    """Builds a data file. `options` are its sources and how its rows are written."""

    kind = "build"

    options: tuple[str, ...]
    sources: tuple[str, ...]  # with their counts
    style: str

    def words(self) -> list[str]:
        return ["build-data", *self.options, "--out", str(self.out)]

    def status(self) -> Status:
        return Status.BUSY if is_locked(Outputs.of(self.out).lock) else self._made()

    def _made(self) -> Status:
        return Status.DONE if Outputs.of(self.out).are_whole else Status.MISSING


@dataclass(frozen=True)
class TrainStep(Step):
    """Trains a model on a data file."""

    kind = "train"

    recipe_name: str
    recipe: Recipe  # with the keys that the study sets
    options: tuple[str, ...]
    build: BuildStep

    @property
    def needs(self) -> tuple[Step, ...]:
        return (self.build,)

    def words(self) -> list[str]:
        resume = ["--resume"] if (self.out / "recipe.yaml").exists() else []
        data = ["--data", str(self.build.out), "--out", str(self.out)]
        return ["train", "--recipe", self.recipe_name, *data, *self.options, *resume]

    def _made(self) -> Status:
        run = Run(self.out)
        if run.manifest_path.exists() and run.state() is RunState.FINISHED:
            return Status.DONE
        return Status.STARTED if run.recipe_path.exists() else Status.MISSING


@dataclass(frozen=True)
class EvalStep(Step):
    """Evaluates a trained model, or a base model if `train` is None.

    Its key is without the suites: with one suite more, the others stay as they are.
    """

    kind = "eval"

    recipe_name: str
    recipe: Recipe
    options: tuple[str, ...]
    suites: tuple[Suite, ...]
    suite_files: tuple[str, ...]  # with the prompts of the user's own suites
    mode: str
    limit: int | None
    samples: int
    max_new_tokens: int
    budget: Budget  # of attacks
    train: TrainStep | None

    @property
    def needs(self) -> tuple[Step, ...]:
        return (self.train,) if self.train else ()

    def words(self) -> list[str]:
        target = str(self.train.out) if self.train else self.recipe_name
        mode = ["--thinking-mode", self.mode] if self.mode != "normal" else []
        shipped = ",".join(suite.name for suite in self.suites if not suite.source.own)
        suites = ["--suite", shipped] if shipped else []
        suites += [word for file in self.suite_files for word in ("--suite-file", file)]
        baseline = ["--baseline", "none"] if self.train else []
        return ["eval", target, *suites, *self.options, *mode, *baseline, "--out", str(self.out)]

    def _made(self) -> Status:
        scores = read_scorecard(self.out)
        if scores and all(_is_generated(scores, suite) for suite in self.suites):
            return Status.DONE
        return Status.STARTED if self.out.is_dir() else Status.MISSING

    @property
    def completions(self) -> list[tuple[Suite, int]]:
        """How many completions it makes for each suite."""
        counts = ((suite, suite.n or USUAL_SUITE) for suite in self.suites)
        return [(suite, min(n, self.limit or n) * self.samples) for suite, n in counts]


class Rater(NamedTuple):
    """A judge, and the part of a completion that it sees; None is the answer.

    `model` is the one that it uses; None: its own, or whichever its server has.
    """

    name: str
    part: str | None = None
    model: str | None = None

    def gave(self, judgements: str) -> bool:
        """Whether judgements of this name (rule, strongreject~gpt-4o@full) are its own."""
        found, _, seen = judgements.partition("@")
        name, _, used = found.partition("~")
        if name != self.name or (seen or "answer") != (self.part or "answer"):
            return False
        [judge] = find_judges(name)
        is_served = isinstance(judge, Judge) and judge.model is None
        if self.model is None:
            return is_served or not used
        return used in (model_file_name(self.model), earlier_model_file_name(self.model))


@dataclass(frozen=True)
class JudgeStep(Step):
    """Judges the completions of an evaluation.

    Steps that write the same folder follow one another. A judge that fails stops none of those after it.
    """

    kind = "judge"

    rater: Rater
    options: tuple[str, ...]
    evaluation: EvalStep

    @property
    def needs(self) -> tuple[Step, ...]:
        return (self.evaluation,)

    def words(self) -> list[str]:
        return ["eval", "judge", str(self.out), "--judge", self.rater.name, *self.options]

    def _made(self) -> Status:
        [judge] = find_judges(self.rater.name)
        suites = [one for one in self.evaluation.suites if one.kind in judge.kinds and one.grader is None]
        scores = read_scorecard(self.out)
        is_done = scores and all(_is_judged(scores, suite.name, self.rater) for suite in suites)
        return Status.DONE if is_done else Status.MISSING


def step_key(*values: Any) -> str:
    """Return a hash of values that JSON can write."""
    return hash_of(*values)[:12]


def _is_judged(scores: Scores, suite: str, judge: Rater) -> bool:
    """Whether a scorecard has a rate of a suite by a judge, of which nothing is left to judge."""
    return any(
        judge.gave(metric.judge) and not metric.states.get("unjudged")
        for one in scores.suites
        if one.name == suite
        for metric in one.metrics
    )


def _is_generated(scores: Scores, suite: Suite) -> bool:
    """Whether a scorecard has a suite whole; of the user's own, with the prompts that its file has now."""
    return any(
        one.is_whole and (not suite.source.own or one.sha256 == suite.sha256)
        for one in scores.suites
        if one.name == suite.name
    )
