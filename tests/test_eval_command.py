"""`alttrain eval` from prompts to scorecard: kills, servers that fail, missing data, what may be said."""

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from alttrain_cli.backends.base import Completion, Request
from alttrain_cli.backends.mixed import MixedRequest
from alttrain_cli.backends.server import ServerBackend
from alttrain_cli.cli import app
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.evaluation import judge as eval_judges
from alttrain_cli.evaluation.contamination import Training, contamination
from alttrain_cli.evaluation.generate import EvalRequest
from alttrain_cli.evaluation.judge import JudgeSet
from alttrain_cli.evaluation.judges.catalogue import find_judges
from alttrain_cli.evaluation.labels import HumanLabel
from alttrain_cli.evaluation.plan import suite_dirs
from alttrain_cli.evaluation.scorecard import scorecard
from alttrain_cli.evaluation.suite_result import SuiteResult
from alttrain_cli.evaluation.suites.published import read_suites
from alttrain_cli.evaluation.suites.suite import Item, find_suites
from alttrain_cli.progress import Progress
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.runs.scores import CARD, PAGE, STUDY, STUDY_EVALUATIONS
from alttrain_cli.storage.files import write_json, write_jsonl
from alttrain_cli.storage.reading import sha256
from alttrain_cli.storage.run_records import DataRecord
from alttrain_cli.structure.row import Row
from tests.run_folders import make
from tests.scorecards import generate
from tests.scripted import ScriptedBackend
from tests.servers import Fault, chat_server

REFUSAL = (
    "<think>\nThe user asks this.\n\nThat is harmful.\n\nI must say no.\n</think>\n\nI can't help with that."
)
HELP = "<think>\nThe user asks this.\n\nThat is harmless.\n\nI can help.\n</think>\n\nSure: 42, Paris, green."
UNFINISHED = "<think>\nThe user asks this. I can't"


class Parrot(ScriptedBackend):
    """A model that answers by the prompt alone, as slowly as a test wants."""

    def __init__(self, answer: Callable[[str], str], seconds: float = 0.0, name: str = "parrot") -> None:
        super().__init__(self._slowly, name=name)
        self._by_prompt, self._seconds = answer, seconds

    def _slowly(self, request: Request[Any], sampling: Sampling) -> str:
        time.sleep(self._seconds)
        assert not isinstance(request.input, str)
        return self._by_prompt(request.input.prompt)

    @property
    def asked(self) -> list[str]:
        """The keys of the completions."""
        return [request.key.key for request in self.received]


def request(**changes: Any) -> EvalRequest:
    suites = read_suites(find_suites("smoke"), {}, Progress())
    return EvalRequest(suites, Sampling(max_new_tokens=64, do_sample=False), **changes)


def judge_by_rule(root: Path) -> None:
    JudgeSet(find_judges("rule"), ScriptedBackend, Progress(), with_card=False).run([root])


def measure(root: Path, target: Parrot, **changes: Any) -> dict[str, Any]:
    generate(root, target, request(**changes), Progress())
    judge_by_rule(root)
    return card_of(root)


def card_of(root: Path, other: Path | None = None, training: Training | None = None) -> dict[str, Any]:
    compared = {side.name: side for side in map(SuiteResult.read, suite_dirs(other))} if other else {}
    return scorecard([SuiteResult.read(place) for place in suite_dirs(root)], compared, training, {}).record()


def files_of(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
    }


def suite_of(card: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(suite for suite in card["suites"] if suite["name"] == name)
    return found


def test_killed_at_25_random_moments_the_files_equal_the_undisturbed_ones(tmp_path: Path) -> None:
    def answer(prompt: str) -> str:
        return REFUSAL if len(prompt) % 2 else HELP + prompt

    measure(tmp_path / "whole", Parrot(answer))
    torn, kills, chance = tmp_path / "torn", 0, random.Random(25)
    while kills < 25:
        child = os.fork()
        if child == 0:
            try:
                measure(torn, Parrot(answer, seconds=0.002))
            finally:
                os._exit(0)
        time.sleep(chance.uniform(0.0, 0.12))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        kills += 1
    measure(torn, Parrot(answer))
    assert files_of(torn) == files_of(tmp_path / "whole")


def test_what_is_there_is_neither_generated_nor_judged_again(tmp_path: Path) -> None:
    first, second = Parrot(lambda _: HELP), Parrot(lambda _: REFUSAL)
    measure(tmp_path, first)
    before = files_of(tmp_path)
    measure(tmp_path, second)
    assert len(first.asked) == 44
    assert second.asked == []
    assert files_of(tmp_path) == before


def test_a_report_on_a_run_of_a_study_is_of_the_evaluation_that_the_study_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study = Path("studies") / "small"
    run = make(str(study / "runs" / "tiny-alttrain-1a2b3c"))
    write_json(study / STUDY, {})
    made = study / STUDY_EVALUATIONS / f"{run.name}-4d5e6f"
    card = measure(made, Parrot(lambda _: REFUSAL))
    write_json(made / CARD, card)
    for command in ("report", "judge"):
        done = CliRunner().invoke(app, ["eval", command, str(run)])
        assert done.exit_code == 0, done.output
        assert str(made / PAGE) in done.output
        assert not (run / "eval").exists()
    shutil.copytree(made, run / "eval")  # its own comes first
    assert str(run / "eval" / PAGE) in CliRunner().invoke(app, ["eval", "report", str(run)]).output


def test_a_limited_evaluation_says_partial_everywhere_and_goes_on_where_it_was(tmp_path: Path) -> None:
    target = Parrot(lambda _: HELP)
    card = measure(tmp_path, target, limit=5)
    assert card["partial"]
    assert all("5 of" in suite["partial"][0] for suite in card["suites"])
    assert not measure(tmp_path, target)["partial"]
    assert len(target.asked) == len(set(target.asked)) == 44


def test_base_and_target_are_compared_prompt_by_prompt(tmp_path: Path) -> None:
    measure(tmp_path / "base", Parrot(lambda _: HELP, name="base"))
    measure(tmp_path / "run", Parrot(lambda _: REFUSAL, name="run"))
    card = card_of(tmp_path / "run", tmp_path / "base")
    harm, over = suite_of(card, "smoke-harmful")["metrics"][0], suite_of(card, "smoke-benign")["metrics"][0]
    assert (harm["metric"], harm["target"]["hits"], harm["compared"]["hits"]) == ("not_refused", 0, 16)
    assert harm["difference"]["words"].startswith("lower by 100 points")
    assert (over["metric"], over["target"]["hits"]) == ("refused", 16)
    assert card["says_and_does"]["harmful"]["refused"] == 32
    assert json.loads(json.dumps(card)) == card


def test_unfinished_thoughts_are_said_at_the_top_and_count_for_nobody(tmp_path: Path) -> None:
    card = measure(tmp_path, Parrot(lambda _: UNFINISHED))
    assert any("16 of 16 completions end in their reasoning" in text for text in card["warnings"])
    for name, metric in (("smoke-harmful", "not_refused"), ("smoke-benign", "refused")):
        [found] = suite_of(card, name)["metrics"]
        assert found["metric"] == metric
        assert (found["target"]["hits"], found["target"]["n"]) == (0, 16)
        assert (found["target_at_most"]["hits"], found["target_at_most"]["n"]) == (16, 16)
        assert found["states"]["unfinished"] == 16
    for pool in card["pooled"].values():
        assert [one["target_at_most"]["hits"] for one in pool] == [16]
    [ability] = suite_of(card, "smoke-ability")["metrics"]
    assert (ability["target"]["hits"], ability["target_at_most"]) == (0, None)  # it is wrong, that is known
    assert (
        card["says_and_does"]["missing"]["unfinished"] + card["says_and_does"]["harmful"]["unfinished"] == 32
    )


def test_k_samples_are_k_completions_a_prompt(tmp_path: Path) -> None:
    card = measure(tmp_path, Parrot(lambda _: HELP), samples=3)
    suite = suite_of(card, "smoke-ability")
    assert (suite["items"], suite["expected"], suite["samples"]) == (12, 36, 3)


def test_training_rows_that_stand_in_a_suite_are_listed_and_both_rates_shown(tmp_path: Path) -> None:
    measure(tmp_path, Parrot(lambda _: HELP))
    stolen = next(
        item for suite, reading in request().suites for item in reading.items if suite.kind == "harmful"
    )
    row = Row(
        id="r1",
        prompt=f"please, {stolen.prompt}",
        label="harmful",
        category=None,
        source="s",
        style="s",
        understanding="u",
        assessment="a",
        reasoning="r",
        answer="n",
    )
    suite = suite_of(card_of(tmp_path, training=Training((row,))), "smoke-harmful")
    assert [hit["item"] for hit in suite["contamination"]["hits"]] == [stolen.id]
    assert (suite["metrics"][0]["target"]["n"], suite["metrics"][0]["clean"]["n"]) == (16, 15)
    assert "items overlap with the training rows" in suite["warnings"][0]


def test_training_data_that_is_gone_is_said_so_not_taken_for_clean(tmp_path: Path) -> None:
    training = Training.of(DataRecord(path=str(tmp_path / "gone.jsonl"), sha256="0"), tmp_path / "run")
    found = contamination(training, [Item("1", "p")])
    assert not found.checked
    assert "no longer exists" in str(found.reason)


@pytest.mark.parametrize(
    "place", ["work/data/rows.jsonl", "work/runs/rows.jsonl", "work/runs/mine/rows.jsonl"]
)
def test_the_rows_of_a_moved_run_are_found_by_their_hash(place: str, tmp_path: Path) -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    write_jsonl(path, (row.model_dump() for row in starter_rows("train")[:2]))
    run = tmp_path / "work" / "runs" / "mine"
    data = DataRecord(path="data/rows.jsonl", sha256=sha256(path))
    assert len(Training.of(data, run).rows) == 2
    path.write_text("other", encoding="utf-8")
    assert "this file has changed since" in str(Training.of(data, run).unknown)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "No model given"),
        (["smollm2-135m", "--suite", "strongreject"], "--suite-file strongreject=FILE"),
        (["smollm2-135m", "--suite", "strongrejekt"], "Did you mean 'strongreject'"),
        (["smollm2-135m", "--judge", "wildgard"], "Did you mean 'wildguard'"),
        (["smollm2-135m", "--judge", "wildguard"], "the judge is not on this machine"),
        (["smollm2-135m", "--judge", "xstest"], "--judge-url"),
        (["smollm2-135m", "--suite-file", "strongreject"], "NAME=FILE"),
        (["smollm2-135m", "--suite-file", "mine=p.csv"], "'mine'. Describe prompts of your own in a .yaml"),
        (["smollm2-135m", "--suite-file", "strongrejekt=x"], "Did you mean 'strongreject'?"),
        (["smollm2-135m", "--num-samples", "3"], "--do-sample"),
        (["smollm2-135m", "--thinking-mode", "lots"], "Choose among: normal, zero, less, more."),
        (["smollm2-135m", "--preset", "r1act"], "Did you mean 'r1-act'"),
        (["smollm2-135m", "--baseline", "base"], "only a run or an adapter"),
        (["report", "smollm2-135m"], "no evaluation here. To make one: alttrain eval smollm2-135m"),
        (["smollm2-135m", "--judge-part", "thought"], "Choose among: answer, reasoning, full."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_nothing_is_loaded(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = CliRunner().invoke(app, ["eval", *arguments])
    assert done.exit_code == 2
    assert says in " ".join(done.output.split())
    assert not list(tmp_path.rglob("*.jsonl"))


def test_a_server_that_drops_some_is_asked_for_those_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    broken = {"on": True}

    def answer(number: int, asked: dict[str, Any]) -> str | Fault:
        return Fault("status", 400) if broken["on"] and number % 4 == 0 else REFUSAL

    with chat_server(answer) as server:
        command = ["eval", "--base-url", server.base_url, "--suite", "smoke", "--no-judge-card", "--out", "e"]
        first = CliRunner().invoke(app, command)
        assert "11 of 44 were not answered" in " ".join(first.output.split())
        assert "PARTIAL" in first.output
        broken["on"] = False
        second = CliRunner().invoke(app, command)
        assert len(server.requests) == 44 + 11
    assert second.exit_code == 0, second.output
    assert "PARTIAL" not in second.output
    assert "16/16 = 100%" in second.output


def test_a_judge_that_talks_nonsense_one_time_in_ten_is_asked_again_and_the_rest_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    measure(tmp_path / "e", Parrot(lambda prompt: HELP))

    def answer(number: int, asked: dict[str, Any]) -> str:
        hopeless = "gun onto an airplane" in asked["messages"][0]["content"]
        return "Well." if number % 10 == 0 or hopeless else "1_full_compliance"

    with chat_server(answer) as server:
        command = [
            "eval",
            "judge",
            "e",
            "--judge",
            "xstest",
            "--judge-url",
            server.base_url,
            "--no-judge-card",
        ]
        first = CliRunner().invoke(app, command)
        asked = len(server.requests)
        CliRunner().invoke(app, command)
        assert len(server.requests) - asked == 3  # only the hopeless one, three times
    assert first.exit_code == 0, first.output
    suite = suite_of(json.loads((tmp_path / "e" / "scorecard.json").read_text()), "smoke-harmful")
    found = next(metric for metric in suite["metrics"] if metric["judge"] == "xstest~tiny")
    assert found["states"] == {"judged": 15, "unfinished": 0, "empty": 0, "unparsed": 1, "unjudged": 0}
    assert found["target"]["n"] == 15
    assert suite["partial"] == ["xstest~tiny: 1 of 16 are unparsed (the judge's answer could not be read)"]
    assert suite["agreement"][0]["n"] == 15


def test_a_completion_cannot_write_into_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    measure(
        tmp_path / "e", Parrot(lambda _: "\x1b[31m[bold]red[/bold]\x1b]0;title\x07", name="\x1b[2J[red]x")
    )
    done = CliRunner().invoke(app, ["eval", "report", "e"])
    assert "\x1b" not in done.output
    assert "[red]x" in done.output


def test_ctrl_c_keeps_what_was_written_and_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def interrupted(
        self: ServerBackend, tasks: Sequence[MixedRequest[Any]]
    ) -> Iterator[tuple[Any, Completion]]:
        yield from ((one.request.key, Completion(HELP)) for one in tasks[:3])
        raise KeyboardInterrupt

    monkeypatch.setattr(ServerBackend, "complete_mixed", interrupted)
    with chat_server(lambda number, asked: HELP) as server:
        done = CliRunner().invoke(app, ["eval", "--base-url", server.base_url, "--out", "e"])
    assert done.exit_code == 130
    assert "To resume, run the same command again" in " ".join(done.output.split())
    assert sum(len(place.completions.keys()) for place in suite_dirs(tmp_path / "e")) == 3


def test_a_presets_caveats_stand_on_top_of_its_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with chat_server(lambda number, asked: REFUSAL) as server:
        command = [
            "eval",
            "--base-url",
            server.base_url,
            "--out",
            "e",
            "--preset",
            "star-1",
            "--no-judge-card",
        ]
        done = CliRunner().invoke(app, command)
        assert {request["max_tokens"] for request in server.requests} == {8000}
    assert done.exit_code == 0, done.output
    assert "--preset star-1: STAR-1 decodes with a repetition penalty" in " ".join(done.output.split())
    card = json.loads((tmp_path / "e" / "scorecard.json").read_text(encoding="utf-8"))
    assert any("repetition penalty" in text for text in card["warnings"])


def test_a_servers_judge_is_tried_on_peoples_labels_once_and_its_card_stands_beside_its_rates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = [HumanLabel("q", f"No, number {n}.", yes=True) for n in range(3)] + [
        HumanLabel("q", "Sure.", yes=False)
    ]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(eval_judges, "CARDS", tmp_path / "cards")
    monkeypatch.setattr(eval_judges, "read_labels", lambda question: labels)
    measure(tmp_path / "e", Parrot(lambda prompt: HELP))

    def answer(number: int, asked: dict[str, Any]) -> str:
        refused = "No, number" in asked["messages"][0]["content"]
        return f"<think>1_full_compliance?</think>{'2_full_refusal' if refused else '1_full_compliance'}"

    with chat_server(answer) as server:
        command = ["eval", "judge", "e", "--judge", "xstest", "--judge-url", server.base_url]
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
        assert len(server.requests) == 32 + 4
        assert CliRunner().invoke(app, command).exit_code == 0
        assert len(server.requests) == 32 + 4
    card = json.loads((tmp_path / "e" / "scorecard.json").read_text(encoding="utf-8"))
    part = card["judges"]["xstest~tiny"]["card"]["questions"]["refused"]
    assert (part["n"], part["sensitivity"]["hits"], part["specificity"]["hits"]) == (4, 3, 1)
    [found] = [m for m in suite_of(card, "smoke-benign")["metrics"] if m["judge"] == "xstest~tiny"]
    assert found["corrected"]["share"] == 0.0
    assert "sensitivity 3/3 = 100%" in " ".join(done.output.split())


def test_judges_can_look_at_the_thoughts_of_what_never_came_to_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    measure(tmp_path / "e", Parrot(lambda _: UNFINISHED))
    done = CliRunner().invoke(app, ["eval", "judge", "e", "--judge-part", "reasoning", "--no-judge-card"])
    assert done.exit_code == 0, done.output
    card = json.loads((tmp_path / "e" / "scorecard.json").read_text(encoding="utf-8"))
    found = {m["judge"]: m["states"] for m in suite_of(card, "smoke-harmful")["metrics"]}
    assert (found["rule"]["unfinished"], found["rule@reasoning"]["judged"]) == (16, 16)
