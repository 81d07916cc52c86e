"""A line of progress and a line of phrases, in every width."""

from pathlib import Path

import pytest
from rich.cells import cell_len

from alttrain_cli.console.progress_line import SEPARATOR, progress_line, wrap_phrases
from tests.terminals import Terminal

GENERATING = "generating with HuggingFaceTB/SmolLM2-135M-Instruct"
TRAINING = ["loss 1.467", "1:02:03 left", "136 tokens/s", "2.3 GiB", "█▃▃▃▃▂▂▂▁▂▁▁"]
PROGRAM = """
from alttrain_cli.console.training import TrainingView
from alttrain_cli.training.reports import TrainingStep
view = TrainingView()
for step in (387, 388):
    view.step(TrainingStep(step=step, steps=388, loss=1.467, tokens=1360, seconds=10.0, memory_gib=2.3), 388.0 - step)
"""


@pytest.mark.parametrize(("stage", "figures"), [(GENERATING, ["0.3/s", "2:05 left"]), ("training", TRAINING)])
def test_the_total_is_whole_and_no_figure_is_cut_in_any_width(stage: str, figures: list[str]) -> None:
    for width in range(4, 130):
        line = progress_line(stage, 6, 44, figures, width).plain
        assert cell_len(line) <= width
        head, *shown = line.split(SEPARATOR)
        assert head.endswith("6/44"), width
        assert shown == figures[: len(shown)], width
        name = head.removesuffix("6/44").rstrip(" ━─")
        assert name in (stage, stage.split()[0], ""), width


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (80, "━ 388/388 · loss 1.467 · 0 s left · 136 tokens/s · 2.3 GiB · ▁▁\r\n"),
        (40, "training 388/388 · loss 1.467 · 0 s left\r\n"),
    ],
)
def test_training_shows_its_total_in_a_real_terminal_of_80_and_of_40_columns(
    tmp_path: Path, width: int, line: str
) -> None:
    with Terminal(program=("-c", PROGRAM), cwd=tmp_path, columns=width) as terminal:
        assert line in terminal.expect("388/388 · loss 1.467 · 0 s left", "\r\n", seconds=60)


def test_phrases_are_broken_between_and_never_within() -> None:
    phrases = [
        "1,024 tokens (768 of 768 thinking)",
        "129.5 tokens/s",
        "first after 10.50 s",
        "1:02",
        "seed 1995",
    ]
    assert wrap_phrases(phrases, 100) == SEPARATOR.join(phrases)
    for width in range(1, 100):
        lines = wrap_phrases(phrases, width).split("\n")
        assert SEPARATOR.join(lines) == SEPARATOR.join(phrases)
        assert all(cell_len(line) <= width or line in phrases for line in lines)
