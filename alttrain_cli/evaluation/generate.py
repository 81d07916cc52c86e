"""The generate stage: every completion that is asked for and not there yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alttrain_cli import console
from alttrain_cli.evaluation.completion import record
from alttrain_cli.evaluation.plan import Facts, Plan, SampleRequest, SuiteDir, suite_folder
from alttrain_cli.evaluation.suites.items import Reading
from alttrain_cli.evaluation.suites.published import suite_data
from alttrain_cli.evaluation.suites.suite import Suite, choose
from alttrain_cli.evaluation.targets import Asked, NothingAnsweredError
from alttrain_cli.evaluation.thinking import Mode
from alttrain_cli.recipe.model import Sampling


@dataclass(frozen=True)
class Request:
    """What a person wants measured."""

    suites: Sequence[tuple[Suite, Reading]]
    settings: Sampling
    max_new_tokens: int | None = None  # overrules recipe and suite
    mode: Mode = "normal"
    samples: int = 1
    limit: int | None = None
    caveats: tuple[str, ...] = ()

    def settings_for(self, suite: Suite, asked: Asked) -> Sampling:
        """Return the settings with the tokens that a suite needs, as far as the context goes."""
        wanted = self.max_new_tokens or max(self.settings.max_new_tokens, suite.max_new_tokens or 0)
        return self.settings.model_copy(
            update={"max_new_tokens": min(wanted, asked.most_new_tokens or wanted)}
        )

    def plan(self, suite: Suite, reading: Reading, asked: Asked) -> Plan:
        """Return one suite's plan for a target."""
        return Plan(
            suite=suite_facts(suite, reading),
            target=asked.facts,
            settings=self.settings_for(suite, asked).model_dump(mode="json", exclude_none=True),
            mode=self.mode,
            samples=self.samples,
            published=len(reading.items),
            items=tuple(choose(reading.items, self.limit)),
            caveats=self.caveats,
        )


def read_suites(suites: Sequence[Suite], files: dict[str, Path]) -> list[tuple[Suite, Reading]]:
    """Read all suites before anything is generated, so that a missing one costs nothing."""
    return [(suite, suite_data(suite, files.get(suite.name))) for suite in suites]


def suite_facts(suite: Suite, reading: Reading) -> Facts:
    """Return what the scorecard says of a suite."""
    shown = ("name", "title", "kind", "paper", "in_distribution", "licence", "grader", "note")
    return {
        **{name: getattr(suite, name) for name in shown},
        "source": str(suite.source),
        "revision": suite.source.revision,
        "file": reading.file,
        "file_sha256": reading.file_sha256,
        "sha256": reading.sha256,
        "pinned": reading.pinned,
        "dropped": reading.dropped,
    }


def generate(root: Path, asked: Asked, request: Request) -> None:
    """Have every completion of the request that is not there yet.

    Raises:
        NothingAnsweredError: if there is none at the end.
    """
    todo: dict[int, dict[str, tuple[SampleRequest, list[SuiteDir]]]] = {}
    plans: list[tuple[SuiteDir, Plan]] = []
    for suite, reading in request.suites:
        plan = request.plan(suite, reading, asked)
        place = SuiteDir(suite_folder(root, suite.name, request.mode))
        plan.save(place.folder)
        plans.append((place, plan))
        there = place.completions.keys()
        group = todo.setdefault(request.settings_for(suite, asked).max_new_tokens, {})
        for job in plan.requests:
            if job.key not in there:
                places_of = group.setdefault(job.key, (job, []))[1]
                if place not in places_of:
                    places_of.append(place)
    unanswered: list[NothingAnsweredError] = []
    for limit, group in todo.items():
        if group:
            settings = request.settings.model_copy(update={"max_new_tokens": limit})
            try:
                _complete(asked, settings, request.mode, group)
            except NothingAnsweredError as error:
                unanswered.append(error)
    for place, plan in plans:
        place.completions.settle(plan.keys)
    if unanswered and not any(place.completions.keys() & set(plan.keys) for place, plan in plans):
        raise unanswered[0]
    for problem in unanswered:
        console.print_warning(str(problem))


def _complete(
    asked: Asked, settings: Sampling, mode: Mode, group: dict[str, tuple[SampleRequest, list[SuiteDir]]]
) -> None:
    jobs = [job for job, _ in group.values()]
    stage = f"generating with {asked.facts['name']}"
    with console.WorkView() as view:
        for done, (job, written) in enumerate(asked.answers(jobs, settings, mode), 1):
            for place in group[job.key][1]:
                place.completions.append(record(job, written))
            view.show(stage, done, len(jobs))
