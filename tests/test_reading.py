"""Readers of text, JSON, tables and records: what they return, their limits, and the place of what is wrong."""

import csv
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from alttrain_cli.errors import DataError
from alttrain_cli.storage import tables
from alttrain_cli.storage.reading import load_json, read_lines, read_text, sha256
from alttrain_cli.storage.record_reader import IGNORE, KEEP, check_finite, read_record, read_record_file
from alttrain_cli.storage.tables import read_table
from alttrain_cli.strict_json import DEEPEST, parse_json


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 2}', "the key 'a' is given twice"),
        ('[{"b": 1, "a": 2, "c": 3, "c": 4}]', "the key 'c' is given twice"),
        ("[1, NaN]", "NaN is not a JSON value"),
        ("[-Infinity]", "-Infinity is not a JSON value"),
        ("1e999", "the number '1e999' is too large"),
        ("9" * 5_000, "a number has thousands of digits"),
        (nested(DEEPEST + 2), f"nested deeper than {DEEPEST} levels"),
        ('{"a": ' * 90 + "1" + "}" * 90, f"nested deeper than {DEEPEST} levels"),
        (nested(100_000), f"nested deeper than {DEEPEST} levels"),
        ("[1,]", r"^[^,]+, column 4$"),
        ("[1,\n2\n3]", "line 3, column 1$"),
        ("[1,\n2,\n", "^[^,]+, at the end, line 2$"),
        ("[1,\n\n\n", "^[^,]+, at the end$"),
        ('{"a": ', "^[^,]+, at the end$"),
    ],
)
def test_what_is_not_strict_json_is_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json(text)


def test_many_lists_beside_each_other_are_not_deep() -> None:
    assert parse_json("[" + "[1]," * 200 + '{"a": 1}]') == [*[[1]] * 200, {"a": 1}]
    assert parse_json(nested(DEEPEST))
    assert parse_json("1e300") == 1e300


@given(st.text(st.characters(codec=None, exclude_characters="\0")))
def test_any_text_in_json_can_be_written_to_a_file(text: str) -> None:
    [found] = load_json(json.dumps([text]), "x")
    found.encode()
    assert found == "".join("\ufffd" if "\ud800" <= one <= "\udfff" else one for one in text)


@pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff"])
def test_utf_16_is_named(mark: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(mark + b"a\0")
    with pytest.raises(DataError, match="not UTF-8 but UTF-16"):
        read_text(tmp_path / "a")


def test_a_byte_order_mark_is_no_text_and_elsewhere_it_is(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n")
    assert read_text(tmp_path / "a") == "a\n\ufeffb\n"
    assert list(read_lines(tmp_path / "a")) == [(1, "a\n"), (2, "\ufeffb\n")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"ab\xff", r"a:1: not UTF-8 \(byte 3 of the line\)"),
        (b"1\n2\nab\xff\n", r"a:3: not UTF-8 \(byte 3 of the line\)"),
        (b"1\n2\0\n", "a:2: holds a NUL character"),
        (b"\0", "a:1: holds a NUL character"),
    ],
)
def test_the_place_in_a_file_that_is_no_text_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content)
    for read in (read_text, lambda path: list(read_lines(path))):
        with pytest.raises(DataError, match=message):
            read(tmp_path / "a")


def test_a_line_and_a_text_may_have_so_many_bytes_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("12345\n123456\n")
    assert [line for _, line in read_lines(tmp_path / "a", 7)] == ["12345\n", "123456\n"]
    with pytest.raises(DataError, match="a:2: the line is longer than 6 bytes"):
        list(read_lines(tmp_path / "a", 6))
    assert len(read_text(tmp_path / "a", 13)) == 13
    with pytest.raises(DataError, match="the file is larger than 12 bytes"):
        read_text(tmp_path / "a", 12)


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    # The first example of FIPS 180-2.
    assert sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


class Strict(TypedDict):
    __pydantic_config__ = IGNORE  # type: ignore[misc]

    key: str
    n: float


class Open(TypedDict):
    __pydantic_config__ = KEEP  # type: ignore[misc]

    key: str


STRICT, OPEN = TypeAdapter(Strict), TypeAdapter(Open)
NESTED: TypeAdapter[dict[str, dict[str, int]]] = TypeAdapter(dict[str, dict[str, int]])


def test_a_key_of_a_newer_version_is_left_out_or_kept() -> None:
    text = b'{"key": "a", "n": 1.5, "new": [1]}'
    assert read_record(STRICT, text, "x", "") == {"key": "a", "n": 1.5}
    assert read_record(OPEN, text, "x", "") == {"key": "a", "n": 1.5, "new": [1]}


@pytest.mark.parametrize("text", [rb'{"key": "\ud800a"}', rb'{"key": "\uD800a"}'])
def test_half_a_character_in_a_record_becomes_a_replacement_character(text: bytes) -> None:
    assert read_record(OPEN, text, "x", "") == {"key": "\ufffda"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{", r"^x: not valid JSON \(it ends before an object is complete\)\. Do this\.$"),
        (b'{"key":\n', r"^x: not valid JSON \(it ends before a value is complete\)\. Do this\.$"),
        (b'{"key": "a\n', r"^x: not valid JSON \(control character .* at the end of line 1\)\. Do this\.$"),
        (b'{"key": "a",\n}', r"^x: not valid JSON \(trailing comma at line 2 column 1\)\. Do this\.$"),
        (b"[]", r"^x: must be a JSON object\. Do this\.$"),
        (b"{}", r"^x: key: the key is missing\. Do this\.$"),
        (b'{"key": 1, "n": 1}', r"^x: key: .*\. Do this\.$"),
        (b'{"key": "a", "n": "1"}', r"^x: n: .*\. Do this\.$"),
        (b'{"key": "a", "n": 1e999}', r"^x: n: .*\. Do this\.$"),
        (rb'{"key": "\ud800", "n": "1"}', r"^x: n: .*\. Do this\.$"),
        (rb'{"key": "\ud800', r"^x: not valid JSON \(.*\)\. Do this\.$"),
        (rb'{"key": "\ud800", "n": ' + b"[" * 100_000, r"^x: not valid JSON \(.*\)\. Do this\.$"),
    ],
)
def test_what_is_wrong_in_a_record_is_one_line_with_its_key_and_the_next_step(
    text: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_record(STRICT, text, "x", "Do this.")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"3", r"^x: must be a JSON object\. $"),
        (b'{"a": 3}', r"^x: a: must be an object, not 3\. $"),
    ],
)
def test_an_object_that_is_missing_in_a_record_is_named(text: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_record(NESTED, text, "x", "")


def test_a_file_with_a_byte_order_mark_is_a_record(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b'\xef\xbb\xbf{"key": "a"}')
    assert read_record_file(OPEN, tmp_path / "a", "") == {"key": "a"}


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
def test_a_number_that_is_not_finite_is_found_however_deep_it_is(number: float) -> None:
    for value in (number, [1, number], {"a": number}, {"a": [{"b": [number]}]}):
        with pytest.raises(ValueError, match="finite"):
            check_finite(value)
    assert check_finite({"a": [1, 2.5, "inf", None]}) == {"a": [1, 2.5, "inf", None]}


def archive(path: Path, **files: str | bytes) -> Path:
    with zipfile.ZipFile(path / "a.zip", "w") as made:
        for name, text in files.items():
            made.writestr(name.replace("__", "/").replace("_csv", ".csv"), text)
    return path / "a.zip"


def test_the_files_of_an_archive_that_match_are_read_in_their_order(tmp_path: Path) -> None:
    path = archive(tmp_path, d__b_csv="x\n3\n", d__a_csv="\ufeffx\n1\n2\n", other_csv="x\n9\n")
    assert list(read_table(path, members="d/*.csv")) == [
        (1, {"x": "1", "member": "a"}),
        (2, {"x": "2", "member": "a"}),
        (3, {"x": "3", "member": "b"}),
    ]
    with pytest.raises(DataError, match="has no known ending"):
        list(read_table(path))


def test_an_archive_that_would_fill_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive(tmp_path, a_csv="x\n1\n", b_csv="x\n1\n", c="x" * 100)
    monkeypatch.setattr(tables, "LARGEST_TEXT", 8)
    assert len(list(read_table(path, members="*.csv"))) == 2
    monkeypatch.setattr(tables, "LARGEST_TEXT", 7)
    with pytest.raises(DataError, match="larger than 7 bytes"):
        list(read_table(path, members="*.csv"))


@pytest.mark.parametrize("damage", ["no archive", "cut", "encrypted", "strange", "no text"])
def test_a_damaged_archive_is_one_line(damage: str, tmp_path: Path) -> None:
    path = archive(tmp_path, a_csv=b"x\n\xff\n" if damage == "no text" else b"x\n1\n")
    data = bytearray(path.read_bytes())
    head, directory = data.index(b"PK\3\4"), data.index(b"PK\1\2")
    match damage:
        case "no archive":
            data = bytearray(b"x")
        case "cut":
            del data[20:60]
        case "encrypted":
            data[head + 6] |= 1
            data[directory + 8] |= 1
        case "strange":  # a way to compress that nobody knows
            data[head + 8] = data[directory + 10] = 77
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"a\.zip: not a complete archive of UTF-8 files"):
        list(read_table(path, members="*.csv"))


def rows(path: Path, text: str, **options: Any) -> Iterator[tuple[int, Any]]:
    path.write_text(text, encoding="utf-8", newline="")
    return read_table(path, **options)


def test_a_row_of_a_table_has_the_number_of_the_line_where_it_begins(tmp_path: Path) -> None:
    assert list(rows(tmp_path / "a.csv", '\na,"b"\n1,2\n\n"x\ny",3\n4,5\n')) == [
        (3, {"a": "1", "b": "2"}),
        (5, {"a": "x\ny", "b": "3"}),
        (7, {"a": "4", "b": "5"}),
    ]
    assert list(rows(tmp_path / "a.tsv", "1\t2\n", header=["a", "b"])) == [(1, {"a": "1", "b": "2"})]
    assert list(rows(tmp_path / "a.JSON", '{"rows": [{"a": 1}]}', records="rows")) == [(1, {"a": 1})]
    assert list(rows(tmp_path / "a.json", '[{"a": 1}]', records="rows")) == [(1, {"a": 1})]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", r"a\.csv: the file is empty\. Make it again\.$"),
        ("a.csv", "a,a\n1,2\n", "two columns have the same name, 'a'; rename one"),
        ("a.csv", "a,b\n1\n", r"a\.csv:2: the row has 1 value for 2 columns\. Correct"),
        ("a.csv", "a,b\n1,2\n1,2,3\n", r"a\.csv:3: the row has 3 values for 2 columns\. Correct"),
        ("a.csv", 'a,b\n"1\n\n1"\n', r"a\.csv:2: the row has 1 value"),
        ("a.csv", 'a,b\n"1\n1",2\n"x\n"y,3\n', r"a\.csv:4: not valid CSV"),
        ("a.csv", 'a\n"x"y\n', r"a\.csv:2: not valid CSV \(.*\)\.$"),
        ("a.csv", '"a"b\n', r"a\.csv:1: not valid CSV"),
        ("a.csv", 'a\n1\n"x\n2\n3\n', r"a\.csv:3: not valid CSV \(.*\)\. Is a quote not closed\?$"),
        ("a.csv", "a;b\n1;2\n", r"a\.csv: its columns are separated by semicolons\. Save it with commas"),
        ("a.csv", "a\tb\n1\t2\n", r"a\.csv: its columns are separated by tabs\. Rename it: .* \.tsv"),
        ("a.jsonl", '{"a": 1}\n{"a"\n', r"a\.jsonl:2: "),
        (
            "a.jsonl",
            '[{"a": 1},\n{"a": 2}]\n',
            r"a\.jsonl: holds one list of objects\. Rename it: .* \.json\.$",
        ),
        ("a.json", '{"a": 1}\n{"a": 2}\n', r"a\.json: holds an object per line\. Rename it: .* \.jsonl"),
        ("a.json", "[]", r"a\.json: a list of objects is needed, as in .*Correct the file\.$"),
        ("a.json", '{"a": []}', r"a\.json: a list of objects is needed, as in .*Correct the file\.$"),
        ("a.json", '[{"a": 1}, 2]', r"a\.json: item 2: a JSON object is needed"),
        ("a.txt", "a", r"a\.txt: the file name has no known ending"),
    ],
)
def test_what_is_wrong_in_a_table_is_named(name: str, text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        list(rows(tmp_path / name, text))


def test_a_list_under_another_key_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a list of objects is needed under 'rows', as in "):
        list(rows(tmp_path / "a.json", '{"a": [{}]}', records="rows"))


def test_a_field_that_never_ends_gets_the_hint_of_a_quote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = csv.field_size_limit()
    monkeypatch.setattr(tables, "LONGEST_LINE", 10)
    try:
        with pytest.raises(DataError, match=r"field limit \(10\)\)\. Is a quote not closed\?$"):
            list(rows(tmp_path / "a.csv", 'a\n"x\nxxxxxxxxxxx\n'))
    finally:
        csv.field_size_limit(limit)


def test_the_rows_of_a_parquet_file_are_numbered(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table({"a": [1, 2]}), tmp_path / "a.parquet")
    assert list(read_table(tmp_path / "a.parquet")) == [(1, {"a": 1}), (2, {"a": 2})]
    for name, message in (("none.parquet", "no such file"), ("folder.parquet", "a folder")):
        (tmp_path / "folder.parquet").mkdir(exist_ok=True)
        with pytest.raises(DataError, match=message):
            list(read_table(tmp_path / name))
    twice = pyarrow.Table.from_arrays([pyarrow.array([1]), pyarrow.array([2])], names=["a", "a"])
    pyarrow.parquet.write_table(twice, tmp_path / "b.parquet")
    with pytest.raises(DataError, match="two columns have the same name"):
        list(read_table(tmp_path / "b.parquet"))


def test_a_long_complaint_about_a_parquet_file_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow.parquet

    def complain(path: Path) -> None:
        raise ValueError("x" * 201 + "\nmore")

    (tmp_path / "a.parquet").touch()
    monkeypatch.setattr(pyarrow.parquet, "ParquetFile", complain)
    with pytest.raises(DataError, match=rf"not a complete Parquet file \({'x' * 200}\)\.$"):
        list(read_table(tmp_path / "a.parquet"))
