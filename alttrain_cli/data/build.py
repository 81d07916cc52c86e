"""Builds a data file from sources: every sample becomes a row or is dropped with its reason.

Samples are read twice: once to count, check and choose them, and once to make rows. Between the two the
annotator and the trace generator make their requests. Only positions are kept in memory: rows are written
to disk as they are made, and put into a seeded order there.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alttrain_cli import __version__
from alttrain_cli.data.annotators import BenignAnnotator
from alttrain_cli.data.audit import Audit, audit
from alttrain_cli.data.duplicates import NearDuplicateIndex
from alttrain_cli.data.outputs import Outputs
from alttrain_cli.data.part import Part, SourceConfig
from alttrain_cli.data.responses import Usage
from alttrain_cli.data.row_buffer import RowBuffer
from alttrain_cli.data.samples import Sample, SampleError
from alttrain_cli.data.styles import STYLES
from alttrain_cli.errors import DataError
from alttrain_cli.progress import Progress
from alttrain_cli.storage.files import atomic_writer, write_json
from alttrain_cli.storage.reading import check_ordinary, sha256
from alttrain_cli.structure.row import Row, iter_rows
from alttrain_cli.text import counted

FEWEST = 8  # rows: one step of the recipes


@dataclass(frozen=True)
class BuildResult:
    """The files that were written, and what was found on the way."""

    rows: Path
    manifest: Path
    dropped: Path | None  # None: nothing was dropped
    parts: Sequence[Part]
    reasons: Mapping[str, int]  # why samples were dropped, the most frequent first
    audit: Audit
    usage: Usage  # of all models

    @property
    def is_enough(self) -> bool:
        """Whether a model can be trained on the rows at all."""
        return self.audit.rows >= FEWEST and self.audit.has_both_labels

    @property
    def takes_starter(self) -> bool:
        """Whether rows of the starter set help: not in a style that needs traces, nor to unknown labels."""
        own = [one.config for one in self.parts if not isinstance(one.config.annotator, BenignAnnotator)]
        needs_traces = any(callable(STYLES[config.style]) for config in own)
        return not needs_traces and "unknown" not in self.audit.labels

    def record(self) -> dict[str, Any]:
        """Return the files, and what is in them."""
        return {
            "file": str(self.rows),
            "manifest": str(self.manifest),
            "dropped": self.dropped and str(self.dropped),
            "reasons": dict(self.reasons),
            "warnings": self.warnings,
            "audit": self.audit.record(),
        }

    @property
    def warnings(self) -> list[str]:
        """What the user should know before training."""
        found = [
            f"{part.name} has only {part.total:,} of the {part.wanted:,} rows."
            for part in self.parts
            if part.total < part.wanted
        ]
        found += [
            f"{part.name}: only {part.rows:,} of the {part.wanted:,} rows were made."
            for part in self.parts
            if part.config.source.quotas and part.rows < part.wanted
        ]
        known = "unknown" not in self.audit.labels
        missing = [one for one in ("harmful", "benign") if known and one not in self.audit.labels]
        if not known:
            found.append(f"the label of {self.audit.labels['unknown']:,} rows is unknown.")
        if 0 < self.audit.rows < FEWEST:
            rows = counted(self.audit.rows, "row")
            found.append(f"only {rows}: less than one step of training needs. The paper uses 1,000.")
        starter = ", or --source starter" * self.takes_starter
        return found + [
            f"no {label} rows: training needs both. Add --source FILE with {label} prompts{starter}. "
            "To train without them, add --allow-one-label to the training."
            for label in missing
        ]


def build(
    sources: Sequence[SourceConfig],
    out: Path,
    seed: int,
    suites: Mapping[str, Sequence[str]] | None = None,
    *,
    overwrite: bool = False,
    first: int = 0,
    progress: Progress | None = None,
) -> BuildResult:
    """Write `out`, its manifest and, if anything was dropped, the dropped samples.

    With `overwrite`, any file is replaced, also one that was edited. The audit has the `first` rows.
    """
    progress = progress or Progress()
    outputs = Outputs.of(out)
    _check_sources_kept(sources, (out, outputs.dropped, outputs.manifest))
    if not overwrite:
        outputs.spare_foreign()
    for path in (Path(one.source.name) for one in sources if one.source.is_file):
        check_ordinary(path)
    parts = _parts(sources, seed, progress)
    reasons = _write(parts, outputs, seed, progress)
    rows = _shown(iter_rows(out), sum(part.rows for part in parts), progress)
    usages = _usages(sources)
    written = BuildResult(
        rows=out,
        manifest=outputs.manifest,
        dropped=outputs.dropped if reasons else None,
        parts=parts,
        reasons=dict(reasons.most_common()),
        audit=audit(rows, suites or {}, first=first),
        usage=sum(usages.values(), Usage()),
    )
    write_json(outputs.manifest, _manifest(written, seed, usages))
    return written


def _manifest(written: BuildResult, seed: int, usages: Mapping[str, Usage]) -> dict[str, Any]:
    return {
        "alttrain": __version__,
        "seed": seed,
        "sources": [part.record() for part in written.parts],
        "asked": {purpose: usage.record() for purpose, usage in usages.items()},
        "dropped": written.reasons,
        **written.audit.record(),
        "sha256": sha256(written.rows),
    }


def _parts(sources: Sequence[SourceConfig], seed: int, progress: Progress) -> list[Part]:
    """Read all sources, and choose their samples."""
    parts: list[Part] = []
    earlier = NearDuplicateIndex()
    for at, source in enumerate(sources, 1):
        with progress.status(f"Reading {source.source.name} ..."):
            parts.append(Part.of(source, seed, earlier if parts else None))
            if any(later.source.quotas for later in sources[at:]):
                parts[-1].remember(earlier)
    return parts


def _write(parts: Sequence[Part], outputs: Outputs, seed: int, progress: Progress) -> Counter[str]:
    """Write all rows in a seeded order, and the dropped samples; return the reasons."""
    with RowBuffer(outputs.rows) as buffer:  # before any request: a disk that is not writable costs none
        for part in parts:
            part.prepare()
        reasons = _make_rows(parts, buffer, outputs, progress)
        if not len(buffer):
            listed = "; ".join(f"{reason}: {n}" for reason, n in reasons.most_common())
            raise DataError(f"All samples were dropped ({listed}). Details: {outputs.dropped}")
        buffer.shuffle(seed)
        outputs.announce(buffer.digest())
        buffer.write()
    return reasons


def _check_sources_kept(sources: Sequence[SourceConfig], written: Sequence[Path]) -> None:
    """Refuse to overwrite a file that is read."""
    for source in (one.source for one in sources):
        for path in written:
            if path.exists() and Path(source.name).exists() and path.samefile(source.name):
                raise DataError(f"{path}: --out would overwrite this source file. Choose another --out.")


def _make_rows(
    parts: Sequence[Part], buffer: RowBuffer, outputs: Outputs, progress: Progress
) -> Counter[str]:
    """Write all rows to the buffer and all other samples to the dropped file; return the reasons."""
    reasons: Counter[str] = Counter()
    earlier = NearDuplicateIndex()
    total, done = sum(part.size for part in parts), 0
    with atomic_writer(outputs.dropped) as file:
        for part in parts:
            for sample in part.samples():
                done += 1
                progress.show("rows", done, total)
                try:
                    row = part.row(sample)
                    _check_new(row, earlier)
                except SampleError as reason:
                    part.dropped += 1
                    reasons[str(reason)] += 1
                    file.write(json.dumps(_dropped(sample, str(reason)), ensure_ascii=False) + "\n")
                    continue
                buffer.add(row)
                part.rows += 1
    outputs.keep_dropped(bool(reasons))
    return reasons


def _check_new(row: Row, earlier: NearDuplicateIndex) -> None:
    """Check that a row repeats no earlier one.

    Raises:
        SampleError: if it does.
    """
    if row.label == "unknown":  # trained as its authors publish it, with whatever it repeats
        return
    found = earlier.add(row.id, row.prompt, row.label)
    if found is not None:
        nearly = "" if found.exact else ", nearly word for word"
        raise SampleError(f"the prompt is already in an earlier row{nearly}")


def _dropped(sample: Sample, reason: str) -> dict[str, Any]:
    """Return the line of data.dropped.jsonl for a sample that makes no row."""
    return {
        "where": sample.where,
        "reason": reason,
        "prompt": sample.prompt,
        "label": sample.label,
        "category": sample.category,
        "response": sample.response,
    }


def _shown(rows: Iterable[Row], total: int, progress: Progress) -> Iterator[Row]:
    for done, row in enumerate(rows, 1):
        progress.show("audit", done, total)
        yield row


def _usages(sources: Sequence[SourceConfig]) -> dict[str, Usage]:
    """Return the usage of each model and purpose; several sources may share one."""
    annotators = {f"annotations of {one.annotator.name}": one.annotator.usage for one in sources}
    traces = {f"traces of {one.traces.name}": one.traces.usage for one in sources if one.traces}
    return {purpose: usage for purpose, usage in (annotators | traces).items() if usage is not None}
