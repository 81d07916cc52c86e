"""The canary: how many prompts, on which device, and when it ends a run."""

from pathlib import Path

from alttrain_cli.backends.base import Request
from alttrain_cli.backends.scripted import Scripted
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.storage.run import Run
from alttrain_cli.storage.run_records import CanaryRecord
from alttrain_cli.training.canary import NEW_TOKENS, PROBED_PAIRS, Canary
from tests.run_folders import TRAINED, make

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
    backend = Scripted(answer)
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
    canary.test(Scripted(note), 1, SAMPLING)
    canary.probe(Scripted(note), SAMPLING, Run(tmp_path))
    assert limits == [NEW_TOKENS] * 2 + [1_000] * 2 * PROBED_PAIRS
    assert len((tmp_path / "probes.jsonl").read_text().splitlines()) == 2 * PROBED_PAIRS


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
