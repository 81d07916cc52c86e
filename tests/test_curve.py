"""The loss curve: whole, in bounds, and without anything that a name could smuggle in."""

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from alttrain_cli.console.curve import sparkline
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
    assert len(line) == min(16, len(losses))
    assert " " not in line
