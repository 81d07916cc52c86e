"""Sources of build-data: their grammar, their files, and how their columns are named."""

import io
from collections.abc import Callable
from typing import Any

from tests.bad_input.case import CLOSED, FIFO, FOLDER, SAMPLE, Case, Content, lines

_LABEL = ("--label", "benign")


def _source(id: str, text: str, *words: str) -> Case:
    return Case(f"source-{id}", ("build-data", "--source", text), words)


def _file(name: str, id: str, content: Content, *words: str) -> Case:
    argv = ("build-data", "--source", name, *_LABEL)
    return Case(f"{name.partition('.')[2]}-{id}", argv, (name, *words), {name: content})


def _columns(id: str, more: tuple[str, ...], *words: str, row: dict[str, Any] = SAMPLE) -> Case:
    return Case(f"columns-{id}", ("build-data", "--source", "s.jsonl", *more), words, {"s.jsonl": lines(row)})


def _parquet(values: dict[str, list[Any]], end: int | None = None) -> Callable[[], bytes]:
    return lambda: _parquet_bytes(values)[:end]


def _parquet_bytes(values: dict[str, list[Any]]) -> bytes:
    import pyarrow.parquet

    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(values), file)
    return file.getvalue()


def _same_names() -> bytes:
    import pyarrow.parquet

    file = io.BytesIO()
    table = pyarrow.Table.from_arrays(
        [pyarrow.array(["a"]), pyarrow.array(["b"])], names=["prompt", "prompt"]
    )
    pyarrow.parquet.write_table(table, file)
    return file.getvalue()


GRAMMAR = [
    _source("empty", "", "--source", "empty"),
    _source("blank", "  ", "--source", "empty"),
    _source("word", "hello", "unknown source"),
    _source("count-zero", "starter:0", "'0' is not a number of rows"),
    _source("count-negative", "starter:-1", "'-1' is not a number of rows"),
    _source("count-word", "starter:abc", "'abc' is not a number of rows"),
    _source("count-float", "starter:1.5", "'1.5' is not a number of rows"),
    _source("count-none", "starter:", "'' is not a number of rows"),
    _source("count-digits", "starter:" + "9" * 5000, "is not a number of rows"),
    _source("count-only", ":5", "unknown source"),
    _source("hub-count", "owner/name:abc", "'abc' is not a number of rows"),
    _source("drive", "C:\\x.json:900", "C:\\x.json", "no such file"),
    _source("revision-of-starter", "starter@main", "@REVISION has an effect only"),
    _source("revision-empty", "owner/name@", "is not a revision"),
    _source("revision-path", "owner/name@../x", "is not a revision"),
    _source("address", "https://hub.example/datasets/me/mine:9", "is an address", "OWNER/NAME"),
    _source("hub-dots", "owner/../name", "unknown source"),
    _source("hub-parent", "../name", "unknown source"),
    _source("hub-space", "own er/name", "unknown source"),
    _source("hub-escape", "owner/na\x1bme", "<U+001B>", "unknown source"),
    _source("hub-option", "-owner/name", "unknown source"),
    _source("long-name", "x" * 300 + ".jsonl", "too long"),
    _source("hub-long", "x" * 5000 + "/y z", "...: unknown source"),
    _source("missing", "s.jsonl", "s.jsonl", "no such file"),
    _source("at-in-name", "a@b.jsonl:9", "a@b.jsonl: no such file"),
    Case(
        "source-suffix", ("build-data", "--source", "s.txt"), ("this ending cannot be read",), {"s.txt": "x"}
    ),
    Case("mix-starter", ("build-data", "--mix", "starter"), ("--mix starter has no effect",)),
]
FILES = [
    _file("s.json", "empty", "", "not valid JSON"),
    _file("s.json", "none", "[]", "a list of objects is needed"),
    _file("s.json", "object", "{}", "a list of objects is needed"),
    _file("s.json", "number", "[1]", "item 1", "a JSON object is needed"),
    _file("s.json", "torn", '[{"prompt": ', "not valid JSON"),
    _file("s.json", "deep", "[" * 100_000, "nested"),
    _file("s.json", "utf16", "[]".encode("utf-16"), "UTF-16"),
    _file("s.json", "folder", FOLDER, "folder"),
    _file("s.json", "fifo", FIFO, "pipe"),
    _file("s.jsonl", "empty", "", "empty"),
    _file("s.jsonl", "nul", b"\0" * 100, ":1", "NUL"),
    _file("s.jsonl", "key-twice", '{"prompt": "a", "prompt": "b"}', ":1", "'prompt' is given twice"),
    _file("s.jsonl", "closed", CLOSED, "permission"),
    _file("s.csv", "empty", "", "empty"),
    _file("s.csv", "columns-twice", "prompt,prompt\na,b\n", "'prompt'", "same name"),
    _file("s.csv", "fields", "prompt,response\na,b\nc\n", ":3", "1 value for 2 columns"),
    _file("s.csv", "quote", 'prompt,response\na,"b\n', "quote"),
    _file("s.csv", "not-utf8", b"prompt\n\xff\n", ":2", "not UTF-8"),
    _file("s.csv", "fifo", FIFO, "pipe"),
    _file("s.parquet", "empty", "", "Parquet"),
    _file("s.parquet", "text", "hello", "Parquet"),
    _file("s.parquet", "torn", _parquet({"prompt": ["a"]}, -20), "Parquet"),
    _file("s.parquet", "folder", FOLDER, "folder"),
    _file("s.parquet", "fifo", FIFO, "pipe"),
    _file("s.parquet", "columns-twice", _same_names, "same name"),
    _file("s.parquet", "bytes", _parquet({"prompt": [b"a"], "response": ["b"]}), "prompt: text is needed"),
]
COLUMNS = [
    _columns("no-label", (), "s.jsonl:1", "no label", "--label"),
    _columns("label-word", ("--label", "evil"), "--label evil", "harmful, benign"),
    _columns("label-no-column", ("--label", "column:"), "the column's name is missing"),
    _columns("label-missing-column", ("--label", "column:topic"), "s.jsonl:1", "no label in column topic"),
    _columns("label-twice", ("--label", "column:a", "--columns", "label=b"), "both name the column"),
    _columns(
        "label-value", _LABEL[:1] + ("column:label",), "label: 5 is neither", row={**SAMPLE, "label": 5}
    ),
    _columns("no-prompt", _LABEL, "no column prompt", "--columns prompt=NAME", row={"text": "a"}),
    _columns("no-equals", ("--columns", "prompt"), "OURS=THEIRS"),
    _columns("no-name", ("--columns", "prompt="), "OURS=THEIRS"),
    _columns("unknown", ("--columns", "promt=a"), "OURS=THEIRS", "prompt"),
    _columns("twice", ("--columns", "prompt=prompt,prompt=b"), "prompt is given twice"),
    _columns("absent", (*_LABEL, "--columns", "category=topic"), "no row has the column 'topic'"),
    _columns("type", _LABEL, "s.jsonl:1", "prompt: text is needed", row={**SAMPLE, "prompt": ["a"]}),
    _columns("hidden", _LABEL, "a<U+202E>b", "no column prompt", row={"a\u202eb": "x"}),
    _columns(
        "no-row-left",
        _LABEL,
        "All samples were dropped",
        "the prompt is empty",
        row={**SAMPLE, "prompt": " "},
    ),
    _columns("surrogate", _LABEL, "All samples were dropped", "U+FFFD", row={**SAMPLE, "prompt": "a\ud800"}),
    _columns("escape", _LABEL, "All samples were dropped", "U+001B", row={**SAMPLE, "prompt": "a\x1b[31m"}),
]
CASES = [*GRAMMAR, *FILES, *COLUMNS]
