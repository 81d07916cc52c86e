"""A sample: one prompt of a source with its untouched response, before it becomes a row."""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast, get_args

from alttrain_cli.data.sources import LABELS, RawRecord, Source, records
from alttrain_cli.errors import DataError
from alttrain_cli.storage.tables import FORMATS
from alttrain_cli.structure.row import Label, Row
from alttrain_cli.text import did_you_mean, escape_hidden, listed, quoted, suggest

# What public sets of traces call their columns.
COLUMNS = {
    "prompt": (
        *("prompt", "question", "instruction", "query", "problem"),
        *("forbidden_prompt", "goal", "Goal", "behavior", "Behavior"),  # StrongREJECT, JBB, HarmBench
    ),
    "response": ("response", "completion", "output", "generation"),
    "label": ("label",),
    "category": ("category", "categories"),
    "id": ("id",),
}
# What public sets write in their label columns.
_LABEL_WORDS: dict[str, Label] = {
    **dict.fromkeys(("harmful", "unsafe", "vanilla_harmful", "adversarial_harmful"), "harmful"),
    **dict.fromkeys(
        ("benign", "safe", "harmless", "unharmful", "vanilla_benign", "adversarial_benign"), "benign"
    ),
}


LONGEST_PROMPT = 32_000  # characters
_LONGEST_WORD = 200  # characters of an id or a category
_GENERATED = ", or let a model write the responses: --generate-traces model|endpoint"
_ROW = {"understanding", "assessment", "reasoning", "answer"}  # keys of finished rows
_CHAT = {"prompt", "response", "verdict", "forced"}  # keys of a turn that `chat` has saved
_LISTED = 20  # columns in a message
_BETWEEN = re.compile(r"""(?<=['"]),""")  # two texts of a list, as Python or JSON writes it
_BROKEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffd\ud800-\udfff]")


class SampleError(ValueError):
    """A sample makes no row. The message is the reason, the same for all samples of its kind."""


@dataclass(frozen=True)
class Sample:
    """One prompt of a source; what the source does not give is None or empty."""

    id: str
    prompt: str
    response: str
    label: Label | None
    category: str | None
    source: str
    where: str  # source and place, for messages
    row: Row | None = None  # finished already: of a set that comes with alttrain
    is_chat: bool = False  # of a saved chat, whose model may have written the sections itself

    @classmethod
    def of_row(cls, row: Row) -> "Sample":
        return cls(row.id, row.prompt, row.answer, row.label, row.category, row.source, row.id, row)


def check_prompt(sample: Sample) -> None:
    """Check that a prompt can be sent to a model at all.

    Raises:
        SampleError: for an empty, a very long or a damaged prompt.
    """
    if not sample.prompt.strip():
        raise SampleError("the prompt is empty")
    if len(sample.prompt) > LONGEST_PROMPT:
        raise SampleError(f"the prompt is longer than {LONGEST_PROMPT:,} characters")
    check_characters("prompt", sample.prompt)


def check_characters(name: str, text: str) -> None:
    """Check for characters that no person writes.

    Raises:
        SampleError: for control characters, and for U+FFFD, the trace of wrong decoding.
    """
    found = _BROKEN.search(text)
    if found:
        raise SampleError(
            f"the {name} holds U+{ord(found.group()):04X}: a control or wrongly decoded character"
        )


@dataclass(frozen=True)
class SampleReader:
    """How records become samples: which columns to read, and what must be there."""

    columns: Mapping[str, str] = field(default_factory=dict)  # ours -> the source's
    label: Label | None = None  # of what has no label that can be read
    needs_label: bool = True
    needs_response: bool = True
    needs_input: bool = True  # whether Alpaca's input may not be lost

    @classmethod
    def of(
        cls, columns: str | None, label: str | None, *, needs_label: bool = True, needs_response: bool = True
    ) -> "SampleReader":
        """Read `--columns prompt=question,...` and `--label harmful|benign|unknown|column:NAME`."""
        named = _read_columns(columns) if columns else {}
        word = label
        if label is not None and label.startswith("column:"):
            if "label" in named:
                raise DataError("--label and --columns both name the column of the label. Leave one out.")
            if not (column := label.removeprefix("column:").strip()):
                raise DataError(f"--label {label}: the column's name is missing. Give column:NAME.")
            named, word = {**named, "label": column}, None
        if word not in (None, *get_args(Label)):
            given = escape_hidden(label or "")[:80]
            hint = suggest(given, get_args(Label), "Give harmful, benign, unknown, or column:NAME.")
            raise DataError(f"--label {given}: no such label. {hint}")
        return cls(named, cast(Label | None, word), needs_label, needs_response)

    def samples(self, source: Source) -> Iterator[Sample]:
        missing = set(self.columns.items())
        record: RawRecord = ("", {})
        for record in records(source):
            missing = {(ours, theirs) for ours, theirs in missing if theirs not in record[1]}
            yield self._sample(source, record)
        for ours, theirs in sorted(missing):
            near = did_you_mean(theirs, record[1])
            raise DataError(
                f"{source.name}: no row has the column {quoted(theirs)}. {near}{near and ' '}"
                f"Change or leave out: --columns {ours}={escape_hidden(theirs)}"
            )

    def _sample(self, source: Source, record: RawRecord) -> Sample:
        where, values = record
        label = self._label(source, where, values)
        number = where.rpartition(":")[2]
        return Sample(
            id=f"{source.short}-{_word(self._get(values, 'id')) or number}",
            prompt=self._prompt(where, values),
            response=self._text(where, values, "response") if self.needs_response else "",
            label=label,
            category=_category(self._get(values, "category")),
            source=source.short,
            where=where,
            is_chat=self.needs_response and values.keys() >= _CHAT,
        )

    def _label(self, source: Source, where: str, values: Mapping[str, Any]) -> Label | None:
        given = self._get(values, "label")
        label = _LABEL_WORDS.get(str(given).strip().lower())
        if label:
            return label
        known = self.label or LABELS.get(source.name)
        if "label" not in self.columns and (known or not self.needs_label):
            return known  # a column that happens to be called label may hold anything
        if given is not None:
            raise DataError(
                f"{where}: label: {quoted(given)} is neither harmful nor benign. "
                "Fix it, or take another column: --label column:NAME"
            )
        if "label" in self.columns:
            raise DataError(
                f"{where}: no label in column {self.columns['label']}; the row has {_names(values)}. "
                f"{self._near('label', values)}Fix it, or take another column: --label column:NAME"
            )
        raise DataError(
            f"{where}: no label; the row has {_names(values)}. {_labelled(values)}"
            "Give the label of the source: "
            "--label harmful|benign|column:NAME, or let an annotator judge: --annotator endpoint|model"
        )

    def _get(self, values: Mapping[str, Any], column: str) -> Any:
        return next((values[name] for name in self._called(column) if values.get(name) is not None), None)

    def _near(self, column: str, values: Mapping[str, Any]) -> str:
        """Return the name in the row that is nearest to the one that was given, as a question."""
        near = did_you_mean(self.columns.get(column, ""), values)
        return escape_hidden(f"{near} ") if near else ""

    def _called(self, column: str) -> tuple[str, ...]:
        return (self.columns[column],) if column in self.columns else COLUMNS[column]

    def _prompt(self, where: str, values: Mapping[str, Any]) -> str:
        prompt, own = self._text(where, values, "prompt"), self._get(values, "prompt")
        is_named = "prompt" in self.columns or not self.needs_input
        if not is_named and own == values.get("instruction") and values.get("input"):
            raise DataError(
                f"{where}: the row has an instruction and an input. The input would be lost. "
                "Write both as one column, or leave it out: --columns prompt=instruction"
            )
        return prompt

    def _text(self, where: str, values: Mapping[str, Any], column: str) -> str:
        text = self._get(values, column)
        if text is None and values.keys().isdisjoint(self._called(column)):
            if values.keys() >= _ROW:
                raise DataError(
                    f"{where}: a row that build-data made already. Give the source of the rows instead, or "
                    "join data files: cat A.jsonl B.jsonl > C.jsonl"
                )
            raise DataError(
                f"{where}: no column {self._called(column)[0]}; the row has {_names(values)}. "
                f"{self._near(column, values)}Name it: --columns {column}={_likely(column, values)}"
                f"{_conversation(values)}{_GENERATED * (column == 'response')}"
            )
        if not isinstance(text, str | None):
            raise DataError(
                f"{where}: {column}: text is needed, not {type(text).__name__}. "
                f"Name another column: --columns {column}=NAME{_conversation(values)}"
            )
        return (text or "").replace("\r\n", "\n")  # of a table that was written on Windows


def _read_columns(text: str) -> dict[str, str]:
    columns: dict[str, str] = {}
    for part in text.split(","):
        ours, equals, theirs = (word.strip() for word in part.partition("="))
        if not equals or not theirs or ours not in COLUMNS:
            near = did_you_mean(ours, COLUMNS) if equals and ours not in COLUMNS else ""
            raise DataError(
                f"--columns {escape_hidden(part)[:80]}: {near}{near and ' '}Give OURS=THEIRS, for example "
                f"prompt=question; ours are {', '.join(COLUMNS)}."
            )
        if ours in columns:
            raise DataError(f"--columns: {ours} is given twice. Leave one out.")
        columns[ours] = theirs
    return columns


def _likely(column: str, values: Mapping[str, Any]) -> str:
    """Return the column that differs from our names by its capitals alone, or a word in its place."""
    names = [name.lower() for name in COLUMNS[column]]
    return next((escape_hidden(str(name)) for name in values if str(name).lower() in names), "NAME")


def _labelled(values: Mapping[str, Any]) -> str:
    """Return the column that holds a label in this row, as a question."""
    found = next((name for name, value in values.items() if str(value).strip().lower() in _LABEL_WORDS), None)
    return "" if found is None else f"Did you mean --label {shlex.quote(f'column:{escape_hidden(found)}')}? "


def _conversation(values: Mapping[str, Any]) -> str:
    """Return a hint where a row holds its turns in a list, as ShareGPT's and OpenAI's formats do."""
    if not any(isinstance(value, list) for value in values.values()):
        return ""
    return ". Lists of turns are not read: write the first question and its answer as two columns of text"


def _names(values: Mapping[str, Any]) -> str:
    return listed([escape_hidden(str(name))[:40] for name in values], _LISTED, "more columns")


def _category(value: Any) -> str | None:
    """Return the first category; some sets hold a list, others the text of a list, others true and false."""
    if isinstance(value, Mapping):  # BeaverTails: whether each category applies
        value = [name for name, applies in value.items() if applies]
    if isinstance(value, str) and value.startswith("["):
        value = [part.strip(" '\"") for part in _BETWEEN.split(value.strip("[]"))]
    if isinstance(value, list):
        value = next(iter(value), None)
    return _word(value) or None


def _word(value: Any) -> str:
    """Return a name as it can be shown in a line: no hidden characters, not without end."""
    return "" if value is None else escape_hidden(" ".join(str(value)[:_LONGEST_WORD].split()))


def read_prompts(path: str) -> list[str]:
    """Return the prompts of a file in any format of sources, for example of prompts that no row may have."""
    source = Source(path)
    if not source.is_file:
        raise DataError(f"--suite-file {path}: unknown format; give a {', '.join(FORMATS)} file.")
    reader = SampleReader(needs_label=False, needs_response=False, needs_input=False)
    return [sample.prompt for sample in reader.samples(source)]
