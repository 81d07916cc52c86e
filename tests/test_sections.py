"""The order of the sections: a style with another order trains, is read back and is not out of order."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from rich.console import Console
from typer.testing import CliRunner

from alttrain_cli import console
from alttrain_cli.backends.base import Completion, Request
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.target import find_target
from alttrain_cli.chat.completion import stream_completion
from alttrain_cli.chat.settings import Settings
from alttrain_cli.cli import app
from alttrain_cli.console.live import CompletionView
from alttrain_cli.console.sections import pair_view, trace_view
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.errors import DataError, RunError
from alttrain_cli.evaluation.generate import EvalRequest
from alttrain_cli.evaluation.page.entries import entries
from alttrain_cli.evaluation.page.page import page
from alttrain_cli.evaluation.plan import SuiteDir
from alttrain_cli.evaluation.suite_result import SuiteResult
from alttrain_cli.evaluation.suites.published import read_suites
from alttrain_cli.evaluation.suites.suite import find_suites
from alttrain_cli.progress import Progress
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.files import write_jsonl
from alttrain_cli.storage.run import Run
from alttrain_cli.structure.markers import THINK
from alttrain_cli.structure.order_warnings import order_warnings
from alttrain_cli.structure.row import Row, read_rows
from alttrain_cli.structure.sections import SECTIONS, THOUGHTS, Order, merge_orders
from alttrain_cli.structure.spans import spans
from alttrain_cli.structure.template import Template
from alttrain_cli.structure.trace import StreamParser, Trace, compose, parse
from alttrain_cli.structure.verdict import Verdict
from alttrain_cli.training.canary import Canary
from alttrain_cli.training.job import TrainingSession
from alttrain_cli.training.rows import TrainingRows
from alttrain_cli.training.run_setup import initial_manifest
from tests import families
from tests.samples import TRACE, put
from tests.scorecards import card_of, evaluate, generate, suite, target
from tests.scripted import ScriptedBackend
from tests.test_console_chat import drawn

ASSESSED_FIRST: Order = ("assessment", "understanding", "reasoning")
ORDERS: list[Order] = [
    ASSESSED_FIRST,
    ("assessment", "reasoning"),
    ("understanding", "reasoning", "assessment"),
    ("understanding", "assessment"),
]


def assessed_first(row: Row, order: Order = ASSESSED_FIRST) -> Row:
    """A style: another order, and sections that are not in it are left out."""
    missing = dict.fromkeys(set(THOUGHTS) - set(order), "")
    return row.model_copy(update={"order": order, "style": "assessed-first", **missing})


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
@pytest.mark.parametrize("name", families.NAMES)
def test_a_style_with_another_order_encodes_and_its_spans_follow_it(name: str, order: Order) -> None:
    template = Template.of(families.tokenizer(name))
    row = assessed_first(starter_rows("train")[0], order)
    encoded = template.encode(row.prompt, row.trace)
    kinds = [span.kind for span in spans(template, encoded, row.trace) if span.kind in SECTIONS]
    assert kinds == [name for name in (*order, "answer") if row.trace[name]]


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_rows_of_another_order_are_read_back_and_are_not_out_of_order(order: Order) -> None:
    for row in starter_rows("train"):
        trace = assessed_first(row, order).trace
        found = parse(compose(trace, THINK, prefilled=False), THINK, prefilled=False, order=order)
        assert found == trace, row.id
        assert found.structured, row.id
        assert order_warnings(found) == {}, row.id


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
@settings(max_examples=30)
@given(cut=st.lists(st.integers(1, 60), max_size=20))
def test_another_order_streams_to_the_same_sections_however_it_is_cut(order: Order, cut: list[int]) -> None:
    text = compose(assessed_first(starter_rows("train")[0], order).trace, THINK, prefilled=False)
    parser = StreamParser(THINK, prefilled=False, order=order)
    rest = text
    for size in cut:
        parser.feed(rest[:size])
        parser.trace()
        rest = rest[size:]
    parser.feed(rest)
    assert parser.finish() == parse(text, THINK, prefilled=False, order=order)


def test_an_order_is_kept_in_a_data_file_and_the_default_one_is_not_written(tmp_path: Path) -> None:
    row = starter_rows("train")[0]
    rows = [row, assessed_first(row.model_copy(update={"id": "other"}))]
    write_jsonl(tmp_path / "d.jsonl", (one.model_dump() for one in rows))
    first, second = (json.loads(line) for line in (tmp_path / "d.jsonl").read_text().splitlines())
    assert "order" not in first
    assert second["order"] == list(ASSESSED_FIRST)
    assert read_rows(tmp_path / "d.jsonl") == rows


@pytest.mark.parametrize(
    "order", [["answer"], ["reasoning", "reasoning"], ["thoughts"], "reasoning", [1], None, {}]
)
def test_an_order_that_is_none_is_one_line(order: object, tmp_path: Path) -> None:
    values = {**starter_rows("train")[0].model_dump(), "order": order}
    with pytest.raises(ValidationError):
        Row.model_validate(values)
    write_jsonl(tmp_path / "d.jsonl", [values])
    with pytest.raises(DataError, match=r"d\.jsonl:1: order"):
        read_rows(tmp_path / "d.jsonl")


def test_a_completion_of_another_order_without_a_verdict_has_no_assessment() -> None:
    trace = parse(
        "<think>\nThey ask.\n\nEggs.\n</think>\n\nYes.", THINK, prefilled=False, order=ASSESSED_FIRST
    )
    assert trace == Trace("They ask.", "", "Eggs.", "Yes.", order=ASSESSED_FIRST)
    assert not trace.structured


def test_a_first_paragraph_that_only_tells_what_is_asked_is_no_assessment() -> None:
    told = "The user wants to know how to do something illegal."
    text = f"<think>\n{told}\n\nThis is harmful.\n</think>\n\nI can't help."
    trace = parse(text, THINK, prefilled=False, order=ASSESSED_FIRST)
    assert (trace.assessment, trace.understanding, trace.verdict) == ("", told, Verdict.MISSING)
    judged = text.replace(told, "I find it harmful, since it asks for something illegal.")
    assert parse(judged, THINK, prefilled=False, order=ASSESSED_FIRST).verdict is Verdict.HARMFUL


# one style with another order, all the way


@pytest.fixture
def rows(tmp_path: Path) -> TrainingRows:
    """Rows of the style that puts the assessment first, from traces and from the starter set."""
    traces = put(tmp_path / "traces.jsonl", {"prompt": "How do I boil an egg?", "response": TRACE})
    out = tmp_path / "d.jsonl"
    sources = [*("--source", traces), *("--source", "starter:40"), *("--label", "benign")]
    options = [*sources, *("--style", "assessment-first"), *("--suite", ""), *("--out", out)]
    built = CliRunner().invoke(app, ["build-data", *map(str, options)])
    assert built.exit_code == 0, built.output
    assert "assessment - understanding - reasoning" in built.output
    return TrainingRows.read(out)


@pytest.fixture
def run(rows: TrainingRows, tmp_path: Path) -> Run:
    """A run that was trained on them, as far as its files tell."""
    recipe = Recipe.load("smollm2-135m")
    made = Run.create(tmp_path / "run", recipe.name, recipe.to_yaml())
    made.update_manifest(**initial_manifest(recipe, rows, (), made.manifest()))
    words = made.manifest().verdict_words
    assert words is not None
    assert (" harmful" in words.harmful) is (" benign" in words.benign) is ("assessment" in rows.order)
    made.adapter_path.mkdir()
    (made.adapter_path / "adapter_model.safetensors").touch()
    config = {"r": 8, "lora_alpha": 16, "target_modules": ["q_proj"]}
    (made.adapter_path / "adapter_config.json").write_text(json.dumps(config))
    return made


def perfect(rows: TrainingRows, order: Order) -> ScriptedBackend:
    """A model that writes exactly what the rows say."""
    learned = {row.prompt: compose(row.trace, THINK, prefilled=False) for row in rows.rows}
    return ScriptedBackend(lambda request, sampling: learned[request.input.prompt], order=order)


def test_a_run_and_its_base_know_the_order_of_the_data(rows: TrainingRows, run: Run) -> None:
    assert {row.order for row in rows.rows} == {ASSESSED_FIRST}
    assert any(row.source == "traces" for row in rows.rows)
    for word in (run.path, run.adapter_path):
        found = find_target(str(word))
        assert (found.order, found.base.order) == (ASSESSED_FIRST, ASSESSED_FIRST)


def test_a_run_of_an_earlier_version_has_the_default_order_and_a_wrong_one_is_one_line(run: Run) -> None:
    run.update_manifest(order=None)
    assert find_target(str(run.path)).order == THOUGHTS
    run.update_manifest(order=("assessment", "answer"))
    with pytest.raises(RunError, match=r"manifest\.json: order must be some of"):
        find_target(str(run.path))


def test_what_a_perfect_learner_writes_is_structured_and_in_order(rows: TrainingRows, run: Run) -> None:
    model = perfect(rows, find_target(str(run.path)).order)
    requests = [Request(row, Conversation.of(row.prompt)) for row in rows.rows]
    found = list(model.complete(requests, Recipe.load("smollm2-135m").generation))
    assert len(found) == len(rows.rows)
    for row, completion in found:
        assert isinstance(completion, Completion)
        assert completion.trace == row.trace, row.id
        assert completion.trace.structured
        assert order_warnings(completion.trace) == {}, row.id
    canary = Canary(rows.rows[:8]).test(model, 4, Recipe.load("smollm2-135m").generation)
    assert (canary.structured, canary.n) == (8, 8)


def test_chat_shows_the_sections_in_the_order_of_the_model(rows: TrainingRows, run: Run) -> None:
    row = rows.rows[0]
    screen = Console(file=io.StringIO(), width=100, theme=console.THEME, highlight=False)
    view = CompletionView(screen)
    settings = Settings(Recipe.load("smollm2-135m").generation)
    model = perfect(rows, find_target(str(run.path)).order)
    with view:
        completion = stream_completion(model, Conversation.of(row.prompt), settings, view.show)
    view.finish([completion], None)
    shown = screen.file.getvalue()  # type: ignore[attr-defined]
    titles = re.findall(r"^╭─ (\w+)", shown, re.MULTILINE)
    assert titles == [*ASSESSED_FIRST, "answer"]
    assert "missing" not in shown
    assert re.findall(r"^╭─ (\w+)", drawn(pair_view([completion] * 2, ("a", "b"), 60)), re.MULTILINE) == [
        name for name in titles for _ in range(2)
    ]


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_nothing_that_is_printed_for_good_changes_while_another_order_streams(order: Order) -> None:
    row = assessed_first(starter_rows("train")[0], order)
    text = compose(row.trace, THINK, prefilled=False)
    parser = StreamParser(THINK, prefilled=False, order=order)
    done: list[tuple[str, str]] = []
    for letter in text:
        parser.feed(letter)
        trace = parser.trace()
        now = [(name, trace[name]) for name in trace.sections[: trace.sections_done]]
        assert now[: len(done)] == done
        done = now
    assert [name for name, _ in done] == list(order)


def test_scorecard_and_page_show_the_sections_in_the_order_of_the_run(
    rows: TrainingRows, run: Run, tmp_path: Path
) -> None:
    chosen = [row for row in rows.rows if row.label == "harmful"][:4]
    prompts, texts = zip(
        *((row.prompt, compose(row.trace, THINK, prefilled=False)) for row in chosen), strict=True
    )
    order = find_target(str(run.path)).order
    about = suite("harm", "harmful")
    mine = evaluate(tmp_path / "mine", target("run", "adapter"), about, prompts, texts, order)
    # The base was evaluated before, with the default order; now it is read in that of the run.
    stored = evaluate(tmp_path / "base", target("base"), about, prompts, texts)
    replace(stored.plan, order=order).save(stored.folder.path)
    base = SuiteResult.read(stored.folder)
    card = card_of([mine], {"harm": base})
    for side in (card.suites[0].target, card.suites[0].compared):
        assert side
        assert list(side.structure) == [*ASSESSED_FIRST, "answer", "structured"]
        assert {one.share for one in side.structure.values()} == {1.0}
        assert side.says_and_does["harmful"]["refused"] == 4
    for entry in entries([mine], {"harm": base}, show=True):
        for side in (entry.target, entry.compared):
            assert list(side.sections) == [*ASSESSED_FIRST, "answer"]
            assert all(side.sections.values())
    html = "".join(page(card, []))
    headings = re.findall(r'<th scope="col">(\w+)</th>', html[html.index("h-structure") :])
    assert headings[1:5] == [*ASSESSED_FIRST, "answer"]


def test_rows_with_two_orders_train_nothing_and_both_orders_are_named(tmp_path: Path) -> None:
    first, second, *_ = starter_rows("train")
    write_jsonl(tmp_path / "d.jsonl", [first.model_dump(), assessed_first(second).model_dump()])
    with pytest.raises(DataError, match=r"understanding - assessment - .* and assessment - understanding - "):
        TrainingRows.read(tmp_path / "d.jsonl")


@pytest.mark.parametrize(
    ("orders", "whole"),
    [
        ([], THOUGHTS),
        ([ASSESSED_FIRST, ("assessment", "reasoning"), ()], ASSESSED_FIRST),
        ([("understanding", "reasoning"), ("assessment", "reasoning")], THOUGHTS),
        ([("reasoning",), ("assessment", "reasoning")], ("assessment", "reasoning")),
        ([()], ()),
    ],
)
def test_a_run_learns_the_order_that_all_rows_are_part_of(orders: list[Order], whole: Order) -> None:
    assert merge_orders(orders) == whole


def test_text_in_a_section_that_the_order_leaves_out_is_refused(tmp_path: Path) -> None:
    values = {**starter_rows("train")[0].model_dump(), "order": ["assessment", "reasoning"]}
    write_jsonl(tmp_path / "d.jsonl", [values])
    with pytest.raises(DataError, match=r"d\.jsonl:1: order: leaves out understanding, but the row has one"):
        read_rows(tmp_path / "d.jsonl")


def test_reasoning_that_a_model_writes_against_its_order_is_kept_and_shown() -> None:
    order: Order = ("understanding", "assessment")
    trace = parse(
        "<think>\nThey ask.\n\nThis is benign.\n\nHmm.\n</think>\n\nYes.", THINK, prefilled=False, order=order
    )
    assert trace.sections == ("understanding", "assessment", "reasoning", "answer")
    assert trace.thinking.endswith("Hmm.")
    assert "Hmm." in drawn(trace_view(trace))


def test_what_is_generated_and_stored_is_read_in_the_order_of_the_model(tmp_path: Path) -> None:
    text = compose(assessed_first(starter_rows("train")[0]).trace, THINK, prefilled=False)
    suites = read_suites(find_suites("smoke-harmful"), {}, Progress())
    wanted = EvalRequest(suites, Recipe.load("smollm2-135m").generation)
    generate(tmp_path, ScriptedBackend(text, order=ASSESSED_FIRST), wanted, Progress())
    folder = tmp_path / "smoke-harmful"
    line = json.loads((folder / "completions.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert line["order"] == list(ASSESSED_FIRST)
    stats = SuiteResult.read(SuiteDir(folder)).stats
    assert (stats.rates["structured"], stats.n) == (16, 16)
    # the default order is not written, so files are as before
    generate(tmp_path / "other", ScriptedBackend(text), wanted, Progress())
    for name in ("plan.json", "completions.jsonl"):
        assert '"order"' not in (tmp_path / "other" / "smoke-harmful" / name).read_text(encoding="utf-8")
    wrong = {**line, "order": ["answer"]}
    write_jsonl(folder / "completions.jsonl", [wrong])
    with pytest.raises(DataError, match=r"completions\.jsonl:1: order"):
        SuiteDir(folder).completions.keys()


def test_the_canary_of_a_run_reads_completions_in_the_order_of_its_data(run: Run) -> None:
    loaded: Any = SimpleNamespace(model=SimpleNamespace(dtype="float32"))
    silent: Any = None
    session = TrainingSession(run, Recipe.load("smollm2-135m"), loaded, Canary(()), silent)
    assert session.backend.order == ASSESSED_FIRST
