"""The data file that a recipe names: where it is kept, and how it is built if it is not there."""

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from alttrain_cli.data.annotators import ANNOTATORS, BenignAnnotator, TemplateAnnotator
from alttrain_cli.data.build import BuildResult, build
from alttrain_cli.data.outputs import Outputs
from alttrain_cli.data.part import SourceConfig
from alttrain_cli.data.published_files import NotDownloaded
from alttrain_cli.data.samples import SampleReader
from alttrain_cli.data.sources import Source
from alttrain_cli.data.styles import STYLES
from alttrain_cli.errors import DataError
from alttrain_cli.progress import Progress
from alttrain_cli.recipe.data import Data
from alttrain_cli.storage.files import explain_write_errors
from alttrain_cli.storage.lock import lock_folder
from alttrain_cli.storage.reading import object_in, sha256
from alttrain_cli.text import suggest

FOLDER = Path("runs") / "data"  # beside the runs
_DEFAULTS = Data(name="x", sources=("x",))


@dataclass(frozen=True)
class RecipeData:
    """The rows that a recipe asks for; `recipe` is its name for messages."""

    recipe: str
    data: Data

    @classmethod
    def of(cls, recipe: str, data: Data) -> "RecipeData":
        """Check the names in a recipe's data."""
        for key, name, known in (("style", data.style, STYLES), ("annotator", data.annotator, ANNOTATORS)):
            if name not in known:
                raise DataError(f"{recipe}: data.{key}: {name!r} is unknown. {suggest(name, known)}")
        found = cls(recipe, data)
        if any(source.is_starter for source in found.mix):
            raise DataError(f"{recipe}: data.mix: the starter set has no traces. Name it in data.sources.")
        return found

    @property
    def sources(self) -> list[Source]:
        return self._parsed(self.data.sources)

    @property
    def mix(self) -> list[Source]:
        return self._parsed(self.data.mix)

    @property
    def path(self) -> Path:
        """The data file. Its name has a hash of all that decides its rows, so another recipe has another."""
        values = self.data.model_dump(mode="json")
        files = [one for one in (*self.sources, *self.mix) if one.is_file and Path(one.name).is_file()]
        facts = json.dumps([values, [sha256(Path(one.name)) for one in files]], sort_keys=True)
        return FOLDER / f"{self.data.name}-{hashlib.sha256(facts.encode()).hexdigest()[:8]}.jsonl"

    @property
    def is_built(self) -> bool:
        """Whether the file is there, as its manifest describes it."""
        outputs = Outputs.of(self.path)
        if outputs.are_whole:
            return True
        was_killed = object_in(outputs.manifest).get("status") == "started"
        if was_killed or not outputs.rows.is_file():
            return False
        raise DataError(
            f"{self.path}: was changed after it was built. To train on it as it is: "
            f"{shlex.join(['--data', str(self.path)])}. "
            "To build it again, delete it."
        )

    @property
    def needs_server(self) -> bool:
        """Whether its annotator is a model, which a recipe cannot name."""
        return ANNOTATORS[self.data.annotator].backend is not None

    @property
    def is_fetched(self) -> bool:
        """Whether a source has to be downloaded, unless it was before."""
        return any(one.is_fetched for one in (*self.sources, *self.mix))

    @property
    def effort(self) -> str:
        """How long the build takes, in words."""
        if all(source.is_starter for source in (*self.sources, *self.mix)):
            return "seconds"
        return "about a minute" + " after the download" * self.is_fetched

    def __str__(self) -> str:
        mixed = f", mixed with {', '.join(self.data.mix)}" if self.data.mix else ""
        traces = self.data.style != "original" and any(not source.is_starter for source in self.sources)
        annotated = f", assessments by {self.data.annotator}" if traces else ""
        return f"{' and '.join(self.data.sources)}{mixed}; style {self.data.style}{annotated}"

    def command(self, replaced: Mapping[str, str] | None = None) -> str:
        """Return the command that builds the same file; `replaced` gives a source another name."""
        words = ["alttrain", "build-data"]
        for option, texts, sources in (
            ("--source", self.data.sources, self.sources),
            ("--mix", self.data.mix, self.mix),
        ):
            for text, source in zip(texts, sources, strict=True):
                name, colon, count = text.partition(":")
                new = (replaced or {}).get(source.name)
                words += [option, f"{new}{colon}{count}" if new else text]
        for name in ("label", "style", "annotator", "seed"):
            value = getattr(self.data, name)
            if value != getattr(_DEFAULTS, name):
                words += [f"--{name}", str(value)]
        if self.needs_server:
            words += ["--base-url", "http://localhost:8000/v1"]
        return shlex.join([*words, "--out", str(self.path)])

    def build(self, suites: Mapping[str, Sequence[str]], progress: Progress) -> BuildResult:
        if self.needs_server:
            raise DataError(
                f"{self.recipe}: its data needs a model on a server, which writes the assessments. "
                f"To build it: {self.command()}"
            )
        with explain_write_errors(self.path):
            FOLDER.mkdir(parents=True, exist_ok=True)
        try:
            with lock_folder(self.path, Outputs.of(self.path).lock):
                return build(self._configs(), self.path, self.data.seed, suites, progress=progress)
        except NotDownloaded:
            fetched = [one for one in (*self.sources, *self.mix) if one.is_fetched]
            files = {one.name: one.short + (".parquet" if one.is_hub else ".json") for one in fetched}
            raise DataError(
                f"{self.recipe}: its data is not on this machine, and cannot be downloaded "
                f"({', '.join(sorted(files))}). Connect to the network, or build it from downloaded files, "
                f"here called {', '.join(sorted(files.values()))}: {self.command(files)}"
            ) from None

    def _configs(self) -> list[SourceConfig]:
        reader = SampleReader.of(None, self.data.label)
        benign = SampleReader.of(None, None, needs_label=False)
        return [
            *(SourceConfig(one, reader, self.data.style, TemplateAnnotator()) for one in self.sources),
            *(SourceConfig(one, benign, "original", BenignAnnotator()) for one in self.mix),
        ]

    def _parsed(self, texts: Sequence[str]) -> list[Source]:
        try:
            return [Source.parse(text) for text in texts]
        except DataError as error:
            raise DataError(f"{self.recipe}: data: {error}") from None
