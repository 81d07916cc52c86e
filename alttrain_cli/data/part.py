"""A source of a build: its settings, which of its samples are chosen, and the rows that they become."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from alttrain_cli.data.annotators import (
    Annotation,
    Annotator,
    BenignAnnotator,
    TemplateAnnotator,
    resolve_label,
)
from alttrain_cli.data.choices import Trust
from alttrain_cli.data.duplicates import NearDuplicateIndex
from alttrain_cli.data.samples import Sample, SampleError, SampleReader, check_prompt
from alttrain_cli.data.selection import stratified_sample
from alttrain_cli.data.sources import Source
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.data.styles import make_row, restyle
from alttrain_cli.data.traces import TraceGenerator
from alttrain_cli.errors import DataError
from alttrain_cli.problems import first_problem
from alttrain_cli.structure.row import Label, Row


@dataclass(frozen=True)
class SourceConfig:
    """A source, how it is read, its annotator, and what its samples become."""

    source: Source
    reader: SampleReader = field(default_factory=SampleReader)
    style: str = "alttrain"
    annotator: Annotator = field(default_factory=TemplateAnnotator)
    trust: Trust | None = None
    traces: TraceGenerator | None = None


@dataclass
class Part:
    """A source whose samples were counted and chosen."""

    config: SourceConfig
    seed: int
    total: int
    chosen: frozenset[int] | None  # positions; None: all
    pinned: dict[str, str | None]
    rows: int = 0
    dropped: int = 0

    @classmethod
    def of(cls, config: SourceConfig, seed: int, earlier: NearDuplicateIndex | None = None) -> "Part":
        """Read the source once, so that errors are reported before any model is called.

        A quota takes no sample that repeats one in `earlier`.
        """
        source = config.source
        pinned = source.pinned()
        if source.revision is None and pinned.get("revision"):  # so that both passes read the same data
            config = replace(config, source=replace(source, revision=pinned["revision"]))
        part = cls(config, seed, 0, None, pinned)
        if source.quotas:
            part._choose_by_label(dict(source.quotas), earlier)
        elif source.count is None:
            part.total = sum(1 for _ in part._all())
        else:
            strata = [(one.label, one.category) for one in part._all()]
            part.total, part.chosen = len(strata), stratified_sample(strata, source.count, seed)
        if not part.total:
            raise DataError(f"{source.name}: holds no rows. Remove this source.")
        return part

    def _choose_by_label(self, quotas: dict[Label, int], earlier: NearDuplicateIndex | None) -> None:
        """Choose as many samples of each label as requested, of those that make a row and repeat no other."""
        found: dict[Label | None, dict[int, str | None]] = {}  # label -> position -> category
        own = NearDuplicateIndex()
        counts: Counter[Label | None] = Counter()
        for at, one in enumerate(self._all()):
            label = self._label(one)
            counts[label] += 1
            if label not in quotas or not self._makes_row(one):
                continue
            repeats = label != "unknown" and (  # trained as its authors publish it, with whatever it repeats
                (earlier and earlier.find(one.prompt, label)) or own.add(one.id, one.prompt, label)
            )
            if not repeats:
                found.setdefault(label, {})[at] = one.category
        chosen: set[int] = set()
        for label, wanted in quotas.items():
            usable = found.get(label, {})
            if len(usable) < wanted:
                raise DataError(_too_few(self.config.source, label, wanted, len(usable), counts))
            positions = list(usable)
            chosen |= {positions[at] for at in stratified_sample(usable.values(), wanted, self.seed)}
        self.total, self.chosen = sum(counts.values()), frozenset(chosen)

    def _makes_row(self, one: Sample) -> bool:
        """Whether a sample makes a row, as far as that is known before a model was asked."""
        needs_model = self.config.annotator.usage is not None or self.config.traces is not None
        try:
            if not needs_model:
                self.row(one)
            elif one.row is None:
                check_prompt(one)
        except SampleError:
            return False
        return True

    def remember(self, earlier: NearDuplicateIndex) -> None:
        """Add the chosen samples that make a row to the index."""
        for one in self.samples():
            label = self._label(one)
            if label not in (None, "unknown") and self._makes_row(one):
                earlier.add(one.id, one.prompt, label)

    def _label(self, one: Sample) -> Label | None:
        """Return the label that the row of a sample will have, as far as that is known."""
        is_mixed = isinstance(self.config.annotator, BenignAnnotator)
        return "benign" if one.label is None and is_mixed else one.label

    @property
    def size(self) -> int:
        return self.total if self.chosen is None else len(self.chosen)

    @property
    def name(self) -> str:
        """The source's name, of a file without its folder."""
        return str(self.pinned["name"])

    @property
    def wanted(self) -> int:
        """How many samples were asked for; 0: all."""
        return self.config.source.count or 0

    def record(self) -> dict[str, Any]:
        """Return what data.manifest.json keeps of it."""
        config = self.config
        return {
            **self.pinned,
            "samples": self.total,
            "wanted": config.source.count,
            **({"quotas": dict(config.source.quotas)} if config.source.quotas else {}),
            "chosen": self.size,
            "rows": self.rows,
            "dropped": self.dropped,
            **({"columns": dict(config.reader.columns)} if config.reader.columns else {}),
            **({"label": config.reader.label} if config.reader.label else {}),
            "style": config.style,
            "annotator": config.annotator.name,
            **({"trust": config.trust} if config.trust else {}),
            **({"traces": config.traces.name} if config.traces else {}),
        }

    def prepare(self) -> None:
        """Request all annotations and traces; they are on disk afterwards."""
        if self.config.source.is_starter:
            return
        self.config.annotator.prepare(self._usable)
        if self.config.traces:
            self.config.traces.prepare(self._judged)

    def samples(self) -> Iterator[Sample]:
        return (one for at, one in enumerate(self._all()) if self.chosen is None or at in self.chosen)

    def row(self, one: Sample) -> Row:
        """Return the row that a sample makes.

        Raises:
            SampleError: if it makes none, with the reason.
        """
        config = self.config
        try:
            if one.row is not None:
                return restyle(one.row, config.style)
            check_prompt(one)
            note = self._annotation(one)
            if config.traces:
                one = config.traces.with_trace(replace(one, label=note.verdict))
            return make_row(one, note, config.style)
        except ValidationError as error:  # not allowed in any row
            raise SampleError(first_problem(error)) from None

    def _annotation(self, sample: Sample) -> Annotation:
        annotation = self.config.annotator.annotation(sample)
        return resolve_label(sample, annotation, self.config.trust)

    def _all(self) -> Iterator[Sample]:
        if self.config.source.is_starter:
            return map(Sample.of_row, starter_rows("train", self.config.source.name))
        return self.config.reader.samples(self.config.source)

    def _usable(self) -> Iterator[Sample]:
        """Yield the chosen samples that can be sent to a model."""
        for one in self.samples():
            try:
                check_prompt(one)
            except SampleError:
                continue
            yield one

    def _judged(self) -> Iterator[Sample]:
        """Yield the usable samples with their final label."""
        for one in self._usable():
            try:
                note = self._annotation(one)
            except SampleError:
                continue
            yield replace(one, label=note.verdict)


def _too_few(source: Source, label: Label, wanted: int, usable: int, counts: Counter[Label | None]) -> str:
    """Return that a quota cannot be met, with the number that there is and what to do."""
    there = f"{counts[label]:,} {label} samples, and {usable:,} of them make different rows"
    if counts[None] and not counts[label]:
        there = f"no label in {counts[None]:,} samples. Name their label: --label"
    return f"{source.name}:{label}={wanted}: the source has {there}. Request fewer, or add a source."
