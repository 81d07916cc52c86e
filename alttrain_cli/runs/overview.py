"""The steps from data to a measured model, and which are done: found from the files here."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from alttrain_cli.runs.data_files import DataFile, data_files, options_of_newest
from alttrain_cli.runs.entry import RunEntry, find_entries
from alttrain_cli.storage.run import RunState

OverviewStep = Literal["data", "train", "chat", "evaluate", "export"]


class Stage(NamedTuple):
    """One step, and its results in this folder."""

    step: OverviewStep
    command: str
    found: str  # empty: none yet


@dataclass(frozen=True)
class Overview:
    """The data files, runs and evaluations of this folder, newest first."""

    data: list[DataFile]
    runs: list[RunEntry]
    evaluated: list[Path]  # folders with a scorecard

    @classmethod
    def found(cls) -> "Overview":
        """Look in this folder, runs/, evals/ and demo/."""
        runs = find_entries([])
        others = sorted(path.parent for path in Path("evals").glob("*/scorecard.json"))
        return cls(data_files(), runs, [*(run.path for run in runs if run.scores), *others])

    def stages(self) -> list[Stage]:
        finished = [run.path for run in self.runs if run.state is RunState.FINISHED]
        return [
            Stage(
                "data", "alttrain build-data", _first([f"{one.path}, {one.rows:,} rows" for one in self.data])
            ),
            Stage("train", "alttrain train", _first([f"{run.path}, {run.state}" for run in self.runs])),
            Stage("chat", "alttrain chat", f"with {finished[0]}" if finished else ""),
            Stage("evaluate", "alttrain eval", _first(list(map(str, self.evaluated)))),
            Stage("export", "alttrain export", _first(self._exports())),
        ]

    def _exports(self) -> list[str]:
        folders = (run.path / "export" for run in self.runs)
        return [str(folder) for folder in folders if folder.is_dir()]

    def next_command(self, recommended: Callable[[], str]) -> str:
        """Return the one command to type next; it works as it is.

        `recommended` returns the recipe that suits this machine. It is called only if one is needed.
        """
        if not self.runs:
            if not self.data:
                return "alttrain build-data --source starter --out data.jsonl"
            return shlex.join(["alttrain", "train", "--recipe", recommended(), *options_of_newest(self.data)])
        return self.runs[0].next_command


def _first(found: list[str]) -> str:
    """Return the first of several, and how many there are."""
    return "" if not found else f"{found[0]}{f' (and {len(found) - 1} more)' * (len(found) > 1)}"
