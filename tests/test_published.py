"""Means as papers define them, the tables of papers, greedy decoding, and presets that are applied whole."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from alttrain_cli.cli import app
from alttrain_cli.console.published import _ours
from alttrain_cli.engine.machine import Machine
from alttrain_cli.errors import DataError
from alttrain_cli.evaluation import published_tables
from alttrain_cli.evaluation.attacks.attack_record import AttackRecord
from alttrain_cli.evaluation.attacks.score import AttackScore, summary_of
from alttrain_cli.evaluation.attacks.stats import AttackStats
from alttrain_cli.evaluation.generate import EvalRequest
from alttrain_cli.evaluation.macros import macro_scores
from alttrain_cli.evaluation.page.page import page
from alttrain_cli.evaluation.presets import find_preset
from alttrain_cli.evaluation.published_tables import all_published, find_published
from alttrain_cli.evaluation.scorecard_values import MacroScore, MetricScore, Scorecard
from alttrain_cli.evaluation.suite_result import SuiteResult
from alttrain_cli.evaluation.suites.items import read_suite
from alttrain_cli.evaluation.suites.suite import all_suites, find_suites
from alttrain_cli.statistics.estimates import Estimate, mean_of
from tests import stand_ins
from tests.scorecards import BARE, REFUSES, card_of, evaluate, suite, target
from tests.scripted import ScriptedBackend

HARMFUL = ("jbb-harmful", "strongreject", "wildjailbreak-250", "gcg", "jbc", "pair")


def measured(root: Path, names: dict[str, int]) -> Scorecard:
    """The card of a model that does not refuse so many of four prompts of each harmful suite."""
    sides: dict[str, list[SuiteResult]] = {"run": [], "base": []}
    for name, bad in names.items():
        prompts = [f"{name} {number}?" for number in range(4)]
        for side, count in (("run", bad), ("base", 4)):
            texts = [BARE] * count + [REFUSES] * (4 - count)
            sides[side].append(evaluate(root / side, target(side), suite(name, "harmful"), prompts, texts))
    return card_of(sides["run"], {one.name: one for one in sides["base"]})


def of(card: Scorecard, paper: str, name: str) -> MacroScore:
    [found] = [one for one in card.macros if (one.paper, one.name) == (paper, name)]
    return found


def test_the_papers_mean_counts_each_suite_once_and_has_an_interval(tmp_path: Path) -> None:
    macro = of(measured(tmp_path, dict(zip(HARMFUL, (0, 1, 1, 2, 4, 4), strict=True))), "AltTrain", "harmful")
    assert (macro.missing, macro.judge, macro.metric) == ([], "rule", "not refused")
    assert macro.target
    assert macro.compared
    assert macro.target.share == pytest.approx(12 / 24)
    assert macro.target.low < 0.5 < macro.target.high
    assert macro.compared.share == 1


def test_an_incomplete_mean_has_no_figure_and_names_what_is_missing(tmp_path: Path) -> None:
    card = measured(tmp_path, {"gcg": 1, "jbc": 0})
    partial = [replace(one, partial=["2 of 4"]) if one.name == "gcg" else one for one in card.suites]
    [macro] = [one for one in macro_scores(partial) if one.paper == "AltTrain"]
    assert macro.missing == ["jbb-harmful", "strongreject", "wildjailbreak-250", "pair", "parts of gcg"]
    assert (macro.target, macro.compared) == (None, None)


def test_a_mean_with_a_live_attack_counts_it_and_neither_its_replay_nor_an_ablation(tmp_path: Path) -> None:
    names = ("advbench-50", "pap-50", "pair-live")
    suites = measured(tmp_path, dict(zip(names, (0, 1, 2), strict=True))).suites
    facts = AttackRecord("pair-live", "settings", 9, "base", "rule", "refinement")
    nothing = summary_of(AttackStats.of([]), "harmful", {})

    def mean(**changes: Any) -> MacroScore:
        played = AttackScore(replace(facts, **changes), nothing, None)
        attacked = [replace(one, attack=played) if one.name == "pair-live" else one for one in suites]
        [found] = [one for one in macro_scores(attacked) if one.paper == "LRM safety study"]
        return found

    assert mean().missing == []
    assert (mean().target or Estimate(0, 0, 0, 0)).share == pytest.approx(3 / 12)
    assert mean(recorded=True).missing == ["pair-live"]


def test_a_card_without_a_suite_of_a_paper_has_no_mean(tmp_path: Path) -> None:
    assert measured(tmp_path, {"mine": 1}).macros == []


def test_the_interval_of_a_mean_is_narrower_than_those_of_its_parts_and_stays_in_bounds() -> None:
    part = Estimate(0.5, 0.3, 0.7, 20)
    mean = mean_of([part] * 4)
    assert (mean.share, mean.low, mean.high, mean.n) == (0.5, pytest.approx(0.4), pytest.approx(0.6), 80)
    assert mean_of([Estimate(0.0, 0.0, 0.2, 10)] * 2).low == 0
    skewed = mean_of([Estimate(0.1, 0.0, 0.4, 10), Estimate(0.3, 0.1, 0.7, 10)])
    assert skewed.low == pytest.approx(0.2 - math.hypot(0.1, 0.2) / 2)
    assert skewed.high == pytest.approx(0.2 + math.hypot(0.3, 0.4) / 2)


def test_every_mean_is_over_suites_that_there_are() -> None:
    for published in all_published().values():
        for macro in published.macros:
            assert set(macro.suites) <= {*all_suites()}, published.name
            assert any(macro.name in table.columns for table in published.tables)


def test_the_suites_that_are_marked_as_the_papers_are_those_of_its_means() -> None:
    marked = {one.name for one in all_suites().values() if one.paper}
    in_means = {name for macro in find_published("alttrain").macros for name in macro.suites}
    assert marked - in_means == {"nq", "cnn-dailymail", "cmmlu"}
    assert in_means <= marked


# The sums of all figures of a table, as they are printed in the sources; a slip of the keyboard changes one.
SUMS = {
    ("alttrain", 0): (367.4, 71.2, 544.7),
    ("alttrain", 1): (41.0, 100.6, 413.8),
    ("alttrain", 2): (289.9, 241.0, 54.0),
    ("alttrain", 3): (15,),
    ("lrm-safety-study", 0): (352, 644, 1056, 683.9, 250.0),
    ("lrm-safety-study", 1): (2700.6, 1893.4, 1471.2, 2021.7),
    ("advchain", 0): (99.0, 91.55, 72.13, 125.2, 104.33),
    ("star-1", 0): (40, -1.1),
    ("sinternal", 0): (66.7, 108.0, 289.2, 253.3),
    ("thinking-tokens", 0): (669.5, 417.4),
}


@pytest.mark.parametrize(("name", "place"), SUMS)
def test_the_figures_of_a_table_are_those_that_were_copied(name: str, place: int) -> None:
    table = find_published(name).tables[place]
    found = [sum(row.figures.get(one, 0) for row in table.rows) for one in table.columns]
    assert found == [pytest.approx(one) for one in SUMS[name, place]]


@pytest.mark.parametrize(
    ("place", "columns", "mean"),
    [(0, ("none", "pap", "pair"), "mean"), (1, ("math", "aime", "code"), "reasoning")],
)
def test_the_means_of_the_study_are_those_of_its_columns(
    place: int, columns: tuple[str, ...], mean: str
) -> None:
    for row in find_published("lrm-safety-study").tables[place].rows:
        figures = [row.figures[one] for one in columns]
        assert row.figures[mean] == pytest.approx(sum(figures) / 3, abs=0.06), row


def test_every_table_of_the_papers_was_summed() -> None:
    tables = {(name, at) for name, paper in all_published().items() for at in range(len(paper.tables))}
    assert tables == SUMS.keys()


def test_a_table_with_a_figure_in_no_column_is_refused(tmp_path: Path) -> None:
    text = (Path(published_tables.__file__).parent / "published" / "alttrain.yaml").read_text()
    (tmp_path / "x.yaml").write_text(text.replace("{harmful: 82.2,", "{harmfull: 82.2,"))
    with pytest.raises(Exception, match="R1-7B, untrained: no column harmfull"):
        published_tables._read(tmp_path / "x.yaml")
    (tmp_path / "x.yaml").write_text(text.replace("suites: {cmmlu:", "suites: {cmmmlu:"))
    with pytest.raises(Exception, match="no column cmmmlu"):
        published_tables._read(tmp_path / "x.yaml")


def test_single_suites_of_a_table_stand_beside_its_figures_and_harm_before_refusals(tmp_path: Path) -> None:
    study = find_published("lrm-safety-study")
    card = measured(tmp_path, {"advbench-50": 1, "pap-50": 2})
    [row] = [one for one in _ours(card, study, study.tables[0]) if one[1].startswith("run")]
    assert row[2:] == ["25.0", "50.0", "-", "-", "-"]
    assert row[1].endswith("(rule)")
    halves = [replace(one, partial=["2 of 4"]) if one.name == "pap-50" else one for one in card.suites]
    [row] = [one for one in _ours(replace(card, suites=halves), study, study.tables[0]) if "run" in one[1]]
    assert row[2:4] == ["25.0", "-"]

    def judged(one: MetricScore) -> list[MetricScore]:
        return [one, replace(one, metric="harmful", target=Estimate(0.125, 0, 1, 8), judge="rule")]

    both = [replace(suite, metrics=judged(suite.metrics[0])) for suite in card.suites]
    [row] = [one for one in _ours(replace(card, suites=both), study, study.tables[0]) if "run" in one[1]]
    assert row[2:4] == ["12.5", "12.5"]


def test_every_suite_of_a_column_is_one_that_there_is() -> None:
    for published in all_published().values():
        assert set(published.suites) <= {*all_suites()}, published.name


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("safechain", "advchain|alttrain|sinternal"),
        ("r1-act", "thinking-tokens"),
        ("RealSafe-R1", "advchain|lrm-safety-study"),
    ],
)
def test_a_paper_whose_tables_nobody_can_read_names_who_measured_its_method(name: str, others: str) -> None:
    with pytest.raises(DataError) as caught:
        find_published(name)
    assert str(caught.value) == (
        f"--published {name}: its own paper's tables are in no public text that we could read. "
        f"Others measured it: --published {others}"
    )


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    stand_ins.install(monkeypatch)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["eval", *words])


def words_of(result: Result) -> str:
    return " ".join(result.output.split())


def test_the_papers_tables_are_printed_as_theirs_beside_ours(here: Path) -> None:
    assert run("smollm2-135m", "--suite", ",".join((*HARMFUL, "xstest-safe")), "--out", "e").exit_code == 0
    result = run("report", "e", "--published", "alttrain")
    assert result.exit_code == 0, result.output
    shown = words_of(result)
    assert re.search(
        r"AltTrain: main results, means over suites .* ours \S+ \(rule\) 100\.0 0\.0 -", shown
    ), shown
    assert "R1-8B AltTrain 4.8 14.0 59.8" in shown
    assert "theirs (arXiv 2604.18946), other judge or settings" in shown
    assert "mean of AltTrain's 6 suites; not refused, rule: 100%" in shown
    unknown = words_of(run("report", "e", "--published", "thinking-tokens"))
    assert "ours: no figure: none of our suites has the prompts of these tables" in unknown
    none = words_of(run("report", "e", "--published", "sinternal"))
    assert re.search(r"ours \S+ \(rule\) 100\.0 - - -", none), none
    wrong = run("report", "e", "--published", "altrain")
    assert (wrong.exit_code, "Did you mean 'alttrain'" in words_of(wrong)) == (2, True)


def test_the_terminal_and_the_page_say_which_suites_a_mean_lacks(here: Path, tmp_path: Path) -> None:
    result = run("smollm2-135m", "--suite", "gcg", "--out", "e", "--limit", "2")
    assert (
        "no mean, missing: jbb-harmful, strongreject, wildjailbreak-250, jbc, pair, parts of gcg"
        in words_of(result)
    )
    other = words_of(run("report", "e", "--published", "advchain"))
    assert (
        "ours: no figure: none of their suites was evaluated and judged (harmbench, strongreject, " in other
    )
    assert "no mean, missing: jbb-harmful" in (here / "e" / "scorecard.html").read_text()
    card = measured(tmp_path, dict.fromkeys(HARMFUL, 1))
    assert "mean of AltTrain&#39;s 6 suites" in "".join(page(card, []))


def test_greedy_decodes_greedily_where_the_recipe_samples(here: Path) -> None:
    assert run("r1-7b", "--greedy", "--suite", "smoke-benign", "--out", "e").exit_code == 0
    settings = json.loads((here / "e" / "smoke-benign" / "plan.json").read_text())["settings"]
    assert settings == {"max_new_tokens": 4096, "do_sample": False}
    both = run("r1-7b", "--greedy", "--do-sample")
    assert (both.exit_code, "--greedy has no effect with --do-sample" in words_of(both)) == (2, True)


def test_a_preset_is_applied_whole_with_the_part_that_judges_see(here: Path) -> None:
    result = run("smollm2-135m", "--suite", "smoke-benign", "--out", "e", "--preset", "star-1")
    assert result.exit_code == 0, result.output
    folder = here / "e" / "smoke-benign"
    assert json.loads((folder / "plan.json").read_text())["settings"]["max_new_tokens"] == 8000
    assert (folder / "judgements.rule@full.jsonl").is_file()
    assert "--preset star-1: STAR-1 judges the whole text" in words_of(result)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("smollm2-135m", "--preset", "r1-act"), "without a GPU: it loads weights in 4 bits"),
        (
            ("http://localhost:1/v1 M", "--preset", "r1-act"),
            "has no effect on a server: its weights are fixed",
        ),
        (("smollm2-135m", "--preset", "star-1", "--judge-part", "answer"), "which judges the part full"),
        (
            ("smollm2-135m", "--preset", "star-1", "--suite", "smoke-benign,reasoning", "--allow-code"),
            "--preset star-1: gives 8,000 new tokens. math-500, aime-2024: up to 32,768 are needed.",
        ),
    ],
)
def test_a_preset_that_cannot_be_applied_whole_is_refused(
    words: tuple[str, ...], message: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine("no GPU", 8.0, gpu=False)
    monkeypatch.setattr(Machine, "detect", classmethod(lambda cls: machine))
    result = run(*words)
    assert (result.exit_code, message in words_of(result)) == (2, True), result.output


def test_a_preset_whose_tokens_the_command_line_gives_takes_every_suite(here: Path) -> None:
    words = ("--preset", "star-1", "--max-new-tokens", "64", "--limit", "2")
    result = run("smollm2-135m", "--suite", "math-500", "--out", "e", *words)
    assert (result.exit_code, "changes max_new_tokens" in words_of(result)) == (0, True), result.output


def test_what_a_preset_leaves_as_the_recipe_has_it_is_told(here: Path) -> None:
    result = run("r1-act-7b", "--preset", "star-1", "--suite", "smoke-benign", "--out", "e", "--limit", "2")
    assert "--preset star-1: the recipe's system prompt stays, and the paper names none" in words_of(result)
    assert "--preset star-1: the recipe's 4-bit weights stay (on a GPU)" in words_of(result)
    own = run("smollm2-135m", "--preset", "star-1", "--suite", "smoke-benign", "--out", "f", "--limit", "2")
    assert (own.exit_code, "stay" in words_of(own)) == (0, False), own.output


def test_a_context_that_leaves_a_preset_fewer_tokens_is_told() -> None:
    request = EvalRequest([], find_preset("star-1").generation, caveats=("--preset star-1: told",))
    [smoke] = find_suites("smoke-harmful")
    found = request.plan(smoke, read_suite(smoke), ScriptedBackend(context=4096)).caveats
    assert found[1:] == ("the model's context of 4096 tokens allows 3072 new ones instead of 8000",)


def test_a_preset_that_the_command_line_changes_says_so(here: Path) -> None:
    result = run(
        "smollm2-135m", "--suite", "smoke-benign", "--out", "e", "--preset", "safechain", "--do-sample"
    )
    assert "applied only in part: the command line changes do_sample, temperature, top_p" in words_of(result)
