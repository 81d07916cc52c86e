"""Builds a data file from sources: every sample becomes a row or is set aside with its reason.

Samples are read twice, once to count, check and choose, once to make rows; between the two an
annotator and the model to be trained are asked for what they have to write. Only places are kept in
memory: rows go to disk as they are made, and are put into a seeded order there.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from alttrain_cli import __version__
from alttrain_cli.data.annotators import Annotator, Template, Trust, settle
from alttrain_cli.data.audit import Audit, audit
from alttrain_cli.data.duplicates import Duplicates
from alttrain_cli.data.outputs import Outputs
from alttrain_cli.data.samples import Reading, Sample, SetAside, check_prompt
from alttrain_cli.data.selection import choose
from alttrain_cli.data.sources import Source
from alttrain_cli.data.spool import Spool
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.data.styles import STYLES, restyle
from alttrain_cli.data.traces import OwnTraces
from alttrain_cli.errors import DataError
from alttrain_cli.storage.files import atomic_writer, sha256, write_json
from alttrain_cli.storage.problems import in_words, key_of
from alttrain_cli.structure.row import Row, iter_rows

OnProgress = Callable[[str, int, int], None]  # stage, samples done, samples in all


@dataclass(frozen=True)
class Ingredient:
    """A source, how it is read, who judges it, and what its samples become."""

    source: Source
    reading: Reading = field(default_factory=Reading)
    style: str = "alttrain"
    annotator: Annotator = field(default_factory=Template)
    trust: Trust | None = None
    traces: OwnTraces | None = None


@dataclass(frozen=True)
class Built:
    """The files that were written, and what stands in the manifest."""

    rows: Path
    manifest: Path
    dropped: Path | None  # None: nothing was set aside
    facts: dict[str, Any]
    audit: Audit


def build(
    ingredients: Sequence[Ingredient],
    out: Path,
    seed: int,
    *,
    suites: Mapping[str, Sequence[str]] | None = None,
    overwrite: bool = False,
    on_progress: OnProgress = lambda stage, done, total: None,
) -> Built:
    """Write `out`, its manifest and, if anything was set aside, its dropped samples.

    With `overwrite` a file is replaced even if no build made it, or if it was edited since.

    Raises:
        DataError: if a source cannot be read, if no row is left (the dropped file tells why), or if
            a file is there that is not ours.
        AlttrainError: if an annotator cannot be asked; its answers so far are kept.
    """
    outputs = Outputs.of(out)
    _spare_sources(ingredients, (out, outputs.dropped, outputs.manifest))
    if not overwrite:
        outputs.spare_foreign()
    parts = [_Part.of(ingredient, seed) for ingredient in ingredients]
    with Spool(out) as spool:  # before anybody is asked: what they say can be written
        for part in parts:
            part.prepare()
        reasons = _make_rows(parts, spool, outputs, on_progress)
        if not len(spool):
            told = "; ".join(f"{reason}: {n}" for reason, n in reasons.most_common())
            raise DataError(f"No row is left: {told}. See {outputs.dropped}")
        spool.shuffle(seed)
        outputs.announce(spool.digest())
        spool.write()
        total = len(spool)
    result = audit(_watched(iter_rows(out), total, on_progress), suites or {})
    facts = {
        "alttrain": __version__,
        "seed": seed,
        "sources": [part.facts() for part in parts],
        "asked": _asked(ingredients),
        "dropped": dict(reasons.most_common()),
        **result.facts(),
        "sha256": sha256(out),
    }
    write_json(outputs.manifest, facts)
    return Built(out, outputs.manifest, outputs.dropped if reasons else None, facts, result)


def _spare_sources(ingredients: Sequence[Ingredient], written: Sequence[Path]) -> None:
    """Refuse to write over a file that is read."""
    for source in (ingredient.source for ingredient in ingredients):
        for path in written:
            if path.exists() and Path(source.name).exists() and path.samefile(source.name):
                raise DataError(f"{path}: a source, and would be written over. Choose another --out.")


@dataclass
class _Part:
    """An ingredient whose samples were counted and chosen."""

    ingredient: Ingredient
    seed: int
    total: int
    chosen: frozenset[int] | None  # positions; None: all
    pinned: dict[str, Any]
    rows: int = 0
    dropped: int = 0

    @classmethod
    def of(cls, ingredient: Ingredient, seed: int) -> "_Part":
        """Read the source once: what is wrong with it is said before anybody is asked anything."""
        source = ingredient.source
        pinned = source.facts()
        if source.revision is None and pinned.get("revision"):  # what is read twice stays the same
            ingredient = replace(ingredient, source=replace(source, revision=pinned["revision"]))
        part = cls(ingredient, seed, 0, None, pinned)
        if source.count is None:
            part.total = sum(1 for _ in part._all())
        else:
            strata = [(one.label, one.category) for one in part._all()]
            part.total, part.chosen = len(strata), choose(strata, source.count, seed)
        if not part.total:
            raise DataError(f"{source.name}: holds no rows. Leave it out.")
        return part

    @property
    def size(self) -> int:
        """How many samples are chosen."""
        return self.total if self.chosen is None else len(self.chosen)

    def facts(self) -> dict[str, Any]:
        """Return what the manifest says of this ingredient."""
        ingredient = self.ingredient
        return {
            **self.pinned,
            "samples": self.total,
            "wanted": ingredient.source.count,
            "chosen": self.size,
            "rows": self.rows,
            "dropped": self.dropped,
            "style": ingredient.style,
            "annotator": ingredient.annotator.name,
            **({"trust": ingredient.trust} if ingredient.trust else {}),
            **({"traces": ingredient.traces.name} if ingredient.traces else {}),
        }

    def prepare(self) -> None:
        """Ask whoever has to be asked; what they say is on disk then."""
        if self.ingredient.source.is_starter:
            return
        self.ingredient.annotator.prepare(self._usable)
        if self.ingredient.traces:
            self.ingredient.traces.prepare(self._judged)

    def made(self) -> Iterator["Row | tuple[Sample, str]"]:
        """Yield a row for each chosen sample, or the sample and why it makes none."""
        make = STYLES[self.ingredient.style]
        for one in self._chosen():
            try:
                if isinstance(one, Row):
                    yield restyle(one, self.ingredient.style)
                    continue
                check_prompt(one)
                note = settle(one, self.ingredient.annotator.annotation(one), self.ingredient.trust)
                if self.ingredient.traces:
                    one = self.ingredient.traces.written(replace(one, label=note.verdict))
                yield make(one, note)
            except SetAside as reason:
                yield (one if isinstance(one, Sample) else _as_sample(one)), str(reason)
            except ValidationError as error:  # what no row may hold
                first = error.errors()[0]
                yield (
                    (one if isinstance(one, Sample) else _as_sample(one)),
                    f"{key_of(first)}: {in_words(first)}",
                )

    def _all(self) -> Iterator[Sample | Row]:
        if self.ingredient.source.is_starter:
            return iter(starter_rows("train"))
        return self.ingredient.reading.samples(self.ingredient.source)

    def _chosen(self) -> Iterator[Sample | Row]:
        return (one for at, one in enumerate(self._all()) if self.chosen is None or at in self.chosen)

    def _usable(self) -> Iterator[Sample]:
        """Yield the chosen samples about which it makes sense to ask."""
        for one in self._chosen():
            if isinstance(one, Sample):
                try:
                    check_prompt(one)
                except SetAside:
                    continue
                yield one

    def _judged(self) -> Iterator[Sample]:
        """Yield the usable samples with the label that was settled."""
        for one in self._usable():
            try:
                note = settle(one, self.ingredient.annotator.annotation(one), self.ingredient.trust)
            except SetAside:
                continue
            yield replace(one, label=note.verdict)


def _make_rows(
    parts: Sequence[_Part], spool: Spool, outputs: Outputs, on_progress: OnProgress
) -> Counter[str]:
    """Put all rows into the spool and all others into the dropped file; return the reasons."""
    reasons: Counter[str] = Counter()
    twins = Duplicates()
    total, done = sum(part.size for part in parts), 0
    with atomic_writer(outputs.dropped) as file:
        for part in parts:
            for made in part.made():
                done += 1
                on_progress("rows", done, total)
                row, reason = (made, _twin(twins, made)) if isinstance(made, Row) else made
                if reason is None and isinstance(row, Row):
                    spool.add(row)
                    part.rows += 1
                    continue
                part.dropped += 1
                reasons[reason or ""] += 1
                file.write(json.dumps(_account(row, reason), ensure_ascii=False) + "\n")
    outputs.keep_dropped(bool(reasons))
    return reasons


def _watched(rows: Iterable[Row], total: int, on_progress: OnProgress) -> Iterator[Row]:
    for done, row in enumerate(rows, 1):
        on_progress("audit", done, total)
        yield row


def _asked(ingredients: Sequence[Ingredient]) -> dict[str, dict[str, int]]:
    """Return what was asked of whom, and what it cost: one annotator may serve several sources."""
    annotators = {id(one.annotator): one.annotator for one in ingredients if one.annotator.usage}
    writers = {id(one.traces): one.traces for one in ingredients if one.traces}
    return {
        **{f"annotations of {one.name}": one.usage.facts() for one in annotators.values() if one.usage},
        **{f"traces of {one.name}": one.usage.facts() for one in writers.values()},
    }


def _twin(twins: Duplicates, row: Row) -> str | None:
    twin = twins.add(row.id, row.prompt, row.label)
    if twin is None:
        return None
    return f"the prompt stands in an earlier row{'' if twin.exact else ', nearly word for word'}"


def _account(one: Row | Sample, reason: str | None) -> dict[str, Any]:
    if isinstance(one, Row):
        return {"where": one.id, "reason": reason, "prompt": one.prompt, "label": one.label}
    return {
        "where": one.where,
        "reason": reason,
        "prompt": one.prompt,
        "label": one.label,
        "category": one.category,
        "response": one.response,
    }


def _as_sample(row: Row) -> Sample:
    return Sample(row.id, row.prompt, row.answer, row.label, row.category, row.source, row.id)
