"""`alttrain runs`: every run is found with its true state, and only what nobody needs is deleted."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from rich.cells import cell_len
from typer.testing import CliRunner, Result

from alttrain_cli.cli import app
from alttrain_cli.commands.chat.options import _chosen_run
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.errors import RunError
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.runs.entry import RunEntry
from alttrain_cli.runs.scores import read_scores
from alttrain_cli.statistics.estimates import Estimate
from alttrain_cli.statistics.rates import Rate
from alttrain_cli.storage import lock
from alttrain_cli.storage.files import write_json
from alttrain_cli.storage.lock import lock_folder
from alttrain_cli.storage.run import Run, RunState
from alttrain_cli.storage.run_records import DataRecord
from alttrain_cli.training.run_setup import open_for_resume
from tests.command_lines import result_of
from tests.run_folders import PROBES, TRAINED, evaluate, make, screen
from tests.samples import put


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "data.jsonl").touch()
    return tmp_path


def alttrain(*arguments: str | Path, answer: str | None = None) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)], input=answer)


def test_the_list_at_80_columns_cuts_nothing(tmp_path: Path) -> None:
    make("demo/run", probes=PROBES)
    evaluate(make("runs/smollm2-135m-1"), tmp_path / "sides")
    make("runs/smollm2-135m-2", "interrupted")
    make("runs/r1-7b-1", "started", recipe="r1-7b")
    make("runs/failed-1", "failed", loss={"first": 3.5, "last": float("nan")})
    for number, name in enumerate(("failed-1", "r1-7b-1", "smollm2-135m-2", "smollm2-135m-1")):
        os.utime(f"runs/{name}/manifest.json", (number, number))
    screen("runs", alttrain("runs"))


def test_in_a_terminal_of_40_columns_each_run_has_a_few_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    make("runs/smollm2-135m-1", "interrupted")
    lines = alttrain("runs").output.splitlines()
    assert lines[0] == "runs/smollm2-135m-1"
    assert "loss 0.87 · size 60 MB" in " ".join(" ".join(lines).split())
    assert max(map(len, lines[:-1])) <= 40


@pytest.mark.parametrize("columns", [60, 79])
def test_in_a_narrow_terminal_the_table_is_wider_and_no_name_is_cut(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    make("runs/smollm2-135m-1", "interrupted")
    lines = [line.split() for line in alttrain("runs").output.splitlines()]
    assert ["runs/smollm2-135m-1", "interrupted", "0.87", "60", "MB"] in lines


def test_a_long_path_is_shown_by_its_name_with_its_folder_below(tmp_path: Path) -> None:
    run = make("a folder/with a long name/smollm2-135m-1")
    lines = alttrain("runs", "--in", run.parent.absolute()).output.splitlines()
    assert max(len(line) for line in lines if not line.startswith(("next: ", "in: "))) <= 80
    assert ["smollm2-135m-1", "finished"] in [line.split()[:2] for line in lines]
    assert f"in:  {run.parent.absolute()}" in lines
    assert f"alttrain runs show '{run.absolute()}'" in lines[-1]


def test_a_long_path_of_wide_letters_does_not_widen_the_list() -> None:
    make("runs/とても長い名前の実行-1")
    lines = alttrain("runs").output.splitlines()
    assert [line for line in lines if not line.startswith(("next: ", "in: ")) and cell_len(line) > 80] == []
    assert any(line.startswith("とても長い名前の実行-1 ") for line in lines)


@pytest.mark.parametrize("path", ["/", ".", "a\0b"])
def test_a_run_whose_data_has_no_possible_name_stops_no_list(path: str) -> None:
    make("runs/b")
    run = Run(make("runs/a"))
    run.update_manifest(data=DataRecord(path=path, sha256="d" * 64, rows=1))
    listed = alttrain("runs")
    assert listed.exit_code == 0, listed.output
    assert {"runs/a", "runs/b"} <= {*listed.output.split()}
    assert alttrain("runs", "show", "runs/a").exit_code == 0


def test_a_run_whose_evaluation_may_not_be_read_is_listed_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make("runs/b")
    card = Path(make("runs/a")) / "eval" / "scorecard.json"

    def refused(run: Path) -> None:
        if run == card.parents[1]:
            raise PermissionError(13, "Permission denied", str(card))

    monkeypatch.setattr("alttrain_cli.runs.entry.read_scores", refused)
    listed, shown = alttrain("runs"), alttrain("runs", "show", "runs/a")
    assert (listed.exit_code, shown.exit_code) == (0, 0), listed.output + shown.output
    assert {"runs/a", "runs/b"} <= {*listed.output.split()}
    assert f"{card}: no permission to read it." in " ".join(shown.output.split())


def test_a_run_whose_process_was_killed_is_interrupted_and_one_that_is_locked_is_training() -> None:
    run = Run(make("runs/a", "started"))
    assert run.state() is RunState.INTERRUPTED
    with lock_folder(run.path):
        assert run.state() is RunState.TRAINING
    assert run.state() is RunState.INTERRUPTED


def test_looking_at_the_state_does_not_keep_a_training_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "LOOK", 5.0)
    run = make("runs/a", "started")
    code = (
        "import fcntl, os, sys, time\n"
        "handle = os.open(sys.argv[1], os.O_RDONLY)\n"
        "fcntl.flock(handle, fcntl.LOCK_SH)\n"
        "print('held', flush=True)\n"
        "time.sleep(0.2)"
    )
    looking = subprocess.Popen([sys.executable, "-c", code, run], stdout=subprocess.PIPE)
    assert looking.stdout
    looking.stdout.readline()
    with lock_folder(run):
        pass
    assert looking.wait(60) == 0


def test_a_run_without_its_adapter_is_damaged_and_one_with_a_wrong_manifest_is_listed() -> None:
    shutil.rmtree(make("runs/a") / "adapter")
    (make("runs/b") / "manifest.json").write_text('{"status": 1}')
    assert {entry.state for entry in map(RunEntry.read, Run.all())} == {RunState.DAMAGED}
    output = " ".join(alttrain("runs").output.split())
    assert "runs/b/manifest.json: status: " in output
    shown = alttrain("runs", "show", "runs/b").output
    assert (
        shown.splitlines()[-1] == "next: alttrain train --recipe runs/b/recipe.yaml"
    )  # not to show it again
    assert not any(line.endswith(": ") or "Python  " in line for line in shown.splitlines())
    assert alttrain("runs").exit_code == 0


def test_runs_are_found_in_named_folders_and_a_folder_that_is_missing_is_an_error() -> None:
    make("elsewhere/deep/a")
    make("elsewhere/b")
    make("elsewhere/.hidden")
    none = " ".join(alttrain("runs").output.split())
    assert f"none in runs{os.sep} or demo{os.sep} of {Path.cwd()} next: alttrain" in none
    empty = Path("empty")
    empty.mkdir()
    assert f"none in {empty.absolute()}" in " ".join(alttrain("runs", "--in", "empty").output.split())
    found = alttrain("runs", "--in", "elsewhere", "--in", "elsewhere/deep", "--json")
    shown = [one["run"] for one in result_of(found.output)]
    assert sorted(shown) == ["elsewhere/b", "elsewhere/deep/a"]
    failed = alttrain("runs", "--in", "nowhere")
    assert failed.exit_code == 2
    assert "nowhere: no such folder" in failed.output


def test_a_folder_that_may_not_be_read_does_not_look_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    make("runs/a")
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != Path("runs"))
    listed = alttrain("runs")
    assert listed.exit_code == 2
    assert "runs: no permission to read it. Change its permissions." in listed.output


def test_a_scorecard_is_read_as_evaluation_writes_it(tmp_path: Path) -> None:
    run = make("runs/a", probes=PROBES)
    evaluate(run, tmp_path / "sides")
    scores = read_scores(run)
    assert scores
    assert (scores.structure, scores.refused_harmful, scores.refused_benign) == ((6, 12), (3, 4), (1, 4))
    [shown] = result_of(alttrain("runs", "--json").output)
    assert shown["harmful_refused"] == {"hits": 3, "n": 4}
    assert shown["evaluated"] is True
    card = json.loads((run / "eval" / "scorecard.json").read_text())
    of_reasoning = {
        "judge": "xstest~m@reasoning",
        "triage": False,
        "target": asdict(Estimate.of_rate(Rate(4, 4))),
    }
    for pool in card["pooled"].values():
        pool += [{**one, **of_reasoning, "target_at_most": None} for one in pool]
    write_json(run / "eval" / "scorecard.json", card)
    again = read_scores(run)
    assert again
    assert (again.refused_harmful, again.refused_benign) == ((3, 4), (1, 4))
    # an evaluation of attacks alone has none of these rates, and those of training stay
    of_attacks = [{**one, "mode": "zero"} for one in card["suites"]]
    write_json(run / "eval" / "scorecard.json", {**card, "pooled": {}, "suites": of_attacks})
    listed = alttrain("runs").output
    for shown in ("(12/12)", "(6/6)", "(1/6)", "in brackets: from held-out prompts"):
        assert shown in listed


def test_a_suite_without_completions_is_a_row_of_its_run(tmp_path: Path) -> None:
    run = make("runs/a")
    evaluate(run, tmp_path / "sides")
    path = run / "eval" / "scorecard.json"
    card = json.loads(path.read_text())
    card["suites"][0] |= {"name": "lost", "metrics": []}
    card["suites"][0]["target"]["structure"]["structured"] |= {"n": 0}
    write_json(path, card)
    lines = [line.split() for line in alttrain("runs", "show", "runs/a").output.splitlines()]
    assert ["lost", "no", "completions", "-"] in lines


def test_a_scorecard_that_is_wrong_is_a_problem_of_that_run_alone() -> None:
    run = make("runs/a", probes=PROBES)
    write_json(run / "eval" / "scorecard.json", {"schema": 1, "pooled": []})
    entry = RunEntry.read(run)
    assert entry.state is RunState.FINISHED
    assert "scorecard.json: " in entry.problem
    assert f"alttrain eval report {run}" in entry.problem


def test_commands_in_messages_about_a_run_with_a_space_in_its_path_work_in_a_shell() -> None:
    run = make("runs/my run", probes=PROBES)
    with pytest.raises(RunError, match="Example: alttrain chat 'runs/my run' -p TEXT"):
        _chosen_run(interactive=False)
    with pytest.raises(RunError, match=r"To try it: alttrain chat 'runs/my run'$"):
        open_for_resume(run, Recipe.load("smollm2-135m"), "", Path("data.jsonl"))
    write_json(run / "eval" / "scorecard.json", {"schema": 1, "pooled": []})
    assert "alttrain eval report 'runs/my run'" in RunEntry.read(run).problem


def test_a_run_in_detail_at_80_columns(tmp_path: Path) -> None:
    sources = [
        {"name": "starter", "samples": 1500, "rows": 1500, "style": "alttrain", "annotator": "template"},
        {"name": "own.csv", "sha256": "9f" * 32, "rows": 50, "dropped": 2, "style": "alttrain", "annotator": "me/big"},
    ]  # fmt: skip
    data = {**TRAINED["data"], "manifest": {"seed": 1995, "sources": sources}}
    run = make("runs/smollm2-135m-1", probes=PROBES, overrides=["train.seed=7"], data=data)
    evaluate(run, tmp_path / "sides")
    screen("run", alttrain("runs", "show", run))


def test_an_interrupted_run_shows_the_command_that_resumes_it() -> None:
    run = make("runs/my run", "started")
    command = alttrain("runs", "show", run).output.splitlines()[-1]
    recipe = "'runs/my run/recipe.yaml'"
    expected = f"alttrain train --recipe {recipe} --data demo/data.jsonl --out 'runs/my run' --resume"
    assert command == f"next: {expected}"
    resumed = Recipe.load(str(run / "recipe.yaml"))
    assert open_for_resume(run, resumed, TRAINED["data"]["sha256"], Path("demo/data.jsonl")).path == run


def test_resume_without_a_run_names_the_newest_one_that_was_interrupted() -> None:
    put(Path("d.jsonl"), *(row.model_dump() for row in starter_rows("train")[:2]))
    line = ("train", "--recipe", "smollm2-135m", "--data", "d.jsonl", "--resume")
    done = alttrain(*line)
    assert (done.exit_code, done.output.split()[-1]) == (2, "runs/NAME")
    make("runs/a")
    make("runs/b", "interrupted")
    said = " ".join(alttrain(*line).output.split())
    assert "runs/b: To resume: alttrain train --recipe runs/b/recipe.yaml" in said
    assert said.endswith("--out runs/b --resume")


def test_two_runs_side_by_side_at_80_columns(tmp_path: Path) -> None:
    first, second = make("runs/smollm2-135m-1"), make("runs/smollm2-135m-2", tokens_per_second=510.0)
    changed = Recipe.load("smollm2-135m", ("train.learning_rate=1e-4", "lora.r=8"))
    (second / "recipe.yaml").write_text(changed.to_yaml())
    for run in (first, second):
        evaluate(run, tmp_path / run.name)
    screen("runs-compare", alttrain("runs", "compare", first, second))


def test_the_step_after_a_comparison_finishes_the_run_that_is_not_trained() -> None:
    first, second = make("runs/a"), make("runs/b", "interrupted")
    assert (
        "next: alttrain train --recipe runs/b/recipe.yaml"
        in alttrain("runs", "compare", first, second).output
    )


@pytest.mark.parametrize(
    ("harmful", "benign", "title"),
    [(6, 4, "The run refuses everything"), (2, 0, "The run refuses nothing"), (3, 3, "")],
)
def test_a_run_that_refuses_nearly_all_or_nothing_names_the_page_that_says_why(
    harmful: int, benign: int, title: str
) -> None:
    run = make("runs/a", probes={**PROBES, "refused": {"harmful": harmful, "benign": benign}})
    shown = " ".join(alttrain("runs", "show", run).output.split())
    assert (f'see "{title}" in docs/troubleshooting.md' in shown) is bool(title)
    page = Path(__file__).parent.parent / "docs" / "troubleshooting.md"
    assert f"\n{title}" in page.read_text(encoding="utf-8")


def test_a_comparison_says_what_counts_in_brackets_are() -> None:
    first, second = make("runs/a", probes=PROBES), make("runs/b", probes=PROBES)
    shown = alttrain("runs", "compare", first, second).output
    assert "in brackets: from held-out prompts after training" in shown


def test_a_run_is_not_compared_with_itself() -> None:
    run = make("runs/a")
    result = alttrain("runs", "compare", run, f"{run}/")
    assert (result.exit_code, "is the same run" in result.output) == (2, True), result.output


def test_a_comparison_says_why_the_scores_of_a_run_are_missing(tmp_path: Path) -> None:
    first, second = make("runs/a"), make("runs/b")
    (second / "eval").mkdir(exist_ok=True)
    (second / "eval" / "scorecard.json").write_text("{", encoding="utf-8")
    result = alttrain("runs", "compare", first, second)
    assert result.exit_code == 0, result.output
    assert "problem: runs/b/eval/scorecard.json:" in " ".join(result.output.split())


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody is there who can be asked."""
    monkeypatch.setattr("alttrain_cli.commands.runs._is_interactive", lambda: True)


@pytest.mark.usefixtures("person")
@pytest.mark.parametrize(("answer", "is_left"), [("y\n", False), ("n\n", True), ("\n", True)])
def test_a_run_is_deleted_only_after_a_yes(answer: str, is_left: bool) -> None:
    run, other = make("runs/a"), make("runs/b")
    result = alttrain("runs", "rm", run, answer=answer)
    assert result.exit_code == 0
    assert "62 MB: runs/a" in " ".join(result.output.split())
    assert run.exists() is is_left
    assert [path.name for path in Path("runs").iterdir() if path != run] == [other.name]


def test_without_a_terminal_nothing_is_deleted_unless_yes_is_given() -> None:
    run = make("runs/a")
    refused = alttrain("runs", "rm", run)
    assert (refused.exit_code, run.exists()) == (2, True)
    assert "--yes" in refused.output
    assert alttrain("runs", "rm", run, "--yes").exit_code == 0
    assert not run.exists()


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("", "is being trained"),
        ("eval", "eval: another alttrain process is writing here"),
        ("export", "export: another alttrain process is writing here"),
    ],
)
def test_a_run_that_is_trained_evaluated_or_exported_is_not_deleted(place: str, why: str) -> None:
    run = make("runs/a", "started" if not place else "finished")
    (run / place).mkdir(exist_ok=True)
    with lock_folder(run / place):
        result = alttrain("runs", "rm", run, "--yes")
    assert (result.exit_code, why in result.output) == (2, True), result.output
    assert (run / "recipe.yaml").is_file()


def test_a_damaged_run_is_deleted_and_one_that_is_named_twice_once() -> None:
    run, other = make("runs/a"), make("runs/b")
    (run / "manifest.json").write_text("{", encoding="utf-8")
    result = alttrain("runs", "rm", run, other, f"{other.absolute()}/", "--yes")
    assert result.exit_code == 0, result.output
    assert result.output.count("deleted:") == 2
    assert not list(Path("runs").iterdir())


def test_nothing_but_a_run_is_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make("runs/a").absolute()
    Path("mine").mkdir()
    Path("link").symlink_to(run)
    for wrong, words in (("mine", "not a run"), ("none", "no such run"), ("link", "a link")):
        result = alttrain("runs", "rm", wrong, "--yes")
        assert result.exit_code == 2
        assert words in result.output
    monkeypatch.chdir(run)
    assert "you are in this folder" in alttrain("runs", "rm", ".", "--yes").output
    assert (run / "recipe.yaml").is_file()


def test_one_wrong_name_deletes_none_of_several() -> None:
    run = make("runs/a")
    result = alttrain("runs", "rm", run, "runs/b", "--yes")
    assert (result.exit_code, "runs/b: no such run" in result.output) == (2, True), result.output
    assert run.is_dir()


def test_prune_keeps_what_a_run_resumes_from_and_nothing_else() -> None:
    finished, stopped = make("runs/a"), make("runs/b", "interrupted")
    incomplete = stopped / "checkpoints" / "checkpoint-300"
    incomplete.mkdir()
    busy = make("runs/c", "started")
    with lock_folder(busy):
        result = alttrain("runs", "prune", "--yes")
    assert result.exit_code == 0, result.output
    left = {
        run.name: sorted(path.name for path in (run / "checkpoints").iterdir())
        for run in (finished, stopped, busy)
    }
    assert left == {"a": [], "b": ["checkpoint-200"], "c": ["checkpoint-100", "checkpoint-200"]}
    assert Run(finished).has_weights()
    assert "none to delete" in alttrain("runs", "prune", finished, "--yes").output


@pytest.mark.usefixtures("person")
def test_prune_asks_first() -> None:
    run = make("runs/a")
    assert "deleted: nothing" in " ".join(alttrain("runs", "prune", answer="n\n").output.split())
    assert len(list((run / "checkpoints").iterdir())) == 2


@pytest.mark.parametrize("below", ["", "eval", "eval/smoke-harmful"])
def test_inside_a_run_that_run_is_found(below: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make("elsewhere/mine").absolute()
    (run / "eval" / "smoke-harmful").mkdir(parents=True)
    monkeypatch.chdir(run / below)
    assert Run.all() == [run]
    assert result_of(alttrain("runs", "--json").output)[0]["run"] == str(run)
    assert f"alttrain eval {run}" in alttrain().output.replace("\n", "")
    assert Run.all([Path()]) == ([] if below else [Path()])


def test_above_runs_the_command_that_lists_them_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    make("elsewhere/mine")
    monkeypatch.chdir("elsewhere")
    assert "next: alttrain runs --in ." in alttrain("runs").output


@pytest.mark.parametrize("words", [(), ("show",), ("rm", "--yes")])
@pytest.mark.parametrize("folder", ["my studies/small", "my studies/small/runs"])
def test_a_folder_of_runs_in_place_of_a_run_gets_the_command_that_lists_them(
    folder: str, words: tuple[str, ...]
) -> None:
    run = make("my studies/small/runs/a")
    write_json(Path("my studies/small/study.json"), {})
    refused = alttrain("runs", *words, folder)
    assert refused.exit_code == 2
    [_, advice] = refused.output.split(": alttrain ", 1)
    shown = alttrain(*shlex.split(advice.partition(". See")[0]), "--json")
    assert [one["run"] for one in result_of(shown.output)] == [str(run)]


def test_what_was_half_deleted_is_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make("runs/a")
    calls = []

    def killed(path: Path) -> None:
        calls.append(path)
        raise KeyboardInterrupt

    monkeypatch.setattr("alttrain_cli.runs.removal.shutil.rmtree", killed)
    assert alttrain("runs", "rm", run, "--yes").exit_code == 130
    assert calls
    assert Run.all() == []
    monkeypatch.undo()


def test_what_cannot_be_deleted_is_named_where_it_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make("runs/a")

    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path / "eval"))

    monkeypatch.setattr("alttrain_cli.runs.removal.shutil.rmtree", refused)
    result = alttrain("runs", "rm", run, "--yes")
    monkeypatch.undo()
    said = " ".join(result.output.split())
    assert result.exit_code == 2
    assert "/runs/.a.removed: not all of it could be deleted (permission denied: " in said
    assert not run.exists()


@pytest.mark.parametrize("command", ["show", "rm", "prune", "compare"])
def test_an_option_of_the_list_has_no_effect_before_a_subcommand(command: str) -> None:
    run = make("runs/a")
    result = alttrain("runs", "--in", ".", command, run, *([run] if command == "compare" else []))
    assert result.exit_code == 2
    assert "--in has no effect" in result.output


def test_an_interrupted_run_without_its_data_is_shown_and_not_resumed() -> None:
    run = make("runs/a", "started")
    Path("demo/data.jsonl").unlink()
    assert alttrain("runs", "show", run).output.splitlines()[-1] == (
        "next: alttrain train --recipe runs/a/recipe.yaml"
    )
    with pytest.raises(RunError) as error:
        Run.open(run)
    assert str(error.value).endswith(
        "Its data file demo/data.jsonl is not here. To resume with a copy of it: "
        "alttrain train --recipe runs/a/recipe.yaml --data FILE --out runs/a --resume"
    )


def test_the_data_of_an_interrupted_run_is_found_from_every_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / make("runs/a", "started")
    monkeypatch.chdir(run)
    assert f" --data {tmp_path / 'demo' / 'data.jsonl'} --out {run} --resume" in Run(run).resume_hint()


@pytest.mark.parametrize(
    ("labels", "is_allowed"),
    [({"harmful": 9}, True), ({"unknown": 9}, True), ({"harmful": 9, "benign": 1}, False), ({}, False)],
)
def test_rows_of_one_label_are_allowed_by_the_command_that_resumes(
    labels: dict[str, int], is_allowed: bool
) -> None:
    run = make("runs/a", "started", data={**TRAINED["data"], "labels": labels})
    assert ("--allow-one-label" in Run(run).resume_hint()) == is_allowed


def test_a_comparison_as_json_holds_what_is_shown(tmp_path: Path) -> None:
    first, second = make("runs/a"), make("runs/b")
    (second / "recipe.yaml").write_text(Recipe.load("smollm2-135m", ("lora.r=8",)).to_yaml())
    for run in (first, second):
        evaluate(run, tmp_path / run.name)
    shown = result_of(alttrain("runs", "compare", first, second, "--json").output)
    assert [one["run"] for one in shown["runs"]] == ["runs/a", "runs/b"]
    assert shown["settings"] == [{"key": "lora.r", "first": "16", "second": "8"}]
    assert shown["scores"][1]["first"] | {"low": 0, "high": 0} == {
        "share": 0.25,
        "low": 0,
        "high": 0,
        "n": 4,
        "hits": 1,
    }


def test_the_size_of_an_export_is_shown() -> None:
    run = make("runs/a")
    (run / "export").mkdir()
    (run / "export" / "model").write_bytes(b"0" * 5_000)
    assert "export 5 kB" in alttrain("runs", "show", run).output


def test_chat_and_eval_without_a_model_offer_the_run_of_the_demo() -> None:
    make("demo/run", probes=PROBES)
    assert "Example: alttrain chat demo/run" in " ".join(alttrain("chat", "-p", "Hi").output.split())
    assert "For your newest run: alttrain eval demo/run" in " ".join(alttrain("eval").output.split())


def test_a_person_chooses_a_run_by_its_number(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make("demo/run", probes=PROBES)
    make("runs/a")
    os.utime("runs/a/manifest.json", (1, 1))
    monkeypatch.setattr("typer.prompt", lambda *_, **__: 2)
    assert _chosen_run(interactive=True) == "runs/a"
    first = [line.split()[:3] for line in capsys.readouterr().out.splitlines()]
    assert ["1", "demo/run", "finished"] in first
    assert ["2", "runs/a", "finished"] in first
