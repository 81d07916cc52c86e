"""The loss curve: whole, in bounds, and without anything that a name could smuggle in."""

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from alttrain_cli.console.curve import CELLS, print_curve, sparkline
from alttrain_cli.storage.run_records import StepRecord
from alttrain_cli.text import escape_hidden
from alttrain_cli.training.curve import curve_svg

LOSSES = st.lists(st.floats(0.001, 20), min_size=1, max_size=300)


@given(LOSSES, st.text(max_size=30))
def test_the_picture_is_well_formed_and_every_step_lies_inside(losses: list[float], title: str) -> None:
    steps = [
        StepRecord(step=number, loss=loss, tokens=1, seconds=1.0) for number, loss in enumerate(losses, 1)
    ]
    picture = ElementTree.fromstring(curve_svg(steps, escape_hidden(title)))
    width, height = float(picture.attrib["width"]), float(picture.attrib["height"])
    lines = [node for node in picture if node.tag.endswith("polyline")]
    for line in lines:
        points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
        assert len(points) == len(losses)
        assert all(0 <= x <= width and 0 <= y <= height for x, y in points)


@given(LOSSES)
def test_a_sparkline_has_no_holes(losses: list[float]) -> None:
    line = sparkline(losses)
    assert len(line) == min(CELLS, len(losses))
    assert " " not in line


@pytest.mark.parametrize("columns", [20, 40, 80])
def test_the_curve_in_characters_fits_the_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    print_curve([3.0 - number / 100 for number in range(200)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7
    assert max(map(cell_len, lines)) == min(columns, 67)
