"""What `alttrain eval` is given by hand: options without effect, wrong values, suites that are none, failing servers."""

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from typer.testing import CliRunner

from alttrain_cli.backends.base import Completion
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.target import find_target
from alttrain_cli.cli import app
from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.completion import record
from alttrain_cli.evaluation.judge_run import judge_instantly, judgements
from alttrain_cli.evaluation.judgement import JudgementState
from alttrain_cli.evaluation.judges.answers import WORD
from alttrain_cli.evaluation.judges.rubrics import read_strongreject
from alttrain_cli.evaluation.plan import EvalPlan, SuiteDir
from alttrain_cli.evaluation.suites.items import read_suite
from alttrain_cli.evaluation.suites.suite import Item, Suite, all_suites, find_suites
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage import tables
from tests.scorecards import HELPS, REFUSES, SETTINGS, evaluate, suite, target
from tests.servers import Fault, chat_server

URL = "http://127.0.0.1:9/v1"
HOSTILE = "zz\x1b[2J\x1b]52;c;aGk=\x07\u202e\x9b\nError: done"


def run_eval(*arguments: str) -> tuple[int, str]:
    """Return exit code and output in one line, without the frame of a usage error."""
    done = CliRunner().invoke(app, ["eval", *arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    return done.exit_code, " ".join(done.output.replace("│", " ").split())


def test_the_folder_run_is_meant_if_it_is_there_and_nothing_else_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "No model given. To evaluate a base model: alttrain eval smollm2-135m" in run_eval("report")[1]
    assert "No model given" in run_eval("run")[1]
    (tmp_path / "run").mkdir()
    for words in (["run"], ["run", "--suite", "smoke"], ["run", "run"]):
        assert "run: contains no run, no adapter and no model." in run_eval(*words)[1]
    assert "other: neither a run" in run_eval("run", "other")[1]
    assert "No model given" in run_eval()[1]


def test_a_folder_with_a_model_comes_before_a_recipe_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "r1-7b"
    folder.mkdir()
    assert find_target("r1-7b").adapter is None  # an empty folder is nothing: the recipe is meant
    recipe = Recipe.load("smollm2-135m")
    (folder / "recipe.yaml").write_text(recipe.to_yaml())
    (folder / "adapter").mkdir()
    (folder / "adapter" / "adapter_model.safetensors").touch()
    assert find_target("r1-7b").recipe.model == recipe.model


@pytest.fixture
def evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Evaluations of harmful prompts in e, and of benign ones in other."""
    monkeypatch.chdir(tmp_path)
    evaluate(tmp_path / "e", target("run"), suite("h", "harmful"), ["One?", "Two?"], [REFUSES, HELPS])
    evaluate(tmp_path / "other", target("base"), suite("b", "benign"), ["One?", "Two?"], [HELPS, HELPS])
    return tmp_path / "e"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["smollm2-135m", "--temperature", "0.5"], "--temperature has no effect without --do-sample"),
        (["smollm2-135m", "--top-p", "0.5"], "--top-p has no effect without --do-sample"),
        (
            ["smollm2-135m", "--threshold", "0", "--thinking-mode", "zero"],
            "--threshold has no effect with --thinking-mode zero",
        ),
        (["smollm2-135m", "--model", "m"], "--model has no effect without --base-url"),
        (["smollm2-135m", "--concurrency", "2"], "--concurrency has no effect without a server or vLLM"),
        (["smollm2-135m", "--compare-model", "a"], "--compare-model has no effect without a server"),
        (["smollm2-135m", "--vllm-python", "p"], "--vllm-python has no effect without --engine vllm"),
        (["http://127.0.0.1:9/v1 a", "--engine", "vllm"], "--engine vllm has no effect with a server"),
        (["smollm2-135m", "--recipe", "r1-7b"], "--recipe has no effect on smollm2-135m"),
        (["smollm2-135m", "--judge-url", URL], "--judge-url has no effect without a judge"),
        (["smollm2-135m", "--judge-model", "m"], "--judge-model has no effect without a judge"),
        (
            ["smollm2-135m", "--judge", "xstest,wildguard", "--judge-model", "m"],
            "has no effect for xstest and wildguard at",
        ),
        (
            ["smollm2-135m", "--judge", "qwen3guard,wildguard", "--judge-url", URL],
            "--judge-url has no effect for qwen3guard and wildguard at once: use one judge at a time",
        ),
        (
            ["judge", "e", "--judge", "wildguard", "--judge-model", f"{URL} guard"],
            "--judge-model has no effect as an address: use --judge-url",
        ),
        (["smollm2-135m", "--allow-code"], "--allow-code has no effect without a suite of code"),
        (
            ["smollm2-135m", "--suite", "smoke-ability", "--judge-part", "full"],
            "--judge-part has no effect on suites",
        ),
        (["smollm2-135m", "--suite", "smoke-ability", "--judge", "rule"], "--judge rule has no effect here"),
        (
            ["smollm2-135m", "--suite", "smoke-benign", "--judge", "harmbench"],
            "--judge harmbench has no effect here",
        ),
        (
            ["smollm2-135m", "--suite-file", "strongreject=x.csv"],
            "has no effect without --suite strongreject",
        ),
        (["smollm2-135m", "--suite-file", "smoke=x.csv"], "smoke is a group"),
        (["smollm2-135m", "--base-url", URL], "TARGET has no effect with --base-url"),
        (["--base-url", URL, "--recipe", "r1-7b"], "--recipe has no effect with --base-url"),
        ([URL, "--recipe", "r1-7b"], "--recipe has no effect with a server"),
        (["judge", "e", "--judge-url", URL], "--judge-url has no effect without a judge"),
        (["judge", "e", "--allow-code"], "--allow-code has no effect without a suite of code"),
        (["judge", "other", "--judge", "harmbench"], "--judge harmbench has no effect here"),
        (["judge", "e", "--recipe", "r1-7b"], "--recipe has no effect on a folder of evaluations"),
        (["report", "e", "--out", "other"], "--out has no effect with e"),
        (["report", "e", "--baseline", "e"], "--baseline e: is the target itself"),
        (["report", "e", "--baseline", "other"], "has no completions of h"),
        (["report", "e", "--baseline", "smollm2-135m"], "has no completions of h"),
        (["report", "e", "--baseline", "nowhere"], "Error: --baseline nowhere: neither a run"),
        (["report", "e", "--baseline"], "requires an argument. See: root eval report --help"),
        (["report", f"{URL} m"], f"To make one: alttrain eval '{URL} m'"),
        (["report", "e/h"], "e/h: is one suite of an evaluation. Name the whole: e"),
        (
            ["judge", "e", "--judge", "xstest", "--judge-url", "nonsense"],
            "--judge-url nonsense: not an address",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_option_without_effect_is_an_error(evaluation: Path, arguments: list[str], says: str) -> None:
    code, output = run_eval(*arguments)
    assert code == 2, output
    assert says in output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--suite", ""], "--suite is empty"),
        (["--suite", " "], "--suite is empty"),
        (["--suite", "smoke,"], "a name is empty"),
        (["--suite", "smoke,smoke"], "smoke is given twice"),
        (["--judge", "rule,rule"], "rule is given twice"),
        (["--judge", ""], "--judge is empty"),
        (["--judge-part", ""], "--judge-part': '' is unknown"),
        (["--judge-part", "reasonin"], "'reasonin' is unknown. Did you mean 'reasoning'?"),
        (["--thinking-mode", "zer"], "'zer' is unknown. Did you mean 'zero'?"),
        (["--preset", ""], "--preset is empty"),
        (["--recipe", ""], "--recipe is empty"),
        (["--baseline", ""], "--baseline is empty"),
        (["--base-url", ""], "--base-url is empty"),
        (["--suite-file", ""], "--suite-file is empty"),
        (["--out", ""], "is empty"),
        (["--do-sample", "--temperature", "inf"], "--temperature': it must be less than or equal to 10."),
        (["--do-sample", "--temperature", "nan"], "--temperature': it must be less than or equal to 10."),
        (["--do-sample", "--temperature", "-1"], "--temperature': it must be greater than or equal to 0.01."),
        (["--do-sample", "--top-p", "nan"], "--top-p': it must be less than or equal to 1."),
        (["--limit", "0"], "--limit': it must be greater than or equal to 1."),
        (["--threshold", "1.5"], "--threshold': it must be less than or equal to 1."),
        (["--threshold", "nan"], "--threshold': it must be less than or equal to 1."),
        (
            ["--num-samples", "1000000000", "--do-sample"],
            "--num-samples': it must be less than or equal to 1000.",
        ),
        (
            ["--max-new-tokens", "1000000000000"],
            "--max-new-tokens': it must be less than or equal to 1000000.",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_value_that_cannot_be_meant_is_an_error(arguments: list[str], says: str, tmp_path: Path) -> None:
    code, output = run_eval("smollm2-135m", *arguments)
    assert code == 2, output
    assert says in output


@pytest.mark.parametrize("command", ["report", "judge"])
@pytest.mark.parametrize("name", ["x" * 300, "", "no/such/place", "e/h/plan.json", HOSTILE], ids=ascii)
def test_a_target_that_is_none_is_one_line(evaluation: Path, command: str, name: str) -> None:
    done = CliRunner().invoke(app, ["eval", command, name])
    assert done.exit_code == 2
    assert not {"\x1b", "\u202e", "\x9b"} & set(done.output)
    assert (
        len([line for line in done.output.splitlines() if "Error" in line[:9]]) == 1
    )  # HOSTILE would add one


def answered_by(answer: Callable[[int, dict[str, Any]], Any], *more: str) -> tuple[int, str]:
    with chat_server(answer) as server:
        return run_eval(
            "--base-url", server.base_url, "--suite", "smoke-benign", "--no-judge-card", "--out", "s", *more
        )


@pytest.mark.parametrize("fault", [Fault("status", 400), Fault("nonsense")], ids=lambda one: one.kind)
def test_a_server_that_answers_nothing_ends_with_2_and_the_first_error(
    fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, output = answered_by(lambda number, asked: fault)
    assert code == 2
    assert "none of 16 prompts was answered, the first error: http://127.0.0.1" in output
    assert not (tmp_path / "s" / "scorecard.json").exists()


def test_a_server_that_fails_after_a_finished_evaluation_leaves_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with chat_server(lambda number, asked: REFUSES if number < 4 else Fault("status", 400)) as server:
        command = ["--base-url", server.base_url, "--suite", "smoke-benign", "--no-judge-card", "--out", "s"]
        assert run_eval(*command, "--limit", "4")[0] == 0
        code, output = run_eval(*command)
    assert code == 0, output
    assert "none of 12 prompts was answered" in output
    assert "PARTIAL" in output


@pytest.mark.parametrize(
    ("answer", "says"),
    [(Fault("status", 400), "status 400"), ("Well.", "the first reason: Well.")],
    ids=["refuses", "unread"],
)
def test_a_judge_that_judges_nothing_ends_with_2_behind_the_report(
    evaluation: Path, answer: Any, says: str
) -> None:
    with chat_server(lambda number, asked: answer) as server:
        code, output = run_eval(
            "judge", "e", "--judge", "xstest", "--judge-url", server.base_url, "--no-judge-card"
        )
    assert code == 2
    assert "--judge xstest: none of 2 completions was judged, the first reason: " in output
    assert says in output
    assert (evaluation / "scorecard.json").exists()


def test_the_command_that_judges_a_folder_with_a_space_works_in_a_shell(evaluation: Path) -> None:
    (evaluation / "h" / "judgements.rule.jsonl").unlink()
    evaluation.rename("my e")
    assert "To judge: alttrain eval judge 'my e'" in run_eval("report", "my e")[1]


def test_what_is_not_judged_or_not_generated_is_no_success(evaluation: Path) -> None:
    (evaluation / "h" / "judgements.rule.jsonl").unlink()
    code, output = run_eval("report", "e")
    assert code == 2
    assert "there are no judgements. To judge: alttrain eval judge" in output
    (evaluation / "h" / "completions.jsonl").unlink()
    code, output = run_eval("report", "e")
    assert code == 2
    assert "there are no completions" in output


def test_a_plan_that_is_gone_is_said_and_no_suite_is_left_out_in_silence(evaluation: Path) -> None:
    (evaluation / "h" / "plan.json").unlink()
    code, output = run_eval("report", "e")
    assert code == 2
    assert "plan.json: no such file" in output


def test_a_judge_of_another_version_is_named_with_its_file(evaluation: Path) -> None:
    (evaluation / "h" / "judgements.oracle.jsonl").write_text("{}\n", encoding="utf-8")
    code, output = run_eval("report", "e")
    assert code == 2
    assert "e/h/judgements.oracle.jsonl: this version of alttrain has no judge named 'oracle'" in output


def test_a_grader_that_fails_on_one_text_judges_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def grade(text: str, item: Item) -> Any:
        return WORD.judge(text, item) if "4" in text else {}["none"]

    items = (Item("1", "p", answer="4"), Item("2", "q", answer="4"))
    about = suite("a", "ability")
    plan = EvalPlan(about, target("t"), SETTINGS, "normal", 1, 2, items)
    place = SuiteDir(tmp_path)
    for job, text in zip(plan.requests, ("4", "x"), strict=True):
        place.completions.append(record(job, Conversation.of(job.item.prompt), Completion(text)))
    from dataclasses import replace

    judge_instantly(place, plan, replace(WORD, judge=grade))
    states = [found.state for _, found in judgements(place, plan, "word")]
    assert states == [JudgementState.JUDGED, JudgementState.UNPARSED]


def test_a_judge_that_answers_with_thousands_of_digits_has_said_nothing() -> None:
    assert read_strongreject(f"1.b 0\n2.b {'9' * 5000}\n3.b 5").state is JudgementState.UNPARSED


@pytest.mark.parametrize("command", ["report", "judge"])
def test_names_cannot_write_into_the_terminal_or_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "e\x1b[2J\u202e"
    hostile = {
        "title": HOSTILE,
        "source": HOSTILE,
        "licence": HOSTILE,
        "in_distribution": HOSTILE,
        "note": HOSTILE,
    }
    about = suite("zz\x1b[2J\u202e\x9b[red]", "harmful", **hostile)
    side = evaluate(root, target(HOSTILE), about, ["One?\u202e", "Two?"], [REFUSES, HELPS])
    plan = EvalPlan(about, target(HOSTILE), side.plan.settings, "normal", 1, 9, side.plan.items, (HOSTILE,))
    plan.save(side.folder.path)
    done = CliRunner().invoke(app, ["eval", command, str(root)])
    assert done.exit_code == 0, done.output
    page = (root / "scorecard.html").read_text(encoding="utf-8")
    assert not {"\x1b", "\u202e", "\x9b", "\x07"} & (set(done.output) | set(page))
    assert "[red]" in done.output
    assert not any(line.startswith("Error:") for line in done.output.splitlines())


SAFE = "smoke-benign"


def own_suite(**changes: Any) -> Suite:
    """A suite of the user's own kind of file, of any length."""
    [found] = find_suites(SAFE)
    return found.model_copy(update={"where": {}, "n": None, "sha256": None, **changes})


def table(name: str, data: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(data)
        return path

    return make


def folder(path: Path) -> Path:
    (path / "x.csv").mkdir()
    return path / "x.csv"


def pipe(path: Path) -> Path:
    os.mkfifo(path / "x.csv")
    return path / "x.csv"


def huge(path: Path) -> Path:
    with (path / "x.csv").open("wb") as file:
        file.truncate(2**40)
    return path / "x.csv"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path / "gone.csv", "no such file"),
        (lambda path: path / ("x" * 300 + ".csv"), "cannot be read"),
        (folder, "a folder, but a file is needed"),
        (pipe, "a pipe or a device"),
        (huge, "is larger than"),
        (table("x.csv", b""), "the file is empty"),
        (table("x.csv", b"prompt\n"), "contains no items"),
        (table("x.csv", b"text\nhello\n"), "no column"),
        (table("x.csv", b"prompt,prompt\na,b\n"), "same name"),
        (table("x.csv", b"prompt,id\na\n"), "the row has 1 value for 2 columns"),
        (table("x.csv", b"prompt\n\xff\n"), "not UTF-8"),
        (table("x.csv", "prompt\na\n".encode("utf-16")), "UTF-16"),
        (table("x.csv", b'prompt\n"a\n'), "not valid CSV"),
        (table("x.json", b"null"), "a list of objects"),
        (table("x.json", b"{}"), "a list of objects"),
        (table("x.json", b"[]"), "a list of objects"),
        (table("x.json", b"[1]"), "a JSON object is needed"),
        (table("x.json", b'[{"prompt": 5}]'), "prompt: must be text, not 5"),
        (table("x.json", b'[{"prompt": ["a"]}]'), "prompt: must be text"),
        (table("x.json", b'[{"prompt": NaN}]'), "NaN"),
        (table("x.json", b'[{"prompt": "a", "id": {}}]'), "id: must be text"),
        (table("x.json", b'[{"prompt": "a", "category": true}]'), "category: must be text"),
        (table("x.json", b"[" * 100_000), "nested"),
        (table("x.json", b'[{"prompt": " "}]'), "contains no items"),
        (table("x.jsonl", b'{"prompt": "a"}\n{"prom'), "x.jsonl:2"),
        (table("x.jsonl", b"\0" * 100), "x.jsonl:1"),
        (table("x.parquet", b"PAR1 nonsense"), "not a complete Parquet file"),
        (table("x.zip", b"PK nonsense"), "no known ending"),
        (table("x.exe", b"MZ"), "no known ending"),
    ],
)
def test_a_suites_file_that_cannot_be_read_is_one_line(
    make: Callable[[Path], Path], says: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=says) as caught:
        read_suite(own_suite(), make(tmp_path))
    assert str(caught.value).count("\n") == 0
    assert str(tmp_path)[:20] in str(caught.value)


def test_an_archive_that_unpacks_to_more_than_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "LARGEST_TEXT", 2**20)  # of a gigabyte
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("t.csv", b"\n" * (2**20 + 1))
    assert path.stat().st_size < 2**12
    with pytest.raises(DataError, match="larger than"):
        read_suite(own_suite(members="*.csv"), path)


def test_lone_surrogates_and_ids_given_twice_are_read_and_stay_apart(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    ids = ["a", "a", "a#2", "a"]
    path.write_text("".join(f'{{"prompt": "p\\ud800 {n}", "id": "{one}"}}\n' for n, one in enumerate(ids)))
    items = read_suite(own_suite(columns={"prompt": ("prompt",), "id": ("id",)}), path).items
    assert len({item.id for item in items}) == 4
    assert items[0].prompt == "p\ufffd 0"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{title: t}", "kind\n  Field required"),
        ("{same}columns: {goal: [goal]}", "columns.prompt: the key is missing"),
        ("{same}grader: word", "grader: 'word' does not fit kind 'harmful'"),
        ("{same}n: -1", "n\n  Input should be greater than 0"),
        ("{same}instruction: hello", "instruction: must hold"),
        ("{same}colums: {}", "colums\n  Extra inputs"),
    ],
)
def test_a_suites_description_is_checked_key_by_key(text: str, says: str) -> None:
    same = "title: t\nkind: harmful\ngroups: [g]\nlicence: MIT\nsource: {url: u}\n"
    with pytest.raises(ValidationError, match=says):
        Suite.model_validate({**yaml.safe_load(text.replace("{same}", same)), "name": "x"})


def test_every_suite_of_ours_still_reads() -> None:
    assert len(all_suites()) > 20


def test_an_answer_of_build_data_that_was_kept_wrong_is_named(tmp_path: Path) -> None:
    from alttrain_cli.backends.remembering import RECORD, Remembering
    from alttrain_cli.storage.journal import Journal
    from tests.scripted import ScriptedBackend

    good = {
        "key": "k",
        "model": "m",
        "text": "t",
        "finished": True,
        "prompt_tokens": 1,
        "completion_tokens": 1,
    }
    path = tmp_path / "answers.jsonl"
    for key in good:
        for wrong in ([], -1, 5.5) if key.endswith("_tokens") else (None, [], -1, 5.5):
            path.write_text(
                json.dumps(good) + "\n" + json.dumps({**good, key: wrong}) + "\n", encoding="utf-8"
            )
            with pytest.raises(DataError, match=rf"answers\.jsonl:2: {key}: .* Remove line 2"):
                Remembering(ScriptedBackend(), Journal(path, RECORD))
