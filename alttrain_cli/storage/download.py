"""Downloads a published file once, whole or not at all."""

import os
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path

from alttrain_cli.storage.files import explain_write_errors

TIMEOUT = 60.0  # seconds of silence
PIECE = 2**20  # bytes


class DownloadError(Exception):
    """A file cannot be downloaded; the message is the reason."""


def download(url: str, path: Path, *, offline: bool) -> Path:
    """Return `path` with the content of an URL; what is there already is not downloaded again.

    Raises:
        DownloadError: if it is not there and cannot be downloaded.
    """
    if path.is_file():
        return path
    if offline:
        raise DownloadError("offline")
    temporary = path.with_suffix(f"{path.suffix}.{os.getpid()}")
    with explain_write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.writelines(_pieces(url))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    return path


def _pieces(url: str) -> Iterator[bytes]:
    came = 0
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            wanted = answer.headers.get("Content-Length", "")
            while piece := answer.read(PIECE):
                came += len(piece)
                yield piece
    except (OSError, HTTPException) as error:
        raise DownloadError(str(error)) from None
    if wanted.isdecimal() and came != int(wanted):  # reading in pieces does not notice a broken answer
        raise DownloadError(f"only {came:,} of {int(wanted):,} bytes came")
