"""From a study's file to its steps: every point of the grid, and each step once."""

from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import NamedTuple, TypeVar

from alttrain_cli.data.sources import Source
from alttrain_cli.engine.source import check_max_length
from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.choices import ASSESSING, Mode
from alttrain_cli.evaluation.judges.catalogue import find_judges
from alttrain_cli.evaluation.suites.suite import Suite
from alttrain_cli.recipe.data import Data
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.runs.scores import STUDY_EVALUATIONS, STUDY_RUNS
from alttrain_cli.storage.names import safe_name
from alttrain_cli.storage.reading import sha256
from alttrain_cli.study.file import UNTRAINED, Method, StudyFile, TrainSettings, set_words, suites_of
from alttrain_cli.study.steps import BuildStep, EvalStep, JudgeStep, Rater, Step, TrainStep, step_key

_OF_TRAINING = {"train", "recipe"}  # of a method: what is not of its data
Made = TypeVar("Made", BuildStep, TrainStep, EvalStep, JudgeStep)


class Point(NamedTuple):
    """One model of the grid in one mode, by the names of the file. `seed` None: the recipe's own."""

    model: str
    method: str
    size: str
    seed: int | None
    mode: Mode

    @property
    def of_data(self) -> str:
        """What its rows are called."""
        return ", ".join(filter(None, (self.method, self.size)))

    @property
    def of_run(self) -> str:
        """What its run is called."""
        seed = "" if self.seed is None else f"seed {self.seed}"
        return ", ".join(filter(None, (self.model, self.of_data, seed)))

    @property
    def title(self) -> str:
        """What its evaluation is called."""
        return self.of_run if self.mode == "normal" else f"{self.of_run}, {self.mode} thinking"


@dataclass(frozen=True)
class Grid:
    """All points of a study with their evaluations, and its steps in an order in which they can be done."""

    study: StudyFile
    points: dict[Point, EvalStep]
    steps: tuple[Step, ...]


def resolve(study: StudyFile, folder: Path) -> Grid:
    """Return the grid of a study whose files are in a folder. The same file gives the same keys."""
    return _Resolver(study, folder).grid()


@dataclass
class _Resolver:
    study: StudyFile
    folder: Path
    steps: dict[str, Step] = field(default_factory=dict)

    def grid(self) -> Grid:
        study = self.study
        axes = (study.models, study.methods, study.sizes or ("",), study.seeds or (None,), study.modes)
        points = dict.fromkeys(self._named(Point(*values)) for values in product(*axes))
        found = {point: self._evaluation(point) for point in points}
        order = ("build", "train", "eval", "judge")
        return Grid(study, found, tuple(sorted(self.steps.values(), key=lambda one: order.index(one.kind))))

    def _named(self, point: Point) -> Point:
        """Return the point; an untrained model has no size and no seed, so it is there once."""
        is_trained = self.study.methods[point.method] is not None
        return point if is_trained else point._replace(size="", seed=None)

    @cached_property
    def _suites(self) -> tuple[Suite, ...]:
        return suites_of(self.study)

    def _add(self, step: Made) -> Made:
        found = self.steps.setdefault(step.key, step)
        if not isinstance(found, type(step)):
            raise TypeError(f"two steps have the key {step.key}")
        return found

    def _evaluation(self, point: Point) -> EvalStep:
        name, how, mode = self.study.models[point.model], self.study.methods[point.method], point.mode
        train = self._training(name, how, point) if how else None
        recipe = train.recipe if train else Recipe.load(name)
        settings = self.study.eval
        if train is None or mode not in ASSESSING:  # there is no verdict to turn
            settings = settings.model_copy(update={"threshold": None})
        base = recipe.model.model_dump(mode="json", exclude_defaults=True, exclude={"shape", "package"})
        decoding = recipe.generation.record()
        key = step_key("eval", train.key if train else base, decoding, settings.words(), mode)
        named = train.out.name if train else f"{safe_name(recipe.name)}-{UNTRAINED}"
        ablated = "" if mode == "normal" else f"-{mode}"
        tokens = settings.max_new_tokens or recipe.generation.max_new_tokens
        step = EvalStep(
            key=key,
            title=point.title,
            out=self.folder / STUDY_EVALUATIONS / f"{named}{ablated}-{key[:6]}",
            recipe_name=name,
            recipe=recipe,
            options=tuple(settings.words()),
            suites=self._suites,
            suite_files=self.study.suite_files,
            mode=mode,
            limit=settings.limit,
            samples=settings.num_samples or 1,
            max_new_tokens=tokens,
            budget=settings.budget,
            train=train,
        )
        found = self._add(step)
        self._judgements(found)
        return found

    def _judgements(self, evaluation: EvalStep) -> None:
        for judge in find_judges(",".join(self.study.judges)):
            if judge.name == "rule":  # part of every evaluation
                continue
            options = tuple(self.study.judge.words())
            key = step_key("judge", evaluation.key, judge.name, options)
            title = f"{evaluation.title}, by {judge.name}"
            rater = rater_of(self.study, judge.name)
            self._add(JudgeStep(key, title, evaluation.out, rater, options, evaluation))

    def _training(self, model: str, how: Method, point: Point) -> TrainStep:
        name = how.recipe or model
        seed = {} if point.seed is None else {"train.seed": point.seed}
        settings = TrainSettings(
            set={**self.study.train.set, **how.train.set, **seed},
            **{
                **self.study.train.model_dump(exclude_unset=True, exclude={"set"}),
                **how.train.model_dump(exclude_unset=True, exclude={"set"}),
            },
        )
        sets = set_words(settings)
        recipe = Recipe.load(name, tuple(sets[1::2]))
        check_max_length(recipe)
        build = self._build(recipe, how, point)
        # How a run generates is in its folder too: eval reads it there.
        facts = recipe.model_dump(mode="json", exclude_defaults=True, exclude={"name", "data"})
        options = (*sets, *settings.words("set"))
        key = step_key("train", build.key, facts, settings.words("set"))
        out = self.folder / STUDY_RUNS / f"{safe_name(recipe.name)}-{build.style}-{key[:6]}"
        return self._add(TrainStep(key, point.of_run, out, name, recipe.without_data(), options, build))

    def _build(self, recipe: Recipe, how: Method, point: Point) -> BuildStep:
        values = {
            **_of_recipe(recipe.data),
            **self.study.data.model_dump(exclude_unset=True),
            **how.model_dump(exclude_unset=True, exclude=_OF_TRAINING),
        }
        if not values.get("source"):
            raise DataError(f"{recipe.name}: the recipe names no data. Add data.source to the study.")
        if point.size:
            if len(values["source"]) > 1:
                raise DataError(
                    f"sizes: {point.of_data} has several sources, so it is not clear how many rows each "
                    "gives. Leave out sizes, and give each source its number: NAME:500"
                )
            count = self.study.sizes[point.size]
            values["source"] = tuple(f"{one.partition(':')[0]}:{count}" for one in values["source"])
        wanted = Method.model_validate(values)
        sources = [Source.parse(text) for text in (*wanted.source, *wanted.mix)]
        files = [sha256(Path(one.name)) for one in sources if one.is_file]
        key = step_key("build", wanted.words(*_OF_TRAINING), files)
        style = wanted.style or "alttrain"
        out = self.folder / "data" / f"{safe_name(style)}-{key[:6]}.jsonl"
        options = tuple(wanted.words(*_OF_TRAINING))
        return self._add(BuildStep(key, point.of_data, out, options, (*wanted.source, *wanted.mix), style))


def rater_of(study: StudyFile, judge: str) -> Rater:
    """Return a judge of a study as it rates there."""
    settings = study.judge
    return Rater(judge) if judge == "rule" else Rater(judge, settings.judge_part, settings.judge_model)


def _of_recipe(data: Data | None) -> dict[str, object]:
    """Return the data of a recipe as options of build-data; those with their default are left out."""
    if data is None:
        return {}
    values = data.model_dump(exclude_defaults=True, exclude={"name"})
    return {"source" if name == "sources" else name: value for name, value in values.items()}
