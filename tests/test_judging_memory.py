"""Judging and report hold a few bytes per completion: no text, no key, and no plan."""

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from alttrain_cli.evaluation.comparison import Comparison
from alttrain_cli.evaluation.eval_target import EvalTarget
from alttrain_cli.evaluation.judge import JudgeSet
from alttrain_cli.evaluation.judges.catalogue import find_judges
from alttrain_cli.evaluation.report import report
from alttrain_cli.progress import Progress
from alttrain_cli.storage.reading import read_text
from tests.scorecards import HELPS, REFUSES, evaluate, suite, target
from tests.scripted import ScriptedBackend

SMALL, LARGE = 20, 220  # prompts of each of two suites, for each of two models
JUDGING, REPORTING = (
    80,
    175,
)  # bytes per completion; 57 and 149 today, and 242 and 195 when a plan was in memory


@contextmanager
def collecting_often() -> Iterator[None]:
    """Let Python make full collections, also with few objects: they give back what it keeps of freed tuples."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.collect()  # it counts no old objects now: with many, it would put off full collections
    gc.set_threshold(500, 1, 1)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def peak_of(work: Callable[[], object]) -> int:
    """Return the most memory that work has at once, in bytes."""
    with collecting_often():
        tracemalloc.start()
        try:
            work()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


def peaks(root: Path, prompts: int) -> tuple[int, int]:
    """Return the most memory of judging and of the report for so many prompts a suite."""
    sides = {name: root / f"{name}-{prompts}" for name in ("run", "base")}
    for name, folder in sides.items():
        for about in (suite("h", "harmful"), suite("b", "benign")):
            asked = [f"Would you tell me about thing {number}{about.name}?" for number in range(prompts)]
            texts = [REFUSES if name == "run" and number % 3 else HELPS for number in range(prompts)]
            evaluate(folder, target(name), about, asked, texts).folder.judgements("rule").path.unlink()
    judges = JudgeSet(find_judges("rule"), lambda word: ScriptedBackend(""), Progress(), with_card=False)
    pair = Comparison(EvalTarget(sides["run"]), EvalTarget(sides["base"]))
    return peak_of(lambda: judges.run(pair.roots)), peak_of(lambda: report(pair, show_completions=False))


def growth(root: Path) -> list[float]:
    """Return by how many bytes judging and the report grow per completion."""
    small, large = peaks(root, SMALL), peaks(root, LARGE)
    return [(most - least) / (4 * (LARGE - SMALL)) for least, most in zip(small, large, strict=True)]


def test_memory_grows_by_a_few_values_per_completion(tmp_path: Path) -> None:
    peaks(tmp_path, 5)  # what is imported and cached
    grown = growth(tmp_path / "once")
    if grown[0] >= JUDGING or grown[1] >= REPORTING:  # a thread that another test has left may allocate, too
        grown = growth(tmp_path / "again")
    assert grown[0] < JUDGING, grown
    assert grown[1] < REPORTING, grown


def test_a_small_file_takes_little_memory_to_read(tmp_path: Path) -> None:
    path = tmp_path / "small.txt"
    path.write_text("small", encoding="utf-8")
    assert peak_of(lambda: read_text(path)) < 2**20
