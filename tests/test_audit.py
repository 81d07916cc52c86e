"""The audit: what is counted is right, and what is wrong is found."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from alttrain_cli.cli import app
from alttrain_cli.data.audit import audit
from alttrain_cli.data.duplicates import NearDuplicateIndex
from alttrain_cli.data.pii import find_pii_and_secrets
from alttrain_cli.data.samples import read_prompts
from alttrain_cli.data.selection import stratified_sample
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.errors import AlttrainError, DataError
from alttrain_cli.evaluation.suites.published import suite_prompts
from alttrain_cli.structure.row import Row
from tests.samples import put

RUNNER = CliRunner()
VALUES = {
    "id": "r1", "prompt": "How do I boil an egg?", "label": "benign", "category": None, "source": "s",
    "style": "alttrain", "understanding": "The user asks about eggs.", "assessment": "This is benign.",
    "reasoning": "I can help.", "answer": "Boil it.",
}  # fmt: skip


def row(**changes: Any) -> Row:
    return Row(**{**VALUES, **changes})


def problems(one: Row) -> list[str]:
    return [finding.problem for finding in audit([one], {}).contradictions]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"answer": "I'm sorry, but I can't help."}, ["assessed benign, but the answer refuses"]),
        (
            {"label": "harmful", "assessment": "This is harmful."},
            ["assessed harmful, but the answer does not refuse"],
        ),
        ({"label": "harmful"}, ["labelled harmful, assessed benign"]),
        ({"assessment": "Eggs are round."}, ["the assessment gives no verdict"]),
        ({}, []),
        ({"assessment": "", "style": "original", "answer": "I can't help."}, []),
    ],
)
def test_a_row_that_contradicts_itself_is_found(changes: dict[str, Any], problem: list[str]) -> None:
    assert problems(row(**changes)) == problem


def test_the_starter_set_holds_no_contradiction_no_secret_and_no_twin() -> None:
    for split in ("train", "heldout"):
        found = audit(starter_rows(split), {})  # type: ignore[arg-type]
        assert [found.contradictions, found.private, found.near_duplicates, found.markers] == [[], [], [], []]


def test_a_marker_of_a_chat_template_is_found_in_every_part_of_a_row() -> None:
    marked = ("Boil it<|im_end|>", "<｜User｜>Boil it", "[INST] Boil it", "<think>Boil it")
    rows = [row(id=text, **{part: text}) for text in marked for part in ("prompt", "answer")]
    assert [found.row for found in audit([*rows, row(prompt="Is 1 < 2 | 3 > 2?")], {}).markers] == [
        text for text in marked for _ in range(2)
    ]


def test_a_prompt_of_a_suite_is_found_in_the_rows() -> None:
    rows = [row(), row(id="r2", prompt="And now something else entirely, please?")]
    found = audit(rows, {"eggs": ["how do I boil an EGG"]}).overlaps["eggs"]
    assert [(hit.row, hit.problem.split()[0]) for hit in found] == [("r1", "exact")]


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("write to jane.doe@gmail.com today", ["e-mail address"]),
        ("write to jane@example.com today", []),
        ("call (212) 736-5000 now", ["telephone number"]),
        ("call 1-800-222-1222 or 212-555-0199", []),
        ("ping 8.8.8.8 or 127.0.0.1", ["IP address"]),
        ("version 1.2.3 of 127.0.0.1", []),
        ("card 4111 1111 1111 1111", ["card number"]),
        ("card 4111 1111 1111 1112", []),
        ("-----BEGIN RSA " + "PRIVATE KEY-----", ["private key"]),
        ("sk-" + "a1" * 20, ["access key"]),
        ("my number is 078-05-1120", ["social security number"]),
        ("in 2024-05-11 and 3-2-1", []),
    ],
)
def test_secrets_and_addresses_are_found_and_examples_are_not(text: str, kinds: list[str]) -> None:
    assert list(find_pii_and_secrets(text)) == kinds


def test_a_secret_is_never_shown(tmp_path: Path) -> None:
    path = put(tmp_path / "d.jsonl", {**VALUES, "answer": "Write to jane.doe@gmail.com today."})
    done = RUNNER.invoke(app, ["build-data", "--audit", str(path)])
    assert done.exit_code == 0
    assert "e-mail address" in done.output
    assert "jane.doe" not in done.output


def test_a_file_with_contradictions_ends_with_exit_code_3(tmp_path: Path) -> None:
    path = put(tmp_path / "d.jsonl", VALUES, {**VALUES, "id": "r2", "answer": "I can't help."})
    done = RUNNER.invoke(app, ["build-data", "--audit", str(path), "--show", "1"])
    assert done.exit_code == 3
    assert "r2: assessed benign, but the answer refuses" in " ".join(done.stderr.split())
    assert "How do I boil an egg?" in done.stdout


def test_an_audit_of_nothing_is_an_error() -> None:
    with pytest.raises(DataError, match="no rows"):
        audit([], {})


@pytest.mark.parametrize(("words", "near"), [(13, True), (9, False)])
def test_four_of_five_word_triples_in_common_are_a_near_duplicate_and_fewer_are_none(
    words: int, near: bool
) -> None:
    """Another last word: of 13 words, 10 of 12 triples are shared (83%), of 9 words 6 of 8 (75%)."""
    numbered = [f"word{number}" for number in range(words)]
    twins = NearDuplicateIndex()
    assert twins.add("a", " ".join(numbered), "benign") is None
    found = twins.add("b", " ".join([*numbered[:-1], "other"]), "benign")
    assert (found is not None) is near


def test_a_near_twin_without_spaces_between_words_is_found() -> None:
    text = "请用简单的话告诉我怎样才能在家里用一口小锅把三个鸡蛋煮熟而不让蛋壳裂开"
    twins = NearDuplicateIndex()
    assert twins.add("a", text, "benign") is None
    twin = twins.add("b", text.replace("三", "两"), "benign")
    assert (twin.id, twin.exact) == ("a", False)  # type: ignore[union-attr]
    assert twins.add("c", "请用简单的话告诉我怎样才能在院子里种下一棵苹果树", "benign") is None


def test_a_near_twin_is_found_within_a_label_and_not_across() -> None:
    text = "please tell me in plain words how a person can boil an egg at home without a pot or pan"
    near = text.replace("home", "work")
    twins = NearDuplicateIndex()
    assert twins.add("a", text, "benign") is None
    assert twins.add("b", near, "harmful") is None
    twin = twins.add("c", text.replace("please", "Please"), "benign")
    assert (twin.id, twin.exact) == ("a", True)  # type: ignore[union-attr]
    long = " ".join(f"word{number}" for number in range(60))
    assert twins.add("d", long, "benign") is None
    assert twins.add("e", long + " more", "benign").id == "d"  # type: ignore[union-attr]


@given(st.lists(st.sampled_from("abcd"), max_size=200), st.integers(0, 250), st.integers(0, 5))
def test_what_is_chosen_keeps_each_strata_share_and_its_size(
    strata: list[str], count: int, seed: int
) -> None:
    chosen = stratified_sample(strata, count, seed)
    assert chosen == stratified_sample(strata, count, seed)
    assert len(chosen) == min(count, len(strata))
    for stratum in set(strata):
        share = strata.count(stratum) * len(chosen) / len(strata)
        assert abs(sum(strata[at] == stratum for at in chosen) - share) < 1


def test_the_manifest_can_be_read_by_machines() -> None:
    facts = audit([row()], {"eggs": ["egg"]}).record()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["estimated_tokens"]["row"]["max"] == sum(
        facts["estimated_tokens"][name]["max"]
        for name in ("prompt", "understanding", "assessment", "reasoning", "answer")
    )


def test_a_suite_that_ships_is_looked_for_unless_told_otherwise(tmp_path: Path) -> None:
    taken = next(iter(suite_prompts("smoke", (), read_prompts).values()))[0]
    path = put(tmp_path / "d.jsonl", {**VALUES, "prompt": taken})
    done = RUNNER.invoke(app, ["build-data", "--audit", str(path)])
    assert "exact with item 1" in " ".join(done.output.split())
    silent = RUNNER.invoke(app, ["build-data", "--audit", str(path), "--suite", ""])
    assert silent.exit_code == 0, silent.output
    assert "exact with item" not in silent.output


def test_of_alpacas_rows_the_instruction_is_looked_for(tmp_path: Path) -> None:
    path = put(
        tmp_path / "alpaca.jsonl", {"instruction": "Translate this.", "input": "Good day.", "output": "b"}
    )
    assert read_prompts(str(path)) == ["Translate this."]


def test_any_file_of_prompts_can_be_given_and_an_unknown_suite_is_named(tmp_path: Path) -> None:
    eggs = put(tmp_path / "eggs.jsonl", {"prompt": "How do I boil an egg?"})
    assert suite_prompts("", [str(eggs)], read_prompts) == {"eggs": ["How do I boil an egg?"]}
    with pytest.raises(DataError, match="no such suite"):
        suite_prompts("nonsense", [], read_prompts)


def test_no_room_for_what_was_seen_is_one_line() -> None:
    twins = NearDuplicateIndex()
    twins._seen.execute("PRAGMA max_page_count = 1")
    with pytest.raises(AlttrainError, match="Temporary files cannot be written"):
        for number in range(2_000):
            twins.add(f"row {number}", f"prompt {number} of many", "benign")
