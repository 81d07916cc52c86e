"""A study with the real commands and the small model: what they leave is what its steps look for."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from alttrain_cli.engine import speed
from alttrain_cli.study.history import History
from alttrain_cli.study.place import open_study
from alttrain_cli.study.run import Events
from tests.warm import Process, Warm

SMALL = (
    "methods=[untrained, no-ha]",
    "sizes=[8]",
    "eval={limit: 1, max_new_tokens: 8}",
    "train.set={train.max_steps: 2, train.warmup_steps: 0, generation.max_new_tokens: 8}",
)


class Forked:
    """A step in a process that has imported the engine already."""

    def __init__(self, process: Process, log: Path) -> None:
        self._process = process
        self._log = log

    def poll(self) -> int | None:
        code = self._process.poll()
        if code is not None and not self._log.exists():
            self._log.parent.mkdir(parents=True, exist_ok=True)
            self._log.write_text("".join(self._process.communicate(0)), encoding="utf-8")
            for file in self._process._output:
                file.close()
        return code

    def stop(self) -> None:
        pass

    def wait(self) -> None:
        self._process.wait(300)


class WarmLauncher:
    """Starts such steps."""

    def __init__(self, warm: Warm) -> None:
        self._warm = warm
        self.words: list[Sequence[str]] = []

    def start(self, words: Sequence[str], log: Path, slot: int) -> Forked:
        self.words.append(words)
        return Forked(self._warm.start(*words, cwd=Path.cwd()), log)


@pytest.mark.model
def test_real_commands_leave_what_the_steps_look_for(
    warm: Warm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(speed, "KEPT", tmp_path / "speed.json")
    monkeypatch.setattr(speed, "ask_torch", lambda *_: {"rates": {"576": 1e11, "2048": 2e11}})
    place, launcher = open_study("smoke", SMALL, None), WarmLauncher(warm)
    failures = place.run(1, Events(), launcher)
    assert not failures, failures[0].lines
    assert [words[0] for words in launcher.words] == ["build-data", "train", "eval", "eval"]
    table, _ = place.table()
    assert table.missing == ()
    assert all(cell.estimate and cell.estimate.n == 1 for line in table.lines for cell in line.cells)
    assert [one.whole and one.exit_code == 0 for one in History(place.folder).all()] == [True] * 4
    place.run(1, Events(), launcher)
    assert len(launcher.words) == 4
