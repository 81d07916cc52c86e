"""The processes beside rank 0: started and ended by it, and what they do. They write no file.

`python -m alttrain_cli.training.rank` is such a process; under torchrun, `alttrain train` is one.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from alttrain_cli.backends import guard
from alttrain_cli.engine.ranks import LOOPBACK, LostRankError, Ranks, host_store, join_store
from alttrain_cli.errors import AlttrainError, ModelError
from alttrain_cli.library_output import capture_output
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.files import explain_write_errors
from alttrain_cli.storage.run import Run
from alttrain_cli.training.launch import Launch
from alttrain_cli.training.memory_plan import Batching
from alttrain_cli.training.reports import TrainingEvents
from alttrain_cli.training.rows import TrainingRows, training_rows

if TYPE_CHECKING:
    from alttrain_cli.engine.load import LoadedModel

_RANK, _SIZE, _ADDRESS = "ALTTRAIN_RANK", "ALTTRAIN_RANKS", "ALTTRAIN_RANK_0"
COMMAND = (sys.executable, "-P", "-m", "alttrain_cli.training.rank")


@dataclass(frozen=True)
class RankTask:
    """What rank 0 tells the others, so that they compute the same updates."""

    recipe: str  # JSON, with `gradient_checkpointing` decided
    data: str
    sha256: str
    checkpoints: str

    def load(self) -> tuple[Recipe, TrainingRows]:
        rows = TrainingRows.read(Path(self.data), allow_one_label=True)
        if rows.sha256 != self.sha256:
            raise AlttrainError(f"{self.data}: the processes of this run see different files.")
        return Recipe.model_validate_json(self.recipe), rows


class RankProcesses:
    """The processes that rank 0 has started: one per further card. They end when it does, in any way."""

    def __init__(self, launch: Launch, port: int, log: Path) -> None:
        with explain_write_errors(log), log.open("ab") as file:
            self._guards = [
                guard.start(COMMAND, file, _environment(launch, rank, f"{LOOPBACK}:{port}"))
                for rank in range(1, launch.size)
            ]

    def check(self) -> None:
        """Raise LostRankError if one has ended."""
        for rank, process in enumerate(self._guards, 1):
            if process.poll() is not None:
                raise LostRankError(f"Rank {rank} has ended with exit code {process.returncode}.")

    def end(self) -> None:
        """End them. Ending them twice is harmless."""
        guard.stop(*self._guards)


@contextmanager
def joined(launch: Launch, task: RankTask, run: Run) -> Iterator[Ranks]:
    """Yield the processes of a run to rank 0, when all have started and have got the task."""
    if launch.size == 1:
        yield Ranks()
        return
    store = join_store(launch.address, 0, launch.size) if launch.address else host_store()
    started = None if launch.address else RankProcesses(launch, store.port, run.log_path)
    ranks = Ranks(0, launch.size, store)
    try:
        ranks.send("task", json.dumps(asdict(task)))
        ranks.connect(started.check if started else lambda: None)
        yield ranks
    except LostRankError as lost:
        hint = f" {run.resume_hint()}" if run.has_trained else ""
        raise ModelError(f"{_reason(ranks, lost)}{hint}") from None
    finally:
        ranks.close()
        if started:
            started.end()


def _reason(ranks: Ranks, lost: LostRankError) -> str:
    """Return what a failed process has left as its reason, else how its end was noticed."""
    with suppress(LostRankError):
        for rank in range(1, ranks.size):
            if words := ranks.left_by(rank, "error"):
                return f"Rank {rank}: {words}"
    return str(lost)


def run_rank(launch: Launch) -> int:
    """Train along with rank 0 to the end, and return the exit code."""
    store = join_store(launch.address, launch.rank, launch.size)
    ranks = Ranks(launch.rank, launch.size, store)
    try:
        task = RankTask(**json.loads(ranks.receive("task")))
        ranks.connect()
        _train(task, ranks)
        return 0
    except LostRankError:
        return 1  # rank 0 says why
    except Exception as error:
        is_known = isinstance(error, AlttrainError)
        with suppress(LostRankError):
            ranks.send(f"error/{ranks.rank}", str(error) if is_known else f"{type(error).__name__}: {error}")
        if is_known:
            return AlttrainError.exit_code
        raise
    finally:
        ranks.close()


def _train(task: RankTask, ranks: Ranks) -> None:
    recipe, data = task.load()
    with capture_output(None):
        from alttrain_cli.engine.load import load_base
        from alttrain_cli.training.train import train

        loaded = load_base(recipe, training=True)
        rows = training_rows(data.rows, loaded.template, recipe.train)
        batching = agreed(ranks, loaded, Batching(0, recipe.train.gradient_checkpointing is True))
        nothing = TrainingEvents(lambda step: None, lambda text: None)
        train(loaded, recipe, rows, Path(task.checkpoints), batching, nothing, ranks)


def agreed(ranks: Ranks, loaded: "LoadedModel", batching: Batching) -> Batching:
    """Return how all processes cut updates, as rank 0 has planned it. All have loaded the same model."""
    source = loaded.source
    ranks.check_same(
        {"models": f"{source.name} {source.commit}", "chat templates": loaded.template.fingerprint}
    )
    (budget,) = ranks.highest(batching.budget if ranks.is_first else 0)
    return batching._replace(budget=budget)


def _environment(launch: Launch, rank: int, address: str) -> dict[str, str]:
    own = {_RANK: str(rank), _SIZE: str(launch.size), _ADDRESS: address}
    return {**os.environ, **own, "CUDA_VISIBLE_DEVICES": launch.cards[rank]}


def main() -> int:
    """Return the exit code of a process that rank 0 has started."""
    size, address = int(os.environ[_SIZE]), os.environ[_ADDRESS]
    return run_rank(Launch(int(os.environ[_RANK]), size, address=address))


if __name__ == "__main__":
    sys.exit(main())
