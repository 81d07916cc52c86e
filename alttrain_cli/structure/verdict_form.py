"""How a model writes its verdicts. A folder that is handed on has a file with it: the run stays behind."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field, TypeAdapter

from alttrain_cli.storage.files import write_json
from alttrain_cli.storage.reading import is_file, sha256
from alttrain_cli.storage.record_reader import read_record_file
from alttrain_cli.storage.run_records import Record
from alttrain_cli.structure.row import iter_rows
from alttrain_cli.structure.sections import THOUGHTS, Order, check_order, order_of
from alttrain_cli.structure.verdict_words import NO_ASSESSMENT, VerdictWords

if TYPE_CHECKING:
    from alttrain_cli.storage.run import Run

NAME = "verdict.json"

_Words = tuple[Annotated[str, Field(min_length=1)], ...]


class VerdictForm(Record):
    """The order of the sections, and the words of each verdict, the most frequent first."""

    order: Annotated[Order, AfterValidator(check_order)]
    harmful: _Words
    benign: _Words

    @classmethod
    def of_run(cls, run: "Run") -> "VerdictForm":
        words = words_of(run)
        return cls(order=order_of(run), harmful=words.harmful, benign=words.benign)

    @classmethod
    def in_folder(cls, folder: Path) -> "VerdictForm":
        """Return what the file of an export states, or the usual form where an earlier version wrote none.

        Raises:
            DataError: if the file is damaged.
        """
        if not is_file(folder / NAME):
            return USUAL
        return read_record_file(_FORM, folder / NAME, "Copy the file again, or export the run again.")

    def save(self, folder: Path) -> None:
        write_json(folder / NAME, self.record())

    @property
    def words(self) -> VerdictWords:
        return VerdictWords(self.harmful, self.benign)

    @property
    def problem(self) -> str:
        """Why its verdicts have no score; empty if they have one."""
        return self.words.problem if "assessment" in self.order else NO_ASSESSMENT


_FORM = TypeAdapter(VerdictForm)
USUAL = VerdictForm(order=THOUGHTS, harmful=VerdictWords.harmful, benign=VerdictWords.benign)


def words_of(run: "Run") -> VerdictWords:
    """Return the words of the verdicts in the rows of a run, or the usual ones if they are not known."""
    manifest = run.manifest()
    if (words := manifest.verdict_words) is not None:
        return VerdictWords(words.harmful, words.benign)
    path = Path(manifest.data.path) if manifest.data else None
    if path and is_file(path) and manifest.data and sha256(path) == manifest.data.sha256:
        return VerdictWords.of(row.assessment for row in iter_rows(path))
    return VerdictWords()
