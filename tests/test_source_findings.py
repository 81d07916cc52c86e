"""`alttrain doctor --sources`: published data is checked against its revision, hash and count."""

import csv
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from alttrain_cli.cli import app
from alttrain_cli.commands.doctor import sources
from alttrain_cli.data import published_files
from alttrain_cli.data.sources import RawRecord, Source
from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.suites import check, items
from alttrain_cli.evaluation.suites.check import check_suite
from alttrain_cli.evaluation.suites.suite import Suite, all_suites
from tests.command_lines import result_of


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr(items, "SUITES", tmp_path / "cache")
    return tmp_path


def downloaded(here: Path, rows: int) -> None:
    """Put a file of StrongREJECT's form with so many rows of ours where the published one is kept."""
    (here / "cache").mkdir(exist_ok=True)
    with (here / "cache" / "strongreject-3432b2d696b4.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("category", "source", "forbidden_prompt"))
        writer.writerows(("c", "s", f"prompt {n}") for n in range(rows))


def test_what_is_here_is_checked_and_the_rest_is_not_fetched_offline(here: Path) -> None:
    downloaded(here, 313)
    found = check_suite(all_suites()["strongreject"])
    assert (found.is_right, found.found) == (
        True,
        "313 items; revision 3432b2d696; hash 5ad1e247be6cd829eefc139244cf79e0b1692f3a3b755b7626e76950a2e1f89b, none is pinned",
    )
    assert check_suite(all_suites()["smoke-harmful"]).found == (
        "16 items; comes with alttrain; its hash is right"
    )
    assert check_suite(all_suites()["harmbench"])[:3] == (
        "harmbench",
        None,
        "not on this machine, and not fetched: offline",
    )


def test_a_wrong_count_is_a_problem_and_ends_with_exit_code_3(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloaded(here, 300)
    names = ("strongreject", "smoke-benign", "harmbench")
    monkeypatch.setattr(sources, "all_suites", lambda: {one: all_suites()[one] for one in names})
    result = CliRunner().invoke(app, ["doctor", "--sources", "--json"])
    found = {one["check"]: one for one in result_of(result.stdout)["findings"]}
    assert [found[name]["level"] for name in names] == ["problem", "ok", "note"]
    assert "holds 300 items; StrongREJECT has 313" in found["strongreject"]["found"]
    assert found["safechain"]["level"] == "note"
    assert [name for name, one in found.items() if one["level"] != "ok" and not one["cure"]] == []
    assert "strongreject=FILE" in found["strongreject"]["cure"]
    assert result.exit_code == 3


@pytest.mark.parametrize(("offline", "here"), [(True, False), (False, False), (False, True)])
def test_each_suite_that_is_not_right_has_a_cure(
    offline: bool, here: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(suite: Suite) -> None:
        raise DataError(f"{suite.name}: wrong data")

    monkeypatch.setattr(check, "read_suite", fail)
    monkeypatch.setattr(check, "is_offline", lambda: offline)
    monkeypatch.setattr(check, "is_here", lambda _: here)
    cures = {suite.name: check_suite(suite).cure for suite in all_suites().values()}
    assert [name for name, cure in cures.items() if not cure] == []
    assert ("Delete datasets--" in cures["harmbench"] or "Delete this file" in cures["harmbench"]) is here


def test_the_rows_of_a_set_that_is_published_as_a_file_are_counted(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published_files, "FOLDER", here)
    [math, *_] = [one for one in published_files.FILES.values() if one.name == "lrm-study-math"]
    assert sources._published_file(math).level == "note"
    rows = [{"prompt": "1 + 1?", "response": "<think>\ntwo\n</think>\n\n2"}] * 4000
    for count, level, found in (
        (4000, "ok", "4,000 rows; revision 498ef37fca"),
        (3999, "problem", "3,999 rows; its authors name 4,000"),
    ):
        math.kept.write_text(json.dumps(rows[:count]), encoding="utf-8")
        finding = sources._published_file(math)
        assert (finding.level, found in finding.found) == (level, True), finding
        assert (str(math.kept) in finding.cure) is (level == "problem")
    math.kept.write_text("[", encoding="utf-8")
    broken = sources._published_file(math)
    assert (broken.level, str(math.kept) in broken.cure) == ("problem", True)


def test_the_rows_of_a_set_on_the_hub_are_counted_at_its_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def rows(source: Source, count: int) -> Iterator[RawRecord]:
        asked.append((source.name, source.revision))
        return iter([("x", {})] * count)

    monkeypatch.setattr(sources, "is_offline", lambda: False)
    monkeypatch.setattr(sources, "published_revision", lambda name: "0123456789abcdef")
    for name, count, level in (
        ("star-1", 1000, "ok"),
        ("star-1", 999, "problem"),
        ("star-benign-915", 915, "ok"),
        ("safechain", 12, "ok"),
    ):
        monkeypatch.setattr(sources, "records", partial(rows, count=count))
        found = sources._hub_set(name)
        assert (found.level, f"{count:,} rows" in found.found) == (level, True), found
    assert asked[0] == ("UCSC-VLAA/STAR-1", "0123456789abcdef")

    def broken(source: Source) -> Iterator[RawRecord]:
        raise DataError("cannot be read")

    monkeypatch.setattr(sources, "records", broken)
    assert sources._hub_set("r1-act").level == "problem"
