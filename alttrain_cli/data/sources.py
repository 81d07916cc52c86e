"""A source of samples: the starter set, a local file, or a dataset of the hub; and its raw records.

NAME:COUNT keeps the proportion of each label. A number for each label is written NAME:harmful=900,benign=100:
shells read brackets, as in NAME[harmful], as a pattern, and zsh stops at one without quotes.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from alttrain_cli.data.published_files import FILES, NOT_PUBLISHED, NotDownloaded
from alttrain_cli.data.starter import FILES as STARTER_SETS
from alttrain_cli.errors import DataError
from alttrain_cli.storage.files import OTHER_DISK, behind
from alttrain_cli.storage.names import is_hub_id
from alttrain_cli.storage.reading import is_file, is_folder, sha256
from alttrain_cli.storage.tables import FORMATS, read_table
from alttrain_cli.structure.row import Label
from alttrain_cli.text import escape_hidden, quoted, suggest

# Sets of R1 traces by their usual names.
PUBLIC = {
    "safechain": "UWNSL/SafeChain",
    "star-1": "UCSC-VLAA/STAR-1",
    "star-benign-915": "UCSC-VLAA/STAR-benign-915",
    "r1-act": "Yeonjun/R1-Act-train",
}
# How many rows their authors name; SafeChain's say only "40K".
ROWS = {"star-1": 1000, "star-benign-915": 915, "r1-act": 1000}
NAMES = (*STARTER_SETS, *PUBLIC, *FILES)
# Sets without a label column; their papers give the label.
LABELS: dict[str, Label] = {"UCSC-VLAA/STAR-1": "harmful", "UCSC-VLAA/STAR-benign-915": "benign"}


RawRecord = tuple[str, Mapping[str, Any]]  # (place in the source, values)

_REVISION = re.compile(r"[\w][\w./-]*", re.ASCII)
_COUNT = re.compile(r"[1-9][0-9]{0,8}")
_OF_LABEL = re.compile(rf"(.+)\[({'|'.join(get_args(Label))})\]")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")  # a drive of Windows


Quotas = tuple[tuple[Label, int], ...]  # how many samples of each label; a label that is left out: none


@dataclass(frozen=True)
class Source:
    """What follows --source: NAME, NAME:COUNT, NAME:harmful=N,benign=N or, for the hub, NAME@REVISION:..."""

    name: str  # "starter", a file, or a hub id
    count: int | None = None  # samples of all labels together
    revision: str | None = None
    quotas: Quotas = ()

    @classmethod
    def parse(cls, text: str) -> "Source":
        if "://" in text:
            raise DataError(
                f"{_cut(text)}: is an address. Give a dataset's id on the hub (OWNER/NAME), or "
                "download the file and give its path."
            )
        rest, count, quotas = (text, None, ()) if is_file(Path(text)) else _split_count(text)
        name, revision = _split_revision(rest)
        source = cls(PUBLIC.get(name.lower(), name), count, revision, quotas)
        own = not source.is_hub or (name.strip() and is_folder(Path(name)))
        if revision is not None and own:
            raise DataError(
                f"{_cut(text)}: @REVISION has an effect only on a dataset of the hub. Leave it out."
            )
        if own:
            return source
        if name in NOT_PUBLISHED:
            raise DataError(f"{name}: {NOT_PUBLISHED[name]}")
        if is_file(Path(name)):
            raise DataError(
                f"{_cut(name)}: files with this ending cannot be read. Possible: {', '.join(FORMATS)}."
            )
        if of_label := _OF_LABEL.fullmatch(name):
            example = f"{of_label[1]}:{of_label[2]}={count or 900}"
            raise DataError(f"{_cut(text)}: write the number for a label as {_cut(example)}")
        if not is_hub_id(source.name):
            every = (
                f"Give a {', '.join(FORMATS)} file, a Hugging Face id (OWNER/NAME), or one of these names: "
                f"{', '.join(NAMES)}."
            )
            raise DataError(f"{_cut(text) or '(nothing)'}: unknown source. {suggest(name, NAMES, every)}")
        return source

    @property
    def is_starter(self) -> bool:
        """Whether it is a set that comes with alttrain."""
        return self.name in STARTER_SETS

    @property
    def is_file(self) -> bool:
        """Whether it is a local file (that may be missing)."""
        return self.name.lower().endswith(FORMATS)

    @property
    def is_published_file(self) -> bool:
        """Whether its authors publish it as a file of a repository."""
        return self.name in FILES

    @property
    def is_hub(self) -> bool:
        """Whether it is read through the hub's library."""
        return not (self.is_starter or self.is_file or self.is_published_file)

    @property
    def is_fetched(self) -> bool:
        """Whether it has to be downloaded, unless it was before."""
        return self.is_published_file or self.is_hub

    @property
    def short(self) -> str:
        """A name for ids and tables."""
        return escape_hidden(Path(self.name).stem if self.is_file else self.name.rpartition("/")[2])

    def pinned(self) -> dict[str, str | None]:
        """Return the pin of the source: the hash of a file, the revision of a hub set."""
        if self.is_starter:
            return {"name": self.name}
        if self.is_file:
            return {"name": Path(self.name).name, "sha256": sha256(Path(self.name))}
        if self.is_published_file:
            file = FILES[self.name]
            return {"name": self.name, "revision": file.revision, "sha256": sha256(file.path())}
        return {"name": self.name, "revision": _hub_revision(self)}


def records(source: Source) -> Iterator[RawRecord]:
    """Yield the raw records of a file or a hub set, one in memory at a time where the format allows."""
    if source.is_hub:
        yield from _read_hub(source)
        return
    path = FILES[source.name].path() if source.is_published_file else Path(source.name)
    for number, values in read_table(path):
        yield f"{source.name}:{number}", values


def _split_count(text: str) -> tuple[str, int | None, Quotas]:
    """Split NAME:COUNT or NAME:LABEL=COUNT,...; the colon of a Windows drive is none of a count."""
    name, colon, count = text.rpartition(":")
    if not colon or (len(name) == 1 and _DRIVE.match(text)):
        return text, None, ()
    if "=" in count:
        quotas = _quotas(text, count)
        return name, sum(wanted for _, wanted in quotas), quotas
    if not _COUNT.fullmatch(count):
        raise DataError(
            f"{_cut(text)}: {quoted(count)} is not a number of rows. Give a whole number of at least 1, "
            "for example NAME:900, or a number for each label, for example NAME:harmful=900,benign=100."
        )
    return name, int(count), ()


def _quotas(text: str, words: str) -> Quotas:
    """Read harmful=900,benign=100."""
    quotas: dict[Label, int] = {}
    for part in words.split(","):
        word, _, count = part.partition("=")
        label = next((one for one in get_args(Label) if one == word.strip()), None)
        if label is None or label in quotas or not _COUNT.fullmatch(count.strip()):
            raise DataError(
                f"{_cut(text)}: {quoted(part)}: give each label once, with a whole number of at least 1, "
                "for example NAME:harmful=900,benign=100."
            )
        quotas[label] = int(count)
    return tuple(quotas.items())


def _split_revision(text: str) -> tuple[str, str | None]:
    """Split NAME@REVISION; a file's name may hold an @ itself."""
    name, at, revision = text.partition("@")
    if not at or text.lower().endswith(FORMATS):
        return text, None
    if not _REVISION.fullmatch(revision) or ".." in revision:
        raise DataError(f"{_cut(text)}: {quoted(revision)} is not a revision. Give a branch, tag or commit.")
    return name, revision


def _cut(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}..."


def _read_hub(source: Source) -> Iterator[RawRecord]:
    from datasets import load_dataset

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # else each of five retries is printed
    try:
        rows = load_dataset(source.name, revision=source.revision, split="train")
    except Exception as error:  # the library raises a dozen kinds, most of them plain OSErrors
        raise _hub_problem(source, error) from None
    for number, values in enumerate(rows, 1):
        yield f"{source.name}:{number}", values


def _hub_revision(source: Source) -> str | None:
    """Return the current commit of the hub, or the requested one if the hub does not answer."""
    from huggingface_hub import HfApi

    if is_folder(Path(source.name)):  # a folder in the hub's layout
        return None
    try:
        return HfApi().dataset_info(source.name, revision=source.revision, timeout=10).sha
    except Exception:  # without a network not even an OSError; reading the file reports the problem
        return source.revision


def published_revision(name: str) -> str | None:
    """Return the commit of a named set that the hub has now; None if it does not answer."""
    return _hub_revision(Source(PUBLIC[name]))


def _hub_problem(source: Source, error: Exception) -> DataError:
    """Return why the hub gives nothing, in one line, and what to do."""
    if reason := behind(error):
        return DataError(f"{source.name}: cannot be downloaded: {reason}. {OTHER_DISK}")
    if words := _known_problem(source, f"{type(error).__name__} {error}"):
        return DataError(words)
    return NotDownloaded(
        f"{source.name}: the hub cannot be reached, and the set is not on this machine. "
        "Connect to the network, or give a downloaded file: --source FILE"
    )


def _known_problem(source: Source, text: str) -> str:
    if is_folder(Path(source.name)):
        return f"{source.name}: a folder from which no dataset can be read. Give one of its files instead."
    if "Config name is missing" in text:
        return f"{source.name}: has several configurations. Download a file of one and give it instead."
    if "DatasetGeneration" in text or "scripts are no longer supported" in text:  # names a revision too
        return f"{source.name}: cannot be read as one table. Download one of its files and give it instead."
    if "gated" in text.lower():
        return f"{source.name}: gated. Accept its terms on the hub, then: hf auth login"
    if "Revision" in text or "revision" in text:
        return f"{source.name}: no revision {source.revision!r} on the hub."
    if "DatasetNotFound" in text and "doesn't exist" in text:
        return f"{source.name}: no such dataset on the hub (or it is private: hf auth login)."
    if "split" in text:
        return f"{source.name}: has no split called train. Download it and give the file instead."
    return ""
