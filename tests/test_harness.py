"""Suites that lm-evaluation-harness words and scores, with the real harness; made-up rows in published columns."""

import csv
import io
import json
import os
import signal
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from alttrain_cli.backends.base import Request
from alttrain_cli.cli import app
from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.generate import EvalRequest
from alttrain_cli.evaluation.judges.catalogue import GRADERS
from alttrain_cli.evaluation.judges.harness import EXACT, F1, f1
from alttrain_cli.evaluation.suites.harness import until, version
from alttrain_cli.evaluation.suites.items import LoadedSuite, read_suite
from alttrain_cli.evaluation.suites.suite import Suite, all_suites, find_suites
from alttrain_cli.progress import Progress
from alttrain_cli.recipe.model import Sampling
from tests.scorecards import generate
from tests.servers import Fault, chat_server
from tests.test_eval_command import Parrot, card_of, files_of, judge_by_rule, suite_of

needs_harness = pytest.mark.skipif(
    version() is None, reason="lm-evaluation-harness is not here: pip install 'alttrain[lm-eval]'"
)
QUESTIONS = [(f"{n}加{n}等于几？", [2 * n, 2 * n + 1, n, n + 7], "A") for n in range(1, 13)]


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def write_cmmlu(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for folder, subject, some in (
            ("test", "arts", QUESTIONS[:6]),
            ("test", "logic", QUESTIONS[6:]),
            ("dev", "arts", QUESTIONS[:1]),
        ):
            text = io.StringIO()
            writer = csv.writer(text)
            writer.writerow(["", "Question", "A", "B", "C", "D", "Answer"])
            writer.writerows([n, question, *four, right] for n, (question, four, right) in enumerate(some))
            archive.writestr(f"{folder}/{subject}.csv", text.getvalue())
    return path


def write_mgsm(path: Path) -> Path:
    path.write_text("".join(f'Wie viele "{n}"?\t{n},000\n' for n in range(250)), encoding="utf-8")
    return path


def read_some(name: str, path: Path) -> tuple[Suite, LoadedSuite]:
    """Read a file that holds fewer rows than are published."""
    suite = all_suites()[name].model_copy(update={"n": None})
    return suite, read_suite(suite, path)


def measure(root: Path, suite: tuple[Suite, LoadedSuite], target: Parrot) -> dict[str, Any]:
    wanted = EvalRequest([suite], Sampling(max_new_tokens=64, do_sample=False))
    generate(root, target, wanted, Progress())
    judge_by_rule(root)
    return card_of(root)


@needs_harness
def test_mmlu_is_asked_without_its_answer_and_judged_by_the_letter_that_the_answer_ends_with(
    tmp_path: Path,
) -> None:
    rows = [
        {
            "question": "Two and two? ",
            "subject": "sums",
            "choices": ["one", "six", "four", "ten"],
            "answer": 2,
        }
    ]
    _, reading = read_some("mmlu", write_parquet(tmp_path / "m.parquet", rows))
    [item] = reading.items
    assert "Question: Two and two?\nA. one\nB. six\nC. four\nD. ten\n" in item.prompt
    assert "always conclude with:\nThe best answer is" in item.prompt
    assert (item.category, item.document, item.task) == ("sums", {"answer": 2}, "mmlu")
    assert EXACT.judge("The best answer is A? No.\n\nThe best answer is C.", item).correct
    assert EXACT.judge("**The best answer is **C**.**", item).correct
    wrong = EXACT.judge("The best answer is B.", item)
    assert (wrong.correct, wrong.raw) == (False, "B")
    silent = EXACT.judge("I don't know.", item)
    assert (silent.correct, silent.raw) == (False, "[invalid]")


@needs_harness
def test_nq_takes_each_published_answer_and_no_sentence_around_it(tmp_path: Path) -> None:
    rows = [{"question": "who wrote hamlet", "answer": ["William Shakespeare", "Shakespeare"]}]
    _, reading = read_some("nq", write_parquet(tmp_path / "n.parquet", rows))
    [item] = reading.items
    assert item.prompt.endswith("Answer these questions:\n\nQ: who wrote hamlet?\nA:")
    assert EXACT.judge("shakespeare", item).correct
    assert EXACT.judge("**William Shakespeare**.\nHe also wrote Macbeth.", item).correct
    assert not EXACT.judge("Hamlet was written by Marlowe", item).correct
    near = F1.judge("The poet Shakespeare", item)
    assert (near.correct, near.overlap) == (False, {"f1": pytest.approx(2 / 3)})


@pytest.mark.parametrize(
    ("found", "answers", "value"),
    [
        ("the Cat", ["a cat"], 1),  # articles and case do not count
        ("cat, dog", ["cat"], 2 / 3),
        ("cat cat", ["cat"], 2 / 3),  # a word said twice is shared once
        ("mouse", ["cat", "dog"], 0),
        ("1,000 cats", ["cats", "1000 cats"], 1),
        ("", ["cat"], 0),
        ("the", ["a"], 1),
    ],
)
def test_f1_is_that_of_the_best_answer_s_words(found: str, answers: list[str], value: float) -> None:
    assert f1(found, answers) == pytest.approx(value)


@needs_harness
def test_a_summary_is_scored_by_rouge_whole_and_an_unfinished_thought_scores_nothing(tmp_path: Path) -> None:
    rows = [
        {"article": f"Cat {n} sat down. Then it slept.", "highlights": f"Cat {n} slept .", "id": f"i{n}"}
        for n in range(4)
    ]
    suite = read_some("cnn-dailymail", write_parquet(tmp_path / "c.parquet", rows))

    def answer(prompt: str) -> str:
        summary = f"{prompt.split('Cat ')[1].split()[0]} slept"
        return (
            f"<think>Cat {summary}" if "Cat 3" in prompt else f"<think>x</think>Here it is:\n\nCat {summary}"
        )

    found = suite_of(measure(tmp_path / "e", suite, Parrot(answer)), "cnn-dailymail")
    metrics = {metric["metric"]: metric for metric in found["metrics"]}
    assert [metric["title"] for metric in found["metrics"]] == ["ROUGE-1", "ROUGE-2", "ROUGE-L"]
    rouge = metrics["rougeL"]
    whole = 2 * 3 / (6 + 3)  # three words of six that were said are the three of the reference
    assert rouge["target"]["share"] == pytest.approx(3 * whole / 4)
    assert (rouge["target"]["n"], rouge["target"]["hits"], rouge["better"]) == (4, None, "higher")
    assert rouge["target"]["low"] < rouge["target"]["share"] < rouge["target"]["high"]
    assert (rouge["states"]["judged"], rouge["states"]["unfinished"]) == (3, 1)
    assert found["paper"]


@needs_harness
def test_every_language_of_mgsm_is_asked_in_its_words_and_read_from_a_table_without_header(
    tmp_path: Path,
) -> None:
    path = write_mgsm(tmp_path / "mgsm.tsv")
    suites = find_suites("mgsm")
    assert len(suites) == 11
    for suite in suites:
        reading = read_suite(suite, path)
        assert len(reading.items) == 250
        assert EXACT.judge("It is **7,000** in all.", reading.items[7]).correct
        assert not EXACT.judge("7 is 8,000", reading.items[7]).correct
    german = read_suite(all_suites()["mgsm-de"], path).items[7]
    assert german.prompt == 'Frage: Wie viele "7"?\nAntwort:'


@needs_harness
def test_a_thought_is_never_the_answer_and_stop_strings_do_not_reach_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The harness's own way to drop thoughts takes all of an unfinished one for the answer."""
    monkeypatch.chdir(tmp_path)
    write_mgsm(tmp_path / "mgsm.tsv")

    def answer(number: int, asked: dict[str, Any]) -> str:
        n = int(asked["messages"][-1]["content"].split('"')[1])
        if n % 2:
            return f"<think>\nFrage: how many? I say {n},000"
        return f"<think>\nFrage: how many? I say 1.\n</think>\n\n{n},000\n\nFrage: Noch eine? 99"

    with chat_server(answer) as server:
        command = [
            "eval",
            "--base-url",
            server.base_url,
            "--suite",
            "mgsm-de",
            "--out",
            "e",
            "--no-judge-card",
        ]
        done = CliRunner().invoke(app, [*command, "--suite-file", "mgsm-de=mgsm.tsv", "--limit", "50"])
        assert not any("stop" in request for request in server.requests)
    assert done.exit_code == 0, done.output
    found = suite_of(json.loads((tmp_path / "e" / "scorecard.json").read_text("utf-8")), "mgsm-de")
    [metric] = found["metrics"]
    even = sum(n * 250 // 50 % 2 == 0 for n in range(50))
    assert (metric["target"]["hits"], metric["target"]["n"]) == (even, 50)
    assert metric["states"]["unfinished"] == 50 - even
    assert found["target"]["endings"]["unfinished"] == 50 - even
    assert "end in their reasoning" in done.output


@needs_harness
def test_killed_anywhere_it_goes_on_and_ends_with_the_files_of_an_undisturbed_evaluation(
    tmp_path: Path,
) -> None:
    suite = read_some("cmmlu", write_cmmlu(tmp_path / "cmmlu.zip"))
    answer = "<think>答案：C</think>\n\n两者相加。\n\n**答案：{}**".format

    def letter(prompt: str) -> str:
        return answer("A" if len(prompt) % 2 else "B")

    class Killed(Parrot):
        """It kills its process when it is asked once more than `after` times."""

        after = 0

        def _slowly(self, request: Request[Any], sampling: Sampling) -> str:
            if len(self.received) > self.after:
                os.kill(os.getpid(), signal.SIGKILL)
            return super()._slowly(request, sampling)

    card = measure(tmp_path / "whole", suite, Parrot(letter))
    torn = tmp_path / "torn"
    for Killed.after in (1, 3):
        child = os.fork()
        if child == 0:
            try:
                measure(torn, suite, Killed(letter))
            finally:
                os._exit(0)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    last = Parrot(letter)
    measure(torn, suite, last)
    assert len(last.asked) == len(QUESTIONS) - 1 - 3
    assert files_of(torn) == files_of(tmp_path / "whole")
    again = Parrot(letter)
    measure(torn, suite, again)
    assert again.asked == []
    [metric] = suite_of(card, "cmmlu")["metrics"]
    odd = sum(len(item.prompt) % 2 for item in suite[1].items)
    assert (metric["target"]["hits"], metric["target"]["n"]) == (odd, 12)


@needs_harness
def test_cmmlus_archive_gives_its_test_questions_with_their_subjects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    reading = read_suite(all_suites()["cmmlu"], write_cmmlu(tmp_path / "cmmlu.zip"))
    assert [item.category for item in reading.items] == ["arts"] * 6 + ["logic"] * 6
    assert len({item.id for item in reading.items}) == 12
    first = reading.items[0]
    for said in ("答案：A", "正确答案是 (A)。", "**答案**：A", r"所以 \boxed{A}", "答案：B？不，答案：A"):
        assert EXACT.judge(said, first).correct, said
    for said in ("答案：B", "我不知道", "答案：Apfel"):
        assert not EXACT.judge(said, first).correct, said

    def answer(number: int, asked: dict[str, Any]) -> str | Fault:
        return Fault("status", 400) if number == 3 else "<think>嗯</think>答案：A"

    with chat_server(answer) as server:
        command = ["eval", "--base-url", server.base_url, "--suite", "cmmlu", "--out", "e", "--no-judge-card"]
        command += ["--suite-file", "cmmlu=cmmlu.zip"]
        assert "1 of 12 were not answered" in " ".join(CliRunner().invoke(app, command).output.split())
        second = CliRunner().invoke(app, command)
        assert len(server.requests) == 13
    assert "12/12 = 100%" in second.output
    assert "PARTIAL" not in second.output


@needs_harness
@pytest.mark.parametrize(
    ("name", "split", "measure_as", "rows", "answers"),
    [
        (
            "nq",
            "validation",
            "exact_match,remove_whitespace",
            [{"question": f"who is {n}", "answer": ["Ann", f"Mr {n}"]} for n in range(4)],
            ["Ann.", "the Mr 1\nno", "It is Ann", "Bob, not Ann"],
        ),
        (
            "mgsm-en",
            "test",
            "exact_match,flexible-extract",
            [{"question": f"{n}?", "answer_number": f"{n},000", "answer": None} for n in range(4)],
            ["1 or 0,000.", "**1,000** Question: 2", "none", "$3,000 in 4 days"],
        ),
        (
            "mmlu",
            "test",
            "exact_match,strict_match",
            [{"question": f"{n}?", "choices": list("pqrs"), "answer": n} for n in range(4)],
            ["The best answer is A.", "best answer is A; the best answer is B", "C", "The best answer is A"],
        ),
        (
            "cnn-dailymail",
            "test",
            "rougeL,none",
            [{"article": f"a {n}", "highlights": "The cats slept.", "id": f"{n}"} for n in range(4)],
            ["The cat sleeps.", "Here:\n\nthe cats slept", "Dogs.", "A cat slept"],
        ),
    ],
)
def test_the_harness_itself_asks_the_same_and_gives_the_same_scores(
    name: str, split: str, measure_as: str, rows: list[dict[str, Any]], answers: list[str], tmp_path: Path
) -> None:
    from lm_eval import evaluate, tasks
    from lm_eval.api.model import LM

    asked: list[str] = []

    class Answering(LM):  # type: ignore[misc]
        def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
            asked.extend(request.args[0] for request in requests)
            stops = [request.args[1]["until"] for request in requests]
            return [until(answer, stop) for answer, stop in zip(answers, stops, strict=True)]

        def loglikelihood(self, requests: Any) -> Any:
            raise NotImplementedError

        loglikelihood_rolling = loglikelihood

    suite = all_suites()[name]
    assert suite.task
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    here = {"dataset_path": "json", "dataset_name": None, "training_split": None, "num_fewshot": 0}
    data = {"data_files": {split: str(path)}, "cache_dir": str(tmp_path / "cache")}
    spec = {"task": suite.task.name, **suite.task.config, **here, "dataset_kwargs": data}
    folder = Path(tasks.__file__).parent / str(suite.task.folder)
    manager = tasks.TaskManager(include_defaults=False, include_path=folder)
    loaded = manager.load({"group": "g", "task": [spec]})
    theirs = evaluate(Answering(), loaded, bootstrap_iters=0)
    _, reading = read_some(name, path)
    assert [item.prompt for item in reading.items] == [
        (suite.instruction or "{prompt}").replace("{prompt}", prompt) for prompt in asked
    ]
    judge = GRADERS[str(suite.grader)]
    ours = [judge.judge(answer, item) for answer, item in zip(answers, reading.items, strict=True)]
    scores = [
        float(one.correct) if one.correct is not None else (one.overlap or {})["rougeL"] for one in ours
    ]
    assert theirs["results"][suite.task.name][measure_as] == pytest.approx(sum(scores) / 4)
    assert 0 < sum(scores) < 4


@needs_harness
def test_a_file_of_something_else_says_what_it_lacks(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "m.parquet", [{"query": "q", "answer": 1}])
    with pytest.raises(DataError, match=r"mmlu: .*:1: not a row of this suite \('question' is undefined\)"):
        read_some("mmlu", path)
    (tmp_path / "broken.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match="not a complete archive"):
        read_some("cmmlu", tmp_path / "broken.zip")


@needs_harness
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--suite", "nq"], "--suite-file nq=FILE"),
        (["--suite", "mgsm"], "--suite-file mgsm-bn=FILE"),
        (["--suite", "mgsm", "--suite-file", "mgsm=x.tsv"], "mgsm is a group"),
    ],
)
def test_what_cannot_be_had_is_one_line_and_nothing_stands_in_for_it(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    done = CliRunner().invoke(app, ["eval", "smollm2-135m", *arguments])
    assert done.exit_code == 2
    assert says in " ".join(done.output.split())
    assert "Traceback" not in done.output


def test_without_the_harness_it_says_what_to_install_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "lm_eval"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    Path("mmlu.jsonl").write_text("{}\n", encoding="utf-8")
    asked = ["eval", "smollm2-135m", "--suite", "mmlu", "--suite-file", "mmlu=mmlu.jsonl"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 2
    assert "pip install 'alttrain[lm-eval]'" in " ".join(done.output.split())
    assert "Traceback" not in done.output


def test_an_answer_ends_at_the_first_stop_string() -> None:
    assert until("Paris. London\nRome", ["\n", "."]) == "Paris"
    assert until("Paris", ["\n"]) == "Paris"
    assert until("Paris", []) == "Paris"


@needs_harness
def test_a_harness_without_the_task_is_said_so(tmp_path: Path) -> None:
    suite = all_suites()["nq"]
    assert suite.task
    gone = suite.model_copy(update={"task": suite.task.model_copy(update={"name": "nq_closed"}), "n": None})
    path = write_parquet(tmp_path / "n.parquet", [{"question": "q", "answer": ["a"]}])
    with pytest.raises(DataError, match="has no task nq_closed"):
        read_suite(gone, path)
