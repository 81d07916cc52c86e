"""`alttrain eval` on a model in memory, a tiny one; on the embedded model: test_product.py."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from alttrain_cli.backends.base import Completion
from alttrain_cli.backends.local import LocalBackend
from alttrain_cli.backends.target import find_target
from alttrain_cli.cli import app
from alttrain_cli.evaluation.plan import EvalPlan
from alttrain_cli.evaluation.suites.suite import Item, SampleRequest
from alttrain_cli.evaluation.thinking import complete, task_of
from alttrain_cli.recipe.model import Sampling
from tests.tiny import write_model

pytestmark = pytest.mark.model
CARD = """# A classifier
PROMPT = {"prompt": '''Is this {behavior}?
{generation}
Answer yes or no:'''}
"""
SETTINGS = Sampling(max_new_tokens=12, do_sample=False)


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_base_model_is_measured_told_apart_and_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_model("model", family="smollm2")
    command = ["eval", "model", "--suite", "smoke-harmful", "--limit", "2", "--no-judge-card"]
    done = CliRunner().invoke(app, [*command, "--max-new-tokens", "12"])
    assert done.exit_code == 0, done.output
    assert "PARTIAL" in done.output
    [root] = (tmp_path / "evals").iterdir()
    written = lines(root / "smoke-harmful" / "completions.jsonl")
    assert [completion["tokens"] for completion in written] == [12, 12]
    assert {completion["ending"] for completion in written} == {"cut"}

    # Loaded again it is the same model, so that nothing would be generated twice.
    model = LocalBackend.load(find_target("model"))
    assert EvalPlan.load(root / "smoke-harmful").target == model.fingerprint
    request = SampleRequest("k", Item("1", "What is the capital of France?"), 0)
    [(_, zero)] = complete([task_of(model, request, SETTINGS, "zero")], "zero")
    [(_, less)] = complete([task_of(model, request, SETTINGS, "less")], "less")
    model.close()
    assert isinstance(zero, Completion)
    assert isinstance(less, Completion)
    assert zero.text.startswith("<think>\n\n</think>\n\n")
    assert (zero.trace.thinking, zero.reasoning_tokens) == ("", 0)
    assert 0 < (zero.tokens or 0) <= SETTINGS.max_new_tokens
    assert "without thinking much" in less.trace.thinking
    assert less.trace.answer

    # The same weights as classifiers: they answer nonsense, which is counted and never taken for "safe".
    guard = shutil.copytree("model", "guard")
    for name in ("llama-guard-3", "harmbench"):
        judge = [
            "eval",
            "judge",
            "model",
            "--judge",
            name,
            "--judge-model",
            guard,
            "--no-judge-card",
        ]
        if name == "harmbench":
            refused = CliRunner().invoke(app, judge)
            assert refused.exit_code == 2
            assert "README.md holds no prompt" in refused.output.replace("\n", " ")
            Path(guard, "README.md").write_text(CARD, encoding="utf-8")
        judged = CliRunner().invoke(app, judge)
        assert judged.exit_code in (0, 2), judged.output  # 2: not one answer was a verdict
        [suite] = json.loads((root / "scorecard.json").read_text(encoding="utf-8"))["suites"]
        metric = next(metric for metric in suite["metrics"] if metric["judge"].startswith(name))
        assert metric["states"]["unparsed"] + metric["states"]["judged"] == 2
        assert judged.exit_code == (0 if metric["states"]["judged"] else 2)
        assert metric["target"] is None or metric["target"]["n"] == metric["states"]["judged"]
