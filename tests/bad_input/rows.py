"""Rows of training data, as `train` and the audit read them."""

import json
from typing import Any

from tests.bad_input.case import CLOSED, FIFO, FOLDER, HARMFUL, ROW, Case, Content, lines

_TRAIN = ("train", "--recipe", "smollm2-135m", "--data", "d.jsonl", "--plan")


def _file(id: str, content: Content, *words: str) -> Case:
    return Case(f"rows-{id}", _TRAIN, ("d.jsonl", *words), {"d.jsonl": content})


def _row(name: str, words: tuple[str, ...], **changes: Any) -> Case:
    row = {key: value for key, value in {**HARMFUL, **changes}.items() if value is not ...}
    return _file(name, lines(ROW, row), "d.jsonl:2", *words)


FILES = [
    _file("empty", "", "empty"),
    _file("blank", "\n\n", "empty"),
    _file("not-utf8", lines(ROW).encode() + b'{"id": "\xff"}', ":2", "not UTF-8"),
    _file("utf16", lines(ROW).encode("utf-16"), "UTF-16"),
    _file("nul", lines(ROW) + "\0", ":2", "NUL"),
    _file("torn", lines(ROW) + '{"id": "r2", "pro', ":2", "not valid JSON"),
    _file("list", "[]", ":1", "a JSON object is needed"),
    _file("text", "hello", ":1", "not valid JSON"),
    _file("folder", FOLDER, "a folder"),
    _file("fifo", FIFO, "pipe"),
    _file("closed", CLOSED, "permission"),
    Case("rows-missing", _TRAIN, ("d.jsonl", "no such file")),
    Case("rows-no-name", ("train", "--recipe", "smollm2-135m", "--data", "", "--plan"), ("folder",)),
    Case("rows-device", ("train", "--recipe", "smollm2-135m", "--data", "/dev/zero", "--plan"), ("device",)),
    _file("deep", lines(ROW) + "[" * 100_000, ":2", "nested"),
    _file("deep-value", lines(ROW) + '{"id": ' + "[" * 500 + "]" * 500 + "}", ":2", "nested deeper than 64"),
    _file("digits", lines(ROW) + '{"id": ' + "9" * 5000 + "}", ":2", "thousands of digits"),
    _file("overflow", lines(ROW) + '{"id": 1e999}', ":2", "too large"),
    _file("nan", lines(ROW) + '{"id": NaN}', ":2", "NaN is not a JSON value"),
    _file("infinity", lines(ROW) + '{"id": -Infinity}', ":2", "-Infinity is not a JSON value"),
    _file("key-twice", lines(ROW) + json.dumps(HARMFUL)[:-1] + ', "id": "x"}', ":2", "'id' is given twice"),
    _file("id-twice", lines(ROW, ROW), ":2", "duplicate id 'r1': it is already in line 1"),
    _file("one-label", lines(ROW), "no harmful rows", "build-data"),
    _file("other-label", lines(HARMFUL), "no benign rows"),
]
KEYS = [
    _row("label-case", ("label: must be 'harmful', 'benign'", "'Harmful'"), label="Harmful"),
    _row("label-null", ("label",), label=None),
    _row("key-missing", ("answer: the key is missing",), answer=...),
    _row("key-unknown", ("extra: unknown key",), extra=1),
    _row("key-hidden", ("a<U+202E>b: unknown key",), **{"a\u202eb": 1}),
    _row("type-number", ("prompt: must be text, not 5",), prompt=5),
    _row("type-list", ("prompt: must be text",), prompt=["a"]),
    _row("type-null", ("answer: must be text, not null",), answer=None),
    _row("empty-answer", ("answer: may not be empty",), answer=""),
    _row("space", ("prompt: may not be empty",), prompt="  \n"),
    _row("invisible", ("prompt: may not be empty",), prompt="\u200b\u202e"),
    _row("trailing-space", ("answer: starts or ends with white space",), answer="I cannot help. "),
    _row("leading-space", ("reasoning: starts or ends with white space",), reasoning=" r"),
    _row("trailing-line", ("assessment: starts or ends with white space",), assessment="This is harmful.\n"),
    _row("escape", ("answer: holds the control character U+001B",), answer="I cannot help.\x1b[31m"),
    _row("bell-in-id", ("id: holds the control character U+0007",), id="a\x07"),
    _row("huge-wrong-value", ("label", "characters"), label="x" * 1_000_000),
]
AUDIT = [
    Case("audit-missing", ("build-data", "--audit", "d.jsonl"), ("d.jsonl", "no such file")),
    Case("audit-folder", ("build-data", "--audit", "."), ("folder",)),
    Case(
        "audit-torn", ("build-data", "--audit", "d.jsonl"), ("d.jsonl:1", "not valid JSON"), {"d.jsonl": "{"}
    ),
    Case(
        "audit-contradiction",
        ("build-data", "--audit", "d.jsonl"),
        ("rows are inconsistent", "r1"),
        {"d.jsonl": lines({**ROW, "assessment": "This is harmful."}, HARMFUL)},
        exit=3,
    ),
]
CASES = [*FILES, *KEYS, *AUDIT]
