"""A published file is downloaded once, whole or not at all."""

import io
from pathlib import Path
from typing import Any

import pytest

from alttrain_cli.storage import download as downloading
from alttrain_cli.storage.download import DownloadError, download


class Answer(io.BytesIO):
    """An answer that names another length than it may have."""

    def __init__(self, body: bytes, length: int | None) -> None:
        super().__init__(body)
        self.headers = {} if length is None else {"Content-Length": str(length)}


def answering(monkeypatch: pytest.MonkeyPatch, *answers: Answer) -> list[str]:
    """Let each request have the next answer; return the addresses that were requested."""
    left, asked = list(answers), []

    def urlopen(url: str, **_: Any) -> Answer:
        asked.append(url)
        return left.pop(0)

    monkeypatch.setattr(downloading.urllib.request, "urlopen", urlopen)
    return asked


@pytest.mark.parametrize("length", [None, 3_000_000])
def test_a_file_is_downloaded_once(
    length: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answering(monkeypatch, Answer(b"x" * 3_000_000, length))
    path = tmp_path / "new" / "data.csv"
    assert download("http://a/b", path, offline=False) == path
    assert path.stat().st_size == 3_000_000
    assert download("http://a/b", path, offline=True) == path
    assert (asked, [one.name for one in path.parent.iterdir()]) == (["http://a/b"], ["data.csv"])


def test_a_download_that_breaks_off_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, Answer(b"x" * 10, 20))
    with pytest.raises(DownloadError, match="only 10 of 20 bytes came"):
        download("http://a/b", tmp_path / "data.csv", offline=False)
    assert list(tmp_path.iterdir()) == []


def test_a_length_that_is_no_number_is_no_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = Answer(b"x" * 10, None)
    answer.headers["Content-Length"] = "ten"
    answering(monkeypatch, answer)
    assert download("http://a/b", tmp_path / "data.csv", offline=False).read_bytes() == b"x" * 10


def test_offline_nothing_is_requested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch)
    with pytest.raises(DownloadError, match="offline"):
        download("http://a/b", tmp_path / "data.csv", offline=True)
    assert asked == []
