"""The scores in scorecard, page and terminal, and the comparison at equal over-refusal."""

import json
import math
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from alttrain_cli.backends.base import BackendError, Completion, Fingerprint, Request, check_threshold
from alttrain_cli.backends.target import Target
from alttrain_cli.cli import app
from alttrain_cli.console.dial import print_dial
from alttrain_cli.evaluation import evaluate as evaluation
from alttrain_cli.evaluation.comparison import Comparison
from alttrain_cli.evaluation.completion import COMPLETION, StoredCompletion
from alttrain_cli.evaluation.dial.dial import CheckedCalibration, dial_score
from alttrain_cli.evaluation.dial.equal import threshold_at
from alttrain_cli.evaluation.dial.values import NOTHING_ASKED, DialScore, Question
from alttrain_cli.evaluation.eval_target import EvalTarget
from alttrain_cli.evaluation.evaluate import EvalOptions
from alttrain_cli.evaluation.generate import EvalRequest
from alttrain_cli.evaluation.judge import JudgeSet
from alttrain_cli.evaluation.judge_requests import missing_requests
from alttrain_cli.evaluation.judge_run import JudgeRun, judge_instantly, judgements
from alttrain_cli.evaluation.judgement import Behaviour, Judgement, JudgementState, record
from alttrain_cli.evaluation.judges.catalogue import find_judges
from alttrain_cli.evaluation.judges.rubrics import XSTEST
from alttrain_cli.evaluation.judges.rule import RULE
from alttrain_cli.evaluation.page.page import page
from alttrain_cli.evaluation.plan import EvalPlan, suite_dirs
from alttrain_cli.evaluation.suite_result import SuiteResult
from alttrain_cli.evaluation.suites.items import LoadedSuite
from alttrain_cli.evaluation.suites.published import read_suites
from alttrain_cli.evaluation.suites.suite import Item, find_suites
from alttrain_cli.progress import Progress
from alttrain_cli.recipe.model import Recipe, Sampling
from alttrain_cli.statistics.estimates import Estimate
from alttrain_cli.statistics.rates import Rate
from alttrain_cli.storage.run_records import CalibrationRecord
from alttrain_cli.structure.verdict import Verdict
from alttrain_cli.structure.verdict_score import VerdictScore
from tests.golden_files import check_golden
from tests.run_folders import make
from tests.scorecards import before_and_after, card_of, generate
from tests.scripted import ScriptedBackend
from tests.servers import chat_server

GREEDY = Sampling(max_new_tokens=64, do_sample=False)
N = 30  # prompts per suite
ALL = [f"Hurt {n}" for n in range(N)] + [f"Help {n}" for n in range(N)]
REFUSAL = "I'm sorry, but I cannot help."
TWO_SUITES = {"strongreject": ALL[:N], "xstest-safe": ALL[N:]}
TEXT = "<think>\nI am asked.\n\nIt is {}.\n\nSo I go on.\n</think>\n\nHere."


class Judging(ScriptedBackend):
    """A model whose score depends on the prompt, and whose threshold turns the verdict."""

    def __init__(self, score: Callable[[str], float | None], name: str = "judging") -> None:
        super().__init__(self._judge, name=name, unscored="")
        self._of = score

    @property
    def fingerprint(self) -> Fingerprint:
        return Fingerprint(self.name, self.name, "w", adapter=f"adapter of {self.name}")

    def _judge(self, request: Request[Any], sampling: Sampling) -> Completion:
        value = self._of(request.input.prompt)
        if value is None:
            return Completion(TEXT.format("odd"))
        own = Verdict.HARMFUL if value > 0.5 else Verdict.BENIGN
        score = VerdictScore(value, 1 - value, own, own)
        written = own if sampling.threshold is None else score.decide(sampling.threshold)
        return Completion(TEXT.format(written), score=VerdictScore(value, 1 - value, own, written))


def noisy(strength: float) -> Callable[[str], float]:
    def score(prompt: str) -> float:
        mean = 0.5 + strength if prompt.startswith("Hurt") else 0.5 - strength
        return min(1.0, max(0.0, random.Random(prompt).gauss(mean, 0.2)))

    return score


def evaluate(
    root: Path,
    backend: ScriptedBackend,
    sampling: Sampling = GREEDY,
    progress: Progress | None = None,
    prompts: Mapping[str, Sequence[str]] = TWO_SUITES,
    **changes: Any,
) -> list[SuiteResult]:
    """Evaluate on suites of harmful and of benign prompts."""
    loaded = [
        (
            suite,
            LoadedSuite(
                [Item(str(at), one) for at, one in enumerate(prompts[suite.name])],
                None,
                None,
                "0" * 64,
                True,
                0,
            ),
        )
        for suite in find_suites(",".join(prompts))
    ]
    generate(root, backend, EvalRequest(loaded, sampling, **changes), progress or Progress())
    return [SuiteResult.read(folder) for folder in suite_dirs(root)]


def calibration(weights: str, **values: Any) -> CalibrationRecord:
    return CalibrationRecord(
        **{
            "threshold": 0.7, "promise": "over-refusal", "value": 0.1, "set": "starter rows", "sha256": "0", "n": 310,
            "made": "2026-11-25T12:00:00+00:00", "weights": weights, "auroc": 0.9, "checked": {}, **values,
        }
    )  # fmt: skip


def test_the_scorecard_says_how_well_scores_separate_and_how_far_a_promise_held(tmp_path: Path) -> None:
    results = evaluate(tmp_path, Judging(noisy(0.2)))
    dial = dial_score(results, {}, CheckedCalibration(calibration("w")))
    assert dial is not None
    assert dial.area is not None
    assert 0.8 < dial.area.area < 1
    assert [(one.name, one.label, one.n) for one in dial.suites] == [
        ("strongreject", "harmful", N),
        ("xstest-safe", "benign", N),
    ]
    [turned] = dial.suites[1].turned
    benign = turned.rate
    assert dial.held() == [
        f"calibrated to 10% of benign prompts on starter rows; xstest-safe gives {benign.share:.0%} "
        f"({100 * benign.low:.0f}-{100 * benign.high:.0f}), n = {N}: it is open whether the promise holds "
        "there, because the interval includes 10%"
    ]
    assert dial.curve is not None
    assert (dial.curve.roc[0], dial.curve.roc[-1]) == ((0, 0), (1, 1))


def test_the_page_draws_the_curve_of_each_suite_against_all_prompts_of_the_other_label(
    tmp_path: Path,
) -> None:
    score = noisy(0.1)
    prompts = {
        "harmbench": [f"Hurt {n}" for n in range(60)],
        "strongreject": [f"Hurt {n}" for n in range(60, 160)],
        "xstest-safe": [f"Help {n}" for n in range(200)],
    }
    results = evaluate(tmp_path / "three", Judging(score), prompts=prompts)
    dial = dial_score(results, {}, CheckedCalibration(calibration("w")))
    assert dial
    over = {
        at: {name: sum(score(one) > at for one in asked) / len(asked) for name, asked in prompts.items()}
        for at in (0.5, 0.7)
    }
    for suite in dial.suites[:2]:
        assert suite.curve
        assert suite.curve.own == (over[0.5]["xstest-safe"], over[0.5][suite.name])
        assert [one.point for one in suite.curve.marks] == [(over[0.7]["xstest-safe"], over[0.7][suite.name])]
    assert dial.suites[2].curve
    assert dial.curve
    assert (dial.suites[2].curve.own, dial.suites[2].curve.marks) == (dial.curve.own, dial.curve.marks)
    html = drawn(dial, tmp_path)
    assert html.count("<polyline") == html.count('class="ring"') == html.count('class="point"') == 1 + 3
    for suite in dial.suites:
        assert f'<b>{suite.name}</b> ({suite.label}) <span class="count">AUROC {suite.area}</span>' in html
    sizes = [points.count(" ") + 1 for points in re.findall(r'<polyline[^>]* points="([^"]*)"', html)]
    assert sizes[0] > 200
    assert all(50 < size <= 101 for size in sizes[1:])  # as small as the picture


def test_with_one_suite_of_each_label_one_curve_is_that_of_all(tmp_path: Path) -> None:
    results = evaluate(tmp_path / "two", Judging(noisy(0.2)))
    dial = dial_score(results, {}, CheckedCalibration())
    assert dial
    assert dial.curve
    assert [one.curve and one.curve.roc for one in dial.suites] == [dial.curve.roc] * 2
    html = drawn(dial, tmp_path)
    assert html.count("<polyline") == html.count('class="ring"') == 1
    assert 'class="point"' not in html  # there is no calibrated threshold
    assert "so this is also the curve of each suite" in html


def drawn(dial: DialScore, folder: Path) -> str:
    card = card_of(*before_and_after(folder / "card"))
    return "".join(page(replace(card, dial=dial), []))


def test_a_completion_without_a_known_score_keeps_its_own_verdict_and_is_counted(tmp_path: Path) -> None:
    results = evaluate(tmp_path, Judging(lambda prompt: None if prompt == "Help 3" else 0.9))
    dial = dial_score(results, {}, CheckedCalibration())
    assert dial is not None
    assert (dial.suites[1].unknown, dial.suites[1].own.hits) == (1, N - 1)


def test_a_verdict_in_words_that_have_no_score_stays_at_every_threshold(tmp_path: Path) -> None:
    class Blunt(Judging):
        def _judge(self, request: Request[Any], sampling: Sampling) -> Completion:
            blunt = request.input.prompt == "Help 3"
            return Completion(TEXT.format("dangerous")) if blunt else super()._judge(request, sampling)

    results = evaluate(tmp_path, Blunt(lambda prompt: 0.2))
    dial = dial_score(results, {}, CheckedCalibration(calibration("w")))
    assert dial is not None
    _, benign = dial.suites
    assert (benign.unknown, *(rate.hits for rate in benign.rates)) == (1, 1, 1)


def test_a_verdict_that_another_one_follows_counts_as_the_whole_completion_says(tmp_path: Path) -> None:
    class Unsure(Judging):
        def _judge(self, request: Request[Any], sampling: Sampling) -> Completion:
            first = VerdictScore(0.9, 0.1, Verdict.HARMFUL, Verdict.HARMFUL)
            return Completion(TEXT.format("harmful, no, it is benign"), score=first)

    dial = dial_score(evaluate(tmp_path, Unsure(lambda prompt: 0.2)), {}, CheckedCalibration())
    assert dial is not None
    assert [(one.own.hits, one.unknown) for one in dial.suites] == [(0, N)] * 2


def test_a_model_without_scores_has_no_such_part(tmp_path: Path) -> None:
    results = evaluate(tmp_path, ScriptedBackend(TEXT.format("benign")))
    assert dial_score(results, {}, CheckedCalibration()) is None


def test_a_threshold_is_part_of_the_key_and_turns_the_verdict(tmp_path: Path) -> None:
    plain = evaluate(tmp_path / "plain", Judging(noisy(0.2)))
    turned = evaluate(tmp_path / "turned", Judging(noisy(0.2)), GREEDY.model_copy(update={"threshold": 1.0}))
    assert not set(plain[0].plan.keys) & set(turned[0].plan.keys)
    assert set(turned[0].stats.verdicts.values()) == {"benign"}
    one, two = (dial_score(results, {}, CheckedCalibration()) for results in (plain, turned))
    assert one
    assert two
    assert (one.area, [suite.own for suite in one.suites]) == (two.area, [suite.own for suite in two.suites])


class Said(Progress):
    """Keeps the lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.warned: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def warn(self, text: str) -> None:
        self.warned.append(text)


def test_what_a_threshold_does_not_change_is_not_generated_again(tmp_path: Path) -> None:
    at, said, backend = GREEDY.model_copy(update={"threshold": 0.7}), Said(), Judging(noisy(0.2))
    fresh = evaluate(tmp_path / "fresh", Judging(noisy(0.2)), at)
    evaluate(tmp_path / "both", Judging(noisy(0.2)))
    both = evaluate(tmp_path / "both", backend, at, said)
    asked = {request.input.prompt for request in backend.received if not isinstance(request.input, str)}
    assert asked == {prompt for prompt in ALL if 0.5 < noisy(0.2)(prompt) <= 0.7}
    assert 0 < len(asked) < N
    number = 2 * N - len(asked)
    assert said.lines == [f"reused: {number} of {2 * N} completions, whose verdict is the same at 0.7"]
    [warning] = said.warned
    assert f"/both: {len(asked)} stored completions will not count from now on" in warning
    for one, two in zip(fresh, both, strict=True):
        assert lines(tmp_path / "fresh", one)[-N:] == lines(tmp_path / "both", two)[-N:]
    said.lines.clear()
    evaluate(tmp_path / "both", backend, at, said)
    assert (len(backend.received), said.lines) == (len(asked), [])


def test_what_a_servers_own_threshold_turned_is_reused_only_where_it_decides_alike(tmp_path: Path) -> None:
    class Owned(Judging):
        """On a server whose owner has set the threshold 0.6 for all requests without one."""

        def _judge(self, request: Request[Any], sampling: Sampling) -> Completion:
            return super()._judge(
                request, sampling if sampling.threshold else sampling.model_copy(update={"threshold": 0.6})
            )

    backend = Owned(noisy(0.2))
    evaluate(tmp_path, backend)
    before = len(backend.received)
    evaluate(tmp_path, backend, GREEDY.model_copy(update={"threshold": 0.7}))
    asked = {one.input.prompt for one in backend.received[before:] if not isinstance(one.input, str)}
    assert asked == {prompt for prompt in ALL if 0.6 < noisy(0.2)(prompt) <= 0.7}


def test_what_a_threshold_does_not_change_is_not_judged_again(tmp_path: Path) -> None:
    evaluate(tmp_path, Judging(noisy(0.2)))
    of_answers, of_all = JudgeRun(XSTEST), JudgeRun(XSTEST, "full")

    def judge(run: JudgeRun) -> set[str]:
        """Judge what is to be judged, one of it without success, and return its prompts."""
        cases = [(folder, EvalPlan.load(folder.path)) for folder in suite_dirs(tmp_path)]
        wanted = [one for folder, plan in cases for one in missing_requests(folder, plan, run)]
        for one in wanted:
            state = JudgementState.UNPARSED if one.prompt == "Hurt 0" else JudgementState.JUDGED
            behaviour = None if one.prompt == "Hurt 0" else Behaviour.COMPLIED
            one.journal.append(record(one.key, one.completion, Judgement(state, behaviour, raw=one.prompt)))
        for folder, plan in cases:
            raw = {key: found.raw for key, found in judgements(folder, plan, run.name)}
            assert [raw[one.key] for one in plan.requests] == [one.item.prompt for one in plan.requests]
        return {one.prompt for one in wanted}

    assert judge(of_answers) == {*ALL}
    evaluate(tmp_path, Judging(noisy(0.2)), GREEDY.model_copy(update={"threshold": 0.7}))
    assert judge(of_answers) == {"Hurt 0", *(one for one in ALL if 0.5 < noisy(0.2)(one) <= 0.7)}
    assert judge(of_answers) == {"Hurt 0"}
    assert judge(of_all) == {*ALL}


class Reconsidering(Judging):
    """Gives two verdicts, of which the first one has the score."""

    def _judge(self, request: Request[Any], sampling: Sampling) -> Completion:
        text = super()._judge(request, sampling)
        return replace(text, text=TEXT.format("harmful, no, it is benign"))


class Hesitating(Judging):
    """Thinks of other words most."""

    def _judge(self, request: Request[Any], sampling: Sampling) -> Completion:
        return Completion(
            TEXT.format("harmful"), score=VerdictScore(0.4, 0, Verdict.HARMFUL, Verdict.HARMFUL)
        )


@pytest.mark.parametrize(
    ("backend", "mode"),
    [
        (Reconsidering(lambda prompt: 0.9), "normal"),
        (Hesitating(lambda prompt: 0.9), "normal"),
        (Judging(lambda prompt: None), "normal"),
        (Judging(lambda prompt: 0.9), "more"),
    ],
    ids=["two verdicts", "unknown", "no score", "several rounds"],
)
def test_a_completion_is_generated_again_where_its_score_does_not_say_what_a_threshold_does(
    tmp_path: Path, backend: Judging, mode: Any
) -> None:
    evaluate(tmp_path, backend, mode=mode)
    before, said = len(backend.received), Said()
    evaluate(tmp_path, backend, GREEDY.model_copy(update={"threshold": 0.7}), said, mode=mode)
    assert (len(backend.received), said.lines) == (2 * before, [])


def lines(root: Path, result: SuiteResult) -> list[str]:
    return (root / result.name / "completions.jsonl").read_text().splitlines()


def test_completions_of_earlier_versions_are_read_and_a_score_is_kept(tmp_path: Path) -> None:
    [folder, _] = suite_dirs(tmp_path) if evaluate(tmp_path, Judging(noisy(0.2))) else []
    line = json.loads((folder.path / "completions.jsonl").read_text().splitlines()[0])
    read = StoredCompletion.from_record(COMPLETION.validate_json(json.dumps(line)))
    assert read.score is not None
    assert read.score.record() == line["score"]
    old = {name: value for name, value in line.items() if name != "score"}
    assert StoredCompletion.from_record(COMPLETION.validate_json(json.dumps(old))).score is None


def test_a_backend_without_scores_refuses_a_threshold_before_anything_is_generated(tmp_path: Path) -> None:
    backend = ScriptedBackend(TEXT.format("benign"), unscored="it is a server")
    for threshold in (0.5, 0.0):
        with pytest.raises(BackendError, match="a threshold has no effect here: it is a server"):
            evaluate(tmp_path, backend, GREEDY.model_copy(update={"threshold": threshold}))
    assert backend.received == []
    check_threshold(backend, GREEDY)


def test_a_server_cannot_apply_a_threshold_and_says_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with chat_server(lambda number, request: "Hi.") as served:
        for words in (
            ["eval", f"{served.base_url} tiny", "--threshold", "0.5"],
            ["chat", f"{served.base_url} tiny", "--set", "threshold=0.5", "-p", "Hi."],
            [
                "chat",
                f"{served.base_url} tiny",
                "--set",
                "threshold=0.5",
                "--attack",
                "bare-goal",
                "--goal",
                "Hi.",
            ],
        ):
            done = CliRunner().invoke(app, words, catch_exceptions=False)
            assert done.exit_code == 2
            assert "does not return the probabilities that a score needs" in " ".join(done.stderr.split())


def test_a_base_model_that_a_run_is_compared_with_has_no_threshold(tmp_path: Path) -> None:
    run = Target("run", Recipe.load("smollm2-135m"), tmp_path / "run" / "adapter")
    pair = Comparison(
        EvalTarget(tmp_path / "run", run),
        EvalTarget(tmp_path / "base", Target("other", Recipe.load("r1-7b"))),
    )
    models = {"run": Judging(noisy(0.2)), "other": ScriptedBackend(TEXT.format("benign"), unscored="a base")}
    options = EvalOptions(
        read_suites(find_suites("smoke-benign"), {}, Progress()), sampling={"threshold": 0.5}, limit=2
    )
    judges = JudgeSet(find_judges("rule"), lambda word: models["run"], Progress(), with_card=False)
    evaluation.evaluate(pair, options, judges, lambda target: models[target.name], Progress())
    plans = [EvalPlan.load(root / "smoke-benign") for root in pair.roots]
    assert [plan.settings.threshold for plan in plans] == [None, 0.5]


# -- at equal over-refusal


@pytest.mark.parametrize(("rate", "above"), [(0.0, 0), (0.1, 1), (0.19, 1), (0.5, 5), (1.0, 10)])
def test_the_threshold_at_a_rate_is_the_lowest_that_keeps_it(rate: float, above: int) -> None:
    values = [0.05 + at / 10 for at in range(10)]
    assert sum(value > threshold_at(values, rate) for value in values) == above


def test_a_threshold_with_few_digits_loses_no_harmful_verdict() -> None:
    harmful = [0.52, 0.97, 0.985, 0.999]
    assert sum(value > threshold_at([0.1, 0.983], 0.1, harmful) for value in harmful) == 2
    assert threshold_at([0.1, 0.51, 0.95], 0.4, harmful) == 0.51


def test_where_no_threshold_keeps_the_rate_the_comparison_is_one_line(tmp_path: Path) -> None:
    class Firm(Judging):
        """Gives a harmful verdict in words that have no score."""

        def _judge(self, request: Request[Any], sampling: Sampling) -> Completion:
            other = VerdictScore(0.1, 0.1, Verdict.HARMFUL, Verdict.HARMFUL)
            return Completion(TEXT.format("harmful"), score=other)

    evaluate(tmp_path / "firm", Firm(noisy(0.3), "firm"))
    evaluate(tmp_path / "weak", Judging(noisy(0.05), "weak"))
    done = report(tmp_path / "firm", "--baseline", tmp_path / "weak", "--at-over-refusal", "0.1")
    assert done.exit_code == 2
    assert "no threshold changes them. Give a higher rate." in " ".join(done.stderr.split())
    assert threshold_at([math.inf, 0.5], 0.5) == 0.5


@pytest.mark.parametrize(("kind", "label"), [("over-refusal", "benign"), ("refusal", "harmful")])
def test_a_promise_is_held_against_its_label_whatever_the_set_is_called(
    tmp_path: Path, kind: Any, label: str
) -> None:
    record = CalibrationRecord(
        threshold=0.5, promise=kind, value=0.005, set="harmful prompts.jsonl", sha256="0", n=1, made="",
        weights="", auroc=0.5, checked={},
    )  # fmt: skip
    found = dial_score(evaluate(tmp_path, Judging(noisy(0.3))), {}, CheckedCalibration(record))
    assert found
    names = {"benign": "xstest-safe", "harmful": "strongreject"}
    [line] = found.held()
    assert f"0.5% of {label} prompts on harmful prompts.jsonl; {names[label]} gives" in line
    rate = Estimate.of_rate(Rate(1, 300))
    few = [replace(one, turned=[replace(one.turned[0], rate=rate)]) for one in found.suites]
    [line] = replace(found, suites=few).held()
    assert "gives <1% (0-2)" in line  # which is not none


@pytest.mark.parametrize(
    ("kind", "value", "hits", "words"),
    [
        ("over-refusal", 0.1, 60, "gives 24% (19-30), n = 250: the promise does not hold there"),
        ("over-refusal", 0.1, 10, "gives 4% (2-7), n = 250: the promise holds there"),
        ("over-refusal", 0.1, 20, "gives 8% (5-12), n = 250: it is open whether the promise holds there, because the interval includes 10%"),
        ("refusal", 0.3, 100, "gives 40% (34-46), n = 250: the promise holds there"),
        ("refusal", 0.3, 50, "gives 20% (16-25), n = 250: the promise does not hold there"),
        ("refusal", 0.3, 80, "gives 32% (27-38), n = 250: it is open whether the promise holds there, because the interval includes 30%"),
    ],
)  # fmt: skip
def test_the_interval_decides_whether_a_promise_holds_on_a_suite(
    tmp_path: Path, kind: Any, value: float, hits: int, words: str
) -> None:
    record = CheckedCalibration(calibration("w", promise=kind, value=value))
    found = dial_score(evaluate(tmp_path, Judging(noisy(0.3))), {}, record)
    assert found
    rate = Estimate.of_rate(Rate(hits, 250))
    [line] = replace(
        found, suites=[replace(one, turned=[replace(one.turned[0], rate=rate)]) for one in found.suites]
    ).held()
    assert line.endswith(words)


class Answering(Judging):
    """Writes benign verdicts as it must, but refuses each third prompt, and does not finish some answers."""

    def _judge(self, request: Request[Any], sampling: Sampling) -> Completion:
        done = super()._judge(request, sampling)
        number = int(request.input.prompt.split()[1])
        if number % 10 == 1:
            return replace(done, text=done.text.partition("</think>")[0], reasoning_tokens=9)
        return replace(done, text=done.text.replace("Here.", REFUSAL)) if number % 3 == 0 else done


@pytest.mark.parametrize(
    ("kind", "at", "judges", "said"),
    [
        ("over-refusal", 0.7, True, ["xstest-safe"]),
        ("refusal", 0.7, True, ["strongreject"]),
        ("over-refusal", 0.7, False, []),
        ("over-refusal", 0.6, True, []),  # not the calibrated one
        ("over-refusal", None, True, []),
        ("threshold", 0.7, True, []),  # which promises nothing
    ],
)
def test_answers_at_the_calibrated_threshold_are_held_against_the_promise_too(
    tmp_path: Path, kind: Any, at: float | None, judges: bool, said: list[str]
) -> None:
    sampling = GREEDY.model_copy(update={"threshold": at})
    for result in evaluate(tmp_path, Answering(noisy(0.3)), sampling):
        if judges:
            judge_instantly(result.folder, result.plan, RULE)
    results = [SuiteResult.read(folder) for folder in suite_dirs(tmp_path)]
    found = dial_score(results, {}, CheckedCalibration(calibration("w", promise=kind)))
    assert found
    lines = [line for line in found.held() if "answers" in line]
    assert [name for name in TWO_SUITES if any(f"; {name} gives" in line for line in lines)] == said
    refuses = "; the answers refuse 30% (17-48), n = 30, at most 40%, by the judge rule"
    assert all(line.endswith(refuses) for line in lines)


# -- at the threshold that an evaluation was made with, and at any other


def turned_evaluation(root: Path, at: float | None = 0.01) -> list[SuiteResult]:
    """A judged evaluation at a threshold."""
    sampling = GREEDY.model_copy(update={"threshold": at})
    for result in evaluate(root, Answering(noisy(0.3)), sampling):
        judge_instantly(result.folder, result.plan, RULE)
    return [SuiteResult.read(folder) for folder in suite_dirs(root)]


def above(name: str, threshold: float) -> int:
    return sum(noisy(0.3)(prompt) > threshold for prompt in TWO_SUITES[name])


@pytest.mark.parametrize(
    ("record", "asked", "shown"),
    [
        (None, None, {0.01: ["evaluated"]}),
        (calibration("w"), None, {0.7: ["calibrated"], 0.01: ["evaluated"]}),
        (calibration("w", threshold=0.01), 0.01, {0.01: ["calibrated", "evaluated", "requested"]}),
        (calibration("w"), 0.4, {0.7: ["calibrated"], 0.01: ["evaluated"], 0.4: ["requested"]}),
    ],
    ids=["no calibration", "another one", "the same", "and a third one"],
)
def test_each_threshold_has_a_column_and_a_point_wherever_the_calibrated_one_has(
    tmp_path: Path, record: CalibrationRecord | None, asked: float | None, shown: dict[float, list[Any]]
) -> None:
    dial = dial_score(
        turned_evaluation(tmp_path / "e"), {}, CheckedCalibration(record), Question(threshold=asked)
    )
    assert dial
    assert {one.value: one.origins for one in dial.thresholds} == shown
    for suite in dial.suites:
        assert [one.rate.hits for one in suite.turned] == [above(suite.name, at) for at in shown]
        assert [one.made for one in suite.turned] == [at == 0.01 for at in shown]
    shapes = [
        {"calibrated": "dot", "evaluated": "square", "requested": "diamond"}[one[0]] for one in shown.values()
    ]
    points = [(above("xstest-safe", at) / N, above("strongreject", at) / N) for at in shown]
    for curve in (dial.curve, *(suite.curve for suite in dial.suites)):
        assert curve
        assert [(one.shape, one.point) for one in curve.marks] == list(zip(shapes, points, strict=True))
    html = drawn(dial, tmp_path)
    assert html.count('class="point"') == len(shown)
    for shape, (at, origins) in zip(shapes, shown.items(), strict=True):
        assert f"the {shape} is the threshold {at} ({', '.join(origins)})" in html
        assert f'<th>threshold {at} <span class="count">{", ".join(origins)}</span></th>' in html


def test_answers_count_for_the_threshold_that_they_were_made_with(tmp_path: Path) -> None:
    turned_evaluation(tmp_path)
    evaluate(tmp_path, Answering(noisy(0.3)), prompts={"strongreject": ALL[:N]})  # again, without a threshold
    results = [SuiteResult.read(folder) for folder in suite_dirs(tmp_path)]
    dial = dial_score(results, {}, CheckedCalibration(calibration("w")))
    assert dial
    verdicts = Estimate.of_rate(Rate(above("xstest-safe", 0.01), N))
    refuses = "; the answers refuse 30% (17-48), n = 30, at most 40%, by the judge rule"
    line = (
        f"0.01, which promises nothing; xstest-safe: verdict harmful {verdicts.share:.0%} "
        f"({100 * verdicts.low:.0f}-{100 * verdicts.high:.0f}), n = 30{refuses}"
    )
    assert dial.turned() == [line]
    assert f"<p>Threshold {line}.</p>" in drawn(dial, tmp_path)
    same = dial_score(results, {}, CheckedCalibration(calibration("w", threshold=0.01)))
    assert same
    assert (same.turned(), [one.endswith(refuses) for one in same.held()]) == ([], [True])


@pytest.mark.parametrize("columns", [80, 66, 40])
def test_the_table_of_several_thresholds_fits_into_the_terminal(
    tmp_path: Path, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    results = turned_evaluation(tmp_path)
    for asked in (NOTHING_ASKED, Question(threshold=0.4)):
        print_dial(dial_score(results, {}, CheckedCalibration(calibration("w")), asked))
    shown = capsys.readouterr().out
    assert all(len(line) <= columns for line in shown.splitlines())
    check_golden(f"dial-{columns}.txt", shown)


def test_one_evaluation_shows_the_verdicts_at_any_threshold_and_changes_nothing_that_is_stored(
    tmp_path: Path,
) -> None:
    from alttrain_cli.storage.run import Run

    run = Run(make(str(tmp_path / "mine")))
    run.save_calibration(calibration("adapter of judging"))
    turned_evaluation(run.path / "eval", None)
    first = report(run.path / "eval", "--baseline", "none").stdout
    before = {path: path.read_bytes() for path in run.path.rglob("*") if is_stored(path)}
    done = report(run.path / "eval", "--baseline", "none", "--threshold", "0.4")
    assert done.exit_code == 0
    assert {path: path.read_bytes() for path in run.path.rglob("*") if is_stored(path)} == before
    assert ("requested" in first, "requested" in done.stdout) == (False, True)
    for name in TWO_SUITES:
        assert str(Estimate.of_rate(Rate(above(name, 0.4), N))).split(" = ")[1] in done.stdout
    card = json.loads((run.path / "eval" / "scorecard.json").read_text())
    assert card["dial"]["thresholds"][1] == {"value": 0.4, "origins": ["requested"]}
    assert "threshold 0.4" in (run.path / "eval" / "scorecard.html").read_text()
    assert report(run.path / "eval", "--baseline", "none").stdout == first


def is_stored(path: Path) -> bool:
    return path.is_file() and not path.name.startswith("scorecard.")


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ("1.5", "'--threshold': it must be less than or equal to 1"),
        ("nan", "'--threshold'"),
        ("high", "'--threshold': it must be a valid number"),
        ("0.5", "--threshold 0.5: base has no scores of harmful or benign prompts. A base model has none."),
    ],
)
def test_a_threshold_that_shows_nothing_is_one_line(tmp_path: Path, at: str, words: str) -> None:
    evaluate(tmp_path / "base", ScriptedBackend(TEXT.format("benign"), name="base"))
    done = report(tmp_path / "base", "--baseline", "none", "--threshold", at)
    assert done.exit_code == 2
    assert words in " ".join(done.stderr.split())
    assert not (tmp_path / "base" / "scorecard.json").exists()


def report(*words: object) -> Any:
    return CliRunner().invoke(app, ["eval", "report", *map(str, words)], catch_exceptions=False)


def test_two_runs_are_compared_at_equal_over_refusal_from_what_is_stored(tmp_path: Path) -> None:
    evaluate(tmp_path / "good", Judging(noisy(0.3), "good"))
    evaluate(tmp_path / "weak", Judging(noisy(0.05), "weak"))
    done = report(tmp_path / "good", "--baseline", tmp_path / "weak", "--at-over-refusal", "0.1")
    card = json.loads((tmp_path / "good" / "scorecard.json").read_text())
    equal = card["dial"]["equal"]
    assert (equal["candidate"]["over_refusal"]["hits"], equal["baseline"]["over_refusal"]["hits"]) == (3, 3)
    assert equal["candidate"]["refusal"]["share"] > equal["baseline"]["refusal"]["share"]
    assert equal["difference"]["n"] == N
    gained = equal["candidate"]["refusal"]["share"] - equal["baseline"]["refusal"]["share"]
    assert equal["difference"]["points"] == pytest.approx(100 * gained)  # each at its own threshold
    assert "both models with at most 10.0% over-refusal" in done.stdout
    assert "higher by" in done.stdout
    page = (tmp_path / "good" / "scorecard.html").read_text()
    assert "Both models with at most 10.0% over-refusal" in page
    assert re.findall(r"<tr><th>(baseline|candidate) (\w+)</th>", page) == [
        ("baseline", "weak"),
        ("candidate", "good"),
    ]
    assert "<polyline" in page


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (None, "there is no baseline"),
        (ScriptedBackend(TEXT.format("benign"), name="base"), "the baseline base has no scores"),
    ],
)
def test_a_comparison_that_cannot_be_made_is_one_line(tmp_path: Path, other: Any, words: str) -> None:
    evaluate(tmp_path / "good", Judging(noisy(0.3)))
    if other:
        evaluate(tmp_path / "other", other)
    baseline = tmp_path / "other" if other else "none"
    done = report(tmp_path / "good", "--baseline", baseline, "--at-over-refusal", "0.1")
    assert done.exit_code == 2
    assert words in " ".join(done.stderr.split())


def test_a_calibration_for_other_weights_is_a_line_and_no_promise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alttrain_cli.storage.run import Run

    run = Run(make(str(tmp_path / "mine")))
    run.save_calibration(calibration("another adapter"))
    results = evaluate(run.path / "eval", Judging(noisy(0.2)))
    dial = dial_score(results, {}, CheckedCalibration.of(run, results[0].plan.target.adapter))
    assert dial is not None
    assert "the adapter has changed since this calibration" in dial.problem
    assert (dial.thresholds, dial.held()) == ([], [])
    report(run.path / "eval", "--baseline", "none")
    assert "the adapter has changed since" in (run.path / "eval" / "scorecard.html").read_text()
    run.save_calibration(calibration("adapter of judging"))
    assert "promise:" in report(run.path / "eval", "--baseline", "none").stdout
