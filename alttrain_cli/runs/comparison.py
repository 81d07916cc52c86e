"""Two runs side by side: the settings that differ, and the scores that both have."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, NamedTuple

from alttrain_cli.recipe.model import Recipe
from alttrain_cli.runs.entry import RunEntry
from alttrain_cli.runs.scores import Scores
from alttrain_cli.statistics.estimates import Estimate
from alttrain_cli.storage.run import Run


class Setting(NamedTuple):
    """One setting of two runs, as text; "-" where a run has none."""

    key: str
    first: str
    second: str


class ScorePair(NamedTuple):
    """One rate of two runs."""

    suite: str
    title: str
    first: Estimate | None
    second: Estimate | None

    def record(self) -> dict[str, Any]:
        sides = {
            name: side and asdict(side) for name, side in (("first", self.first), ("second", self.second))
        }
        return {"suite": self.suite, "title": self.title, **sides}


def differing_settings(first: RunEntry, second: RunEntry) -> list[Setting]:
    """Return the settings of two runs that differ: recipe, data, base model, versions."""
    values = [dict(_settings(entry)) for entry in (first, second)]
    keys = dict.fromkeys([*values[0], *values[1]])
    pairs = [Setting(key, values[0].get(key, "-"), values[1].get(key, "-")) for key in keys]
    return [pair for pair in pairs if pair.first != pair.second]


def score_pairs(first: Scores, second: Scores) -> list[ScorePair]:
    """Return every rate of two scorecards, suite by suite."""
    values = [{rate[:2]: rate.estimate for rate in scores.rates()} for scores in (first, second)]
    keys = dict.fromkeys([*values[0], *values[1]])
    return [ScorePair(*key, values[0].get(key), values[1].get(key)) for key in keys]


def _settings(entry: RunEntry) -> Iterator[tuple[str, str]]:
    for key, value in Recipe.load(str(Run(entry.path).recipe_path)).leaves():
        if key != ("name",):
            yield ".".join(key), "-" if value is None else str(value)
    manifest = entry.manifest
    if manifest.data:
        yield "data", f"{manifest.data.path} ({manifest.data.sha256[:8]})"
        yield "rows", str(manifest.data.rows)
    if manifest.base:
        yield "commit of the base", str(manifest.base.commit or "-")
    yield "device", manifest.device
    yield from {"alttrain": manifest.alttrain, "python": manifest.python, **manifest.libraries}.items()
