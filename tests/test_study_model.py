"""A study with the real commands and a model of a few thousand weights: what they leave is what its steps look for."""

import os
import random
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Timer

import pytest

from alttrain_cli.study.history import history_of
from alttrain_cli.study.place import open_study
from alttrain_cli.study.run import Events
from tests.warm import Process, Warm

LAUNCHER = "alttrain_cli.study.place.Launcher"
SMALL = (
    "models=[own.yaml]",
    "methods=[untrained, no-ha]",
    "sizes=[8]",
    "eval={limit: 1, max_new_tokens: 8}",
    "train.set={train.max_steps: 2, train.warmup_steps: 0, train.learning_rate: 0.01, generation.max_new_tokens: 8}",
)


class Forked:
    """A step in a process that has imported the engine already."""

    def __init__(self, process: Process, log: Path) -> None:
        self._process = process
        self._log = log
        self._is_noted = False

    def poll(self) -> int | None:
        code = self._process.poll()
        if code is not None:
            self._note()
        return code

    def _note(self) -> None:
        """Add its output to the log, as the step of a study does."""
        if self._is_noted:
            return
        self._is_noted = True
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("a", encoding="utf-8") as log:
            log.write("".join(self._process.communicate(0)))

    def stop(self) -> None:
        pass

    def wait(self) -> None:
        self._process.wait(300)
        self._note()


class WarmLauncher:
    """Starts such steps."""

    def __init__(self, warm: Warm) -> None:
        self._warm = warm
        self.words: list[Sequence[str]] = []

    def start(self, words: Sequence[str], log: Path, slot: int) -> Forked:
        self.words.append(words)
        return Forked(self._warm.start(*words, cwd=Path.cwd()), log)


@pytest.fixture
def here(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a recipe for such a model."""
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text(f"base: smollm2-135m\nmodel: {{name: {tiny}, package: null}}\n")


@pytest.mark.model
def test_real_commands_leave_what_the_steps_look_for(
    warm: Warm, here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, launcher = open_study("smoke", SMALL, None), WarmLauncher(warm)
    monkeypatch.setattr(LAUNCHER, lambda *_: launcher)
    failures = place.run(1, Events())
    assert not failures, failures[0].lines
    assert [words[0] for words in launcher.words] == ["build-data", "train", "eval", "eval"]
    table, _ = place.table()
    assert table.missing == ()
    assert all(cell.estimate and cell.estimate.n == 1 for line in table.lines for cell in line.cells)
    assert [one.whole and one.exit_code == 0 for one in history_of(place.folder)] == [True] * 4
    place.run(1, Events())
    assert len(launcher.words) == 4


KILLS = 10 if os.environ.get("ALTTRAIN_ALL_FAULTS") else 4  # make faults


class KillingLauncher(WarmLauncher):
    """Kills steps by SIGKILL, each at a random moment after its start, until all kills are spent."""

    def __init__(self, warm: Warm, within: float) -> None:
        super().__init__(warm)
        self._within = within
        self._chance = random.Random(1)
        self.kills = 0

    def start(self, words: Sequence[str], log: Path, slot: int) -> Forked:
        started = super().start(words, log, slot)
        if self.kills < KILLS:
            Timer(self._chance.uniform(0, self._within), self._kill, [started]).start()
        return started

    def _kill(self, step: Forked) -> None:
        if self.kills < KILLS and step._process.returncode is None:
            with suppress(ProcessLookupError):  # it has ended, and nobody has looked yet
                os.kill(step._process.pid, signal.SIGKILL)
                self.kills += 1


@pytest.mark.model
def test_real_steps_killed_at_random_moments_end_in_the_same_table_and_none_that_is_done_runs_twice(
    warm: Warm, here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = "train.set={train.max_steps: 3, train.save_steps: 1, train.warmup_steps: 0, train.learning_rate: 0.01, generation.max_new_tokens: 8}"
    given = (*SMALL[:-1], more)
    whole = open_study("smoke", given, Path("whole"))
    monkeypatch.setattr(LAUNCHER, lambda *_: WarmLauncher(warm))
    assert whole.run(1, Events()) == []
    usual = max(one.seconds for one in history_of(whole.folder))
    launcher, number = KillingLauncher(warm, usual), 0
    monkeypatch.setattr(LAUNCHER, lambda *_: launcher)
    while launcher.kills < KILLS:
        number += 1
        place = open_study("smoke", given, Path(f"killed-{number}"))
        before = launcher.kills
        while place.run(1, Events()):
            assert launcher.kills > before, "a step failed that was not killed"
            before = launcher.kills
        assert place.table()[0].record() == whole.table()[0].record()
        done = [one.key for one in history_of(place.folder) if one.exit_code == 0]
        assert sorted(done) == sorted(step.key for step in place.grid.steps)
