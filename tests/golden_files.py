"""Golden files: what is drawn or rendered must not change unseen. WRITE_GOLDEN=1 writes them anew."""

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "golden"


def check_golden(name: str | Path, text: str) -> None:
    """Compare a text with a golden file, or with a file that has a path of its own."""
    path = FOLDER / name
    if os.environ.get("WRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
