"""The tables of papers, as data: a file per paper in published/. Their figures are theirs, in percent."""

from functools import cache
from pathlib import Path

from pydantic import BaseModel, model_validator

from alttrain_cli.errors import DataError
from alttrain_cli.storage.shipped_files import shipped_yaml
from alttrain_cli.text import suggest


class Macro(BaseModel, frozen=True, extra="forbid"):
    """A mean over suites as a paper defines it; `metrics` are our metrics that correspond to theirs."""

    name: str
    title: str
    metrics: tuple[str, ...]
    suites: tuple[str, ...]


class PublishedRow(BaseModel, frozen=True, extra="forbid"):
    """The figures of one method on one backbone; what is not published is left out."""

    backbone: str
    method: str
    figures: dict[str, float]


class PublishedTable(BaseModel, frozen=True, extra="forbid"):
    """One table of a paper."""

    title: str  # its place in the paper, in words
    columns: dict[str, str]
    suites: dict[str, str] = {}  # column -> our suite that has its prompts, where that is one suite
    rows: tuple[PublishedRow, ...]

    @model_validator(mode="after")
    def _is_rectangular(self) -> "PublishedTable":
        for row in self.rows:
            if unknown := row.figures.keys() - self.columns.keys():
                raise ValueError(f"{row.backbone}, {row.method}: no column {', '.join(sorted(unknown))}")
        if unknown := self.suites.keys() - self.columns.keys():
            raise ValueError(f"{self.title}: no column {', '.join(sorted(unknown))}")
        return self


class PublishedPaper(BaseModel, frozen=True, extra="forbid"):
    """What a paper publishes: its means over suites, its tables, and how it measured."""

    name: str
    title: str
    paper: str
    settings: str  # that differ from ours
    left_out: str  # what the paper has and this file has not
    macros: tuple[Macro, ...]
    tables: tuple[PublishedTable, ...]

    @property
    def suites(self) -> list[str]:
        """Our suites whose rates can stand beside its figures."""
        in_means = [name for macro in self.macros for name in macro.suites]
        return list(
            dict.fromkeys([*in_means, *(name for one in self.tables for name in one.suites.values())])
        )

    @property
    def caption(self) -> str:
        """The note that is shown with each of these figures."""
        return f"theirs ({self.paper}), other judge or settings: {self.settings}"


def find_published(name: str) -> PublishedPaper:
    known = all_published()
    if name in known:
        return known[name]
    if others := [paper.name for paper in known.values() if _measures(paper, name)]:
        raise DataError(
            f"--published {name}: its own paper's tables are in no public text that we could read. "
            f"Others measured it: --published {'|'.join(others)}"
        )
    raise DataError(f"--published {name}: no such tables. {suggest(name, known)}")


def _measures(paper: PublishedPaper, name: str) -> bool:
    """Whether a paper has figures of a method; some trained 1,000 of its rows, and say so in its name."""
    methods = {row.method.lower().removesuffix("-1k") for table in paper.tables for row in table.rows}
    return name.lower() in methods


@cache
def all_published() -> dict[str, PublishedPaper]:
    """Return the tables of every paper by the name of its file."""
    folder = Path(__file__).parent / "published"
    return {path.stem: _read(path) for path in sorted(folder.glob("*.yaml"))}


def _read(path: Path) -> PublishedPaper:
    return PublishedPaper.model_validate({**shipped_yaml(path), "name": path.stem})
