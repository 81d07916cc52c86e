"""What an adapter must show before it is saved; tensors of a few numbers stand for the model."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from alttrain_cli.errors import GateError
from alttrain_cli.training import checks

pytestmark = pytest.mark.model  # imports torch


def adapter(up: list[float], down: list[float] | None = None) -> Any:
    import torch

    weights = {"q.lora_A": torch.tensor(down or [1.0, 2.0]), "q.lora_B": torch.tensor(up)}
    named = [(name, torch.nn.Parameter(weight)) for name, weight in weights.items()]
    return SimpleNamespace(model=SimpleNamespace(named_parameters=lambda: named))


def checked(loaded: Any, change: float, monkeypatch: pytest.MonkeyPatch) -> Any:
    import torch

    monkeypatch.setattr(checks, "probe_logits", lambda _: torch.tensor([0.0, -change, 0.0]))
    return checks.check_adapter(loaded, torch.zeros(3))


def test_an_adapter_that_changes_the_logits_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    found = checked(adapter([0.5, -3.0]), 0.25, monkeypatch)
    assert (found.tensors, found.finite) == (2, True)
    assert (found.largest_weight, found.largest_logit_change) == (3.0, 0.25)


@pytest.mark.parametrize("change", [0.0, 0.0005, float("nan")])
def test_an_adapter_that_changes_no_logit_is_refused(change: float, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GateError, match="does not change the logits"):
        checked(adapter([0.5]), change, monkeypatch)


@pytest.mark.parametrize(
    ("up", "down", "why"),
    [
        ([0.0, 0.0], [1.0], "all zero"),
        ([float("nan")], [1.0], "NaN or infinity in q.lora_B"),
        ([1.0], [float("inf")], "NaN or infinity in q.lora_A"),
    ],
)
def test_zeros_and_what_is_no_number_are_refused_and_named(
    up: list[float], down: list[float], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(GateError, match=why):
        checked(adapter(up, down), 1.0, monkeypatch)


def test_what_is_refused_is_not_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "check_adapter", lambda *_: (_ for _ in ()).throw(GateError("no")))
    with pytest.raises(GateError):
        checks.save_adapter(adapter([1.0]), tmp_path / "adapter", None)
    assert not list(tmp_path.iterdir())
