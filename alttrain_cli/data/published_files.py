"""Sets of traces that their authors publish as a file of a repository, by name."""

from pathlib import Path
from typing import NamedTuple

from alttrain_cli.errors import DataError
from alttrain_cli.network import is_offline
from alttrain_cli.storage.download import DownloadError, download
from alttrain_cli.storage.user_folders import CACHE

FOLDER = CACHE / "sources"
_REPOSITORY = "https://raw.githubusercontent.com/thu-coai/LRM-Safety-Study"
_REVISION = "498ef37fca888a9587a34e156b7518f2ac9ce701"


class PublishedFile(NamedTuple):
    """Where a set is, at which commit, and how many rows its authors name."""

    name: str
    url: str
    revision: str
    rows: int

    @property
    def kept(self) -> Path:
        """Where it is kept; another commit is another file."""
        return FOLDER / f"{self.name}-{self.revision[:12]}{Path(self.url).suffix}"

    def path(self) -> Path:
        """Return the file, which is downloaded if it is not here.

        Raises:
            NotDownloaded: if it cannot be.
        """
        try:
            return download(self.url, self.kept, offline=is_offline())
        except DownloadError as error:
            raise NotDownloaded(
                f"{self.name}: not on this machine, and cannot be downloaded from {self.url} ({error}). "
                "Connect to the network, or give a downloaded file: --source FILE"
            ) from None


class NotDownloaded(DataError):
    """A published set is not on this machine, and cannot be downloaded."""


def _study(kind: str, rows: int) -> PublishedFile:
    url = f"{_REPOSITORY}/{_REVISION}/dataset/data/sft_train_{kind}.json"
    return PublishedFile(f"lrm-study-{'no-cot' if kind == 'nocot' else kind}", url, _REVISION, rows)


# The LRM safety study (arXiv 2505.15404): a file per way to reason, without labels, and its mathematics.
_STUDY = (
    *(_study(kind, 1000) for kind in ("default", "realsafe", "improved", "short", "template", "nocot")),
    _study("math", 4000),
)
FILES = {one.name: one for one in _STUDY}
# Sets that a reader looks for, and that do not exist.
NOT_PUBLISHED = {
    "realsafe-r1": "the authors of RealSafe-R1 publish models, and no rows. Rows by their instruction: "
    "--source lrm-study-realsafe. To compare with a model of theirs: alttrain eval RealSafe/RealSafe-R1-7B",
}
