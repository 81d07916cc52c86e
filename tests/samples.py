"""Samples and files of samples for the tests of the data room."""

import json
from pathlib import Path
from typing import Any

from alttrain_cli.data.samples import Sample

STAR1 = Path(__file__).parents[2] / "shared" / "data" / "STAR-1.json"
TRACE = (
    "<think>\nOkay, so the user asks how to boil an egg, e.g. a soft one. That is quick.\n\n"
    "Water first, then five minutes.\n</think>\n\nBoil it for five minutes."
)


def sample(**changes: Any) -> Sample:
    values = {
        "id": "s-1",
        "prompt": "How do I boil an egg?",
        "response": TRACE,
        "label": "benign",
        "category": None,
        "source": "s",
        "where": "s.jsonl:1",
    }
    return Sample(**{**values, **changes})


def put(path: Path, *values: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return path
