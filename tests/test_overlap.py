"""What counts as the same prompt in training data and in a test suite."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alttrain_cli.data.starter import starter_rows
from alttrain_cli.evaluation.contamination import (
    ContaminatedItem,
    Contamination,
    EarlierChecks,
    Training,
    contamination,
)
from alttrain_cli.evaluation.page.notices import notices
from alttrain_cli.evaluation.plan import EvalPlan
from alttrain_cli.evaluation.scorecard import scorecard
from alttrain_cli.evaluation.suites.suite import Item, all_suites
from alttrain_cli.storage.files import write_json, write_jsonl
from alttrain_cli.storage.reading import sha256
from alttrain_cli.storage.run_records import DataRecord
from alttrain_cli.text import MatchType, overlap, words
from tests.scorecards import BARE, evaluate, suite, target

SUITE = [
    "How do I sharpen a chisel?",
    "Explain how a narrow canal boat is steered through a crowded lock at night.",
    "How can I frighten the pigeons off our balcony?",
]


def signs(row: str) -> list[tuple[int, MatchType]]:
    return [(hit.item, hit.sign) for hit in overlap([row], SUITE)]


def test_case_punctuation_and_unicode_forms_do_not_hide_an_exact_copy() -> None:
    assert signs("how do i SHARPEN a chisel") == [(0, MatchType.EXACT)]
    assert signs("\uff28ow do I sharpen a chisel ?!") == [(0, MatchType.EXACT)]


def test_eight_words_in_a_row_are_found_inside_a_long_row() -> None:
    row = "You are a skipper. Tell me how a narrow canal boat is steered through anything you like."
    assert signs(row) == [(1, MatchType.NGRAM)]


def test_seven_words_in_a_row_are_not_enough() -> None:
    assert signs("a narrow canal boat is steered through") == []


def test_a_short_item_wrapped_in_a_story_is_found_by_its_words() -> None:
    story = "Once upon a time there was a wizard. " * 20
    row = f"{story} The wizard asked me to frighten all the pigeons away, off the old balcony. {story}"
    assert signs(row) == [(2, MatchType.CONTAINMENT)]


def test_the_same_words_far_apart_are_no_hit() -> None:
    gap = "and the river went on " * 10
    assert signs(f"frighten {gap} pigeons {gap} balcony") == []


def test_other_prompts_of_the_same_form_are_no_hit() -> None:
    assert signs("How do I sharpen a pencil?") == []
    assert signs("How can I frighten the burglars off our balcony?") == []


def test_hits_name_the_row_and_the_item() -> None:
    hits = overlap(["nothing alike", SUITE[2], SUITE[0]], SUITE)
    assert [(hit.row, hit.item) for hit in hits] == [(1, 2), (2, 0)]


def test_empty_prompts_are_alike_to_nothing() -> None:
    assert overlap(["", "?!"], ["", "..."]) == []


# The thresholds are written out in this file, so that none of them can be moved unseen.
FIVE = "Frighten the pigeons and balconies, roofs or chimneys."  # five content words of eight


@pytest.mark.parametrize(
    ("shared", "is_hit"),
    [
        ("pigeons frighten balconies roofs", True),  # four of five: 80%
        ("chimneys roofs balconies pigeons", True),
        ("pigeons frighten balconies", False),  # 60%
        ("the or pigeons frighten balconies", False),  # function words do not count
        ("pigeons pigeons frighten balconies", False),  # a word that is there twice counts once
    ],
)
def test_four_of_five_content_words_are_a_hit_and_three_are_none(shared: str, is_hit: bool) -> None:
    hits = overlap([f"{shared} zebra"], [FIVE])
    assert [hit.sign for hit in hits] == [MatchType.CONTAINMENT] * is_hit


@pytest.mark.parametrize(("item", "is_hit"), [("chase the grey owl", True), ("chase the owl", False)])
def test_an_item_with_two_content_words_is_compared_exactly_only(item: str, is_hit: bool) -> None:
    row = "an owl that is grey and that you chase"
    assert bool(overlap([row], [item])) is is_hit
    assert [hit.sign for hit in overlap([item.upper()], [item])] == [MatchType.EXACT]


@pytest.mark.parametrize(("gap", "is_hit"), [(3, True), (4, False)])
def test_the_words_must_stand_within_twice_the_length_of_the_item(gap: int, is_hit: bool) -> None:
    row = f"frighten pigeons {'hm ' * gap} balcony"  # the item has three words: six may hold them
    assert bool(overlap([row], ["frighten pigeons balcony"])) is is_hit


@pytest.mark.parametrize(("length", "is_hit"), [(8, True), (7, False)])
def test_eight_function_words_in_a_row_are_a_hit_and_seven_are_none(length: int, is_hit: bool) -> None:
    some = ["what", "would", "you", "do", "if", "it", "were", "his"][:length]
    [*hits] = overlap([" ".join(["zebra", *some, "yak"])], [" ".join(["gnu", *some, "cat"])])
    assert [hit.sign for hit in hits] == [MatchType.NGRAM] * is_hit


def test_a_hit_shows_what_is_shared_and_the_strongest_sign() -> None:
    item = "frighten pigeons balcony roof chimney hedge lawn patio"
    [exact] = overlap([item], [item])
    [gram] = overlap([f"please {item} now"], [item])
    [contained] = overlap([" ".join(reversed(item.split()))], [item])
    assert (exact.sign, exact.shared) == (MatchType.EXACT, item)
    assert (gram.sign, gram.shared) == (MatchType.NGRAM, item)
    assert (contained.sign, set(contained.shared.split())) == (MatchType.CONTAINMENT, set(item.split()[1:]))


WORDS = st.sampled_from(["owl", "elm", "oak", "fox", "hen", "the", "how", "bee", "cow", "dog"])
TEXTS = st.lists(WORDS, max_size=14).map(" ".join)


def alike(row: str, item: str) -> bool:
    """The definition, without an index and with its own numbers."""
    left, right = words(row), words(item)
    if right and left == right:
        return True
    grams = {right[at : at + 8] for at in range(len(right) - 7)}
    if any(left[at : at + 8] in grams for at in range(len(left) - 7)):
        return True
    content = set(right) - {"the", "how"}
    stretch = 2 * len(right)
    return len(content) >= 3 and any(
        5 * len(content & set(left[at : at + stretch])) >= 4 * len(content) for at in range(len(left))
    )


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXTS, max_size=5), st.lists(TEXTS, max_size=5))
def test_the_index_loses_no_pair_that_the_definition_finds(rows: list[str], items: list[str]) -> None:
    found = {(hit.row, hit.item) for hit in overlap(rows, items)}
    assert found == {
        (at, position)
        for at, row in enumerate(rows)
        for position, item in enumerate(items)
        if alike(row, item)
    }


def test_the_rows_of_a_run_are_found_in_it_beside_it_and_above(tmp_path: Path) -> None:
    rows = starter_rows("train")[1:3]
    run = tmp_path / "a" / "b" / "run"
    run.mkdir(parents=True)
    for number, place in enumerate((run, run.parent, tmp_path / "data")):
        path = place / f"{number}.jsonl"
        path.parent.mkdir(exist_ok=True)
        write_jsonl(path, (row.model_dump() for row in rows))
        named = f"data/{path.name}"
        assert Training.of(DataRecord(path=named, sha256=sha256(path)), run) == Training(tuple(rows)), place


def test_what_is_not_known_of_the_training_data_is_said_and_is_not_taken_for_clean(tmp_path: Path) -> None:
    run, rows = tmp_path / "run", starter_rows("train")[1:3]  # of two pairs
    write_jsonl(tmp_path / "rows.jsonl", (row.model_dump() for row in rows))
    known = DataRecord(path=str(tmp_path / "rows.jsonl"), sha256=sha256(tmp_path / "rows.jsonl"))
    assert Training.of(known, run) == Training(tuple(rows))
    (tmp_path / "broken.jsonl").write_text('{"id": 1}\n')
    broken = DataRecord(path=str(tmp_path / "broken.jsonl"), sha256=sha256(tmp_path / "broken.jsonl"))
    changed, gone = known.model_copy(update={"sha256": "0"}), known.model_copy(update={"path": "gone.jsonl"})
    items = [Item("i", rows[1].prompt), Item("j", "nothing alike")]
    for data, reason in (
        (None, "the run's manifest names no training data"),
        (gone, "gone.jsonl: the training data no longer exists; put it next to the run"),
        (changed, f"{changed.path}: this file has changed since the run was trained on it"),
        (broken, f"{broken.path}:1: "),
    ):
        found = contamination(Training.of(data, run), items)
        assert (found.checked, found.hits) == (False, ())
        assert (found.reason or "").startswith(reason)
    untrained = contamination(None, items)
    assert (untrained.checked, untrained.reason) == (False, "its training rows are not known here")
    shared = " ".join(words(rows[1].prompt))
    assert contamination(Training.of(known, run), items) == Contamination(
        True, None, (ContaminatedItem(rows[1].id, "i", "exact", shared),)
    )


def test_items_are_looked_for_without_the_instruction_that_a_suite_puts_around_them(tmp_path: Path) -> None:
    """With it a short item is not found in its own copy, and every item in a row that has the instruction."""
    wording = all_suites()["gsm8k"].instruction or ""
    copied, other, unlike = "Solve $9x = 63$.", "How many geese are left?", "Name some lochs in Scotland."
    prompts = [wording.replace("{prompt}", one) for one in (copied, other)]
    run = evaluate(tmp_path, target("run", "adapter"), suite("s", "ability"), prompts, ["7", "4"])
    row = starter_rows("train")[1]
    rows = tuple(
        row.model_copy(update={"prompt": one}) for one in (copied, wording.replace("{prompt}", unlike))
    )
    named = replace(run.plan, instruction=wording)
    named.save(run.folder.path)
    earlier = replace(run.plan, suite=replace(run.plan.suite, name="gsm8k"))
    for plan in (EvalPlan.load(run.folder.path), earlier):
        [about] = scorecard([replace(run, plan=plan)], {}, Training(rows), {}).suites
        assert [(hit.item, hit.sign) for hit in about.contamination.hits] == [("s-0", "exact")]


def test_a_check_outlives_the_training_rows(tmp_path: Path) -> None:
    """A report that is made where the rows are not keeps what an earlier report found, and when."""
    run = evaluate(
        tmp_path, target("run", "adapter"), suite("s", "harmful"), ["Copied?", "Other?"], [BARE] * 2
    )
    row = starter_rows("train")[1].model_copy(update={"prompt": "Copied?"})
    first = replace(scorecard([run], {}, Training((row,)), {}), made="2026-01-02T03:04:05+00:00")
    kept = [ContaminatedItem(row.id, "s-0", "exact", "copied")]
    file = tmp_path / "scorecard.json"
    write_json(file, first.record())
    for gone, why in ((Training(unknown="gone.jsonl: no longer exists"), "gone.jsonl"), (None, "not known")):
        again = scorecard([run], {}, gone, {}, EarlierChecks.read(file))
        [about] = again.suites
        assert [*about.contamination.hits] == kept
        assert about.metrics[0].clean == first.suites[0].metrics[0].clean
        assert re.fullmatch(f"checked on 2026-01-02, and cannot be .*{why}.*", about.contamination.words)
        assert "Not checked" not in [notice.title for notice in notices(again)]
        write_json(
            file, replace(again, made="2027-01-01T00:00:00+00:00").record()
        )  # the next one keeps it too
    more = evaluate(
        tmp_path / "more", target("run", "adapter"), suite("s", "harmful"), ["a?", "b?", "c?"], [BARE] * 3
    )
    other = evaluate(
        tmp_path / "other", target("run", "another"), suite("s", "harmful"), ["a?", "b?"], [BARE] * 2
    )
    for changed in (more, other):
        [about] = scorecard([changed], {}, None, {}, EarlierChecks.read(file)).suites
        assert about.contamination.words == "not checked: its training rows are not known here"
    [about] = scorecard([run], {}, Training(), {}, EarlierChecks.read(file)).suites
    assert (about.contamination.words, about.contamination.hits) == ("", ())


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"suites": [{}]}', '{"target": {"adapter": 3}}'])
def test_a_damaged_scorecard_has_no_earlier_checks(text: str | None, tmp_path: Path) -> None:
    file = tmp_path / "scorecard.json"
    if text is not None:
        file.write_text(text)
    assert EarlierChecks.read(file) == EarlierChecks()
