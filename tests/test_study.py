"""Studies: a file becomes steps, steps become files, files become a table. The program is a stand-in."""

import csv
import io
import json
import os
import random
import shutil
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from alttrain_cli.cli import app
from alttrain_cli.data import styles
from alttrain_cli.engine import machine as machines
from alttrain_cli.engine.machine import Machine
from alttrain_cli.errors import AlttrainError, DataError, ModelError
from alttrain_cli.runs.scores import evaluation_of
from alttrain_cli.storage.run import Run
from alttrain_cli.storage.shipped_files import shipped_studies
from alttrain_cli.structure.row import Row
from alttrain_cli.study import cost, launch, rows
from alttrain_cli.study import plan as plans
from alttrain_cli.study.file import StudyFile
from alttrain_cli.study.formats import FORMATS
from alttrain_cli.study.grid import Grid, resolve
from alttrain_cli.study.history import Corrections, StepEnd, history_of
from alttrain_cli.study.launch import Launcher
from alttrain_cli.study.place import Place, open_study
from alttrain_cli.study.plan import PlannedStep, plan_step, plan_study
from alttrain_cli.study.rows import sizes_for
from alttrain_cli.study.run import Events, Failure
from alttrain_cli.study.steps import BuildStep, EvalStep, JudgeStep, Status, Step, TrainStep
from alttrain_cli.training import time_plan
from tests.command_lines import context_of, result_of
from tests.fake_alttrain import PROGRAM, write_card
from tests.warm import Process, Warm

CARD = Machine.card(24)
SMALL = ("methods=[untrained, alttrain, no-ha]", "sizes=[8]")
CALLS = "calls.jsonl"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, with a stand-in for the program and a card of 24 GB."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(launch, "PROGRAM", PROGRAM)
    monkeypatch.setattr(Machine, "detect", classmethod(lambda cls: CARD))
    monkeypatch.setattr(machines, "_cards", lambda chosen=None: [])
    monkeypatch.setenv("CALLS", str(tmp_path / CALLS))
    return tmp_path


class Noted(Events):
    """Keeps what happened."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def started(self, plan: Any, at: int, total: int) -> None:
        self.lines.append(f"started {at}/{total} {plan.step.kind} {plan.step.title}")

    def ended(self, plan: Any, seconds: float) -> None:
        self.lines.append(f"ended {plan.step.kind} {plan.step.title}")

    def failed(self, failure: Failure) -> None:
        self.lines.append(f"failed {failure.step.kind} {failure.step.title}")


def calls() -> list[tuple[str, list[str]]]:
    path = Path(CALLS)
    return [tuple(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def small(*more: str) -> Place:
    given = {one.partition("=")[0]: one for one in (*SMALL, *more)}
    return open_study("smoke", [*given.values()], None)


def grid(*overrides: str) -> Grid:
    return resolve(StudyFile.load("smoke", overrides), Path("x"))


def keys(*overrides: str) -> list[str]:
    return [step.key for step in grid(*overrides).steps]


# --- from the file to steps


@pytest.mark.parametrize("path", shipped_studies(), ids=lambda path: path.stem)
def test_a_shipped_study_has_at_most_30_lines_and_a_plan_for_a_card(path: Path, here: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 30
    place = open_study(path.stem, (), None)
    plan = plan_study(place.grid, place.folder, CARD)
    assert plan.steps
    assert all(
        one.expected and one.cost.memory_gib > 0 and one.status is Status.MISSING for one in plan.steps
    )
    needed = [need.key for one in plan.steps for need in one.step.needs]
    assert {*needed} <= {one.step.key for one in plan.steps}


def test_a_judge_is_planned_with_the_size_of_its_model(here: Path) -> None:
    def peaks(judge: str) -> set[float]:
        place = open_study("main", (f"judges=[{judge}]",), None)
        plan = plan_study(place.grid, place.folder, CARD)
        return {round(one.cost.memory_gib, 1) for one in plan.steps if isinstance(one.step, JudgeStep)}

    assert peaks("qwen3guard") == {round(1.1 * 2 * 4.02e9 / 2**30, 1)}
    assert peaks("harmbench") == {round(1.1 * 0.75 * 13.02e9 / 2**30, 1)}  # 4 bits: 16 do not fit in 24 GB


def test_a_plan_counts_the_models_that_are_not_on_this_machine(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def downloads() -> dict[str, float]:
        place = open_study("main", (), None)
        return plan_study(place.grid, place.folder, CARD).downloads

    monkeypatch.setattr(cost, "is_in_cache", lambda *_: False)
    found = downloads()
    assert len(found) == 5
    assert found["Qwen/Qwen3Guard-Gen-4B"] == pytest.approx(2 * 4.02e9 / 2**30)
    monkeypatch.setattr(cost, "is_in_cache", lambda name, *_: name == "Qwen/Qwen3Guard-Gen-4B")
    assert found.keys() - downloads().keys() == {"Qwen/Qwen3Guard-Gen-4B"}


def test_a_plan_checks_a_row_of_the_starter_set_once_however_many_sizes_have_it(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[tuple[str, str]] = []

    def restyle(row: Row, style: str) -> Row:
        checked.append((row.id, style))
        return styles.restyle(row, style)

    monkeypatch.setattr(rows, "restyle", restyle)
    rows._of_starter.cache_clear()
    place = small("sizes=[40, 20]")
    planned = plan_study(place.grid, place.folder, CARD).steps
    assert [one.step.title for one in planned if one.step.kind == "build"] == [
        *("alttrain, 40", "alttrain, 20", "no-ha, 40", "no-ha, 20")
    ]
    assert len(checked) == len({*checked}) == 2 * 40


@pytest.mark.parametrize("path", shipped_studies(), ids=lambda path: path.stem)
def test_every_step_of_a_shipped_study_is_a_command_line_that_alttrain_reads(path: Path, here: Path) -> None:
    for step in open_study(path.stem, (), None).grid.steps:
        context_of(step.words(), lenient=False)


METHODS = st.lists(
    st.sampled_from(["untrained", "alttrain", "no-pu", "no-ha", "no-cr"]), min_size=1, max_size=5, unique=True
)
NUMBERS = st.lists(st.integers(1, 99), min_size=1, max_size=2, unique=True)


@settings(max_examples=12)  # each resolves three grids
@given(METHODS, NUMBERS, NUMBERS, st.sampled_from(["method", "size", "seed", "mode", "suite", "judge"]))
def test_the_same_file_gives_the_same_keys_and_a_longer_axis_keeps_all_of_them(
    methods: list[str], sizes: list[int], seeds: list[int], axis: str
) -> None:
    axes: dict[str, list[Any]] = {
        "methods": methods,
        "sizes": sizes,
        "seeds": seeds,
        "modes": ["normal"],
        "suites": ["smoke-benign"],
        "judges": ["rule", "wildguard"],
    }
    before = keys(*(f"{name}={value}" for name, value in axes.items()))
    assert before == keys(*(f"{name}={value}" for name, value in axes.items()))
    more = {"method": "short-cot", "size": 100, "seed": 100, "mode": "zero", "suite": "smoke-harmful"}
    longer = {**axes, f"{axis}s": [*axes[f"{axis}s"], more.get(axis, "qwen3guard")]}
    after = keys(*(f"{name}={value}" for name, value in longer.items()))
    assert {*before} <= {*after}
    assert len(before) == len({*before})


def test_equal_steps_are_one_step() -> None:
    steps = grid("methods=[untrained, alttrain]", "seeds=[1, 2, 3]").steps
    kinds = [step.kind for step in steps]
    assert (kinds.count("build"), kinds.count("train"), kinds.count("eval")) == (1, 3, 4)  # one untrained


@pytest.mark.parametrize(
    "change",
    [
        "train.set.train.seed=7",
        "data.seed=7",
        "data.seed=0",
        "train.canary=0",
        "eval.limit=7",
        "eval.max_new_tokens=7",
        "judge.judge_part=full",
    ],
)
def test_what_decides_a_result_is_in_a_key(change: str) -> None:
    assert {*keys("judges=[wildguard]")} != {*keys("judges=[wildguard]", change)}


def test_other_decoding_trains_anew_because_a_run_is_evaluated_as_its_folder_says() -> None:
    change = "train.set.generation.repetition_penalty=1.1"
    one, two = (
        [step for step in grid("methods=[alttrain]", *more).steps if step.kind == "train"]
        for more in ((), (change,))
    )
    assert {step.out for step in one} & {step.out for step in two} == set()


def test_a_file_of_rows_that_changes_gives_other_keys(here: Path) -> None:
    given = ("methods=[alttrain]", "sizes={}", "data.source=rows.jsonl")
    Path("rows.jsonl").write_text("one\n")
    before = keys(*given)
    Path("rows.jsonl").write_text("two\n")
    assert not {*before} & {*keys(*given)}


BAD = [
    (("sizes=[x]",), "sizes: x is not a number of rows"),
    (("sizes=[-3]",), "sizes: -3 is not a number of rows"),
    (("mthods=[a]",), "mthods: unknown key. Did you mean 'methods'?"),
    (("eval.limt=3",), "eval.limt: unknown key. Did you mean 'eval.limit'?"),
    (("methods.x.stile=no-pu",), "methods.x.stile: unknown key. Did you mean 'methods.x.style'?"),
    (("methods=[nope]",), "methods.nope.style: 'nope' is not known. Did you mean 'no-pu'?"),
    (("suites=[smoke-bening]",), "suites: 'smoke-bening' is not known. Did you mean 'smoke-benign'?"),
    (("judges=[ruler]",), "judges: 'ruler' is not known. Did you mean 'rule'?"),
    (("eval.preset=star1",), "eval.preset: 'star1' is not known. Did you mean 'star-1'?"),
    (
        ("eval.preset=r1-act", "eval.max_new_tokens=null", "suites=[mmlu]", "table.columns=[mmlu]"),
        "--preset r1-act: gives 1,024 new tokens. mmlu: up to 4,096 are needed.",
    ),
    (("table.columns=[harm]",), "table.columns: 'harm' is not known. Did you mean 'harmful'?"),
    (("table.published=altrain",), "table.published: 'altrain' is not known. Did you mean 'alttrain'?"),
    (("table.rows=[size]",), "table.rows: method has several values, so it must be a row."),
    (("methods=[[1]]",), "methods.[1].style: must be text, not [1]."),
    (("methods=3",), "methods: must be a section with keys, not 3."),
    (("models=[]",), "models: "),
    (("models=[1]",), "models.1: must be text, not 1."),
    (("modes=[zeroo]",), "modes.0: must be 'normal', 'zero', 'less' or 'more', not 'zeroo'."),
    (("judges=[rule, rule]",), "judges: a value is given twice."),
    (("suites=[crescendo]",), "suites: crescendo needs a model that attacks. Add it to the study"),
    (("eval.attacker=base",), "--set eval.attacker: has no effect without an adaptive suite"),
    (("judges=[strongreject]",), "--set judges: strongreject needs a language model on a server. Add it"),
    (("data.source=[gone.csv]",), "gone.csv: no such file."),
    (("data.source=[startr]",), "startr:192: unknown source. Did you mean 'starter'?"),
    (("eval.temperature=0.5",), "--set eval.temperature: has no effect without eval.do_sample."),
    (("eval.threshold=9",), "--set eval.threshold: must be less than or equal to 1, not 9."),
    (("train.canary=-1",), "--set train.canary: must be greater than or equal to 0, not -1."),
    (("data.source=[starter, star-1]", "sizes=[8]"), "sizes: AltTrain, 8 has several sources"),
    (("suites=[]",), "suites: the key is missing; name suites, or give files of prompts in suite_files."),
    (("suite_files=[mine.yaml]",), "mine.yaml: no such file"),
    (('suite_files=["a\\0.yaml"]',), "no file can have this name"),
    (("eval.limit=0",), "eval.limit: must be greater than or equal to 1, not 0."),
    (("train.set=5",), "train.set: must be a section with keys, not 5."),
    (("title=3",), "title: must be text, not 3."),
    (("models=[r1-9b]",), "No recipe is called 'r1-9b'. Did you mean 'r1-8b'?"),
    (("wrong.key=1",), "--set wrong.key: unknown key. Choose among: title, models"),
    (("evl.limt=1",), "--set evl.limt: unknown key. Did you mean 'eval.limit'?"),
    (
        ("methods.AltTrain.stle=a",),
        "--set methods.AltTrain.stle: unknown key. Did you mean 'methods.AltTrain.style'",
    ),
    (("seeds=x",), "--set seeds.0: must be a whole number"),
    (("seeds=[1]", "sizes=[abc]"), "--set sizes: abc is not a number of rows"),
    (
        ("train.set.train.learning_rat=1",),
        "--set train.set.train.learning_rat: unknown key. Did you mean 'train.learning_rate'?",
    ),
]


@pytest.mark.parametrize(("overrides", "words"), BAD, ids=[one[0][0] for one in BAD])
def test_a_wrong_file_is_one_line_that_names_the_key(
    overrides: tuple[str, ...], words: str, here: Path
) -> None:
    with pytest.raises(AlttrainError) as error:
        open_study("smoke", overrides, None)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


OF_ALL = "methods: [alttrain]\ntrain: {set: {train.learning_rat: 1}}"
OF_ONE = "methods: {own: {style: alttrain, train: {set: {train.learning_rat: 1}}}}"


@pytest.mark.parametrize("wrong", [OF_ALL, OF_ONE])
def test_a_key_of_a_recipe_is_blamed_on_the_study_that_sets_it(wrong: str, here: Path) -> None:
    Path("own.yaml").write_text(f"title: x\nmodels: [smollm2-135m]\nsuites: [smoke-benign]\n{wrong}\n")
    with pytest.raises(
        DataError, match=r"^own\.yaml: train\.set: train\.learning_rat: unknown key\. Did you"
    ):
        open_study("own.yaml", (), None)


@pytest.mark.parametrize("text", ["[1]", "a: [", "title: x\ntitle: y\n", "&a [*a]", "\x00", ""])
def test_a_file_that_is_no_study_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(DataError, match=r"x\.yaml"):
        open_study(str(tmp_path / "x.yaml"), (), None)


def test_the_study_of_the_documents_has_a_plan(here: Path) -> None:
    page = (Path(__file__).parent.parent / "docs" / "study.md").read_text(encoding="utf-8")
    Path("own.yaml").write_text(page.partition("```yaml\n")[2].partition("```")[0])
    Path("prompts.yaml").write_text(OWN)
    for name in ("mine.csv", "traces.csv"):
        Path(name).write_text("prompt\nHow do I kill weeds?\n")
    place = open_study("own.yaml", (), None)
    kinds = [one.step.kind for one in plan_study(place.grid, place.folder, CARD).steps]
    assert [kinds.count(kind) for kind in ("build", "train", "eval", "judge")] == [4, 12, 13, 13]


def test_a_study_has_the_attacker_and_the_budget_of_its_adaptive_suites(here: Path) -> None:
    attack = "eval={limit: 8, attacker: base, max_turns: 2, max_backtracks: 0, threshold: 0}"
    attacked = small("methods=[alttrain]", "suites=[crescendo]", attack)
    words = attacked.grid.steps[-1].words()
    given = ["--threshold", "0.0", "--attacker", "base", "--max-turns", "2", "--max-backtracks", "0"]
    assert " ".join(given) in " ".join(words)
    context_of(words, lenient=False)
    served = "eval={attacker_url: 'http://127.0.0.1:9/v1', attacker_model: m, attack_refusal_judge: rule, actors: 1}"
    words = small("methods=[alttrain]", "suites=[actors]", served).grid.steps[-1].words()
    context_of(words, lenient=False)
    given = ["--attacker-url", "http://127.0.0.1:9/v1", "--attacker-model", "m", "--attack-refusal-judge"]
    assert " ".join(given) in " ".join(words)
    for more in ("methods=[untrained]", "modes=[zero]"):
        without = small("methods=[alttrain]", "suites=[crescendo]", more, attack).grid.steps[-1]
        assert "--threshold" not in without.words()


def test_the_list_has_every_shipped_study_with_what_its_table_compares(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = CliRunner().invoke(app, ["study", "list"]).output.splitlines()
    named = [line.partition(":")[0] for line in lines if line[:1].strip()]
    assert named == [*(path.stem for path in shipped_studies()), "next"]
    assert "number of rows on R1-8B: 0.5K rows, 1K rows, 3K rows" in " ".join(lines)
    assert max(map(len, lines)) <= 80


def test_the_forecast_of_an_attack_is_that_of_the_budget_that_the_study_gives_it(here: Path) -> None:
    def seconds(suite: str, given: str = ", attacker: base") -> float:
        place = small("methods=[alttrain]", f"suites=[{suite}]", f"eval={{limit: 100{given}}}")
        return plan_study(place.grid, place.folder, CARD).steps[-1].cost.parts["generate"]

    plain = seconds("jbb-harmful", "")
    for suite, fewer, times in (
        ("crescendo", ", attacker: base, max_turns: 1", 10),  # the papers' budgets: docs/attacks.md
        ("pair-live", ", attacker: base, streams: 3", 10),
        ("actors", ", attacker: base, actors: 1", 3),
    ):
        small_one, large = seconds(suite, fewer), seconds(suite)
        assert large / small_one == pytest.approx(times, rel=0.15)
        assert small_one > plain  # the attacker writes too


def test_a_study_that_is_not_there_is_one_line() -> None:
    with pytest.raises(DataError, match=r"No study is called 'smok'\. Did you mean 'smoke'"):
        open_study("smok", (), None)


# --- steps are done by their files


def test_a_study_runs_to_its_table_and_its_second_run_starts_nothing(here: Path) -> None:
    place = small()
    assert place.run(1, Events()) == []
    table, page = place.table()
    assert table.missing == ()
    assert [line.cells[0].ours for line in table.lines] == ["25% (10-50)"] * 3
    assert "ablation on the 135M model" in page.read_text(encoding="utf-8")
    before = len(calls())
    again = Noted()
    small().run(1, again)
    assert len(calls()) == before
    assert again.lines == []


def test_a_table_whose_page_cannot_be_written_is_shown_all_the_same(here: Path) -> None:
    place = small("methods=[untrained]")
    assert place.run(1, Events()) == []
    (place.folder / "table.html").mkdir()  # as in a folder of others, or on a full disk
    for form in ((), ("--format", "csv")):
        done = CliRunner().invoke(app, ["study", "table", *place.words, *form])
        assert done.exit_code == 2
        assert "table.html: cannot write" in " ".join(done.stderr.split())
        assert "25" in done.stdout


def test_more_of_an_axis_runs_only_what_is_new(here: Path) -> None:
    small().run(1, Events())
    before = len(calls())
    small("methods=[untrained, alttrain, no-ha, no-cr]").run(1, Events())
    new = [words[0] for what, words in calls()[before:] if what == "start"]
    assert new == ["build-data", "train", "eval"]


def test_one_suite_more_evaluates_again_and_trains_nothing(here: Path) -> None:
    small("suites=[smoke-benign]").run(1, Events())
    before = len(calls())
    small("suites=[smoke-benign, smoke-harmful]").run(1, Events())
    assert {words[0] for _, words in calls()[before:]} == {"eval"}


OWN = "mine: {kind: benign, file: mine.csv}\n"


def test_prompts_of_ones_own_are_a_suite_and_are_asked_again_when_their_file_changes(here: Path) -> None:
    Path("mine.yaml").write_text(OWN)
    Path("mine.csv").write_text("prompt\nHow do I kill weeds?\n")
    given = (
        "methods=[untrained]",
        "suites=[smoke-harmful]",
        "suite_files=[mine.yaml]",
        "table.columns=[mine]",
    )
    place = small(*given)
    assert place.run(1, Events()) == []
    [step] = place.grid.steps
    assert step.words()[2:6] == ["--suite", "smoke-harmful", "--suite-file", "mine.yaml"]
    assert [count for _, count in step.completions][-1] == 1
    assert place.table()[0].lines[0].cells[0].ours == "25% (10-50)"
    assert small(*given).grid.steps[0].status() is Status.DONE
    Path("mine.csv").write_text("prompt\nHow do I kill moss?\n")
    [again] = small(*given).grid.steps
    assert (again.status(), again.out) == (Status.STARTED, step.out)


def test_prompts_of_ones_own_need_no_suite_of_others(here: Path) -> None:
    Path("mine.yaml").write_text(OWN)
    Path("mine.csv").write_text("prompt\nHow do I kill weeds?\n")
    place = small("methods=[untrained]", "suites=[]", "suite_files=[mine.yaml]")
    assert "--suite" not in place.grid.steps[0].words()
    assert place.run(1, Events()) == []


def test_judges_follow_the_evaluation_one_by_one(here: Path) -> None:
    place = small("methods=[untrained]", "judges=[rule, wildguard, qwen3guard]")
    assert place.run(4, Events()) == []
    judges = [words[4] for what, words in calls() if what == "start" and words[1] == "judge"]
    assert judges == ["wildguard", "qwen3guard"]
    table, _ = place.table()
    assert [line.labels for line in table.lines] == [("rule",), ("wildguard",), ("qwen3guard",)]


def test_a_judge_that_fails_stops_no_other_judge(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIL", "wildguard")
    place = small("methods=[untrained]", "judges=[rule, wildguard, qwen3guard]")
    assert [one.step.title for one in place.run(4, Events())] == ["smollm2-135m, untrained, by wildguard"]
    table, _ = place.table()
    assert [line.cells[0].ours for line in table.lines] == [
        "25% (10-50)",
        "no rate by wildguard",
        "25% (10-50)",
    ]
    assert table.missing == ("judge: smollm2-135m, untrained, by wildguard",)


def test_a_failed_step_is_shown_with_its_last_lines_and_the_others_go_on(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIL", "no-ha")
    done = CliRunner().invoke(app, ["study", "run", "smoke", *(w for one in SMALL for w in ("--set", one))])
    assert done.exit_code == 2
    assert "    Error: it does not work." in done.output
    assert "1 step failed: build no-ha, 8." in " ".join(done.output.split())
    place = small()
    states = {step.title: step.status() for step in place.grid.steps if step.kind == "eval"}
    assert [*states.values()] == [Status.DONE, Status.DONE, Status.MISSING]
    assert not [words for _, words in calls() if words[0] == "train" and "no-ha" in str(words)]
    monkeypatch.delenv("FAIL")
    place.run(1, Events())
    assert place.table()[0].missing == ()


def test_a_run_that_was_started_is_resumed(here: Path) -> None:
    place = small()
    [first, *_] = [step for step in place.grid.steps if step.kind == "train"]
    first.out.mkdir(parents=True)
    (first.out / "recipe.yaml").write_text("name: x\n")
    assert first.status() is Status.STARTED
    place.run(1, Events())
    assert [("--resume" in words) for what, words in calls() if words[0] == "train" and what == "start"] == [
        True,
        False,
    ]


def test_several_jobs_run_at_the_same_time(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAUSE", "0.3")
    assert small().run(3, Events()) == []
    running = most = 0
    for what, _ in calls():
        running += 1 if what == "start" else -1
        most = max(most, running)
    assert 1 < most <= 3


def test_each_job_gets_a_card_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        launch, "PROGRAM", (sys.executable, "-c", "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])")
    )
    launcher = Launcher(2, ("GPU-a", "GPU-b"))
    started = [launcher.start([], tmp_path / f"{slot}.txt", slot) for slot in (0, 1)]
    for one in started:
        assert one
        one.wait()
    assert [(tmp_path / f"{slot}.txt").read_text().strip() for slot in (0, 1)] == ["GPU-a", "GPU-b"]


# --- killed at any moment


def driven(light: Warm, here: Path) -> Process:
    """Start the small study in a process of its own, with two jobs."""
    given = [word for one in SMALL for word in ("--set", one)]
    return light.start(
        "study", "run", "smoke", *given, "--jobs", "2", cwd=here, hooks=[("tests.fake_alttrain", "install", {})]
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["SIGKILL", "SIGINT"])
def test_killed_at_random_moments_no_finished_step_runs_twice_and_the_table_is_the_same(
    number: int, light: Warm, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAUSE", "0.1")
    chance = random.Random(int(number))
    for _ in range(5):
        process = driven(light, here)
        time.sleep(chance.uniform(0, 0.8))
        process.send_signal(number)
        process.wait(60)
    assert small().run(2, Events()) == []
    table, _ = small().table()
    assert table.missing == ()
    made = [words[words.index("--out") + 1] for what, words in calls() if what == "end"]
    assert len(made) == len({*made})
    monkeypatch.setenv("CALLS", os.devnull)
    other = open_study("smoke", SMALL, Path("other"))
    other.run(2, Events())
    assert other.table()[0].record() == table.record()


def test_a_step_whose_earlier_process_ends_at_this_moment_is_looked_at_again_before_it_starts(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = small()
    looks: list[bool] = []
    started: dict[str, int] = {}

    def is_locked(_: Path) -> bool:
        """The process of the first step is there at the first look, and ends right after it."""
        looks.append(not looks)
        return looks[-1]

    class Starts(Events):
        def started(self, plan: PlannedStep, at: int, total: int) -> None:
            started[plan.step.key] = len(looks)

    monkeypatch.setattr("alttrain_cli.study.run.is_locked", is_locked)
    assert place.run(2, Starts()) == []
    assert started[place.grid.steps[0].key] > len(place.grid.steps)


def test_a_step_that_an_earlier_process_still_does_is_waited_for(
    light: Warm, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAUSE", "1")
    waited: list[str] = []

    class Waits(Events):
        def waits(self, step: Any) -> None:
            waited.append(step.title)

    process = driven(light, here)
    while len(calls()) < 2:
        assert process.poll() is None, process.communicate(0)
        time.sleep(0.02)
    process.kill()
    process.wait(60)
    assert small().run(1, Waits()) == []
    assert waited
    starts = [tuple(words) for what, words in calls() if what == "start"]
    assert len(starts) == len({*starts})
    running = [0]
    for what, _ in calls():
        running.append(running[-1] + (1 if what == "start" else -1))
    assert max(running[3:]) <= 1  # with one job, what was left behind has the place until it ends


def test_a_study_that_is_stopped_half_way_and_moved_goes_on_in_its_new_folder(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stops(Events):
        def started(self, plan: Any, at: int, total: int) -> None:
            if at == 4:
                while len(calls()) < 7:  # three steps to their ends, and the start of the fourth
                    time.sleep(0.01)
                raise KeyboardInterrupt

    def made(what: str, since: int = 0) -> list[str]:
        folders = [words[words.index("--out") + 1] for kind, words in calls()[since:] if kind == what]
        return ["/".join(Path(one).parts[-2:]) for one in folders]

    monkeypatch.setenv("PAUSE", "0.3")
    place = small()
    with pytest.raises(KeyboardInterrupt):
        place.run(1, Stops())
    half, finished = len(calls()), made("end")
    assert len(finished) == 3
    monkeypatch.setenv("PAUSE", "0")
    place.folder.rename("moved")
    moved = open_study("smoke", SMALL, Path("moved"))
    assert moved.run(1, Events()) == []
    assert not {*finished} & {*made("start", half)}
    assert len(made("end", half)) == 4
    table, page = moved.table()
    assert (table.missing, page) == ((), Path("moved/table.html"))
    assert not place.folder.exists()


# --- the plan


def test_with_more_jobs_the_plan_ends_earlier_but_never_before_its_longest_chain(here: Path) -> None:
    plan = plan_study(small().grid, here, CARD)
    walls = [plan.wall(jobs) for jobs in (1, 2, 3, 99)]
    assert walls[0] == pytest.approx(plan.seconds)
    assert walls == sorted(walls, reverse=True)
    chains = [
        sum(one.expected or 0 for one in plan.steps if one.step.key in _chain(last.step))
        for last in plan.steps
    ]
    assert walls[-1] == pytest.approx(max(chains))
    assert walls[1] >= max(max(chains), plan.seconds / 2)


def _chain(step: Step) -> set[str]:
    return {step.key}.union(*map(_chain, step.needs))


def ended(key: str, kind: Any, seconds: float, **other: Any) -> StepEnd:
    return StepEnd(
        key=key, kind=kind, title="", **{"machine": "m", "exit_code": 0, "seconds": seconds, **other}
    )


PARTS = {"load": 4.0, "updates": 5.0, "check": 1.0}  # of ten seconds


def test_the_plan_is_corrected_by_what_whole_steps_of_a_kind_took_on_this_machine() -> None:
    costs: dict[str, dict[str, float]] = {"a": PARTS, "b": PARTS, "c": PARTS, "d": {}}
    found = [ended("a", "train", 20), ended("b", "train", 40), ended("c", "eval", 5), ended("d", "train", 9)]
    found += [ended("c", "train", 99, whole=False), ended("c", "train", 99, exit_code=2)]
    found += [ended("c", "train", 99, machine="other")]
    corrections = Corrections("m", found, costs)
    assert corrections.seconds("train", PARTS) == pytest.approx(30)
    assert corrections.seconds("eval", PARTS) == pytest.approx(5)
    assert corrections.seconds("judge", PARTS) == pytest.approx(10)
    assert corrections.seconds("train", {}) is None


def test_each_part_of_a_training_is_corrected_and_loading_a_model_also_for_evaluations() -> None:
    took = {"load": 8.0, "updates": 5.0, "check": 3.0}
    corrections = Corrections("m", [ended("a", "train", 16, parts=took)], {"a": PARTS})
    assert corrections.seconds("train", {"load": 1.0, "updates": 100.0, "check": 1.0}) == pytest.approx(105)
    assert corrections.seconds("eval", {"load": 1.0, "generate": 7.0}) == pytest.approx(9)


def test_one_step_beside_which_another_program_ran_does_not_move_the_plan_of_the_fourth() -> None:
    found = [ended(key, "train", seconds) for key, seconds in (("a", 25), ("b", 10), ("c", 11))]
    corrections = Corrections("m", found, dict.fromkeys("abc", PARTS))
    assert corrections.seconds("train", PARTS) == pytest.approx(11)


def test_the_parts_of_a_training_are_its_manifests_and_are_in_the_journal(here: Path) -> None:
    place = small()
    [first, *_] = [step for step in place.grid.steps if step.kind == "train"]
    plan = plan_step(first, place.grid, place.folder, CARD)
    run = Run.create(first.out, "x", "name: x\n")
    run.update_manifest(
        status="finished",
        seconds_loading=20.0,
        seconds_training=48.0,
        seconds_checking=8.0,
        seconds_total=78.0,
    )
    end = plan.ended("m", 90.0, 0)
    assert end.parts == {"load": 32.0, "updates": 50.0, "check": 8.0}
    history_of(place.folder).append(end.record())
    assert list(history_of(place.folder)) == [end]
    assert plan._replace(status=Status.STARTED).ended("m", 90.0, 0).parts == {}  # resumed: of two processes


def test_a_wrong_line_of_a_studys_journal_is_named_with_its_key_and_the_next_step(here: Path) -> None:
    path = here / "journal.jsonl"
    path.write_text('{"key": "a", "kind": "train", "title": "t", "machine": "m", "exit_code": 0}\n')
    with pytest.raises(DataError, match=r"journal\.jsonl:1: seconds: the key is missing\. Remove line 1\."):
        list(history_of(here))


def test_another_measurement_of_the_machine_changes_no_corrected_time(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = small()
    [first, *_] = [step for step in place.grid.steps if step.kind == "train"]
    history = history_of(place.folder)
    end = ended(first.key, "train", 60, machine=CARD.name, planned=1.0, expected=1.0)
    history.append(end.record())
    before = [
        one.expected for one in plan_study(place.grid, place.folder, CARD).steps if one.step.kind == "train"
    ]
    cost_of = plans.cost_of
    monkeypatch.setattr(plans, "cost_of", lambda step, machine: cost_of(step, machine)._replace(parts=PARTS))
    after = [
        one.expected for one in plan_study(place.grid, place.folder, CARD).steps if one.step.kind == "train"
    ]
    assert (before[0], after[0]) == pytest.approx((60, 60))


# Seconds on two quiet cores, with two torch threads: of each step the median of two to seven times.
TRAINED = {"AltTrain": 75.2, "without PU": 63.7, "without HA": 69.9, "without CR": 68.3}
EVALUATED = {"untrained": 28.0, "AltTrain": 31.6, "without PU": 26.7, "without HA": 29.8, "without CR": 27.6}
COMPUTER = Machine("this machine, no GPU", 16, gpu=False)


def test_steps_that_were_timed_are_planned_within_a_quarter_and_evaluations_after_three_within_a_tenth(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_plan, "cpu_rate", lambda hidden, measure: 346e9)  # the median of four tests
    place = open_study("smoke", (), None)
    of_kind = {"train": TRAINED, "eval": EVALUATED}
    took = {
        step.key: float(next(took for name, took in of_kind[step.kind].items() if name in step.title))
        for step in place.grid.steps
        if step.kind in of_kind
    }
    plan = [one for one in plan_study(place.grid, place.folder, COMPUTER).steps if one.step.key in took]
    assert len(plan) == 9
    for one in plan:
        assert one.expected == pytest.approx(took[one.step.key], rel=0.25), one.step.title
    for one in plan[:-2]:
        history_of(place.folder).append(one.ended(COMPUTER.name, took[one.step.key], 0).record())
    for one in plan_study(place.grid, place.folder, COMPUTER).steps[-2:]:
        assert one.expected == pytest.approx(took[one.step.key], rel=0.1), one.step.title


def test_a_study_that_goes_on_makes_no_new_speed_test(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Machine] = []
    monkeypatch.setattr("alttrain_cli.study.place.renew_rate", made.append)
    place = small()
    place.run(1, Events())
    place.run(1, Events())
    assert len(made) == 1


def test_a_plan_shows_what_is_done_and_what_it_took(here: Path) -> None:
    place = small()
    place.run(1, Events())
    plan = plan_study(place.grid, place.folder, CARD)
    assert plan.seconds == 0
    assert all(one.took and one.took.seconds > 0 for one in plan.steps)
    assert sum(one.done for one in plan.totals) == len(plan.steps)
    assert all(one.took > 0 for one in plan.totals)


@pytest.mark.parametrize("columns", [40, 80])
def test_a_step_that_is_done_shows_its_time_beside_the_expected_one_in_the_plan_and_on_the_page(
    columns: int, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    place = small()
    first, *_, last = [step for step in place.grid.steps if step.kind == "eval"]
    for step, seconds, whole in ((first, 33, True), (last, 12, False)):
        step.out.mkdir(parents=True)
        write_card(step.out, dict.fromkeys(("smoke-harmful", "smoke-benign"), ""), ["rule"])
        history_of(place.folder).append(ended(step.key, "eval", seconds, expected=38, whole=whole).record())
    given = ("study", "plan", *place.words, "--price", "0.40")
    output = CliRunner().invoke(app, [*given, "--jobs", "2"]).output
    lines = output.partition("\nfolder:")[0].splitlines()
    assert max(map(len, lines)) <= columns
    if columns == 80:  # in two lines of a cell
        assert lines[0].split() == ["step", "what,", "rows", "state", "time", "memory", "disk", "money"]
        said = ["33 s ", "(38 s expected)", "12 s ", "(resumed)"]
    else:
        said = ["33 s (38 s expected)", "12 s (resumed)"]
    places = [" ".join(output.split()).find(one) for one in said]
    assert -1 not in places
    assert places == sorted(places)
    page = " ".join(place.table()[1].read_text(encoding="utf-8").split())
    assert "<td>38 s</td><td>33 s</td>" in page
    assert "<td>38 s</td><td>12 s, resumed</td>" in page
    records = result_of(CliRunner().invoke(app, [*given, "--json"]).stdout)
    assert {one["money"] for one in records if one["status"] == "done"} == {0.0}
    for one in records:
        if one["status"] == "missing":
            assert one["money"] == pytest.approx(one["expected_seconds"] / 3600 * 0.4)


def test_what_does_not_fit_together_is_blamed_on_the_option_that_gave_it(here: Path) -> None:
    for override in ("sizes=x", "seeds=[1,1]", "judges=[nope]", "table.columns=[nope]"):
        with pytest.raises(DataError, match=rf"^--set {override.partition('=')[0]}: "):
            open_study("smoke", (override,), None)


def test_a_study_of_rows_longer_than_the_model_reads_is_refused_before_it_builds_them(here: Path) -> None:
    (here / "m").mkdir()
    (here / "m" / "config.json").write_text('{"max_position_embeddings": 256}')
    (here / "own.yaml").write_text("base: smollm2-135m\nmodel: {name: m}\n")
    given = ("models=[own.yaml]", "train.set={train.max_length: 257}")
    with pytest.raises(ModelError, match=r"m: reads at most 256 tokens, but train\.max_length is 257"):
        open_study("smoke", given, None)


def test_a_model_that_the_hub_cannot_have_is_one_line_in_a_plan(here: Path) -> None:
    (here / "own.yaml").write_text("base: r1-7b\nmodel: {name: me/my model}\n")
    with pytest.raises(ModelError, match=r"^me/my model: neither a folder nor a model's name on the hub"):
        assert not plan_study(open_study("smoke", ("models=[own.yaml]",), None).grid, here, CARD).downloads


def test_a_misspelt_key_is_named_before_the_key_that_is_missing_for_it(here: Path) -> None:
    (here / "mine.yaml").write_text("title: t\nmodells: [smollm2-135m]\n")
    with pytest.raises(DataError, match=r"modells: unknown key\. Did you mean .models."):
        StudyFile.load("./mine.yaml")


def test_a_model_of_unknown_size_has_an_unknown_time_and_runs_all_the_same(here: Path) -> None:
    own = Path("own.yaml")
    own.write_text("base: smollm2-135m\nmodel: {name: me/other}\n")
    place = small("models=[own.yaml]")
    plan = plan_study(place.grid, place.folder, CARD)
    assert {one.expected is None for one in plan.steps if one.step.kind != "build"} == {True}
    done = CliRunner().invoke(app, ["study", "plan", *place.words, "--price", "1"])
    assert "time left:  unknown" in done.output
    assert "next: alttrain study run smoke" in done.output
    assert place.run(1, Events()) == []


def test_money_is_time_times_price(here: Path) -> None:
    done = CliRunner().invoke(app, ["study", "plan", "main", "--gpu", "24", "--price", "0.40"])
    assert done.exit_code == 0
    hours = (
        sum(one.expected or 0 for one in plan_study(open_study("main", (), None).grid, Path("x"), CARD).steps)
        / 3600
    )
    column = [line.split()[-1] for line in done.output.splitlines() if " missing " in line]
    assert sum(float(one.replace("<", "")) for one in column) == pytest.approx(hours * 0.4, abs=0.2)
    said = " ".join(done.output.split())
    assert f"money: {hours * 0.4:.2f}, for {hours:.1f} hours at 0.4 per hour" in said


@pytest.mark.parametrize(
    ("price", "shown", "sum_of_all"), [("0", "0.00", "0.00"), ("0.00001", "<0.01", "<0.01")]
)
def test_nothing_costs_nothing_and_little_less_than_a_cent(
    price: str, shown: str, sum_of_all: str, here: Path
) -> None:
    given = ["study", "plan", "main", "--gpu", "24", "--price", price, "--jobs", "3"]
    output = CliRunner().invoke(app, given).output
    assert {line.split()[-1] for line in output.splitlines() if " missing " in line} == {shown}
    said = " ".join(output.split())
    assert f"money: {sum_of_all}, for " in said
    assert f" hours at {float(price):g} per hour" in said


def test_a_plan_for_a_card_says_how_its_speed_is_known_and_that_the_largest_step_is_tight(here: Path) -> None:
    said = " ".join(CliRunner().invoke(app, ["study", "plan", "main", "--gpu", "24"]).output.split())
    assert "speed: not measured: 25% of the published 71.2 TFLOPS of an RTX 3090" in said
    assert "23.7 GiB at the peak of the largest step that is left, which is tight" in said
    said = " ".join(CliRunner().invoke(app, ["study", "plan", "smoke", "--gpu", "24"]).output.split())
    assert "at the peak of the largest step that is left disk:" in said


def test_a_plan_is_also_json(here: Path) -> None:
    done = CliRunner().invoke(app, ["study", "plan", "smoke", "--gpu", "24", "--json"])
    lines = result_of(done.stdout)
    assert len(lines) == 13
    assert lines[0]["status"] == "missing"
    assert lines[0]["command"][:2] == ["alttrain", "build-data"]


# --- the table


def test_a_published_figure_is_inside_outside_or_not_comparable_for_a_reason(here: Path) -> None:
    place = open_study("sizes", ["judges=[wildguard, rule]"], None)
    place.run(1, Events())
    card = place.grid.steps[-1].out / "scorecard.json"
    table, _ = place.table()
    why = "not comparable: the paper's 6 suites were not all measured"
    assert [line.cells[0].verdict for line in table.lines] == [why] * 6
    assert table.lines[-1].cells[0].published == 4.7
    values = json.loads(card.read_text())
    for name, judge, low in (("harmful", "wildguard", 0.0), ("over_refusal", "wildguard", 0.1)):
        rate = {"share": 0.2, "low": low, "high": 0.5, "n": 8}
        macro = {"paper": "AltTrain", "name": name, "judge": judge, "target": rate}
        values.setdefault("macros", []).extend([macro, {**macro, "judge": "rule"}])
    for step in place.grid.steps:
        if step.kind == "eval":
            (step.out / "scorecard.json").write_text(json.dumps(values))
    table, _ = place.table()
    found = {line.labels: [cell.verdict for cell in line.cells][:2] for line in table.lines}
    assert found["3K rows", "wildguard"] == ["inside", "outside"]  # 4.7 and 2.4, of 0 to 50 and 10 to 50
    assert found["3K rows", "rule"] == ["not comparable: rule is a judge for a first look"] * 2


def run_table(place: Place, *options: str) -> Result:
    return CliRunner().invoke(app, ["study", "table", *place.words, *options])


def test_a_cell_of_which_the_paper_has_no_figure_says_so_in_every_format(here: Path) -> None:
    place = open_study("baselines", ["methods=[untrained]"], None)
    place.run(1, Events())
    table, page = place.table()
    assert [cell.published for cell in table.lines[0].cells] == [None, 0.8, None]
    terminal = run_table(place).output
    as_json = [run_table(place, *words).output for words in (["--json"], ["--format", "json"])]
    assert as_json[0] == as_json[1]
    assert result_of(as_json[0])["rows"]
    assert "--format has no effect with --json" in run_table(place, "--json", "--format", "csv").stderr
    texts = [*(form(table) for form in FORMATS.values()), page.read_text(encoding="utf-8"), terminal]
    for text in (" ".join(text.split()) for text in texts):
        assert "not comparable: no" in text


def test_a_papers_rows_on_sizes_are_for_its_method_alone_and_never_for_an_untrained_model(here: Path) -> None:
    methods = "methods={untrained: null, AltTrain: {style: alttrain}, other: {style: no-pu}}"
    table, _ = open_study("sizes", [methods], None).table()
    found = {line.labels: line.cells[0].published for line in table.lines}
    assert found["AltTrain", "0.5K rows"] == 4.6
    assert found["other", "0.5K rows"] is None
    assert found["untrained", "-"] == 83.5


def test_another_part_for_the_judges_is_judged_anew_and_shown(here: Path) -> None:
    given = ("methods=[untrained]", "judges=[wildguard]")
    small(*given).run(1, Events())
    place = small(*given, "judge.judge_part=full")
    assert [step.status() for step in place.grid.steps] == [Status.DONE, Status.MISSING]
    table, _ = place.table()
    assert table.lines[0].cells[0].missing == "no rate by wildguard"


@pytest.mark.parametrize("judge", ["wildguard", "strongreject"])
def test_another_model_for_the_judges_is_judged_anew_and_shown(judge: str, here: Path) -> None:
    url = ["judge.judge_url=http://localhost:1/v1"] if judge == "strongreject" else []
    given = ("methods=[untrained]", f"judges=[{judge}]", "suites=[smoke-harmful]", *url)
    small(*given, "judge.judge_model=org/one").run(1, Events())
    place = small(*given, "judge.judge_model=org/two")
    assert [step.status() for step in place.grid.steps] == [Status.DONE, Status.MISSING]
    assert place.table()[0].lines[0].cells[0].missing == f"no rate by {judge}"
    place.run(1, Events())
    for again in (place, small(*given, "judge.judge_model=org/one")):
        assert [step.status() for step in again.grid.steps] == [Status.DONE, Status.DONE]
        assert again.table()[0].lines[0].cells[0].share == 0.25
    served = judge == "strongreject"  # without a name: the server's, whichever that is
    assert small(*given).grid.steps[1].status() is (Status.DONE if served else Status.MISSING)


def test_without_a_judge_of_harm_the_table_says_what_is_counted(here: Path) -> None:
    place = small()
    place.run(1, Events())
    assert "counts answers that do not refuse" in " ".join(place.table()[0].notes)


def test_each_thinking_mode_has_its_own_figures(here: Path) -> None:
    place = small("methods=[untrained]", "modes=[normal, zero]")
    place.run(1, Events())
    table, _ = place.table()
    assert [(line.labels, line.cells[0].ours) for line in table.lines] == [
        (("normal",), "25% (10-50)"),
        (("zero",), "25% (10-50)"),
    ]
    assert len(table.dots) == 2


@pytest.mark.parametrize(
    ("suites", "shown"),
    [
        (["smoke-harmful"], "25% (10-50)"),
        (["gcg", "smoke-harmful"], "also over gcg, which the study does not have"),
        ([], "25% (10-50)"),  # not named
        (["jbc"], "also over jbc, which the study does not have"),
    ],
)
def test_a_rate_over_other_suites_than_the_study_has_is_no_figure(
    suites: list[str], shown: str, here: Path
) -> None:
    place = small("methods=[untrained]")
    place.run(1, Events())
    path = place.grid.steps[-1].out / "scorecard.json"
    card = json.loads(path.read_text())
    card["pooled"]["harmful"][0]["suites"] = suites
    path.write_text(json.dumps(card))
    table, _ = place.table()
    assert table.lines[0].cells[0].ours == shown
    left_out = f"smollm2-135m: its rate of harmful prompts is {shown}"
    assert table.undrawn == ((left_out,) if "over" in shown else ())
    assert len(table.dots) == 1 - len(table.undrawn)


def test_a_run_without_both_rates_is_named_below_the_plot(here: Path) -> None:
    place = small()
    place.run(1, Events())
    _, page = place.table()
    assert "every run of this study</b>" in page.read_text(encoding="utf-8")
    _, changed, gone = [step.out / "scorecard.json" for step in place.grid.steps if step.kind == "eval"]
    card = json.loads(changed.read_text())
    del card["pooled"]["over_refusal"]
    changed.write_text(json.dumps(card))
    gone.unlink()
    table, page = place.table()
    assert table.undrawn == ("alttrain: no rate of benign prompts by rule", "no-ha: not evaluated")
    text = page.read_text(encoding="utf-8")
    assert "every run of this study that has both rates</b>" in text
    assert f"Not in the plot: {'; '.join(table.undrawn)}." in text


def test_runs_has_the_figures_of_a_run_that_a_study_evaluated(here: Path) -> None:
    place = small("methods=[alttrain]", "modes=[normal, zero]")
    place.run(1, Events())
    [normal, zero] = [step for step in place.grid.steps if isinstance(step, EvalStep)]
    assert normal.train
    assert normal.train == zero.train
    run = normal.train.out
    for folder in (run, run.parent, place.folder):
        [shown] = result_of(CliRunner().invoke(app, ["runs", "--in", str(folder), "--json"]).stdout)
        assert (shown["run"], shown["harmful_refused"]) == (str(run), {"hits": 6, "n": 8})
    said = CliRunner().invoke(app, ["runs", "show", str(run)]).stdout
    assert f"page:     {normal.out / 'scorecard.html'}\n" in said
    assert f"next: alttrain chat {run}\n" in said
    # one that was made by hand comes first, and one with other settings if it is newer
    newer = place.folder / "evals" / f"{run.name}-123abc"
    shutil.copytree(zero.out, newer)
    assert evaluation_of(run) == newer
    shutil.copytree(normal.out, run / "eval")
    assert evaluation_of(run) == run / "eval"


def test_a_rate_that_lacks_a_suite_of_the_study_is_no_figure(here: Path) -> None:
    place = small("methods=[untrained]", "suites=[smoke-harmful, gcg]")
    place.run(1, Events())
    path = place.grid.steps[-1].out / "scorecard.json"
    card = json.loads(path.read_text())
    card["pooled"]["harmful"][0]["suites"] = ["smoke-harmful"]
    path.write_text(json.dumps(card))
    assert place.table()[0].lines[0].cells[0].ours == "not yet over gcg"


def test_dialogues_that_say_nothing_about_a_model_are_in_a_note(here: Path) -> None:
    place = small("methods=[untrained]", "suites=[benign-turns]", "table.columns=[benign-turns]")
    place.run(1, Events())
    path = place.grid.steps[-1].out / "scorecard.json"
    card = json.loads(path.read_text())
    card["suites"][0]["attack"] = {"facts": {}, "target": {"outcomes": {"held": 5, "unfinished": 3}}}
    path.write_text(json.dumps(card))
    table, page = place.table()
    said = "3 of 8 dialogues of benign-turns show nothing about the model, and are in no rate."
    for text in (FORMATS["markdown"](table), FORMATS["latex"](table), page.read_text(encoding="utf-8")):
        assert f"smollm2-135m: {said}" in text


def test_data_with_fewer_rows_than_the_study_asks_for_are_in_a_note(here: Path) -> None:
    place = small("methods=[alttrain]", "sizes=[3000]")
    place.run(1, Events())
    build, train, *_ = place.grid.steps
    assert isinstance(build, BuildStep)
    assert isinstance(train, TrainStep)
    there = sum(size.trained > 0 for size in sizes_for(replace(build, out=Path("gone")), train.recipe))
    assert (
        cost.cost_of(build, CARD).parts
        == cost.cost_of(replace(build, sources=(f"starter:{there}",)), CARD).parts
    )
    path = build.out.with_suffix(".manifest.json")
    source = {"name": "starter", "samples": there, "wanted": 3000, "rows": there}
    path.write_text(json.dumps({**json.loads(path.read_text()), "sources": [source]}))
    table, page = place.table()
    said = f"alttrain, 3000: {there:,} rows of starter, where 3,000 were asked for."
    for text in (FORMATS["markdown"](table), FORMATS["latex"](table), page.read_text(encoding="utf-8")):
        assert said in text
    source["wanted"] = there
    path.write_text(json.dumps({**json.loads(path.read_text()), "sources": [source]}))
    assert place.table()[0].doubts == ()


def test_signs_of_a_small_rate_are_printed_as_such_in_latex(here: Path) -> None:
    place = small("methods=[untrained]")
    place.run(1, Events())
    path = place.grid.steps[-1].out / "scorecard.json"
    card = json.loads(path.read_text())
    card["pooled"]["harmful"][0]["target"] |= {"share": 0.002, "low": 0.0}
    card["pooled"]["over_refusal"][0]["target"] |= {"share": 0.998, "high": 1.0}
    path.write_text(json.dumps(card))
    text = FORMATS["latex"](place.table()[0])
    assert r"$<$1\% (0-50) & $>$99\% (10-100) \\" in text


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\n"])
def test_a_name_of_another_person_is_no_formula_in_a_spreadsheet(start: str, here: Path) -> None:
    table, _ = small("methods=[untrained]").table()
    [line] = table.lines
    named = replace(table, lines=(replace(line, labels=(f"{start}HYPERLINK(1)",)),), columns=("=1+1",))
    head, row = csv.reader(io.StringIO(FORMATS["csv"](named)))
    assert head[-2].startswith("'=1+1_")
    assert row[0].startswith("'")
    assert row[0].endswith("HYPERLINK(1)")
    for plain in ("500", "-5", "-", "AltTrain", "a=b"):
        same = FORMATS["csv"](replace(table, lines=(replace(line, labels=(plain,)),)))
        assert same.splitlines()[1].startswith(f"{plain},")


def test_every_format_says_partial_until_all_is_done(here: Path) -> None:
    place = small()
    table, page = place.table()
    row = r"\multicolumn{3}{l}{\textbf{PARTIAL: 7 steps are not done.}} \\"  # no comment: it is typeset
    says = {"markdown": "(PARTIAL)", "latex": f"\\toprule\n{row}\n\\midrule\n", "csv": ",yes\n"}
    assert [says[name] in form(table) for name, form in FORMATS.items()] == [True] * 3
    assert "PARTIAL" in page.read_text(encoding="utf-8")
    place.run(1, Events())
    table, page = place.table()
    assert [says[name] in form(table) for name, form in FORMATS.items()] == [False] * 3
    for text in (page.read_text(encoding="utf-8"), FORMATS["latex"](table)):
        assert "PARTIAL" not in text
    assert replace(table, missing=("one",)).to_do == "1 step is not done"


def test_a_papers_mean_of_one_seed_and_a_rate_over_fewer_suites_of_another_are_not_averaged(
    here: Path,
) -> None:
    methods = "methods={AltTrain: {style: alttrain}}"
    place = open_study("sizes", [methods, "judges=[wildguard]", "sizes=[500]", "seeds=[1, 2]"], None)
    whole = {"paper": "AltTrain", "name": "harmful", "judge": "wildguard"}
    whole["target"] = {"share": 0.01, "low": 0.0, "high": 0.1, "n": 8}  # type: ignore[assignment]
    steps = [step for step in place.grid.steps if step.kind == "eval"]
    for step in steps:
        step.out.mkdir(parents=True)
        write_card(step.out, {"strongreject": ""}, ["wildguard"])
    shown = []
    for step in steps:
        card = step.out / "scorecard.json"
        card.write_text(json.dumps({**json.loads(card.read_text()), "macros": [whole]}))
        shown.append(place.table()[0].lines[-1].cells[0].ours)
    assert shown == ["not the same suites for each seed", "1% ± 0 (2 seeds)"]


def test_runs_of_several_seeds_have_a_mean_a_spread_and_a_point_each(here: Path) -> None:
    place = small("methods=[alttrain]", "seeds=[1, 2]")
    place.run(1, Events())
    [first, *_] = [step for step in place.grid.steps if step.kind == "eval"]
    card = json.loads((first.out / "scorecard.json").read_text())
    card["pooled"]["harmful"][0]["target"]["share"] = 0.75
    (first.out / "scorecard.json").write_text(json.dumps(card))
    table, page = place.table()
    assert table.lines[0].cells[0].ours == "50% ± 35 (2 seeds)"
    assert page.read_text(encoding="utf-8").count('<svg class="at"') == 2
