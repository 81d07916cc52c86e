"""The report stage: what is stored becomes a scorecard and its page."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.claim import spare_foreign
from alttrain_cli.evaluation.comparison import Comparison
from alttrain_cli.evaluation.contamination import EarlierChecks
from alttrain_cli.evaluation.dial.dial import CheckedCalibration, dial_score
from alttrain_cli.evaluation.dial.values import NOTHING_ASKED, Question
from alttrain_cli.evaluation.judge_card import read_cards
from alttrain_cli.evaluation.labels import read_labels
from alttrain_cli.evaluation.page.page import write_page
from alttrain_cli.evaluation.plan import suite_dirs
from alttrain_cli.evaluation.published_tables import PublishedPaper
from alttrain_cli.evaluation.repair import command_for, typed
from alttrain_cli.evaluation.scorecard import scorecard
from alttrain_cli.evaluation.scorecard_values import Scorecard
from alttrain_cli.evaluation.suite_result import SuiteResult
from alttrain_cli.storage.files import write_json
from alttrain_cli.storage.reading import is_file
from alttrain_cli.storage.run import Run


@dataclass(frozen=True)
class Report:
    """A scorecard, and the files that hold it."""

    card: Scorecard
    path: Path
    page: Path
    is_judged: bool  # there is a judgement, or nothing that can be judged
    has_labels: bool  # human labels are installed, with which judges are compared

    def record(self, published: PublishedPaper | None = None) -> dict[str, Any]:
        """Return the scorecard, with the names of its files, and the tables of a paper."""
        files = {"file": str(self.path), "page": str(self.page)}
        tables = published and published.model_dump(mode="json")
        return {**files, "scorecard": self.card.record(), "published": tables}

    def check(self, problems: Sequence[str] = ()) -> None:
        """Make sure that everything requested was judged; `problems` are those of the judges."""
        if problems:
            raise DataError(problems[0])
        if not self.is_judged:
            root = self.path.parent
            command = shlex.join(["alttrain", "eval", "judge", str(root)])
            raise DataError(f"{root}: there are no judgements. To judge: {command}")

    def next_command(self, target: str, baseline: str | None, *, on_gpu: bool, shows_all: bool) -> str:
        """Return the command to type next: a better judge, or the completions that the page leaves out.

        If it leaves none out (`shows_all`), the export of the run, or for other models the list of runs.
        `target` and `baseline` are what was typed; a server or a folder is named by its evaluations.
        """
        root = self.path.parent
        shown = target if target and root == Path(target) / "eval" else str(root)
        also = ["--baseline", baseline] if baseline else []
        real = any(not judge.triage for judge in self.card.judges.values() if "correct" not in judge.measures)
        if real and shows_all:
            run = Run(root.parent) if root.name == "eval" else None
            is_run = run and is_file(run.recipe_path)
            return shlex.join(["alttrain", "export", str(run.path)]) if run and is_run else "alttrain runs"
        if real:
            return shlex.join(["alttrain", "eval", "report", shown, *also, "--include-harmful"])
        if on_gpu:
            return shlex.join(["alttrain", "eval", "judge", shown, *also, "--judge", "qwen3guard"])
        return "alttrain eval judges"


def report(pair: Comparison, *, show_completions: bool, asked: Question = NOTHING_ASKED) -> Report:
    """Write scorecard.json and scorecard.html, with what is `asked` of the stored scores."""
    root = pair.candidate.root
    results = [SuiteResult.read(folder) for folder in suite_dirs(root)]
    if all(result.is_empty for result in results):
        command = next((typed(one.plan.command) for one in results if one.plan.command), command_for(root))
        raise DataError(f"{root}: there are no completions. To generate them: {command}")
    others = suite_dirs(pair.baseline.root) if pair.baseline else []
    baselines = {result.name: result for result in map(SuiteResult.read, others)}
    path, page = root / "scorecard.json", root / "scorecard.html"
    earlier = EarlierChecks.read(path)
    card = scorecard(results, baselines, pair.candidate.training(), read_cards(root), earlier)
    calibrated = CheckedCalibration.of(pair.candidate.run, card.target.adapter)
    card = replace(card, dial=dial_score(results, baselines, calibrated, asked))
    spare_foreign(root)
    write_json(path, card.record())
    write_page(page, card, results, baselines, show=show_completions)
    is_judged = any(result.judged for result in results) or not any(result.stats.n for result in results)
    return Report(card, path, page, is_judged, bool(read_labels("refused")))
