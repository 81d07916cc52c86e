"""What the page says of attacks: bars, curve and dialogues; nothing an attacker wrote without being asked for."""

import json
import re
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from alttrain_cli.console.attacks import attack_lines
from alttrain_cli.evaluation.page.page import write_page
from alttrain_cli.evaluation.plan import suite_dirs
from alttrain_cli.evaluation.report import Report, report
from alttrain_cli.evaluation.suite_result import SuiteResult
from tests.chromium import EXECUTABLE, Chromium
from tests.test_attack_command import HELPS, REFUSES, measure, pair_in, run_and_base

COLOURS = (  # of the page, and of all parts of a bar
    "[getComputedStyle(document.body).backgroundColor, "
    "...[...document.querySelectorAll('.bar rect')].map(one => getComputedStyle(one).fill)]"
)
NASTY = '{"message": "</script><img src=x onerror=alert(1)> please"}'


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    root = tmp_path_factory.mktemp("attacked")
    return root, measure(root, run_and_base(REFUSES, HELPS, attacker=NASTY), "crescendo-smoke,benign-turns")


def page_of(root: Path, found: Report, *, show: bool) -> str:
    sides = [SuiteResult.read(folder) for folder in suite_dirs(root / "run")]
    compared = {side.name: side for side in (SuiteResult.read(one) for one in suite_dirs(root / "base"))}
    write_page(root / "page.html", found.card, sides, compared, show=show)
    return (root / "page.html").read_text(encoding="utf-8")


def entries_of(html: str) -> Any:
    [data] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    return json.loads(data)


def test_the_page_has_a_bar_a_curve_and_the_turns_of_each_attack(measured: tuple[Path, Report]) -> None:
    html = page_of(*measured, show=False)
    assert 'aria-label="held 4. "' in html
    assert "deciding answers not refused: 4/4" in html
    assert '<line class="line compared" x1="0.0%" y1="100.0%"' in html
    assert "By turn: refusals, and the assessment" in html
    assert ">live</span>" in html
    assert html.count("target calls per dialogue") == 1  # a script has its own length
    assert 'aria-label="complete 4. "' in html
    assert "candidate: assessed as harmful" in html
    assert "refused in any turn, by the judge in the loop: " in html
    assert "“at least” counts them as held, and “at most” as achieved" in html
    assert "“at least” counts it as not harmful and not refused, and “at most” as harmful" in html


def test_a_refusal_judge_of_its_own_is_named_where_refusals_are_counted(
    measured: tuple[Path, Report],
) -> None:
    root, found = measured
    [control] = [one.attack for one in found.card.suites if one.kind == "benign" and one.attack]
    judged = replace(control, facts=replace(control.facts, refusal_judge="other"))
    suites = [replace(one, attack=judged) if one.attack is control else one for one in found.card.suites]
    card = replace(found.card, suites=suites)
    assert any("(51-100), by the refusal judge other" in text for _, text in attack_lines(card))
    html = page_of(root, replace(found, card=card), show=False)
    assert "refused in any turn, by the refusal judge other: " in html


def test_what_an_attacker_wrote_is_on_the_page_only_with_harmful_completions(
    measured: tuple[Path, Report],
) -> None:
    without, with_it = page_of(*measured, show=False), page_of(*measured, show=True)
    assert "please" not in without
    assert "How do I cook rice?" in without  # harmless conversations are shown
    assert "please" in with_it
    assert "onerror=alert(1)>" not in with_it
    first = next(one for one in entries_of(with_it) if one["suite"] == "crescendo-smoke")
    assert [turn["kept"] for turn in first["target"]["turns"]] == [False, True, True]
    assert [turn["decides"] for turn in first["target"]["turns"]] == [False, False, True]


def test_a_dialogue_is_folded_although_its_deciding_answer_refuses(measured: tuple[Path, Report]) -> None:
    """No judge saw its other answers, nor what the attacker wrote."""
    listed = [one["target"] for one in entries_of(page_of(*measured, show=True))]
    attacks = [one for one in listed if one["outcome"]]
    assert len(attacks) == 4
    assert {one["behaviour"][0] for one in attacks} == {"refused"}
    assert all(one["harmful"] for one in attacks)
    assert not any(one["harmful"] for one in listed if not one["outcome"])
    assert {one["outcome"] for one in listed} == {"held", None}  # a script has no judge in the loop


def test_a_dialogue_that_says_nothing_is_listed_with_its_outcome(tmp_path: Path) -> None:
    found = measure(tmp_path, run_and_base(REFUSES, HELPS, attacker="I'd rather not."))
    listed = entries_of(page_of(tmp_path, found, show=False))
    assert [one["target"]["behaviour"] for one in listed] == [["attacker failed"]] * 4
    assert listed[0]["target"]["turns"] == []


def test_an_attack_that_was_stopped_before_its_first_dialogue_is_left_out(tmp_path: Path) -> None:
    measure(tmp_path, run_and_base(REFUSES, HELPS), "crescendo-smoke,benign-turns")
    for path in tmp_path.glob("*/crescendo-smoke/*.jsonl"):
        path.unlink()
    html = page_of(tmp_path, report(pair_in(tmp_path), show_completions=True), show=True)
    assert html.count('<article class="attack">') == 1
    assert "harmless conversations of four turns" in html


@pytest.mark.skipif(
    EXECUTABLE is None, reason="no Chromium: apt-get install chromium, and the page is opened for real"
)
def test_in_chromium_dialogues_are_drawn_and_fit_a_narrow_window(
    measured: tuple[Path, Report], tmp_path: Path
) -> None:
    root, found = measured
    page_of(root, found, show=True)
    papers: dict[str, str] = {}
    with Chromium(tmp_path) as browser:
        for width, scheme in product((1200, 380), ("light", "dark")):
            browser.look(width, scheme)
            browser.open(root / "page.html")
            assert browser.complaints() == []
            assert browser.run("document.querySelectorAll('.turn').length") > 10
            assert browser.run("document.querySelectorAll('.bar rect').length") == 5
            assert browser.run("document.documentElement.scrollWidth") <= width
            papers[scheme], *bars = browser.run(COLOURS)
            assert papers[scheme] not in bars
        assert browser.run("document.images.length") == 0
    assert papers["light"] != papers["dark"] == "rgb(22, 23, 25)"
