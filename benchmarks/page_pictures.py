"""Draws the documents' pictures of a page: of a scorecard down to its chart, or of a study its plot.

    python benchmarks/page_pictures.py demo/run/eval/scorecard.html docs
    python benchmarks/page_pictures.py runs/studies/smoke/table.html docs

Needs Chromium.
"""

import base64
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.chromium import Chromium

MARGIN = 16  # pixels below the chart


class Picture(NamedTuple):
    """A file, the width of the window in pixels, and whether it is of the chart alone."""

    name: str
    width: int
    is_chart: bool


PICTURES = {
    "scorecard.html": (Picture("page-wide.webp", 1280, False), Picture("page-narrow.webp", 400, False)),
    "table.html": (Picture("study.png", 760, True),),
}


def draw(chromium: Chromium, page: Path, picture: Picture) -> bytes:
    """Return the image of a page."""
    chromium.look(picture.width)
    chromium.open(page)
    box = chromium.run(
        "(() => { const box = document.querySelector('figure').getBoundingClientRect(); "
        "return {x: box.x, y: box.y, width: box.width, height: box.height} })()"
    )
    if not picture.is_chart:
        box = {"x": 0, "y": 0, "width": picture.width, "height": box["y"] + box["height"] + MARGIN}
    kind = {"format": "webp", "quality": 85} if picture.name.endswith(".webp") else {"format": "png"}
    shot = chromium.send(
        "Page.captureScreenshot", clip={**box, "scale": 1}, captureBeyondViewport=True, **kind
    )
    return base64.b64decode(shot["data"])


def main(page: str, folder: str) -> None:
    """Draw the pictures of a page."""
    with tempfile.TemporaryDirectory() as profile, Chromium(Path(profile)) as chromium:
        for picture in PICTURES[Path(page).name]:
            drawn = draw(chromium, Path(page).resolve(), picture)
            (Path(folder) / picture.name).write_bytes(drawn)
            print(f"{picture.name}: {len(drawn) / 1000:.0f} kB")


if __name__ == "__main__":
    main(*sys.argv[1:])
