"""A pickled text is read without unpickling: what runs when it is unpickled does not run here."""

import base64
import pickle
import zlib
from pathlib import Path
from typing import Any

import pytest

from alttrain_cli.storage import pickled_text as reading
from alttrain_cli.storage.pickled_text import NotText, packed_text, pickled_text

TEXTS = ("", "[]", "Käse \U0001f9c0 \ud800", "x" * 300, "y" * 70_000)


class Runs:
    """Makes a file as soon as it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("text", TEXTS)
def test_a_text_of_every_protocol_comes_back(text: str, protocol: int) -> None:
    data = pickle.dumps(text, protocol)
    assert pickled_text(data) == pickle.loads(data) == text


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_would_run_is_refused_and_does_not_run(protocol: int, tmp_path: Path) -> None:
    data = pickle.dumps(Runs(tmp_path / "ran"), protocol)
    with pytest.raises(NotText, match="contains more than text"):
        pickled_text(data)
    assert not (tmp_path / "ran").exists()
    pickle.loads(data)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("value", [["a"], {"a": "b"}, ("a", "b"), b"a", 1, None])
def test_anything_but_one_text_is_refused(value: object) -> None:
    with pytest.raises(NotText):
        pickled_text(pickle.dumps(value))


@pytest.mark.parametrize("cut", range(len(pickle.dumps("abc"))))
def test_a_damaged_pickle_is_refused(cut: int) -> None:
    with pytest.raises(NotText):
        pickled_text(pickle.dumps("abc")[:cut])


def packed(text: str) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(text))).decode()


def test_a_packed_text_is_unpacked_up_to_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    assert packed_text(packed("abc")) == "abc"
    monkeypatch.setattr(reading, "LARGEST", 1000)
    with pytest.raises(NotText, match="larger than 1,000 bytes"):
        packed_text(packed("x" * 1000))


@pytest.mark.parametrize("text", ["?", "", "YWJj", packed("abc")[:20], "!" + packed("abc")])
def test_what_is_not_packed_is_refused(text: str) -> None:
    with pytest.raises(NotText):
        packed_text(text)
