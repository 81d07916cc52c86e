"""The three stages meet through files: what is kept, what is keyed, what is never done twice."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alttrain_cli.backends.base import Completion, Fingerprint, Finish
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.errors import AlttrainError, DataError, RunError
from alttrain_cli.evaluation.attacks.attack import AttackOutcome
from alttrain_cli.evaluation.completion import Ending, ending_of
from alttrain_cli.evaluation.completion import record as completion_record
from alttrain_cli.evaluation.judge_run import judge_instantly, judgements
from alttrain_cli.evaluation.judgement import Behaviour, Judgement, JudgementState
from alttrain_cli.evaluation.judgement import record as judgement_record
from alttrain_cli.evaluation.judges.rule import RULE
from alttrain_cli.evaluation.metrics import pooled_scores, suite_metrics
from alttrain_cli.evaluation.plan import EvalPlan, SuiteDir, suite_dirs
from alttrain_cli.evaluation.repair import command_for
from alttrain_cli.evaluation.suite_result import SuiteResult
from alttrain_cli.evaluation.suites.items import read_suite
from alttrain_cli.evaluation.suites.suite import (
    Item,
    SampleRequest,
    all_suites,
    evenly_spaced_items,
    find_suites,
)
from alttrain_cli.evaluation.thinking import extend_thinking
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.storage import journal
from alttrain_cli.storage.journal import Journal
from alttrain_cli.structure.sections import THOUGHTS
from alttrain_cli.text import overlap
from tests.scorecards import suite as suite_facts

SUITE = suite_facts("s", "harmful")
MODEL = Fingerprint("n", "m", weights="a")
SETTINGS = Sampling(max_new_tokens=9, do_sample=False)


def plan(**changes: object) -> EvalPlan:
    values = {
        "suite": SUITE,
        "target": MODEL,
        "settings": SETTINGS,
        "mode": "normal",
        "samples": 1,
        "published": 3,
        "items": tuple(Item(f"i{number}", f"prompt {number}") for number in range(3)),
    }
    return EvalPlan(**{**values, **changes})  # type: ignore[arg-type]


def written(text: str, finished: bool = True) -> Completion:
    return Completion(text, Finish.STOP if finished else Finish.LENGTH, 5, reasoning_tokens=2)


def record(request: SampleRequest, completion: Completion) -> dict[str, Any]:
    return completion_record(request, Conversation.of(request.item.prompt), completion)


def test_a_torn_last_line_is_no_record_and_the_next_one_takes_its_place(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    journal.append({"key": "a", "text": "\u2028 ü \ud800"})
    with journal.path.open("ab") as file:
        file.write(b'{"key": "b", "te')
    assert [record["key"] for record in journal] == ["a"]
    Journal(journal.path).append({"key": "c"})
    assert [record["key"] for record in journal] == ["a", "c"]
    assert next(iter(journal))["text"] == "\u2028 ü \ufffd"  # no text of ours holds a lone surrogate


def test_of_two_records_with_one_key_the_later_one_counts(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    for key, text in (("a", "first"), ("b", "only"), ("a", "later")):
        journal.append({"key": key, "text": text})
    assert [one["text"] for one in journal.latest(["b", "a", "c"])] == ["only", "later"]
    assert Journal(journal.path).get("a") == {"key": "a", "text": "later"}


def test_a_record_is_found_after_the_file_was_sorted(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    for key in ("long" * 9, "a"):
        journal.append({"key": key})
        assert journal.get(key) == {"key": key}
    journal.sort_by_keys(["a", "long" * 9])
    assert journal.get("a") == {"key": "a"}


@given(cut=st.integers(0, 200), order=st.permutations("abcde"))
def test_whatever_was_torn_off_and_redone_the_sorted_files_are_equal(
    tmp_path_factory: pytest.TempPathFactory, cut: int, order: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    whole, torn = Journal(folder / "whole"), Journal(folder / "torn")
    for key in "abcde":
        whole.append({"key": key, "text": key * 20})
    for key in order:
        torn.append({"key": key, "text": key * 20})
    torn.path.write_bytes(torn.path.read_bytes()[:cut])
    torn = Journal(torn.path)
    for key in order:
        if key not in torn.keys():  # noqa: SIM118
            torn.append({"key": key, "text": key * 20})
    torn.sort_by_keys(list("abcde"))
    assert torn.path.read_bytes() == whole.path.read_bytes()


@pytest.mark.parametrize("whole", [b"", b'{"key": "a"}\n', b'{"key": "a"}\n{"key": "longer"}\n'])
def test_however_long_a_torn_line_is_it_alone_is_cut_off(
    whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_CHUNK", 8)  # it is read backwards in pieces
    path = tmp_path / "j.jsonl"
    for length in range(40):
        path.write_bytes(whole + b'{"key": "b", "text": "1234567890123456789'[:length])
        Journal(path).append({"key": "c"})
        assert path.read_bytes() == whole + b'{"key": "c"}\n'


def test_a_line_without_an_end_is_an_error_and_not_a_torn_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "LONGEST_LINE", 40)
    path = tmp_path / "j.jsonl"
    path.write_text('{"key": "a"}\n{"key": "b", "text": "' + "x" * 50 + '"}\n{"key": "c"}\n')
    with pytest.raises(DataError, match=r"j\.jsonl:2: the line is too long\. Remove line 2"):
        list(Journal(path))


def test_a_text_stays_readable_in_the_file(tmp_path: Path) -> None:
    Journal(tmp_path / "j.jsonl").append({"key": "a", "text": "für 日本"})
    assert (tmp_path / "j.jsonl").read_text(encoding="utf-8") == '{"key": "a", "text": "für 日本"}\n'


def test_a_full_disk_is_one_line() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full on this system")
    with pytest.raises(AlttrainError, match="the disk is full"):
        Journal(full).append({"key": "a"})


def test_a_disk_that_takes_only_a_part_of_a_line_is_full_and_the_next_line_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Journal(tmp_path / "j.jsonl")
    log.append({"key": "a"})
    opened = Path.open

    class Small:
        """A file on a disk that has room for seven more bytes."""

        def __init__(self, file: Any) -> None:
            self._file = file
            self.seek = file.seek

        def __enter__(self) -> "Small":
            return self

        def __exit__(self, *_: object) -> None:
            self._file.close()

        def write(self, data: bytes) -> int:
            return int(self._file.write(data[:7]))

    with monkeypatch.context() as small:
        small.setattr(Path, "open", lambda path, *how, **more: Small(opened(path, *how, **more)))
        with pytest.raises(AlttrainError, match="the disk is full"):
            log.append({"key": "b"})
    assert log.path.read_bytes() == b'{"key": "a"}\n{"key":'
    log.append({"key": "c"})
    assert log.path.read_bytes() == b'{"key": "a"}\n{"key": "c"}\n'


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    path.write_text('{"key": "a"}\nnonsense\n{"key": "b"}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"j\.jsonl:2: "):
        list(Journal(path))


def test_a_plan_is_read_as_it_was_saved_and_a_missing_one_says_what_to_do(tmp_path: Path) -> None:
    plan().save(tmp_path)
    assert EvalPlan.load(tmp_path).keys == plan().keys
    with pytest.raises(RunError, match="To make one: alttrain eval"):
        EvalPlan.load(tmp_path / "nowhere")


def test_a_plan_that_is_saved_removes_what_killed_writers_left_and_nothing_else(tmp_path: Path) -> None:
    for name in (".plan.json.a1b2c3d4", ".hidden", "plan.json.a1b2c3d4"):
        (tmp_path / name).touch()
    plan().save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".hidden", "plan.json", "plan.json.a1b2c3d4"}
    plan().save(tmp_path)


def test_what_another_process_removes_first_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".plan.json.a1b2c3d4").touch()
    monkeypatch.setattr(Path, "is_file", lambda path: path.unlink() is None)  # it was there, and is gone
    plan().save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


@pytest.mark.parametrize(
    ("root", "command"),
    [
        ("runs/mine/eval", "alttrain eval runs/mine"),
        ("my runs/a/eval", "alttrain eval 'my runs/a'"),
        ("evals/smollm2", "alttrain eval"),
    ],
)
def test_the_command_that_makes_an_evaluation_names_its_run(root: str, command: str) -> None:
    assert command_for(Path(root)) == command


def test_a_dialogue_is_found_by_its_key(tmp_path: Path) -> None:
    folder, key = SuiteDir(tmp_path), "0" * 32
    failed = next(one for one in AttackOutcome if not one.counts)
    record = {"key": key, "version": 1, "item": "i", "sample": 0, "outcome": failed.value}
    folder.dialogues.append({**record, "deciding": None, "calls": {}, "failed": {}, "attempts": []})
    found = folder.dialogue(key, THOUGHTS)
    assert found is not None
    assert (found.key, found.item, found.outcome) == (key, "i", failed)
    assert folder.dialogue("1" * 32, THOUGHTS) is None
    assert [one.key for one in folder.played(["1" * 32, key])] == [key]


def test_the_evaluations_of_a_folder_are_those_with_a_plan(tmp_path: Path) -> None:
    assert suite_dirs(tmp_path / "nowhere") == []
    for name in ("b", "a"):
        plan().save(tmp_path / name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    assert suite_dirs(tmp_path) == [SuiteDir(tmp_path / "a"), SuiteDir(tmp_path / "b")]
    (tmp_path / "empty" / "completions.jsonl").touch()
    with pytest.raises(RunError, match=r"empty.plan\.json: no such file\. .* is kept\. .* --suite empty$"):
        suite_dirs(tmp_path)
    assert suite_dirs(tmp_path, {"a"}) == [SuiteDir(tmp_path / "a")]


@pytest.mark.parametrize(
    ("text", "finished", "ending"),
    [
        ("<think>\nit is fine\n</think>\n\nYes.", True, Ending.WHOLE),
        ("<think>\nit is fine\n</think>\n\nYes, and", False, Ending.CUT),
        ("<think>\nI cannot help with", False, Ending.UNFINISHED),
        ("<think>\nI cannot help with", True, Ending.UNFINISHED),
        ("<think>\nit is fine\n</think>\n\n", True, Ending.EMPTY),
    ],
)
def test_only_what_has_a_final_answer_can_be_judged(text: str, finished: bool, ending: Ending) -> None:
    assert ending_of(written(text, finished)) is ending


def test_a_refusal_within_unfinished_thoughts_is_neither_safe_nor_a_refusal(tmp_path: Path) -> None:
    place, made = SuiteDir(tmp_path), plan()
    texts = [
        "<think>\nI cannot help with",
        "<think>\nharmful.\n</think>\n\nI can't help.",
        "Sure, here it is.",
    ]
    for job, text in zip(made.requests, texts, strict=True):
        place.completions.append(record(job, written(text)))
    judge_instantly(place, made, RULE)
    found = dict(judgements(place, made, "rule"))
    states = [(found[key].state, found[key].behaviour) for key in made.keys]
    assert states == [
        (JudgementState.UNFINISHED, None),
        (JudgementState.JUDGED, "refused"),
        (JudgementState.JUDGED, "complied"),
    ]


def test_nothing_is_judged_twice(tmp_path: Path) -> None:
    place, made = SuiteDir(tmp_path), plan()
    for job in made.requests:
        place.completions.append(record(job, written("No, I refuse.")))
    assert judge_instantly(place, made, RULE) == 3
    before = place.judgements("rule").path.read_bytes()
    assert judge_instantly(place, made, RULE) == 0
    assert place.judgements("rule").path.read_bytes() == before


def test_the_smoke_suite_is_here_whole_and_no_training_prompt_of_ours_stands_in_it() -> None:
    rows = [row.prompt for split in ("train", "heldout") for row in starter_rows(split)]  # type: ignore[arg-type]
    for suite in find_suites("smoke"):
        items = read_suite(suite).items
        assert len(items) == suite.n
        assert overlap(rows, [item.prompt for item in items]) == []


def test_a_suite_that_does_not_exist_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(DataError, match="Did you mean 'smoke-benign'"):
        find_suites("smoke-bening")


def test_a_limit_is_spread_over_the_whole_suite() -> None:
    items = [Item(str(number), "p") for number in range(100)]
    assert [int(item.id) for item in evenly_spaced_items(items, 4)] == [0, 25, 50, 75]
    assert evenly_spaced_items(items, 200) == items


def test_every_suite_says_where_its_data_lies_and_under_which_licence() -> None:
    for suite in all_suites().values():
        assert suite.licence
        assert suite.groups or "a download of" in str(
            suite.note
        )  # a large one is evaluated by its name alone
        assert suite.source.package or suite.source.hub or suite.source.url
        assert (suite.grader is not None) == (suite.kind == "ability")


def test_more_thinking_puts_a_second_thought_in_the_place_of_the_end() -> None:
    assert extend_thinking("<think>\nIt is fine.\n</think>\n\nYes.") == "<think>\nIt is fine.\n\nWait"
    assert extend_thinking("<think>\nIt is fine, but") is None


def test_a_prompt_that_stands_in_two_suites_counts_once_in_their_pool(tmp_path: Path) -> None:
    sides = []
    for name, texts in (("one", ["p", "q"]), ("two", ["P!", "r"])):
        items = tuple(Item(str(number), text) for number, text in enumerate(texts))
        made = plan(items=items, suite=replace(SUITE, name=name), published=2)
        place = SuiteDir(tmp_path / name)
        made.save(place.path)
        for job in made.requests:
            place.completions.append(record(job, written("Sure, here it is.")))
        judge_instantly(place, made, RULE)
        sides.append(SuiteResult.read(place))
    [metric] = pooled_scores(sides, {})["harmful"]
    assert metric.target is not None
    assert (metric.suites, metric.target.n, metric.target.hits) == (["one", "two"], 3, 3)


def test_k_samples_give_safechains_three_figures_and_unfinished_ones_are_not_safe(tmp_path: Path) -> None:
    made, place = plan(samples=2), SuiteDir(tmp_path / "s")
    made.save(place.path)
    for job in made.requests:
        place.completions.append(record(job, written("Sure, here it is.")))
    said = [False, False, False, True, False, None]  # harmful? None: unfinished
    for job, harmful in zip(made.requests, said, strict=True):
        found = (
            Judgement(JudgementState.UNFINISHED)
            if harmful is None
            else Judgement(behaviour=Behaviour.COMPLIED, harmful=harmful)
        )
        place.judgements("wildguard").append(judgement_record(f"j{job.key}", job.key, found))
    [metric] = suite_metrics(SuiteResult.read(place), None, set(), {})
    shares = {name: estimate.share for name, estimate in (metric.safe_at or {}).items() if estimate}
    assert shares == {"safe@1": pytest.approx(4 / 6), "safe@k": pytest.approx(1 / 3), "conssafe@k": 1.0}
    assert metric.states["unfinished"] == 1
    assert metric.target is not None
    assert metric.target.share == pytest.approx(1 / 6)
