"""A study that is opened: its grid, its folder, and what can be done with both."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from alttrain_cli.engine.machine import Machine, card_ids
from alttrain_cli.errors import AlttrainError, DataError, RecipeError, RunError
from alttrain_cli.runs.scores import STUDY
from alttrain_cli.storage.files import explain_write_errors, write_json
from alttrain_cli.storage.lock import lock_folder
from alttrain_cli.storage.names import safe_name
from alttrain_cli.storage.reading import is_file
from alttrain_cli.study.file import StudyFile, find_study
from alttrain_cli.study.grid import Grid, resolve
from alttrain_cli.study.history import history_of, last_ends
from alttrain_cli.study.launch import Launcher
from alttrain_cli.study.name_check import check_names, in_file
from alttrain_cli.study.page import write_page
from alttrain_cli.study.run import Events, Failure, Runner
from alttrain_cli.study.slurm import Submission, check_installed, submit
from alttrain_cli.study.table import study_table
from alttrain_cli.study.table_values import StudyTable
from alttrain_cli.text import counted
from alttrain_cli.training.time_plan import renew_rate

FOLDER = Path("runs") / "studies"


@dataclass(frozen=True)
class Place:
    """A study and its folder; `words` are those that were typed to name it."""

    grid: Grid
    folder: Path
    words: tuple[str, ...]

    def command(self, name: str, *options: str) -> str:
        """Return a command on the same study, for a shell."""
        return shlex.join(["alttrain", "study", name, *self.words, *options])

    def run(self, jobs: int, events: Events) -> list[Failure]:
        """Run what is missing; return the steps that failed.

        Raises:
            KeyboardInterrupt: after a signal; what was done is kept.
        """
        cards = card_ids()
        if cards and jobs > len(cards):
            raise RunError(
                f"--jobs {jobs}: each step needs a GPU, and there are {len(cards)}. Give --jobs {len(cards)}."
            )
        with explain_write_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with lock_folder(self.folder):
            self.save()
            machine = Machine.detect()
            if not last_ends(history_of(self.folder)):  # else what the steps took corrects an old speed
                renew_rate(machine)
            launcher = Launcher(jobs, cards if jobs > 1 else ())
            runner = Runner(self.grid, self.folder, machine, launcher, events, jobs)
            runner.run()
        return runner.failures

    def save(self) -> None:
        """Keep the study in its folder, as it was given: with --set, without defaults."""
        write_json(self.folder / STUDY, self.grid.study.model_dump(mode="json", exclude_unset=True))

    def submit(self, machine: Machine, options: Mapping[str, str]) -> list[Submission]:
        """Submit a Slurm job for each step that is not done; return those that wait."""
        check_installed()
        with explain_write_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with lock_folder(self.folder):
            self.save()
            return [*submit(self.grid, self.folder, machine, options)]

    def check(self, failures: Sequence[Failure]) -> None:
        if failures:
            names = "; ".join(f"{one.step.kind} {one.step.title}" for one in failures)
            raise AlttrainError(
                f"{counted(len(failures), 'step')} failed: {names}. The last lines are above. "
                f"To try again: {self.command('run')}"
            )

    def table(self) -> tuple[StudyTable, Path]:
        """Return the table of what is there, and its page, which is written."""
        found = self.read_table()
        self.write_page(found)
        return found, self.page

    def read_table(self) -> StudyTable:
        return study_table(self.grid, last_ends(history_of(self.folder)))

    @property
    def page(self) -> Path:
        """Where the page of the table is."""
        return self.folder / "table.html"

    def write_page(self, table: StudyTable) -> None:
        write_page(self.page, table)


def open_study(name: str, overrides: Sequence[str], out: Path | None) -> Place:
    path = find_study(name)
    study = StudyFile.load(name, overrides)
    check_names(study, path, overrides)
    folder = out or FOLDER / safe_name(path.stem)
    if is_file(folder):
        raise DataError(f"{folder}: is a file, and a study needs a folder. Choose another --out.")
    words = [name, *(word for one in overrides for word in ("--set", one))]
    words += ["--out", str(out)] if out else []
    try:
        return Place(resolve(study, folder), folder, tuple(words))
    except RecipeError as error:
        raise DataError(in_file(str(error), path, overrides)) from None
