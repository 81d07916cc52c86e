"""The jobs that kill.py kills: how each is started, how far it is, and what must be the same in the end."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from alttrain_cli.backends.open import open_backend
from alttrain_cli.backends.target import find_target
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.evaluation.attacks.attack import AttackOutcome
from alttrain_cli.evaluation.attacks.catalogue import Budget
from alttrain_cli.evaluation.attacks.setup import AttackSetup
from alttrain_cli.evaluation.comparison import Comparison
from alttrain_cli.evaluation.eval_target import EvalTarget
from alttrain_cli.evaluation.evaluate import EvalOptions, evaluate
from alttrain_cli.evaluation.judge import JudgeSet
from alttrain_cli.evaluation.judges.catalogue import find_judges
from alttrain_cli.evaluation.report import report
from alttrain_cli.evaluation.suites.published import read_suites
from alttrain_cli.evaluation.suites.suite import find_suites
from alttrain_cli.progress import Progress
from alttrain_cli.storage.files import write_jsonl
from alttrain_cli.study.place import Place, open_study
from alttrain_cli.study.steps import Status


class Job(Protocol):
    """What is killed."""

    def finished(self, folder: Path) -> bool:
        """Whether the work is done."""

    def stored(self, folder: Path) -> int:
        """Return how much of the work is stored."""

    def progress(self, folder: Path) -> str:
        """Return how far the work is, in words."""

    def outcome(self, folder: Path) -> dict[str, str]:
        """Return what must be the same in the end, by name."""


class Training:
    """A short training run with a checkpoint at every step."""

    settings = ("train.num_train_epochs=2", "train.save_steps=1", "generation.max_new_tokens=8")

    def __init__(self, recipe: str, rows: int, place: Path) -> None:
        self._recipe = recipe
        self._data = place / "data.jsonl"
        write_jsonl(self._data, (row.model_dump() for row in starter_rows("train")[:rows]))

    def command(self, folder: Path) -> list[str]:
        settings = [part for setting in self.settings for part in ("--set", setting)]
        resume = ["--resume"] if folder.is_dir() else []
        base = ["train", "--recipe", self._recipe, "--data", str(self._data), "--out", str(folder)]
        return [*base, *settings, *resume]

    def finished(self, folder: Path) -> bool:
        manifest = folder / "manifest.json"
        return manifest.is_file() and bool(json.loads(manifest.read_text())["status"] == "finished")

    def stored(self, folder: Path) -> int:
        return lines_in(folder / "train.jsonl")

    def progress(self, folder: Path) -> str:
        return f"{self.stored(folder)} steps logged"

    def outcome(self, folder: Path) -> dict[str, str]:
        lines = (folder / "train.jsonl").read_text().splitlines()
        adapter = folder / "adapter" / "adapter_model.safetensors"
        losses = [json.loads(line)["loss"] for line in lines]
        return {"losses": str(losses), "adapter": digest(adapter)}


class Evaluation:
    """The base model on the smoke suites, a few prompts each."""

    def __init__(self, recipe: str, rows: int) -> None:
        self._arguments = [
            "eval",
            recipe,
            "--baseline",
            "none",
            "--limit",
            str(rows),
            "--max-new-tokens",
            "48",
        ]

    def command(self, folder: Path) -> list[str]:
        return [*self._arguments, "--out", str(folder)]

    def finished(self, folder: Path) -> bool:
        return (folder / "scorecard.json").is_file()

    def stored(self, folder: Path) -> int:
        return sum(map(lines_in, folder.rglob("completions.jsonl")))

    def progress(self, folder: Path) -> str:
        return f"{self.stored(folder)} completions stored"

    def outcome(self, folder: Path) -> dict[str, str]:
        files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".html")
        found = {str(path.relative_to(folder)): digest(path) for path in files}
        card = json.loads((folder / "scorecard.json").read_text(encoding="utf-8"))
        return {**found, "scorecard.json": json.dumps(without_time_and_place(card))}


class Attack:
    """Crescendo of the base model on itself, towards goals that harm nobody: several turns a dialogue.

    The model is loaded once, and what is killed are copies of this process. So a kill hits the dialogues, and
    not the loading, which takes longer than they do.
    """

    def __init__(self, recipe: str, rows: int) -> None:
        self._target = find_target(recipe)
        self._model = open_backend(self._target)
        budget = Budget(turns=3, backtracks=1)
        self._options = EvalOptions(
            read_suites(find_suites("crescendo-smoke"), {}, Progress()),
            limit=rows,
            max_new_tokens=48,
            setup_of=lambda target: AttackSetup(target, budget=budget, attacker_tokens=48),
        )

    def work(self, folder: Path) -> None:
        """Play and judge what is missing in a folder, and write its scorecard."""
        pair = Comparison(EvalTarget(folder, self._target))
        judges = JudgeSet(find_judges("rule"), lambda word: self._model, Progress(), with_card=False)
        evaluate(pair, self._options, judges, lambda target: self._model, Progress())
        report(pair, show_completions=False)

    def finished(self, folder: Path) -> bool:
        return (folder / "scorecard.json").is_file()

    def stored(self, folder: Path) -> int:
        return sum(map(lines_in, folder.rglob("calls.jsonl")))

    def progress(self, folder: Path) -> str:
        played = [one for path in folder.rglob("dialogues.jsonl") for one in read_lines(path)]
        ends = Counter(AttackOutcome(one["outcome"]).label for one in played)
        outcomes = ", ".join(f"{label} {count}" for label, count in ends.items())
        return f"{self.stored(folder)} calls, {len(played)} dialogues" + f" ({outcomes})" * bool(outcomes)

    def outcome(self, folder: Path) -> dict[str, str]:
        calls, played = (
            read_lines(folder / "crescendo-smoke" / name) for name in ("calls.jsonl", "dialogues.jsonl")
        )
        return {
            "outcomes": str([(one["item"], one["outcome"], one["deciding"], one["calls"]) for one in played]),
            "dialogues": str(played),
            "calls": str(sorted(one["key"] for one in calls)),  # one that was made again is there twice
        }


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a JSONL file that are in whole lines."""
    return [json.loads(line) for line in path.read_bytes().rpartition(b"\n")[0].splitlines()]


class Smoke:
    """The study `smoke`. A kill hits the study alone, or with it the step that it runs."""

    def __init__(self, sets: Sequence[str] = ()) -> None:
        self._sets = sets  # keys of the study, as --set takes them
        self._ended: dict[Path, int] = {}  # what was done at a kill, and when it was written

    def command(self, folder: Path) -> list[str]:
        sets = [word for one in self._sets for word in ("--set", one)]
        return ["study", "run", "smoke", *sets, "--out", str(folder)]

    def finished(self, folder: Path) -> bool:
        return len(self._done(folder)) == len(self._place(folder).grid.steps)

    def stored(self, folder: Path) -> int:
        return len(self._done(folder))

    def progress(self, folder: Path) -> str:
        done = self._done(folder)
        self._ended |= {path: path.stat().st_mtime_ns for path in done}
        return f"{len(done)} steps done"

    def outcome(self, folder: Path) -> dict[str, str]:
        again = [str(path) for path, written in self._ended.items() if path.stat().st_mtime_ns != written]
        table, _ = self._place(folder).table()
        return {"table": json.dumps(table.record()), "steps that were done twice": str(again)}

    def _done(self, folder: Path) -> list[Path]:
        """Return what is written last by each step that is done."""
        last = {"build": "", "train": "manifest.json", "eval": "scorecard.json"}
        steps = self._place(folder).grid.steps
        return [step.out / last[step.kind] for step in steps if step.status() is Status.DONE]

    def _place(self, folder: Path) -> Place:
        return open_study("smoke", self._sets, folder)


class Export:
    """An export of a run to GGUF files. It is not resumed: the same command makes it again.

    What a killed one leaves has a hidden name, and is gone after the next one. `outcome` has every file, so a
    folder that looks whole and is not differs.
    """

    stages = ("nothing written", "loading", "merging", "converting", "quantising or proving", "named")

    def __init__(self, run: Path, kinds: str = "f16,q4_k_m") -> None:
        self._run = run
        self._kinds = kinds

    def command(self, folder: Path) -> list[str]:
        types = ["--format", "ollama", "--quantize", self._kinds]
        return ["export", str(self._run), *types, "--out", str(folder)]

    def finished(self, folder: Path) -> bool:
        return bool(list(folder.glob("[!.]*")))

    def stored(self, folder: Path) -> int:
        """Return the stage of the export."""
        if self.finished(folder):
            return 5
        if not (hidden := list(folder.glob(".gguf.part*"))):
            return 0
        part = max(hidden)  # what an earlier kill has left is gone, unless a program still wrote to it
        has_merged, has_files = (part / ".merged").is_dir(), bool(list(part.glob("*.gguf")))
        return 4 if has_files and not has_merged else 3 if has_files else 2 if has_merged else 1

    def progress(self, folder: Path) -> str:
        return self.stages[self.stored(folder)]

    def outcome(self, folder: Path) -> dict[str, str]:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): digest(path) for path in files}


def without_time_and_place(card: Any) -> Any:
    """Return a scorecard's numbers, without when and in which folder they were put together."""
    if isinstance(card, dict):
        kept = {key: value for key, value in card.items() if key not in ("made", "folder")}
        return {key: without_time_and_place(value) for key, value in kept.items()}
    return [without_time_and_place(value) for value in card] if isinstance(card, list) else card


def lines_in(path: Path) -> int:
    """Return how many whole lines a file has."""
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
