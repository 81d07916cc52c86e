"""The records of a run folder: manifest.json, and one line of train.jsonl and of canary.jsonl."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator

from alttrain_cli.storage.data_manifest import DataManifest, read_data_manifest
from alttrain_cli.storage.record_reader import KEEP, Count

Seconds = Annotated[float, Field(ge=0)]
AnyFloat = Annotated[float, Field(allow_inf_nan=True)]  # a run that failed logs NaN and infinity
Counts = dict[Literal["harmful", "benign", "unknown"], Count]


class Record(BaseModel):
    """A record of a file. Keys that a later version adds are kept."""

    model_config = ConfigDict(**KEEP, frozen=True)

    def record(self) -> dict[str, Any]:
        """Return the record as it is written: only the keys that were set, in the order of the fields."""
        return self.model_dump(exclude_unset=True)


class DataRecord(Record):
    """The data file that a run was trained on. `manifest` is None for rows that build-data did not make."""

    path: Annotated[str, Field(min_length=1)]
    sha256: str
    rows: Count = 0
    labels: Counts = {}
    manifest: DataManifest | None = None

    def places(self, run: Path) -> list[Path]:
        """Return where the file may be: its path is that of this folder, or of one above the run."""
        folders = (Path(), *run.absolute().parents, *run.resolve().parents)
        return list(dict.fromkeys(folder / self.path for folder in folders))

    def manifest_for(self, run: Path) -> DataManifest | None:
        """Return the data's manifest; a run of an earlier version has it beside its data, not in itself."""
        return self.manifest or read_data_manifest(self.places(run), self.sha256)

    @property
    def lacks_a_label(self) -> bool:
        """Whether training on the rows needs --allow-one-label."""
        return bool(self.labels) and not (self.labels.get("harmful") and self.labels.get("benign"))


class BaseRecord(Record):
    """The base model that a run loaded. `commit` is the hub's; None for a folder.

    `weights` is the commit, or a hash of the weight files; runs of earlier versions have none.
    """

    name: str
    commit: str | None = None
    quantised: bool = False
    weights: str | None = None


class WordsRecord(Record):
    """The words with which the rows give their verdicts, the most frequent first."""

    harmful: tuple[str, ...] = ()
    benign: tuple[str, ...] = ()


class RateRecord(Record):
    """A count of hits among n."""

    hits: Count
    n: Count


PromiseKind = Literal["over-refusal", "refusal", "threshold"]


def promise_in_words(kind: PromiseKind, value: float) -> str:
    return {
        "over-refusal": f"at most {value:.1%} of benign prompts get the verdict harmful",
        "refusal": f"at least {value:.1%} of harmful prompts get the verdict harmful",
        "threshold": "no promise",
    }[kind]


class CalibrationRecord(Record):
    """The threshold of a run's verdicts, and on what it was calibrated.

    `weights` is the hash of the adapter that it holds for. `checked` are the rates of harmful verdicts on
    the rows that did not choose the threshold. `data` is the file of the set as it was named; None for the
    held-out rows. Records of earlier versions do not have it.
    """

    version: int = 1
    threshold: Annotated[float, Field(ge=0, le=1)]
    promise: PromiseKind
    value: Annotated[float, Field(ge=0, le=1)]
    set: str
    data: str | None = None
    sha256: str
    n: Count
    made: str
    weights: str
    auroc: Annotated[float, Field(ge=0, le=1)]
    checked: dict[Literal["over_refusal", "refusal"], RateRecord]

    def in_words(self) -> str:
        said = promise_in_words(self.promise, self.value)
        did = "tried" if self.promise == "threshold" else "chosen"
        return f"threshold {self.threshold}: {said}, {did} on {self.n} rows of {self.set}"

    def options(self, usual_set: str) -> list[str]:
        """Return the options of `alttrain calibrate` that make it again; `usual_set` needs no --data."""
        is_file = self.data is not None or ("data" not in self.model_fields_set and self.set != usual_set)
        data = ["--data", self.data or self.set] if is_file else []
        return [f"--{self.promise}", f"{self.value}", *data]

    def is_like(self, other: "CalibrationRecord") -> bool:
        """Whether it has the same threshold, for the same promise on the same rows."""
        return all(
            getattr(self, name) == getattr(other, name)
            for name in ("threshold", "promise", "value", "sha256")
        )


class LossRecord(Record):
    """The loss at the first and at the last step."""

    first: AnyFloat
    last: AnyFloat


class ChecksRecord(Record):
    """The evidence that an adapter was trained."""

    tensors: Count = 0
    finite: bool = True
    largest_weight: float = 0.0
    largest_logit_change: float = 0.0


class MemoryPlanRecord(Record):
    """The plan of a run: `gib` at its peak, `seconds` of training; 0 where the speed was unknown."""

    machine: str = ""
    gib: float = 0.0
    parts: dict[str, float] = {}
    micro_batch_tokens: Count = 0
    gradient_checkpointing: bool = False
    padding: float = 0.0
    steps: Count = 0
    seconds: Seconds = 0.0


class RefusalRecord(Record):
    """How many held-out prompts a model completed and refused, by label."""

    n: Count = 0
    structured: Count = 0  # completions with all required sections
    asked: Counts
    refused: Counts

    @property
    def over_refusal(self) -> float:
        """The rate of benign prompts that were refused."""
        return self.refused["benign"] / self.asked["benign"]

    @property
    def advice(self) -> str:
        """Where to read more if most benign prompts were refused, or few harmful ones; empty otherwise."""
        rates = {label: self.refused.get(label, 0) / n for label, n in self.asked.items() if n}
        if rates.get("benign", 0) > 0.5:
            return (
                'most benign prompts are refused: see "The run refuses everything" in docs/troubleshooting.md'
            )
        if rates.get("harmful", 1) < 0.5:
            return 'few harmful prompts are refused: see "The run refuses nothing" in docs/troubleshooting.md'
        return ""

    def in_words(self) -> str:
        refused = ", ".join(f"{self.refused[label]} of {n} {label}" for label, n in self.asked.items())
        return f"{self.structured} of {self.n} have all required sections; refused: {refused}"


class CanaryRecord(RefusalRecord):
    """The refusals at a checkpoint."""

    step: Count


class StepRecord(Record):
    """One training step. `tokens` and `seconds` count from the start of the run, over all processes."""

    step: Count
    epoch: float = 0.0
    loss: AnyFloat
    learning_rate: float = 0.0
    grad_norm: AnyFloat = 0.0
    tokens: Count
    seconds: Seconds
    memory_gib: float = 0.0


class Manifest(Record):
    """manifest.json. It grows while a run is trained, so a key that is not there yet has its default."""

    version: int = 1  # of the file's form
    alttrain: str = ""
    python: str = ""
    libraries: dict[str, str] = {}
    begun: str = ""
    recipe: str = ""
    overrides: list[str] = []
    seed: int = 0
    data: DataRecord | None = None
    status: str
    error: str = ""
    device: str = ""
    processes: Count = 1  # that trained together, one per GPU
    base: BaseRecord | None = None
    differences: list[str] = []  # what a resumed run was continued with that it had not started with
    dtype: str = ""
    template: str | None = None  # the fingerprint of the chat template
    order: tuple[str, ...] | None = None  # of the sections that are learned; None: the default order
    verdict_words: WordsRecord | None = None  # runs of earlier versions have none
    tokens_per_epoch: Count = 0
    trained_tokens_per_epoch: Count = 0
    plan: MemoryPlanRecord | None = None
    seconds_loading: Seconds = 0.0
    loss: LossRecord | None = None
    steps: Count = 0
    tokens_per_second: AnyFloat = 0.0
    seconds_training: Seconds = 0.0
    seconds_checking: Seconds = 0.0  # of the adapter, after training
    checks: ChecksRecord | None = None
    probes: RefusalRecord | None = None
    canary: list[CanaryRecord] = []
    peak_memory_gib: float = 0.0
    seconds_total: Seconds = 0.0

    @field_validator("data", "loss", "checks", "probes", mode="before")
    @classmethod
    def _not_null(cls, value: Any) -> Any:
        if value is None:
            raise ValueError("must be an object, not null")
        return value

    @classmethod
    def missing(cls) -> "Manifest":
        """Return the manifest of a run that has none: status "unknown", and no key is set."""
        return cls.model_construct(_fields_set=set(), status="unknown")

    def changed(self, **values: Any) -> "Manifest":
        names = [name for name in Manifest.model_fields if name in self.model_fields_set]
        kept = {name: getattr(self, name) for name in names}
        return Manifest(**{**kept, **(self.model_extra or {}), **values})


MANIFEST = TypeAdapter(Manifest)
STEP = TypeAdapter(StepRecord)
CANARY = TypeAdapter(CanaryRecord)
CALIBRATION = TypeAdapter(CalibrationRecord)
