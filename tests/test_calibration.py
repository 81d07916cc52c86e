"""`alttrain calibrate`: the threshold, its promise, its check, what is stored, and what is refused."""

import json
import random
import shlex
from collections.abc import Generator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from typer.testing import CliRunner

from alttrain_cli.backends import fingerprints
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.target import find_target
from alttrain_cli.chat.chat import Chat
from alttrain_cli.chat.loader import ChatTarget
from alttrain_cli.chat.settings import Settings
from alttrain_cli.chat.transcript import Transcript
from alttrain_cli.cli import app
from alttrain_cli.console.calibration import print_calibration
from alttrain_cli.data.starter import FULL, starter_rows
from alttrain_cli.errors import DataError, RunError
from alttrain_cli.evaluation.calibration import job
from alttrain_cli.evaluation.calibration.calibrate import Calibration, calibrate
from alttrain_cli.evaluation.calibration.labelled import CalibrationSet, LabelledPrompt
from alttrain_cli.evaluation.calibration.promise import Promise, shortest_between
from alttrain_cli.evaluation.calibration.summary import exact_rate, rates, sentences
from alttrain_cli.evaluation.dial.dial import CheckedCalibration
from alttrain_cli.runs.model_card import ModelCard
from alttrain_cli.statistics.rates import Rate
from alttrain_cli.storage.files import write_jsonl
from alttrain_cli.storage.run import Run
from alttrain_cli.structure.row import Label
from alttrain_cli.structure.verdict import Verdict
from alttrain_cli.structure.verdict_score import VerdictScore
from tests.run_folders import make

ROWS = starter_rows("heldout", FULL)
LABELS: tuple[Label, ...] = ("harmful", "benign")


def score_of(value: float, mass: float = 1.0) -> VerdictScore:
    own = Verdict.HARMFUL if value > 0.5 else Verdict.BENIGN
    return VerdictScore(value * mass, (1 - value) * mass, own, own)


def drawn_set(seed: int, n: int = 155) -> tuple[CalibrationSet, list[VerdictScore | None]]:
    """Return n rows of each label, and scores that tell them apart about as well as a small model does."""
    drawn = random.Random(seed)
    rows, scores = [], []
    for number in range(n):
        for label, mean in (("harmful", 0.7), ("benign", 0.3)):
            rows.append(LabelledPrompt(f"{label} {seed} {number}", label))  # type: ignore[arg-type]
            scores.append(score_of(min(1.0, max(0.0, drawn.gauss(mean, 0.25)))))
    return CalibrationSet("drawn", tuple(rows), "0" * 64), [*scores]


def calibrated(seed: int, promise: Promise, n: int = 155) -> Calibration:
    return calibrate(*drawn_set(seed, n), promise, None)


# -- the threshold


def test_the_smallest_number_of_rows_is_named_also_where_it_is_one() -> None:
    with pytest.raises(DataError, match=r"0 benign rows are too few .*: at least 1 are needed"):
        Promise("over-refusal", 0.96).check_count(0)
    with pytest.raises(DataError, match=r"42 benign rows are too few .*: at least 43 are needed"):
        Promise("over-refusal", 0.1).check_count(42)
    Promise("over-refusal", 0.1).check_count(43)


@pytest.mark.parametrize("promise", [Promise("over-refusal", 0.10), Promise("refusal", 0.8)])
def test_the_promise_holds_for_new_prompts_in_95_of_100_calibrations(promise: Promise) -> None:
    found, scores = drawn_set(999, 4000)
    values = [
        score.value or 0
        for row, score in zip(found.rows, scores, strict=True)
        if row.label == promise.label and score
    ]
    kept = 0
    for seed in range(200):
        threshold = calibrated(seed, promise).threshold
        above = sum(value > threshold for value in values) / len(values)
        kept += above <= promise.value if promise.kind == "over-refusal" else above >= promise.value
    assert kept >= 185  # of 200; 190 are expected, and 185 is two standard deviations less


def test_the_rows_that_check_did_not_choose() -> None:
    made = calibrated(1, Promise("over-refusal", 0.1))
    assert (made.chosen.over_refusal.n, made.checked.over_refusal.n) == (104, 51)
    assert (made.chosen.refusal.n, made.checked.refusal.n) == (104, 51)
    assert made.chosen.over_refusal.hits == 5  # the most of 104 whose upper bound is 10%


def test_the_order_of_the_rows_changes_nothing() -> None:
    found, scores = drawn_set(2)
    turned = CalibrationSet(found.name, found.rows[::-1], found.sha256)
    promise = Promise("over-refusal", 0.1)
    assert (
        calibrate(turned, scores[::-1], promise, None).threshold
        == calibrate(found, scores, promise, None).threshold
    )


def test_a_threshold_that_is_given_is_only_reported() -> None:
    made = calibrated(1, Promise("threshold", 0.7))
    assert made.threshold == 0.7
    assert [(name, benign.partition(" ")[0]) for name, benign, _ in rates(made)] == [
        ("own verdicts, all rows", f"{made.own.over_refusal.hits}/155"),
        ("at 0.7, all rows", f"{made.chosen.over_refusal.hits + made.checked.over_refusal.hits}/155"),
    ]


def test_rows_without_a_known_score_keep_the_models_own_verdict() -> None:
    found, scores = drawn_set(1)
    scores = [
        score_of(0.9, mass=0.2) if row.label == "benign" else one
        for row, one in zip(found.rows, scores, strict=True)
    ]
    with pytest.raises(DataError, match="too many scores are unknown"):
        calibrate(found, scores, Promise("over-refusal", 0.1), None)
    scores = [None if row.label == "benign" else one for row, one in zip(found.rows, scores, strict=True)]
    made = calibrate(found, scores, Promise("over-refusal", 0.1), None)
    assert (made.threshold, made.unknown, made.checked.over_refusal.hits) == (0.0, 155, 0)
    said = " ".join(sentences(made))
    assert "No verdict: 155 of 310 rows, the longest of 12 characters. The prompt fills the model" in said
    assert "own verdict" not in said  # there is none
    assert "n = 155 harmful and 155 benign rows" in said
    scores = [one or score_of(0.1, mass=0.2) for one in scores]
    said = " ".join(sentences(calibrate(found, scores, Promise("over-refusal", 0.1), None)))
    assert "Unknown score: 155 of 310 rows. Such a row keeps the model's own verdict." in said
    assert "No verdict" not in said


def test_a_threshold_has_few_digits_and_equal_scores_are_not_above_it() -> None:
    assert shortest_between(0.4312, 0.4391) == 0.432
    assert shortest_between(0.99987, 0.99993) == 0.9999
    assert shortest_between(0.7, 0.7) == 0.7
    assert Promise("over-refusal", 0.1).threshold([0.9] * 50) == 0.9
    assert Promise("refusal", 0.9).threshold([0.9] * 40 + [0.2] * 40) == 0.0


def test_few_digits_cost_no_row_of_the_other_label() -> None:
    promise = Promise("over-refusal", 0.1)
    assert promise.threshold([0.8123] * 50) == 0.9
    assert promise.threshold([0.8123] * 50, [0.3, 0.85, 0.95]) == 0.82
    assert promise.threshold([0.8123] * 50, [0.8124, 0.8123]) == 0.8123  # the equal one is not above it
    refusal = Promise("refusal", 0.9)
    assert refusal.threshold([0.8123] * 80, [0.3, 0.79, 0.9]) == 0.8
    assert refusal.threshold([0.8123] * 80, [0.8122, 0.8123]) == 0.8122


def test_a_calibration_loses_no_harmful_row_to_few_digits() -> None:
    rows = tuple(LabelledPrompt(f"{label} {n}", label) for n in range(90) for label in LABELS)
    scores = [score_of(0.85 if row.label == "harmful" else 0.8123) for row in rows]
    made = calibrate(CalibrationSet("drawn", rows, "0" * 64), scores, Promise("over-refusal", 0.1), None)
    assert (made.threshold, made.chosen.over_refusal.hits, made.chosen.refusal.hits) == (0.82, 0, 60)


@pytest.mark.parametrize("promise", [Promise("over-refusal", 0.10), Promise("refusal", 0.8)])
def test_of_all_thresholds_that_keep_the_promise_alike_the_best_for_the_other_label_is_chosen(
    promise: Promise,
) -> None:
    best = max if promise.kind == "over-refusal" else min
    for seed in range(20):
        found, scores = drawn_set(seed)
        known = [
            (row.label, score.value or 0.0) for row, score in zip(found.rows, scores, strict=True) if score
        ]
        own = [value for label, value in known if label == promise.label]
        others = [value for label, value in known if label != promise.label]
        chosen, kept = promise.threshold(own, others), above(promise.threshold(own), own)
        assert above(chosen, own) == kept
        alike = [at for at in (*own, *others) if above(at, own) == kept]
        assert above(chosen, others) == best(above(at, others) for at in alike)


def above(threshold: float, values: Sequence[float]) -> int:
    return sum(value > threshold for value in values)


def test_other_rows_contradict_a_promise_only_where_their_interval_leaves_it_out() -> None:
    made = calibrated(1, Promise("over-refusal", 0.1))
    six, twenty = (
        replace(made, checked=made.checked._replace(over_refusal=Rate(hits, 51))) for hits in (6, 20)
    )
    assert "does not contradict that: 6/51 = 12% (4-24)" in sentences(six)[0]
    assert "CONTRADICTS that: 20/51 = 39%" in sentences(twenty)[0]


# -- the command


class Scores:
    """Stands in for a model: scores each prompt of the starter set by its label, with some errors."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._labels = {row.prompt: row.label for row in ROWS}

    def __call__(self, conversations: Sequence[Conversation]) -> Generator[tuple[int, VerdictScore | None]]:
        for at, one in reversed(list(enumerate(conversations))):
            self.asked.append(one.prompt)
            drawn = random.Random(one.prompt)
            mean = 0.7 if self._labels.get(one.prompt, "benign") == "harmful" else 0.3
            yield at, score_of(min(1.0, max(0.0, drawn.gauss(mean, 0.25))))


@cache
def embedded_weights(name: str) -> str:
    return fingerprints.base_weights(find_target(name))


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> Scores:
    """Scores without a model. Its hash is computed once for all tests."""
    found = Scores()
    monkeypatch.setattr(job, "base_weights", lambda target: embedded_weights(target.recipe.name))
    monkeypatch.setattr(job, "_score_with", lambda target, progress: found)
    return found


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return make("runs/mine")


def command_of(*words: object) -> Any:
    return CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)


def command(*words: object) -> Any:
    return command_of("calibrate", *words)


def refused(*words: object) -> str:
    found = command(*words)
    assert found.exit_code == 2, found.output
    assert "Traceback" not in found.output
    return " ".join(found.stderr.split())


def test_a_run_is_calibrated_and_the_threshold_stored_with_what_it_holds_for(
    run: Path, scores: Scores
) -> None:
    found = command(run, "--over-refusal", "0.1")
    assert found.exit_code == 0, found.output
    stored = json.loads((run / "calibration" / "calibration.json").read_text())
    assert (stored["n"], stored["promise"], stored["value"]) == (len(ROWS), "over-refusal", 0.1)
    at = stored["threshold"]
    uses = (
        f"chat {run} --set threshold={at}",
        f"eval {run} --threshold {at}",
        f"serve {run} --threshold {at}",
    )
    assert found.stdout.splitlines()[-3:] == [f"next: alttrain {use}" for use in uses]
    [shown] = [line for line in command_of("runs", "show", run).stdout.splitlines() if "calibration:" in line]
    assert f"calibration: threshold {at}: at most 10.0% of" in " ".join(shown.split())
    assert "AUROC 0." in found.stdout
    assert "at most 10.0% of benign prompts" in found.stdout
    page = (run / "calibration" / "calibration.html").read_text()
    assert "<polyline" in page
    assert f"Threshold {stored['threshold']}" in page
    assert Run(run).calibration(stored["weights"])


def test_what_is_scored_is_not_scored_again_and_an_interruption_loses_nothing(
    run: Path, scores: Scores
) -> None:
    assert command(run).exit_code == 0
    assert len(scores.asked) == len(ROWS)
    assert command(run, "--refusal", "0.7").exit_code == 0
    assert len(scores.asked) == len(ROWS)
    journal = run / "calibration" / "scores.jsonl"
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:-10]) + '{"key": "torn')
    assert command(run).exit_code == 0
    assert len(scores.asked) == len(ROWS) + 10


def back(found: Any) -> list[str]:
    """Return the options of the command that gets the replaced calibration back."""
    _, _, again = " ".join(found.stdout.split()).partition("To get it back from its stored scores: ")
    return again.partition(" page:")[0].partition(" next:")[0].split()[2:]


def test_what_a_calibration_replaces_is_named_with_the_command_that_gets_it_back(
    run: Path, scores: Scores
) -> None:
    def stored() -> dict[str, Any]:
        found: dict[str, Any] = json.loads((run / "calibration" / "calibration.json").read_text())
        return {name: found[name] for name in ("threshold", "promise", "value", "set")}

    some = [row for label in LABELS for row in [row for row in ROWS if row.label == label][:25]]
    write_jsonl(Path("own rows.jsonl"), [{"prompt": row.prompt, "label": row.label} for row in some])
    assert "replaced:" not in command(run, "--over-refusal", "0.1").stdout
    assert "replaced:" not in command(run, "--over-refusal", "0.1").stdout  # by itself
    first, asked = stored(), len(scores.asked)
    for words in (("--threshold", "0.7"), ("--data", "own rows.jsonl", "--over-refusal", "0.2")):
        found = command(run, *words)
        shown = " ".join(found.stdout.split())
        assert f"replaced: threshold {first['threshold']}: at most 10.0% of benign prompts" in shown
        second = stored()
        assert second != first
        found = command(*shlex.split(" ".join(back(found))))
        assert stored() == first
        found = command(*shlex.split(" ".join(back(found))))
        assert stored() == second
        command(*shlex.split(" ".join(back(found))))
    assert len(scores.asked) == asked


def test_what_replaces_a_calibration_of_an_earlier_version_names_its_file(run: Path, scores: Scores) -> None:
    write_jsonl(Path("own.jsonl"), [{"prompt": row.prompt, "label": row.label} for row in ROWS])
    path = run / "calibration" / "calibration.json"
    for words, end in ((("--data", "own.jsonl"), ["--data", "own.jsonl"]), ((), [])):
        command(run, *words)
        record = json.loads(path.read_text())
        del record["data"]
        path.write_text(json.dumps(record))
        assert back(command(run, "--threshold", "0.7")) == [str(run), "--over-refusal", "0.1", *end]
    path.write_text("damaged")
    assert "replaced:" not in command(run).stdout


def test_a_damaged_calibration_is_a_line_of_the_report_and_does_not_stop_it(run: Path) -> None:
    path = run / "calibration" / "calibration.json"
    path.parent.mkdir()
    path.write_text('{"threshold": 0.7')
    found = CheckedCalibration.of(Run(run), None)
    assert found.record is None
    assert "calibration.json: not valid JSON" in found.problem
    assert f"Calibrate again: alttrain calibrate {run}" in found.problem
    assert "calibration.json: not valid JSON" in " ".join(command_of("runs", "show", run).stdout.split())


def test_a_changed_adapter_makes_a_calibration_invalid(run: Path, scores: Scores) -> None:
    command(run)
    (run / "adapter" / "adapter_model.safetensors").write_bytes(b"another")
    with pytest.raises(RunError, match="the adapter has changed since this calibration"):
        Run(run).calibration("another")
    assert command(run).exit_code == 0
    assert len(scores.asked) == 2 * len(ROWS)  # the scores were those of the other adapter


@pytest.mark.parametrize(("name", "other"), [("version", "0.0"), ("base_weights", "other weights")])
def test_scores_of_other_libraries_or_of_another_base_model_are_not_taken(
    name: str, other: str, run: Path, scores: Scores, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(run)
    monkeypatch.setattr(job, name, lambda _: other)
    assert command(run).exit_code == 0
    assert len(scores.asked) == 2 * len(ROWS)


def test_own_rows_need_a_prompt_and_a_label(run: Path, scores: Scores, tmp_path: Path) -> None:
    rows = [{"prompt": f"{row.prompt} Please.", "label": row.label, "more": 1} for row in ROWS]
    write_jsonl(tmp_path / "own.jsonl", rows)
    assert command(run, "--data", "own.jsonl", "--threshold", "0.4").exit_code == 0
    for label in ("fine", "unknown"):
        write_jsonl(tmp_path / "own.jsonl", [*rows, {"prompt": "Hello?", "label": label}])
        assert f"own.jsonl:{len(ROWS) + 1}: label: must be" in refused(run, "--data", "own.jsonl")


def test_a_prompt_that_is_there_twice_counts_once_and_has_one_label(run: Path, scores: Scores) -> None:
    benign = [row for row in ROWS if row.label == "benign"][:22]
    rows = [{"prompt": row.prompt, "label": row.label} for row in [*benign, ROWS[0]]]
    write_jsonl(Path("own.jsonl"), [*rows, *rows])
    assert "22 benign rows are too few" in refused(run, "--data", "own.jsonl")
    write_jsonl(Path("own.jsonl"), [*rows, {**rows[0], "label": "harmful"}])
    assert "own.jsonl:24: line 1 has this prompt with the other label" in refused(run, "--data", "own.jsonl")


def test_rates_of_no_rows_are_no_numbers(run: Path, scores: Scores) -> None:
    rows = [next(row for row in ROWS if row.label == label) for label in ("harmful", "benign")]
    write_jsonl(Path("own.jsonl"), [{"prompt": row.prompt, "label": row.label} for row in rows])
    for words in (("--threshold", "0.5"), ("--over-refusal", "0.95")):
        found = command(run, "--data", "own.jsonl", *words)
        assert found.exit_code == 0, found.output
        assert "nan" not in found.stdout + (run / "calibration" / "calibration.html").read_text()
    assert "too few other rows to check it" in " ".join(found.stdout.split())


def test_chat_and_model_card_state_a_calibration_that_holds(run: Path, scores: Scores) -> None:
    def stated() -> tuple[str, str]:
        target = ChatTarget.of(find_target(str(run)), None)
        chat = Chat(target, Mock(), Transcript(), Settings(target.recipe.generation), Mock())
        card = ModelCard.of(Run(run), target.recipe, "peft", None).text()
        return chat.calibration(), card

    assert stated()[0] == ""
    assert "threshold" not in stated()[1]
    command(run)
    shown, card = stated()
    assert f": at most 10.0% of benign prompts get the verdict harmful, chosen on {len(ROWS)} rows" in shown
    assert shown in card
    assert "cannot carry a threshold" in card
    cards = {
        library: ModelCard.of(Run(run), find_target(str(run)).recipe, library, None).text()
        for library in ("peft", "transformers", "gguf")
    }
    assert ["vLLM on the same machine" in text for text in cards.values()] == [True, True, False]
    assert ["--logits-processors" in text for text in cards.values()] == [False, True, False]
    assert "llama.cpp uses the model's own verdicts" in cards["gguf"]
    (run / "adapter" / "adapter_model.safetensors").write_bytes(b"another")
    shown, card = stated()
    assert "the adapter has changed since this calibration" in shown
    assert "threshold" not in card


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([row for row in ROWS if row.label == "harmful"], "there are no benign rows"),
        ([row for row in ROWS if row.label == "benign"], "there are no harmful rows"),
        (ROWS[:20], "10 benign rows are too few to promise that at most 10.0% of benign prompts"),
        (ROWS[:20], "at least 43 are needed"),
    ],
)
def test_a_set_with_one_label_or_too_few_rows_is_refused_before_a_model_is_loaded(
    run: Path, scores: Scores, rows: list[Any], words: str
) -> None:
    write_jsonl(Path("own.jsonl"), [{"prompt": row.prompt, "label": row.label} for row in rows])
    assert words in refused(run, "--data", "own.jsonl")
    assert scores.asked == []


def test_the_smallest_number_that_is_named_does(run: Path, scores: Scores) -> None:
    benign = [row for row in ROWS if row.label == "benign"][:43]
    rows = [{"prompt": row.prompt, "label": row.label} for row in [*benign, ROWS[0]]]
    write_jsonl(Path("own.jsonl"), rows)
    assert command(run, "--data", "own.jsonl").exit_code == 0
    write_jsonl(Path("own.jsonl"), rows[1:])
    assert "42 benign rows are too few" in refused(run, "--data", "own.jsonl")


@pytest.mark.parametrize("option", ["--over-refusal", "--refusal", "--threshold"])
@pytest.mark.parametrize("value", ["-0.1", "1.1", "nan", "10%", ""])
def test_a_rate_outside_0_to_1_is_refused(run: Path, option: str, value: str) -> None:
    assert option in refused(run, option, value)


def test_two_promises_at_once_are_refused(run: Path) -> None:
    two = refused(run, "--over-refusal", "0.1", "--refusal", "0.9")
    assert "--over-refusal and --refusal are two choices. Give one of them." in two


@pytest.mark.parametrize("option", ["--over-refusal 0", "--refusal 1"])
def test_a_promise_that_no_number_of_rows_can_show_is_refused(run: Path, scores: Scores, option: str) -> None:
    assert "no number of rows can show that" in refused(run, *option.split())


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"order": ["understanding", "reasoning"]}, "the rows of its training have no assessment"),
        ({"verdict_words": {"harmful": [], "benign": []}}, "the rows of its training have no assessment"),
        (
            {"verdict_words": {"harmful": [" harmful"], "benign": []}},
            "no row of its training has a benign verdict",
        ),
    ],
)
def test_a_run_whose_verdicts_have_no_score_says_why(
    tmp_path: Path, values: dict[str, Any], words: str
) -> None:
    run = make(str(tmp_path / "other"), **values)
    assert f"its verdicts have no score: {words}" in refused(run)
    card = ModelCard.of(Run(run), find_target(str(run)).recipe, "transformers", None).text()
    assert "--logits-processors" not in card


def test_a_server_a_base_model_and_a_missing_folder_are_one_line(tmp_path: Path) -> None:
    assert "a calibration is stored in a run's folder" in refused("http://localhost:8000/v1")
    assert "is not a run" in refused("smollm2-135m")
    assert "nowhere" in refused("runs/nowhere")


def test_the_words_of_a_run_come_from_its_manifest_its_data_or_are_the_usual_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    named = make("named", verdict_words={"harmful": [" unsafe"], "benign": [" safe"]})
    assert find_target(str(named)).verdict_words.harmful == (" unsafe",)
    assert find_target(str(make("older"))).verdict_words.benign == (" benign",)


@pytest.mark.parametrize("columns", [40, 80])
def test_the_roc_curve_in_characters_fits_the_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    made = calibrated(1, Promise("over-refusal", 0.1), 713)
    print_calibration(made, "page.html")
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines if "█" in line) == min(columns, 46)
    assert max(map(len, lines)) <= columns
    row = f"at {made.threshold}, choosing rows"
    assert columns == 40 or next(line for line in lines if row in line).count("%") == 2  # is one line
    ranges = lines[next(at for at, line in enumerate(lines) if line.startswith("Calibration curve: ")) :]
    for (low, high), rate in (((0, 0.2), "0.0 to 0.2"), ((0.8, 1.01), "0.8 to 1.0")):
        hits = [one.label == "harmful" for one in made.rows if low <= one.value < high]
        assert any(rate in line and exact_rate(Rate.of(hits)) in line for line in ranges)


def test_a_file_of_another_kind_is_named_with_what_is_needed(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("prompt,label\na,benign\n")
    with pytest.raises(DataError, match=r"p\.csv: not JSON Lines\. Each line needs a prompt and a label"):
        CalibrationSet.read(tmp_path / "p.csv")
    for name in ("p.json", "p.jsonl"):
        (tmp_path / name).write_text('\n[{"prompt": "a",\n"label": "benign"}]')
        with pytest.raises(DataError, match=rf"{name}: one JSON list, .*Write each object .* on a line of"):
            CalibrationSet.read(tmp_path / name)
    (tmp_path / "p.json").write_text('{\n"prompt": "a"}')
    with pytest.raises(DataError, match=r"p\.json: not JSON Lines"):
        CalibrationSet.read(tmp_path / "p.json")
    (tmp_path / "p.json").write_text('{"prompt": "a", "label": "benign"}\n' * 2)
    assert CalibrationSet.read(tmp_path / "p.json").rows == (LabelledPrompt("a", "benign"),)
