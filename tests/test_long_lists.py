"""What stands in for a list or a dictionary of very many values is equal to it."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.plan_keys import PlanKeys
from alttrain_cli.evaluation.plan_values import ValuesByKey
from alttrain_cli.storage.files import write_json
from alttrain_cli.storage.key_table import KeyTable
from alttrain_cli.storage.long_lists import LongList, without_long_lists

# Texts that look like the ends of lines by which elements are found.
HARD = st.sampled_from(["", "{", "[", "  ],", "    }", "\n  ]\n", '"', "\u2028", "\\"])
TEXTS = HARD | st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    TEXTS | st.integers() | st.none(),
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=8,
)


@given(st.lists(st.tuples(st.text(), st.integers(-(2**63), 2**63 - 1))))
def test_a_key_table_maps_as_a_dictionary_does(pairs: list[tuple[str, int]]) -> None:
    table, expected = KeyTable(), dict(pairs)
    for key, number in pairs:
        table[key] = number
    assert len(table) == len(expected)
    assert {key: table.get(key) for key in expected} == expected
    assert "\0 in no list" not in table
    assert table.get("\0 in no list") is None


def test_a_key_table_numbers_keys_as_they_come_and_needs_few_bytes_for_each() -> None:
    table = KeyTable("I")
    assert [table.number(f"key {number % 5_000}") for number in range(9_999)][5_000:5_003] == [0, 1, 2]
    assert [table.number(f"key {number}") for number in (0, 4_999, 5_000)] == [0, 4_999, 5_000]
    size = sum(one.itemsize * len(one) for one in (table._hashes, table._numbers))
    assert size / len(table) <= 24


@given(st.dictionaries(TEXTS, VALUES), st.lists(VALUES, min_size=1), st.lists(TEXTS))
def test_lists_are_found_in_a_file_that_we_wrote(
    tmp_path_factory: pytest.TempPathFactory, others: dict[str, Any], items: list[Any], keys: list[str]
) -> None:
    path = tmp_path_factory.mktemp("lists") / "plan.json"
    write_json(path, {**others, "items": items, "keys": keys, "last": 1})
    text, lists = without_long_lists(path, ("items", "keys"))
    assert json.loads(text) == {**others, "items": items[:1], "keys": keys[:1], "last": 1}
    read = {name: [json.loads(one) for one in found] for name, found in lists.items()}
    assert read == {"items": items} | ({"keys": keys} if keys else {})


def test_a_list_in_a_file_is_a_sequence(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"keys": ["a", "b", "c"]})
    found = LongList(tmp_path / "a.json", len('{\n  "keys": [\n'), 3, json.loads)
    assert found == ["a", "b", "c"] == found
    assert ("a", "b", "c") == found != ["a", "b"]
    assert (found[0], found[-1], found[1:], found[::-1]) == ("a", "c", ("b", "c"), ("c", "b", "a"))
    with pytest.raises(IndexError):
        found[3]


@pytest.mark.parametrize(
    "text", ['{\n  "keys": [\n    "a"\n  ]\n}\n', '{\n  "keys": [\n    "a",\n    7x\n  ]\n}\n', "{}"]
)
def test_a_file_that_changes_while_it_is_read_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"keys": ["a", "b"]})
    [found] = without_long_lists(path, ["keys"])[1].values()
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="was changed while it was read"):
        list(LongList(path, found.start, len(found), json.loads))


def test_keys_come_once_in_order_and_their_values_are_a_dictionary() -> None:
    keys = PlanKeys(["b", "a", "b", "c"])
    assert list(keys) == ["b", "a", "c"]
    assert (keys.number("c"), keys.number("d"), "a" in keys, "d" in keys) == (2, None, True, False)
    values = ValuesByKey[str](keys)
    values["c"] = values["b"] = "yes"
    values["c"] = "no"
    assert dict(values) == {"b": "yes", "c": "no"}
    assert (list(values.values()), len(values), values.get("a")) == (["yes", "no"], 2, None)
    with pytest.raises(KeyError):
        values["d"] = "yes"


def test_more_different_values_than_two_bytes_can_count_are_kept_apart() -> None:
    keys = PlanKeys([str(number) for number in range(2**16 + 9)])
    values = ValuesByKey[object](keys)
    given = {key: object() for key in keys}
    for key, value in given.items():
        values[key] = value
    assert dict(values) == given
