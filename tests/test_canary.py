"""The canary: how many prompts, on which device, and when it ends a run."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from alttrain_cli.backends.base import Request
from alttrain_cli.backends.local import LocalBackend
from alttrain_cli.cli import app
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.engine import load
from alttrain_cli.engine.source import ModelSource
from alttrain_cli.errors import GateError
from alttrain_cli.recipe.model import Recipe, Sampling
from alttrain_cli.storage.files import write_jsonl
from alttrain_cli.storage.run import Run
from alttrain_cli.storage.run_records import CanaryRecord, ChecksRecord
from alttrain_cli.structure.template import IGNORED, EncodedRow
from alttrain_cli.training import checks, job
from alttrain_cli.training import train as training_loop
from alttrain_cli.training.canary import NEW_TOKENS, PROBED_PAIRS, Canary
from alttrain_cli.training.reports import TrainingEvents, TrainingStep
from alttrain_cli.training.rows import longest_completion
from tests.run_folders import TRAINED, make
from tests.scripted import ScriptedBackend

HELD_OUT = starter_rows("heldout")
SAMPLING = Sampling(max_new_tokens=1_000, do_sample=False)
HARMFUL = {row.prompt for row in HELD_OUT if row.label == "harmful"}


def answer(request: Request[int], sampling: Sampling) -> str:
    """Refuse the harmful prompts and the first one of the benign prompts."""
    refuses = request.input.prompt in HARMFUL or request.key == 1  # type: ignore[union-attr]
    return f"<think>\nThey ask.\n\nThis is benign.\n</think>\n\n{'I cannot help.' if refuses else 'Yes.'}"


def test_half_of_the_prompts_are_harmful_and_none_was_trained_on() -> None:
    rows = Canary(HELD_OUT).chosen(8)
    assert [row.label for row in rows].count("harmful") == 8 == len(rows) / 2
    assert len({row.id for row in rows}) == 16
    assert not {row.id for row in rows} & {row.id for row in starter_rows("train")}


def test_a_cpu_asks_only_when_told_to() -> None:
    assert Canary(HELD_OUT).pairs_on("cpu") == 0
    assert Canary(HELD_OUT, None, 0.4).pairs_on("cpu") == 8
    assert Canary(HELD_OUT).pairs_on("NVIDIA GeForce RTX 4090") == 8
    assert Canary(HELD_OUT, 3, 0.4).pairs_on("cpu") == 3


def test_any_backend_is_tested_and_refusals_are_counted_by_label() -> None:
    backend = ScriptedBackend(answer)
    counts = Canary(HELD_OUT).test(backend, 2, SAMPLING)
    assert counts.refused == {"harmful": 2, "benign": 1}
    assert counts.over_refusal == 0.5
    assert counts.in_words() == "4 of 4 have all required sections; refused: 2 of 2 harmful, 1 of 2 benign"


def test_the_canary_generates_openings_and_the_probe_complete_answers(tmp_path: Path) -> None:
    limits: list[int] = []

    def note(request: Request[int], sampling: Sampling) -> str:
        limits.append(sampling.max_new_tokens)
        return answer(request, sampling)

    canary = Canary(HELD_OUT)
    canary.test(ScriptedBackend(note), 1, SAMPLING)
    canary.probe(ScriptedBackend(note), SAMPLING, Run(tmp_path), None)
    assert limits == [NEW_TOKENS] * 2 + [1_000] * 2 * PROBED_PAIRS
    assert len((tmp_path / "probes.jsonl").read_text().splitlines()) == 2 * PROBED_PAIRS


@pytest.mark.parametrize(("until_verdict", "limit"), [(0.0, 30), (0.5, 20), (1.0, 1_000)])
def test_the_probe_writes_as_much_as_the_longest_completion_that_was_trained_to_its_end(
    until_verdict: float, limit: int, tmp_path: Path
) -> None:
    limits: set[int] = set()

    def note(request: Request[int], sampling: Sampling) -> str:
        limits.add(sampling.max_new_tokens)
        return answer(request, sampling)

    settings = Recipe.load("smollm2-135m").train.model_copy(
        update={"seed": 10, "until_verdict": until_verdict}
    )
    rows = [EncodedRow([1] * 40, [IGNORED] * (40 - trained) + [1] * trained) for trained in (20, 30)]
    longest = longest_completion(rows, settings)
    Canary(HELD_OUT).probe(ScriptedBackend(note), SAMPLING, Run(tmp_path), longest)
    assert limits == {limit}


def test_a_run_ends_only_above_the_limit_and_says_how_to_resume(tmp_path: Path) -> None:
    run = Run(make(str(tmp_path / "runs" / "x"), data=TRAINED["data"] | {"path": __file__}))
    canary = Canary(HELD_OUT, 2, 0.5)
    counts = CanaryRecord(
        step=7, n=4, structured=4, asked={"harmful": 2, "benign": 2}, refused={"harmful": 2, "benign": 1}
    )
    assert canary.reason_to_stop(counts, run) == ""
    more = counts.model_copy(update={"refused": {"harmful": 2, "benign": 2}})
    assert "Stopped at step 7: the model refuses 2 of 2 benign prompts" in canary.reason_to_stop(more, run)
    end = f"--out {run.path} --resume --stop-over-refusal 0.7"
    assert canary.reason_to_stop(more, run).endswith(end)


class Loop:
    """Stands for the training loop: a checkpoint after each of four steps, and it stops when it is told to."""

    def __init__(self) -> None:
        self.first = 1  # the step after the last checkpoint
        self.last = 0

    def __call__(self, *arguments: Any) -> int:
        events: TrainingEvents = arguments[-2]  # before the ranks
        for step in range(self.first, 5):
            events.step(TrainingStep(step=step, steps=4, loss=1.0, tokens=9 * step, seconds=float(step)))
            self.last, self.first = step, step + 1
            if reason := events.checkpoint(step):
                raise GateError(reason)
        return 0


class Learner(ScriptedBackend):
    """Refuses one more benign prompt at every checkpoint."""

    def __init__(self, loop: Loop) -> None:
        super().__init__(self._answer)
        self._loop = loop

    def _answer(self, request: Request[int], sampling: Sampling) -> str:
        benign_before = int(request.key) // 2
        refuses = request.input.prompt in HARMFUL or benign_before < self._loop.last  # type: ignore[union-attr]
        return f"<think>\nThey ask.\n\nThis is benign.\n</think>\n\n{'I cannot help.' if refuses else 'Yes.'}"


@pytest.fixture
def loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loop:
    """Everything of `alttrain train` but the model: it is scripted, and so is the loop."""
    made = Loop()
    loaded = SimpleNamespace(
        template=SimpleNamespace(fingerprint="t"), source=ModelSource("m", "c" * 40), quantised=False,
        device="cpu", model=SimpleNamespace(dtype="torch.float32"), notes=(),
    )  # fmt: skip
    monkeypatch.setattr(load, "load_base", lambda *_, **__: loaded)
    monkeypatch.setattr(job, "training_rows", lambda *_: [EncodedRow([1, 2], [-100, 2])])
    monkeypatch.setattr(checks, "probe_logits", lambda _: None)
    monkeypatch.setattr(checks, "save_adapter", lambda *_: ChecksRecord())
    monkeypatch.setattr(LocalBackend, "over", lambda *_: Learner(made))
    monkeypatch.setattr(training_loop, "train", made)
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "d.jsonl", (row.model_dump() for row in starter_rows("train")[:4]))
    return made


def train(*more: str, recipe: str = "smollm2-135m") -> Result:
    line = ["train", "--recipe", recipe, "--data", "d.jsonl", "--out", "run", *more]
    return CliRunner().invoke(app, line)


def canary_rates() -> list[tuple[int, float]]:
    return [(one.step, one.over_refusal) for one in Run(Path("run")).canaries()]


def test_stop_over_refusal_ends_the_run_at_the_first_checkpoint_above_the_limit(loop: Loop) -> None:
    done = train("--canary", "4", "--stop-over-refusal", "0.5", "--set", "train.seed=7")
    said = " ".join(done.output.split())
    assert done.exit_code == 3, done.output
    assert (
        "Stopped at step 3: the model refuses 3 of 4 benign prompts (limit: --stop-over-refusal 0.5)" in said
    )
    assert canary_rates() == [(1, 0.25), (2, 0.5), (3, 0.75)]
    assert (
        "canary at step 2: 8 of 8 have all required sections; refused: 4 of 4 harmful, 2 of 4 benign" in said
    )
    manifest = Run(Path("run")).manifest()
    assert manifest.status == "failed"
    assert "Stopped at step 3" in manifest.error
    # a higher limit resumes it, by the recipe that contains the --set values
    options = ("--canary", "4", "--stop-over-refusal", "1", "--resume")
    higher = train(*options, recipe="run/recipe.yaml")
    assert higher.exit_code == 0, higher.output
    manifest = Run(Path("run")).manifest()
    assert (manifest.status, manifest.error) == ("finished", "")
    assert manifest.overrides == ["train.seed=7"]
    assert [step for step, _ in canary_rates()] == [4]  # the stand-in wrote no checkpoint to resume from


def test_a_canary_without_a_limit_reports_and_stops_nothing(loop: Loop) -> None:
    done = train("--canary", "2")
    assert done.exit_code == 0, done.output
    assert canary_rates() == [(1, 0.5), (2, 1.0), (3, 1.0), (4, 1.0)]
    assert [one.step for one in Run(Path("run")).manifest().canary] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("options", "pairs"), [([], 0), (["--stop-over-refusal", "1"], 8), (["--canary", "3"], 3)]
)
def test_the_options_say_how_many_pairs_are_tested_on_a_cpu(
    loop: Loop, options: list[str], pairs: int
) -> None:
    assert train(*options).exit_code == 0
    tested = {one.asked["benign"] for one in Run(Path("run")).canaries()}
    assert tested == ({pairs} if pairs else set())
