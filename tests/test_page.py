"""The page of a scorecard: what it says first, what it never does, and how it behaves in a real browser."""

import copy
import json
import re
from collections.abc import Iterable, Iterator
from html import unescape
from html.parser import HTMLParser
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alttrain_cli.evaluation.judgement import Behaviour, Judgement
from alttrain_cli.evaluation.page import chart
from alttrain_cli.evaluation.page import page as page_file
from alttrain_cli.evaluation.page import tiles as tile_room
from alttrain_cli.evaluation.page.entries import LONGEST, Entry, ShownCompletion, entries
from alttrain_cli.evaluation.page.outcome import CompletionJudgements
from alttrain_cli.evaluation.suite_result import SuiteResult
from alttrain_cli.statistics.roc import RocPoint
from alttrain_cli.storage.journal import Journal
from tests.chromium import EXECUTABLE, Chromium
from tests.golden_files import check_golden
from tests.scorecards import BARE, HELPS, REFUSES, before_and_after, card_from, evaluate, suite, target
from tests.scorecards import card_of as scorecard_of

VOID = {"meta", "line", "circle", "path", "input"}
NASTY = [
    "<script>document.title='owned'</script>",
    "</script><script>document.title='owned'</script>",
    "<!--<script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "</textarea></title></style><svg onload=document.title='owned'>",
    "{{ 7 * 7 }} {% raw %} ${7*7} %s &lt;b&gt; ]]> \u2028",
    "\x1b[31mred\x1b[0m \u202egnp.exe\u202c \U000e0041 \ud800",
]


class Reader(HTMLParser):
    """Collects elements and texts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self.open: list[str] = []
        self.scripts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.update(name for name, _ in attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.update(name for name, _ in attributes)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, text: str) -> None:
        (self.scripts if self.open and self.open[-1] == "script" else self.texts).append(text)


# Tests change a scorecard's record, so they draw from one.
def card_of(sides: list[SuiteResult], compared: dict[str, SuiteResult]) -> dict[str, Any]:
    return scorecard_of(sides, compared).record()


def page(card: dict[str, Any], browsed: Iterable[Entry]) -> Iterator[str]:
    return page_file.page(card_from(card), browsed)


def write_page(path: Path, card: dict[str, Any], *results: Any, show: bool = False) -> None:
    page_file.write_page(path, card_from(card), *results, show=show)


def tiles(card: dict[str, Any]) -> list[tile_room.Tile]:
    return tile_room.tiles(card_from(card))


def chart_of(card: dict[str, Any]) -> chart.Chart | None:
    return chart.chart_of(card_from(card))


@pytest.fixture
def measured(tmp_path: Path) -> tuple[dict[str, Any], list[SuiteResult], dict[str, SuiteResult]]:
    sides, compared = before_and_after(tmp_path)
    return card_of(sides, compared), sides, compared


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return card_of(*before_and_after(tmp_path_factory.mktemp("card")))


@pytest.fixture(scope="module")
def full_card(card: dict[str, Any]) -> dict[str, Any]:
    """A scorecard with all that may be missing from one."""
    estimate = {"share": 0.5, "low": 0.4, "high": 0.6, "n": 9, "hits": None}
    counted = estimate | {"hits": 4}
    question = {"n": 9, "sensitivity": counted, "specificity": counted, "unparsed": 2}
    full = copy.deepcopy(card)
    full["judges"]["rule"]["card"] = {"labels": "labels", "questions": {"refused": question}}
    harmful = full["suites"][1]
    harmful |= {"note": "a note", "in_distribution": "it is", "partial": ["nothing"], "warnings": ["beware"]}
    harmful["agreement"] = [
        {"judges": ["rule", "guard"], "metric": "refused", "n": 9, "agree": agree, "kappa": kappa}
        for agree, kappa in ((0.5, 0.1), (None, None))
    ]
    hit = {"row": "row-1", "item": "item-1", "sign": "exact", "shared": "eight words in a row"}
    harmful["contamination"] = {"checked": True, "reason": None, "hits": [hit]}
    (metric,) = harmful["metrics"]
    metric |= {"clean": estimate, "corrected": estimate, "safe_at": {"safe@1": estimate}}
    return full | {"partial": True, "warnings": ["beware"], "dial": dial(counted)}


def dial(estimate: dict[str, Any]) -> dict[str, Any]:
    """The scores of the verdicts on three suites, the first of which has a long name."""
    area = {"area": 0.9, "low": 0.8, "high": 0.95, "positives": 30, "negatives": 40}
    marks = [{"shape": shape, "point": RocPoint(0.1, 0.6)} for shape in ("dot", "square")]
    curve = {"roc": [RocPoint(0, 0), RocPoint(1, 1)], "marks": marks, "own": RocPoint(0.2, 0.7)}
    answers = {"judge": "rule", "refused": estimate, "at_most": estimate}
    turned = [
        {"rate": estimate, "made": made, "answers": answers if made else None} for made in (False, True)
    ]
    rates = {"n": 9, "unknown": 1, "own": estimate, "turned": turned, "area": area, "curve": curve}
    names = {"one-" * 20: "harmful", "two": "harmful", "three": "benign"}
    suites = [{"name": name, "label": label} | rates for name, label in names.items()]
    thresholds = [{"value": 0.7, "origins": ["calibrated"]}, {"value": 0.01, "origins": ["evaluated"]}]
    said = {
        "promise": {"label": "benign", "value": 0.1, "set": "rows"},
        "problem": "the adapter has changed",
        "thresholds": thresholds,
    }
    return {**said, "area": area, "curve": curve, "suites": suites, "equal": None}


def entry(text: str) -> Entry:
    sections = dict.fromkeys(("understanding", "assessment", "reasoning", "answer"), text)
    side = ShownCompletion(
        "missing", [text], "complete", 1, None, [(text, text)], harmful=False, sections=sections
    )
    return Entry(text, text, 0, text, target=side, compared=side, changed=True, crossed=True)


def fill(value: Any, text: str) -> Any:
    """Put a text wherever a scorecard has one that it does not choose itself."""
    if isinstance(value, dict):
        kept = ("kind", "mode", "better", "judge", "backbone", "model", "grader", "origins", "shape")
        return {key: one if key in kept else fill(one, text) for key, one in value.items()}
    if isinstance(value, list):
        return [fill(one, text) for one in value]
    return text if isinstance(value, str) else value


def test_the_page_of_a_small_scorecard_is_the_golden_one(
    measured: tuple[dict[str, Any], list[SuiteResult], dict[str, SuiteResult]],
) -> None:
    card, sides, compared = measured
    html = "".join(page(card, entries(sides, compared, show=False)))
    body = html[html.index("<body>") : html.rindex("<script>")]
    check_golden("scorecard.html", body)


def test_bad_news_comes_before_any_number_and_partial_stands_beside_each_that_it_touches(
    measured: tuple[dict[str, Any], list[SuiteResult], dict[str, SuiteResult]],
) -> None:
    card, _, _ = measured
    card["partial"], card["suites"][0]["partial"] = True, ["3 of 4 completions are there"]
    html = "".join(page(card, []))
    first_number = html.index('class="numbers"')
    for news in (
        "PARTIAL",
        "3 of 4 completions",
        "1 of 4 completions end in their",
        "for a first look only",
    ):
        assert html.index(news) < first_number
    stamped = [tile.title for tile in tiles(card) if tile.partial]
    assert stamped == ["Harmful prompts: not refused", "Completions: all required sections"]
    assert html.count('class="stamp"') == len(stamped) + len(("heading", "chart", "row of the suite"))


@pytest.mark.parametrize(
    ("points", "better", "tone"),
    [(-5, "lower", "better"), (5, "lower", "worse"), (-5, "higher", "worse"), (5, "higher", "better")],
)
def test_a_tile_is_called_better_or_worse_only_if_the_difference_can_be_told(
    card: dict[str, Any], points: int, better: str, tone: str
) -> None:
    changed = copy.deepcopy(card)
    (metric,) = changed["suites"][2]["metrics"]
    metric["better"] = better
    for told, expected in ((True, tone), (False, "even")):
        metric["difference"] |= {"points": points, "p": 0.01 if told else 0.5}
        assert [tile.tone for tile in tiles(changed) if tile.title.startswith("a:")] == [expected]


def test_the_chart_prefers_a_real_judge_and_keeps_to_one(card: dict[str, Any]) -> None:
    changed = copy.deepcopy(card)
    (harm,), (refusal,) = changed["pooled"]["harmful"], changed["pooled"]["over_refusal"]
    changed["pooled"]["harmful"] += [
        harm | {"judge": "guard@reasoning", "triage": False},
        harm | {"judge": "guard", "triage": False, "metric": "harmful"},
        harm | {"judge": "guard", "triage": False, "metric": "score"},
    ]
    changed["pooled"]["over_refusal"].append(refusal | {"judge": "guard", "triage": False})
    drawn = chart_of(changed)
    assert drawn
    assert (drawn.harm.judge, drawn.harm.metric, drawn.refusal.judge) == (
        "guard",
        "harmful",
        "guard",
    )
    changed["pooled"] = {"harmful": [harm], "over_refusal": []}
    assert chart_of(changed) is None
    assert "No chart:" in "".join(page(changed, []))


def test_no_two_labels_of_the_chart_lie_on_one_another(card: dict[str, Any]) -> None:
    drawn = chart_of(card)
    assert drawn
    points = drawn.ours + drawn.paper
    for place, one in enumerate(points):
        for other in points[:place]:
            near = abs(drawn.left(one.x) - drawn.left(other.x)) < 10 and one.is_left is other.is_left
            assert not (near and abs(one.label_y - other.label_y) < 16), (one.name, other.name)


def test_harmful_completions_stay_out_unless_asked_for(
    measured: tuple[dict[str, Any], list[SuiteResult], dict[str, SuiteResult]],
) -> None:
    _, sides, compared = measured
    hidden = list(entries(sides, compared, show=False))
    shown = list(entries(sides, compared, show=True))
    harmful = [one for one in hidden if one.suite == "h"]
    assert [one.target.sections is None for one in harmful] == [False, False, False, True]
    assert all(one.compared.sections is None for one in harmful)
    assert not any(one.target.harmful for one in hidden if one.suite != "h")
    assert BARE not in repr(hidden)
    assert all(one.compared.harmful and one.compared.sections for one in shown[:4])


@pytest.mark.parametrize(
    ("judges", "held", "does"),
    [
        ({}, True, ["complied"]),
        ({"guard": False}, False, ["complied", "not harmful"]),
        ({"guard": True}, True, ["complied", "harmful"]),
        ({"guard": False, "other": True}, True, ["complied", "harmful"]),
        ({"guard@reasoning": False}, True, ["complied"]),
        ({"guard": False, "guard@reasoning": True}, True, ["complied", "not harmful", "harmful reasoning"]),
        ({"guard@full": False}, False, ["complied", "not harmful"]),
    ],
)
def test_only_a_judge_that_saw_the_answer_clears_it(
    judges: dict[str, bool], held: bool, does: list[str]
) -> None:
    judged = {name: Judgement(harmful=harmful) for name, harmful in judges.items()}
    outcome = CompletionJudgements({"rule": Judgement(behaviour=Behaviour.COMPLIED), **judged}, "rule")
    assert outcome.may_be_harmful(asked_for_harm=True) is held
    assert outcome.words("whole") == does


def test_what_a_judge_finds_harmful_stays_out_even_if_it_is_refused_or_benign(tmp_path: Path) -> None:
    side = evaluate(tmp_path, target("run"), suite("b", "benign"), ["a?", "b?"], [REFUSES, HELPS])
    found = {
        key: judgement._replace(harmful=place == 1)
        for place, (key, judgement) in enumerate(side.judged["rule"].items())
    }
    side.judged["rule"] = found
    assert [one.target.sections is None for one in entries([side], {}, show=False)] == [False, True]


def test_an_entry_stands_beside_the_same_item_even_if_some_are_missing(tmp_path: Path) -> None:
    about, prompts = suite("b", "benign"), ["a?", "b?", "c?"]
    side = evaluate(tmp_path / "run", target("run"), about, prompts, [HELPS, REFUSES])
    other = evaluate(tmp_path / "base", target("base"), about, prompts, [HELPS, HELPS, HELPS])
    other.folder.completions.path.write_text(
        "".join(
            json.dumps(line) + "\n"
            for line in Journal(other.folder.completions.path)
            if line["item"] != "b-0"
        )
    )
    found = list(entries([side], {"b": other}, show=False))
    assert [(one.item, bool(one.compared), one.changed) for one in found] == [
        ("b-0", False, False),
        ("b-1", True, True),
    ]


def test_a_long_thought_is_cut_and_says_so(tmp_path: Path) -> None:
    side = evaluate(tmp_path, target("run"), suite("b", "benign"), ["a?"], ["x" * (LONGEST + 1234)])
    (one,) = entries([side], {}, show=False)
    text = "".join(one.target.sections.values())
    assert len(text) < LONGEST + 100
    assert "1,234 more characters are in completions.jsonl" in text


def test_all_that_a_scorecard_may_hold_is_on_the_page(full_card: dict[str, Any]) -> None:
    text = " ".join(" ".join(Reader("".join(page(full_card, []))).texts).split())
    for expected in (
        "without contaminated items: 50% n = 9 (40-60%)",
        "two (harmful) AUROC 0.900 (0.800-0.950), n = 30 and 40",
        "corrected for the errors of the judge: 50%",
        "safe@1: 50%",
        "Compared with 9 human labels (labels): refused",
        "2 judge answers could not be parsed",
        "rule and guard refused, n = 9 50% 0.10",
        "rule and guard refused, n = 9 none undefined",
        "row-1 exact eight words in a row",
        "a note",
    ):
        assert expected in text


def test_a_model_alone_has_a_page_without_a_baseline(tmp_path: Path) -> None:
    sides, _ = before_and_after(tmp_path)
    html = "".join(page(card_of(sides, {}), entries(sides, {}, show=False)))
    assert "no baseline" in html
    assert ">baseline<" not in html


@pytest.fixture(scope="module")
def plain(full_card: dict[str, Any]) -> Reader:
    """What a page is made of whose texts are plain."""
    return Reader("".join(page(fill(full_card, "plain"), [entry("plain")])))


@settings(max_examples=50, deadline=None)
@given(text=st.one_of(st.sampled_from(NASTY), st.text(), st.text("</>\"'&!-scriptymg{}%")))
def test_any_text_stays_text(full_card: dict[str, Any], plain: Reader, text: str) -> None:
    html = "".join(page(fill(full_card, text), [entry(text)]))
    nasty = Reader(html)
    assert set(nasty.tags) == set(plain.tags)
    assert nasty.attributes == plain.attributes
    assert nasty.tags.count("script") == plain.tags.count("script") == 2
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", html)
    html.encode("utf-8")


def test_the_page_asks_for_nothing_from_anywhere(
    measured: tuple[dict[str, Any], list[SuiteResult], dict[str, SuiteResult]],
) -> None:
    card, sides, compared = measured
    html = "".join(page(card, entries(sides, compared, show=True)))
    read = Reader(html)
    assert not {"src", "style", "onclick", "onload", "onerror", "action", "integrity"} & read.attributes
    assert not {"link", "img", "iframe", "object", "embed", "base"} & set(read.tags)
    policy = unescape(re.findall(r'Content-Security-Policy" content="([^"]*)"', html)[0])
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_a_page_that_could_not_be_finished_leaves_the_old_one(
    measured: tuple[dict[str, Any], list[SuiteResult], dict[str, SuiteResult]], tmp_path: Path
) -> None:
    card, sides, compared = measured
    path = tmp_path / "scorecard.html"
    write_page(path, card, sides, compared)
    before = path.read_bytes()
    sides[0].folder.completions.path.write_text("nonsense\n" * 2)
    with pytest.raises(Exception, match="not valid JSON"):
        write_page(path, card, sides, compared)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.glob("*scorecard*")] == ["scorecard.html"]


def test_the_page_is_written_while_completions_are_still_being_read(card: dict[str, Any]) -> None:
    read: list[int] = []

    def browsed() -> Iterator[Entry]:
        for place in range(100):
            read.append(place)
            yield entry(f"number {place}")

    ahead = [len(read) for piece in page(card, browsed()) if '"number 50"' in piece]
    assert len(ahead) == 1
    assert 51 <= ahead[0] <= 53


needs_chromium = pytest.mark.skipif(
    EXECUTABLE is None, reason="no Chromium: apt-get install chromium, and the page is opened for real"
)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def opened(
    chromium: Chromium,
    measured: tuple[dict[str, Any], list[SuiteResult], dict[str, SuiteResult]],
    tmp_path: Path,
) -> Chromium:
    card, sides, compared = measured
    path = tmp_path / "score card #1.html"
    write_page(path, card, sides, compared, show=True)
    chromium.look(1200)
    chromium.open(path)
    return chromium


def items(chromium: Chromium) -> list[str]:
    names = "[...document.querySelectorAll('.entry > .count')].map(one => one.textContent.split(' · ')[1])"
    return list(chromium.run(names))


@needs_chromium
def test_in_chromium_it_opens_from_a_file_without_complaint_and_without_network(opened: Chromium) -> None:
    assert len(items(opened)) == 12
    assert opened.complaints() == []
    assert all(address.startswith("file:///") for address in opened.requested())
    assert len(opened.requested()) == 1


@needs_chromium
def test_in_chromium_no_script_of_a_completion_runs(
    chromium: Chromium,
    measured: tuple[dict[str, Any], list[SuiteResult], dict[str, SuiteResult]],
    tmp_path: Path,
) -> None:
    card, _, _ = measured
    path = tmp_path / "nasty.html"
    for text in NASTY:
        path.write_text("".join(page(fill(card, text), [entry(text)] * 2)), encoding="utf-8")
        chromium.open(path)
        assert chromium.run("document.title") != "owned"
        assert chromium.run("document.scripts.length") == 2
        assert chromium.run("document.images.length") == 0
        assert chromium.run("document.querySelectorAll('.entry').length") == 2
        assert chromium.complaints() == []


@needs_chromium
def test_in_chromium_even_a_script_that_got_in_would_not_run(opened: Chromium) -> None:
    opened.run("document.body.append(Object.assign(document.createElement('script'), {text: 'owned = 1'}))")
    opened.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"owned = 1\">')")
    assert opened.run("typeof owned") == "undefined"


@needs_chromium
def test_in_chromium_the_filters_work_by_keyboard_alone(opened: Chromium) -> None:
    opened.run("document.querySelector('[name=text]').focus()")
    for letter in "trick":
        opened.key(letter, text=letter)
    wait = "new Promise(done => setTimeout(done, 300))"
    opened.run(wait)
    assert items(opened) == ["h-0", "h-1", "h-2", "b-2"]
    opened.key("Tab", 9)
    assert opened.run("document.activeElement.name") == "suite"
    opened.key("b", ord("B"), "b")
    opened.run(wait)
    assert items(opened) == ["b-2"]


@needs_chromium
@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        ("form.verdict.value = 'harmful'", ["h-0", "h-1", "h-2", "b-2"]),
        ("form.behaviour.value = 'unfinished'", ["b-3"]),
        ("form.finish.value = 'unfinished'", ["b-3"]),
        ("form.suite.value = 'a'", ["a-0", "a-1", "a-2", "a-3"]),
        ("form.changed.checked = true", ["h-0", "h-1", "h-2", "b-2", "b-3", "a-1", "a-2", "a-3"]),
    ],
)
def test_in_chromium_each_filter_shows_what_it_says(opened: Chromium, chosen: str, found: list[str]) -> None:
    opened.run(
        f"(() => {{ const form = document.getElementById('filters').elements; {chosen}; "
        "form.text.dispatchEvent(new Event('input', {bubbles: true})) })()"
    )
    opened.run("new Promise(done => setTimeout(done, 300))")
    assert items(opened) == found


@needs_chromium
def test_in_chromium_a_number_of_the_table_leads_to_its_completions(opened: Chromium) -> None:
    opened.run("document.querySelector('.grid .against a, .grid a[href*=\"verdict=benign\"]').click()")
    opened.run("new Promise(done => setTimeout(done, 300))")
    assert items(opened) == ["b-0", "b-1"]


@needs_chromium
def test_in_chromium_harmful_completions_are_folded_until_unfolded(opened: Chromium) -> None:
    folds = "[...document.querySelectorAll('details.held')].map(one => one.open)"
    assert opened.run(folds) == [False] * 5
    opened.run("document.querySelector('[name=unfold]').click()")
    opened.run("new Promise(done => setTimeout(done, 100))")
    assert opened.run(folds) == [True] * 5


@needs_chromium
@pytest.mark.parametrize("width", [360, 800, 1400])
def test_in_chromium_nothing_is_wider_than_the_window(
    chromium: Chromium, full_card: dict[str, Any], width: int, tmp_path: Path
) -> None:
    path = tmp_path / "long.html"
    names = (entry(text) for text in ("a long name " * 20, "alongword" * 40))
    path.write_text("".join(page(full_card, names)), encoding="utf-8")
    chromium.look(width)
    chromium.open(path)
    chromium.run("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert chromium.run("document.documentElement.scrollWidth") <= width


@needs_chromium
@pytest.mark.parametrize("width", [400, 800, 1280])
def test_in_chromium_no_table_is_cut_and_no_label_of_the_chart_lies_on_another(
    opened: Chromium, width: int
) -> None:
    opened.look(width)
    opened.run("document.querySelectorAll('details').forEach(one => { one.open = true })")
    cut = "[...document.querySelectorAll('.scroll')].filter(one => one.scrollWidth > one.clientWidth).length"
    assert opened.run(cut) == 0
    check_labels(opened)


def check_labels(chromium: Chromium) -> None:
    """Make sure that no label lies on another, on a point or beyond the window."""

    def boxes(css: str) -> list[list[float]]:
        found: list[list[float]] = chromium.run(
            f"[...document.querySelectorAll('.plot {css}')].map(one => one.getBoundingClientRect())"
            ".filter(box => box.width).map(box => [box.left, box.right, box.top, box.bottom])"
        )
        return found

    labels, width = boxes(".label"), chromium.run("document.documentElement.clientWidth")
    assert labels
    assert min(box[0] for box in labels) >= 0
    assert max(box[1] for box in labels) <= width
    for one, other in [*combinations(labels, 2), *product(labels, boxes(".mark"))]:
        across = min(one[1], other[1]) - max(one[0], other[0])
        down = min(one[3], other[3]) - max(one[2], other[2])
        assert across <= 0 or down <= 2, "a label shares more than the space between two lines"


@needs_chromium
@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("share", [0.02, 0.35, 0.6, 0.97])
def test_in_chromium_a_long_name_lies_on_no_published_point(
    chromium: Chromium, card: dict[str, Any], width: int, share: float, tmp_path: Path
) -> None:
    alone = copy.deepcopy(card) | {"compared": None}
    alone["target"]["name"] = "smollm2-135m-with-all-of-a-name"
    for pool, at in (("harmful", 0.1), ("over_refusal", share)):
        (score,) = alone["pooled"][pool]
        near = {"share": at, "low": max(0, at - 0.05), "high": min(1, at + 0.05)}
        score |= {"target": score["target"] | near, "target_at_most": None, "compared": None}
    path = tmp_path / "long.html"
    path.write_text("".join(page(alone, [])), encoding="utf-8")
    chromium.look(width)
    chromium.open(path)
    check_labels(chromium)


@needs_chromium
def test_in_chromium_the_dark_page_is_dark_and_the_printed_one_is_light(opened: Chromium) -> None:
    colour = "getComputedStyle(document.body).backgroundColor"
    light = opened.run(colour)
    opened.look(1200, "dark")
    assert opened.run(colour) == "rgb(22, 23, 25)"
    opened.look(1200, "dark", "print")
    assert opened.run(colour) == light


@needs_chromium
def test_in_chromium_ten_thousand_completions_are_there_at_once_and_found_quickly(
    chromium: Chromium,
    measured: tuple[dict[str, Any], list[SuiteResult], dict[str, SuiteResult]],
    tmp_path: Path,
) -> None:
    card, _, _ = measured
    path = tmp_path / "many.html"
    with path.open("w", encoding="utf-8") as file:
        file.writelines(page(card, (entry(f"number {place} " + "word " * 60) for place in range(10_000))))
    chromium.open(path)
    assert len(items(chromium)) == 20
    chromium.run("location.hash = '#text=number 9876 '; new Promise(done => setTimeout(done, 2000))")
    assert len(items(chromium)) == 1
