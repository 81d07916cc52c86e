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
from alttrain_cli.data.audit import Audit, audit
from alttrain_cli.data.duplicates import NearDuplicateIndex
from alttrain_cli.data.outputs import Outputs
from alttrain_cli.data.part import DroppedSample, Part, SourceConfig
from alttrain_cli.data.responses import Usage
from alttrain_cli.data.spool import Spool
from alttrain_cli.errors import DataError
from alttrain_cli.progress import Progress
from alttrain_cli.storage.files import atomic_writer, write_json
from alttrain_cli.storage.reading import check_ordinary, sha256
from alttrain_cli.structure.row import Row, iter_rows

FEWEST = 8  # rows: one step of the recipes


@dataclass(frozen=True)
class BuildResult:
    """The files that were written, and the contents of the manifest."""

    rows: Path
    manifest: Path
    dropped: Path | None  # None: nothing was dropped
    facts: dict[str, Any]
    audit: Audit
    usage: Usage  # of all models

    @property
    def is_enough(self) -> bool:
        """Whether a model can be trained on the rows at all."""
        return self.audit.rows >= FEWEST and len(self.audit.labels) > 1

    @property
    def warnings(self) -> list[str]:
        """What the user should know before training."""
        found = [
            f"{source['name']} has {source['samples']:,} of {source['wanted']:,} rows."
            for source in self.facts["sources"]
            if source["samples"] < (source["wanted"] or 0)
        ]
        found += [
            f"{source['name']}: {source['rows']:,} of the {source['wanted']:,} rows were made."
            for source in self.facts["sources"]
            if "quotas" in source and source["rows"] < source["wanted"]
        ]
        known = "unknown" not in self.audit.labels
        missing = [one for one in ("harmful", "benign") if known and one not in self.audit.labels]
        if not known:
            found.append(f"the label of {self.audit.labels['unknown']:,} rows is unknown.")
        if 0 < self.audit.rows < FEWEST:
            found.append(
                f"rows: {self.audit.rows}, which is less than one step of training. The paper uses 1,000."
            )
        return found + [
            f"no {label} rows: training needs both. Add --source FILE with {label} prompts, or "
            "--source starter. To train without: alttrain train --allow-one-label."
            for label in missing
        ]


def build(
    sources: Sequence[SourceConfig],
    out: Path,
    seed: int,
    suites: Mapping[str, Sequence[str]] | None = None,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> BuildResult:
    """Write `out`, its manifest and, if anything was dropped, the dropped samples.

    With `overwrite` a file is replaced even if no build made it, or if it was edited since.

    Raises:
        DataError: if a source cannot be read, no sample is left, or an output was not made by a build.
        BackendError: if an annotator cannot be used; its responses so far are kept.
    """
    progress = progress or Progress()
    outputs = Outputs.of(out)
    _check_sources_kept(sources, (out, outputs.dropped, outputs.manifest))
    if not overwrite:
        outputs.spare_foreign()
    for path in (Path(one.source.name) for one in sources if one.source.is_file):
        check_ordinary(path)
    parts = [_part(source, seed, progress) for source in sources]
    reasons = _write(parts, outputs, seed, progress)
    result = audit(_shown(iter_rows(out), sum(part.rows for part in parts), progress), suites or {})
    usages = _usages(sources)
    facts = {
        "alttrain": __version__,
        "seed": seed,
        "sources": [part.facts() for part in parts],
        "asked": {purpose: usage.record() for purpose, usage in usages.items()},
        "dropped": dict(reasons.most_common()),
        **result.facts(),
        "sha256": sha256(out),
    }
    write_json(outputs.manifest, facts)
    dropped = outputs.dropped if reasons else None
    return BuildResult(out, outputs.manifest, dropped, facts, result, sum(usages.values(), Usage()))


def _part(source: SourceConfig, seed: int, progress: Progress) -> Part:
    with progress.status(f"Reading {source.source.name} ..."):
        return Part.of(source, seed)


def _write(parts: Sequence[Part], outputs: Outputs, seed: int, progress: Progress) -> Counter[str]:
    """Write all rows in a seeded order, and the dropped samples; return the reasons."""
    with Spool(outputs.rows) as spool:  # before any request, so that a disk that is not writable costs none
        for part in parts:
            part.prepare()
        reasons = _make_rows(parts, spool, outputs, progress)
        if not len(spool):
            listed = "; ".join(f"{reason}: {n}" for reason, n in reasons.most_common())
            raise DataError(f"All samples were dropped ({listed}). Details: {outputs.dropped}")
        spool.shuffle(seed)
        outputs.announce(spool.digest())
        spool.write()
    return reasons


def _check_sources_kept(sources: Sequence[SourceConfig], written: Sequence[Path]) -> None:
    """Refuse to overwrite a file that is read."""
    for source in (one.source for one in sources):
        for path in written:
            if path.exists() and Path(source.name).exists() and path.samefile(source.name):
                raise DataError(f"{path}: --out would overwrite this source file. Choose another --out.")


def _make_rows(parts: Sequence[Part], spool: Spool, outputs: Outputs, progress: Progress) -> Counter[str]:
    """Write all rows to the spool and all other samples to the dropped file; return the reasons."""
    reasons: Counter[str] = Counter()
    earlier = NearDuplicateIndex()
    total, done = sum(part.size for part in parts), 0
    with atomic_writer(outputs.dropped) as file:
        for part in parts:
            for made in part.rows_and_drops():
                done += 1
                progress.show("rows", done, total)
                one = _unique(earlier, made) if isinstance(made, Row) else made
                if isinstance(one, Row):
                    spool.add(one)
                    part.rows += 1
                    continue
                part.dropped += 1
                reasons[one.reason] += 1
                file.write(json.dumps(one.record(), ensure_ascii=False) + "\n")
    outputs.keep_dropped(bool(reasons))
    return reasons


def _unique(earlier: NearDuplicateIndex, row: Row) -> Row | DroppedSample:
    if row.label == "unknown":  # trained as its authors publish it, with whatever it repeats
        return row
    found = earlier.add(row.id, row.prompt, row.label)
    if found is None:
        return row
    nearly = "" if found.exact else ", nearly word for word"
    return DroppedSample.of(row, f"the prompt is already in an earlier row{nearly}")


def _shown(rows: Iterable[Row], total: int, progress: Progress) -> Iterator[Row]:
    for done, row in enumerate(rows, 1):
        progress.show("audit", done, total)
        yield row


def _usages(sources: Sequence[SourceConfig]) -> dict[str, Usage]:
    """Return the usage of each model and purpose; several sources may share one."""
    annotators = {f"annotations of {one.annotator.name}": one.annotator.usage for one in sources}
    traces = {f"traces of {one.traces.name}": one.traces.usage for one in sources if one.traces}
    return {purpose: usage for purpose, usage in (annotators | traces).items() if usage is not None}
