"""`alttrain eval suites` and `alttrain eval judges`: what there is, what it needs, and whether it is here."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from alttrain_cli.cli import app
from alttrain_cli.evaluation.choices import GROUPS
from alttrain_cli.evaluation.judges.catalogue import CHOSEN
from alttrain_cli.evaluation.judges.judge import Judge
from alttrain_cli.evaluation.presets import _PRESETS
from alttrain_cli.evaluation.published_tables import all_published
from alttrain_cli.evaluation.suites import items
from alttrain_cli.evaluation.suites.suite import all_suites, find_suites
from alttrain_cli.storage.shipped_files import shipped_studies
from tests.command_lines import result_of


def listed(what: str, monkeypatch: pytest.MonkeyPatch, folder: Path, columns: int = 80) -> str:
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(app, ["eval", what], env={"COLUMNS": str(columns)})
    assert done.exit_code == 0, done.output
    assert max(map(len, done.output.splitlines())) <= columns
    return done.output


def test_help_names_every_group_paper_preset_and_study() -> None:
    def words(*command: str) -> set[str]:
        shown = CliRunner().invoke(app, [*command, "--help"]).output
        return {word.strip(",.:") for word in shown.split()}

    assert words("eval") >= {*GROUPS, *(one.name for one in _PRESETS)}
    assert words("eval", "report") >= all_published().keys()
    assert words("study") >= {path.stem for path in shipped_studies()}


@pytest.mark.parametrize("columns", [80, 120])
def test_every_suite_is_listed_with_its_size_licence_source_and_needs(
    columns: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lines = listed("suites", monkeypatch, tmp_path, columns).splitlines()
    for suite in all_suites().values():
        at = next(at for at, line in enumerate(lines) if line.split()[:1] == [suite.name])
        shown = " ".join(lines[at : at + 2])
        for fact in (
            f"{suite.n:,}" if suite.n else "?",
            suite.licence,
            suite.needs or "-",
            suite.source.short,
        ):
            assert fact in shown, shown
    assert any(line.startswith("items ?:") for line in lines)
    for group in GROUPS:
        count = len(find_suites(group))
        assert f"{count} suite{'s' * (count != 1)}:" in next(
            line for line in lines if line.startswith(f"group {group}:")
        )


def test_suites_that_are_here_come_first_and_those_that_need_an_attacker_last(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shown = listed("suites", monkeypatch, tmp_path)
    names = [name for name in all_suites() if all_suites()[name].kind == "harmful"]
    names.sort(key=lambda name: shown.index(f"\n{name} "))
    assert names[0] == "smoke-harmful"
    needy = [all_suites()[name].needs == "attacker" for name in names]
    assert needy == sorted(needy)


def test_each_word_for_a_need_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shown = listed("suites", monkeypatch, tmp_path)
    for need in {suite.needs for suite in all_suites().values()} - {""}:
        assert f"needs {need}:" in shown


def test_the_list_names_the_suites_of_alttrains_paper_and_not_the_larger_wildjailbreak(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shown = listed("suites", monkeypatch, tmp_path).partition("AltTrain's paper:")[2].partition("needs ")[0]
    named = shown.replace(",", " ").split()
    assert sorted(named) == sorted(name for name, suite in all_suites().items() if suite.paper)
    assert ("wildjailbreak-250" in named, "wildjailbreak" in named) == (True, False)


def test_a_suite_is_here_once_its_file_is_in_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(items, "SUITES", tmp_path)
    suite = all_suites()["strongreject"]
    assert not items.is_here(suite)
    (tmp_path / f"strongreject-{str(suite.source.revision)[:12]}.csv").write_text("x")
    assert items.is_here(suite)
    assert items.is_here(all_suites()["smoke-harmful"])


def test_every_judge_is_listed_with_its_model_and_licence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        "alttrain_cli.backends.classifier.is_in_cache", lambda model: model == "Qwen/Qwen3Guard-Gen-4B"
    )
    shown = " ".join(listed("judges", monkeypatch, tmp_path).split())
    for judge in CHOSEN.values():
        assert judge.name in shown
        if isinstance(judge, Judge):
            assert judge.licence in shown
            assert (judge.model or "--judge-url") in shown
    assert shown.count("--judge-url") == sum(isinstance(judge, Judge) for judge in CHOSEN.values())
    assert "on this machine" in shown.partition("Qwen/Qwen3Guard-Gen-4B")[2]
    assert (
        shown.count("not on this machine")
        == sum(isinstance(judge, Judge) and judge.model is not None for judge in CHOSEN.values()) - 1
    )


def test_the_last_line_of_each_list_is_a_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for what in ("suites", "judges"):
        assert (
            listed(what, monkeypatch, tmp_path)
            .splitlines()[-1]
            .startswith("next: alttrain eval smollm2-135m --")
        )


@pytest.mark.parametrize(("what", "names"), [("suites", list(all_suites())), ("judges", list(CHOSEN))])
def test_a_list_as_json_has_the_facts_of_the_table(
    what: str, names: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["eval", what, "--json"])
    records = result_of(done.output)
    assert [record["name"] for record in records] == names
    shared = {
        "suites": {"kind", "items", "licence", "needs", "source"},
        "judges": {"kinds", "measures", "model"},
    }
    assert all(shared[what] | {"here"} <= record.keys() for record in records)
