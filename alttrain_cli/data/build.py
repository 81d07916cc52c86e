"""Builds a data file from sources: rows, what was set aside and why, and the manifest."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any

from alttrain_cli import __version__
from alttrain_cli.data.sources import read_source
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.data.styles import SetAside, alttrain
from alttrain_cli.errors import DataError
from alttrain_cli.files import sha256, write_json, write_jsonl
from alttrain_cli.row import Label, Row

STARTER = "starter"
SECTIONS = ("prompt", "understanding", "assessment", "reasoning", "answer")
# No model is chosen yet when data is built, so tokens are estimated: 4.2 characters of English a
# token. tests/test_build.py holds the estimate to 10% of SmolLM2's tokenizer on the starter set.
CHARACTERS_A_TOKEN = 4.2


@dataclass
class Build:
    """The rows that were built and an account of the others."""

    rows: list[Row] = field(default_factory=list)
    dropped: list[dict[str, Any]] = field(default_factory=list)
    sources: list[dict[str, Any]] = field(default_factory=list)
    seed: int = 0

    def manifest(self) -> dict[str, Any]:
        """Return what data.manifest.json holds."""
        return {
            "alttrain": __version__,
            "style": "alttrain",
            "annotator": "template",
            "seed": self.seed,
            "sources": self.sources,
            "rows": len(self.rows),
            "labels": dict(Counter(row.label for row in self.rows)),
            "categories": dict(Counter(row.category or "none" for row in self.rows).most_common()),
            "estimated_tokens": token_statistics(self.rows),
            "dropped": dict(Counter(row["reason"] for row in self.dropped).most_common()),
        }


def build(sources: Sequence[str], label: Label | None, seed: int) -> Build:
    """Read every source, turn its samples into rows, drop doubles and shuffle.

    Raises:
        DataError: if a source cannot be read or no row is left.
    """
    result = Build(seed=seed)
    seen: dict[str, str] = {}
    for source in sources:
        before = len(result.rows)
        for row_or_reason in _rows(source, label):
            _take(row_or_reason, seen, result)
        result.sources.append(
            {
                "name": source if source == STARTER else Path(source).name,
                "sha256": _hash(source),
                "rows": len(result.rows) - before,
            }
        )
    if not result.rows:
        reasons = "; ".join(f"{reason}: {n}" for reason, n in result.manifest()["dropped"].items())
        raise DataError(f"No row is left: {reasons}.")
    random.Random(seed).shuffle(result.rows)
    return result


def write(result: Build, path: Path) -> tuple[Path, Path]:
    """Write rows, manifest and, if there are any, the dropped samples; return the latter paths."""
    manifest = path.with_name(f"{path.stem}.manifest.json")
    dropped = path.with_name(f"{path.stem}.dropped.jsonl")
    write_jsonl(path, (row.model_dump() for row in result.rows))
    if result.dropped:
        write_jsonl(dropped, result.dropped)
    else:
        dropped.unlink(missing_ok=True)
    write_json(manifest, {**result.manifest(), "sha256": sha256(path)})
    return manifest, dropped


def token_statistics(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Return mean, median and largest estimated token count of every section and of whole rows."""
    sizes = {name: [estimate_tokens(getattr(row, name)) for row in rows] for name in SECTIONS}
    sizes["row"] = [sum(parts) for parts in zip(*sizes.values(), strict=True)]
    return {
        name: {"mean": round(mean(values), 1), "median": median(values), "max": max(values)}
        for name, values in sizes.items()
    }


def estimate_tokens(text: str) -> int:
    """Return about how many tokens an English text has."""
    return round(len(text) / CHARACTERS_A_TOKEN)


def _rows(source: str, label: Label | None) -> Iterator[Row | dict[str, Any]]:
    """Yield a row, or an account of the sample that makes none."""
    if source == STARTER:
        yield from starter_rows("train")
        return
    for sample in read_source(Path(source), label):
        try:
            yield alttrain(sample)
        except SetAside as reason:
            yield {
                "where": sample.where,
                "reason": str(reason),
                "prompt": sample.prompt,
                "response": sample.response,
            }


def _take(row: Row | dict[str, Any], seen: dict[str, str], result: Build) -> None:
    if isinstance(row, dict):
        result.dropped.append(row)
        return
    key = " ".join(row.prompt.lower().split())
    if key in seen:
        result.dropped.append(
            {"where": row.id, "reason": "the prompt stands in an earlier row", "prompt": row.prompt}
        )
        return
    seen[key] = row.id
    result.rows.append(row)


def _hash(source: str) -> str | None:
    return None if source == STARTER else sha256(Path(source))
