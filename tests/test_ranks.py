"""Several processes train one run: the updates of one process, one writer, one end."""

import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from alttrain_cli.data.starter import starter_rows
from alttrain_cli.engine import ranks
from alttrain_cli.engine.machine import Machine
from alttrain_cli.engine.ranks import LostRankError, Ranks, host_store, join_store
from alttrain_cli.errors import AlttrainError, ModelError
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.files import write_jsonl
from alttrain_cli.storage.run import Run
from alttrain_cli.training import rank
from alttrain_cli.training.launch import Launch
from alttrain_cli.training.reports import TrainingEvents
from alttrain_cli.training.train import Monitor
from tests.test_plan import CARDS, pretend_gpus
from tests.tiny import settings
from tests.warm import Hook, Process, Warm

# Seven rows in updates of three: the last one has one row, so one process has none.
SHORT = (
    *("train.num_train_epochs=2", "train.per_device_train_batch_size=3", "train.save_steps=1"),
    *("train.train_sampling_strategy=random", "generation.max_new_tokens=8"),
)
STEPS = 6
EXACT: Hook = ("tests.test_ranks", "compute_in_32_bits", {})
Train = Callable[..., list[tuple[int, str, str]]]


@pytest.fixture
def train(warm: Warm, tiny: Path, tmp_path: Path) -> Train:
    rows = [row.model_dump() for row in starter_rows("train")[:7]]
    rows[6]["answer"] *= 6
    write_jsonl(tmp_path / "data.jsonl", rows)
    given = [part for one in (*settings(tiny), *SHORT) for part in ("--set", one)]
    line = ("train", "--recipe", "smollm2-135m", "--data", "data.jsonl", *given)

    def run(
        out: str, processes: int, *more: str, hooks: Sequence[Sequence[Hook]] = ((), ())
    ) -> list[tuple[int, str, str]]:
        started = [
            warm.start(*line, "--out", out, *more, cwd=tmp_path, env=env, hooks=[EXACT, *hooks[number]])
            for number, env in enumerate(_environments(processes))
        ]
        return [_end_of(one) for one in started]

    return run


def _environments(processes: int) -> list[dict[str, str]]:
    """Return what torchrun puts into the environment. Sums are in 32 bits, so that the order matters little."""
    alone = {**os.environ, "UNSLOTH_CPU_BF16": "0"}
    if processes == 1:
        return [alone]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    shared = {
        "WORLD_SIZE": processes,
        "LOCAL_WORLD_SIZE": processes,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    return [
        {**alone, **{name: str(value) for name, value in (*shared.items(), ("RANK", number), ("LOCAL_RANK", number))}}
        for number in range(processes)
    ]  # fmt: skip


def _end_of(process: Process) -> tuple[int, str, str]:
    stdout, stderr = process.communicate(120)
    return process.wait(0), stdout, stderr


def compute_in_32_bits() -> None:
    """Let this process ask again whether its processor computes in 16 bits."""
    from unsloth_zoo.cpu import runtime

    runtime.cpu_bf16_supported.cache_clear()


def end_at(step: int, number: int, times: int = 1) -> None:
    """Let this process get a signal when a step has ended, and again at once: launchers repeat a Ctrl-C."""
    from alttrain_cli.training.train import Monitor

    before = Monitor.on_step_end

    def on_step_end(self: Any, args: Any, state: Any, control: Any, **options: Any) -> None:
        for _ in range(times if state.global_step == step else 0):
            os.kill(os.getpid(), number)
        before(self, args, state, control, **options)

    Monitor.on_step_end = on_step_end  # type: ignore[method-assign]


def run_out_of_memory() -> None:
    """Let this process run out of memory once."""
    from alttrain_cli.training.updates import Updates

    before, calls = Updates._attempt, []

    def attempt(self: Any, *arguments: Any) -> Any:
        calls.append(1)
        return None if len(calls) == 1 else before(self, *arguments)

    Updates._attempt = attempt  # type: ignore[method-assign]


def at(step: int, number: int, times: int = 1) -> Hook:
    return ("tests.test_ranks", "end_at", {"step": step, "number": number, "times": times})


def weights(run: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(run / "adapter" / "adapter_model.safetensors")


def largest_difference(one: Path, other: Path) -> float:
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    return max(float((ours[name] - theirs[name]).abs().max()) for name in ours)


def losses(run: Path) -> list[float]:
    return [json.loads(step)["loss"] for step in (run / "train.jsonl").read_text().splitlines()]


@pytest.mark.model
def test_two_processes_make_the_adapter_of_one_and_resume_each_others_runs(
    train: Train, tmp_path: Path
) -> None:
    [(code, _, said)] = train("one", 1)
    assert code == 0, said
    (first, shown, said), second = train("two", 2)
    assert first == 0, said
    assert second == (0, "", "")
    assert "2 processes together" in shown
    assert len(losses(tmp_path / "two")) == STEPS
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    assert largest_difference(tmp_path / "one", tmp_path / "two") < 1e-5
    assert max(float(one.abs().max()) for one in weights(tmp_path / "one").values()) > 0.01
    manifest = Run(tmp_path / "two").manifest()
    assert manifest.processes == 2
    assert manifest.steps == STEPS

    both = (at(2, signal.SIGINT, times=2),)  # Ctrl-C of a terminal, which the launcher repeats
    ends = train("cut", 2, hooks=(both, both))
    assert [code for code, _, _ in ends] == [130, 0], ends
    assert Run(tmp_path / "cut").manifest().status == "interrupted"
    assert len(losses(tmp_path / "cut")) == 2
    [(code, _, said)] = train("cut", 1, "--resume", hooks=((at(4, signal.SIGTERM),),))
    assert code == 143, said
    (code, _, said), _ = train("cut", 2, "--resume")
    assert code == 0, said
    assert losses(tmp_path / "cut") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    assert largest_difference(tmp_path / "one", tmp_path / "cut") < 1e-5


def note_masks(path: str) -> None:
    """Let this process add the beginning of each dropout's mask to a file."""
    import torch

    before = torch.nn.Dropout.forward

    def forward(self: Any, input: Any) -> Any:
        output = before(self, input)
        if self.training and self.p:
            mask = "".join(str(int(one)) for one in (output == 0).flatten()[:32].tolist())
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(mask + "\n")
        return output

    torch.nn.Dropout.forward = forward  # type: ignore[method-assign]


@pytest.mark.model
def test_each_process_drops_other_numbers_and_the_same_ones_after_a_resume(
    train: Train, tmp_path: Path
) -> None:
    def masks(name: str, *more: str, end: Sequence[Hook] = ()) -> list[list[str]]:
        files = [tmp_path / f"{name}-{number}" for number in range(2)]
        notes = [("tests.test_ranks", "note_masks", {"path": str(one)}) for one in files]
        train(name, 2, "--set", "lora.lora_dropout=0.5", *more, hooks=([notes[0]], [notes[1], *end]))
        return [one.read_text(encoding="utf-8").split() for one in files]

    first, second = whole = masks("whole")
    assert len(first) >= len(second) > 20
    assert all("0" in one and "1" in one for one in first)
    assert not set(first) & set(second)
    assert len(set(first)) > len(first) // 2  # not the same in each step and layer
    assert masks("cut", end=(at(2, signal.SIGTERM),)) != whole  # a signal to either ends both
    assert masks("cut", "--resume") == whole


@pytest.mark.model
def test_a_signal_that_comes_between_two_agreements_is_kept_and_leaves_no_process_behind() -> None:
    agreed: list[tuple[int, ...]] = []

    def highest(*numbers: int) -> list[int]:
        agreed.append(numbers)
        if len(agreed) == 1:
            monitor.interrupted_by = signal.SIGINT  # while it waits for the others
        return list(numbers)

    others: Any = SimpleNamespace(is_first=False, highest=highest)
    unused: Any = None
    monitor = Monitor(unused, Recipe.load("smollm2-135m"), unused, unused, others)
    control = SimpleNamespace(should_training_stop=False)
    monitor.on_step_end(None, None, control)
    monitor.on_save(None, SimpleNamespace(global_step=1, max_steps=3), control)
    assert agreed == [(0,), (0,)]  # the others wait for the second one
    assert not control.should_training_stop
    monitor.on_step_end(None, None, control)
    assert control.should_training_stop
    assert monitor.interrupted_by == signal.SIGINT


@pytest.mark.model
@pytest.mark.parametrize(
    ("fp16", "norms", "stops"),
    [
        (True, [math.inf, math.nan, 1.0, math.inf], False),  # the update is skipped, and the loss scaled less
        (True, [math.inf] * 17, True),
        (True, [*[math.inf] * 16, 1.0, *[math.inf] * 16], False),
        (False, [math.inf], True),
    ],
)
def test_in_float16_a_gradient_that_overflows_ends_a_run_only_if_it_does_so_at_any_scale(
    fp16: bool, norms: list[float], stops: bool
) -> None:
    unused: Any = None
    updates: Any = SimpleNamespace(tokens=1)
    events = TrainingEvents(lambda step: None, lambda text: None)
    monitor = Monitor(unused, Recipe.load("smollm2-135m"), updates, events, Ranks())
    control = SimpleNamespace(should_training_stop=False, should_save=True)
    for number, norm in enumerate(norms, 1):
        assert not control.should_training_stop
        state = SimpleNamespace(global_step=number, max_steps=99)
        monitor.on_log(SimpleNamespace(fp16=fp16), state, control, {"loss": 2.0, "grad_norm": norm})
    assert control.should_training_stop == stops
    assert ("gradient norm inf" in monitor.failure) == stops


def test_a_killed_process_ends_the_run_with_one_line_and_it_can_be_resumed(
    train: Train, tmp_path: Path
) -> None:
    (code, _, said), (killed, *_) = train("run", 2, hooks=((), (at(2, signal.SIGKILL),)))
    assert killed == -signal.SIGKILL
    assert code == 2, said
    last = " ".join(said.split("Error: ")[1].split())
    assert last.startswith("Another process of this run has ended")
    assert "--resume" in last
    assert "Traceback" not in said
    [(code, _, said)] = train("run", 1, "--resume")
    assert code == 0, said
    assert len(losses(tmp_path / "run")) == STEPS


@pytest.mark.model
def test_all_processes_cut_smaller_when_one_runs_out_of_memory(train: Train, tmp_path: Path) -> None:
    hook = ("tests.test_ranks", "run_out_of_memory", {})
    (code, _, said), _ = train("two", 2, hooks=((), (hook,)))
    assert code == 0, said
    assert "out of memory: continuing with smaller micro-batches" in said
    [(code, _, said)] = train("one", 1)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)


@pytest.mark.model
def test_what_stops_another_process_is_the_error_of_the_run(train: Train, tmp_path: Path) -> None:
    hook = ("tests.test_ranks", "refuse_to_load", {})
    (code, _, said), _ = train("run", 2, hooks=((), (hook,)))
    assert code == 2
    assert "Rank 1: the other card is too small." in " ".join(said.split())
    assert not (tmp_path / "run").exists()


def refuse_to_load() -> None:
    """Let this process fail to load its model."""
    from alttrain_cli.engine import load

    def load_base(*_: Any, **__: Any) -> None:
        raise ModelError("the other card is too small.")

    load.load_base = load_base  # type: ignore[assignment]


REPLY = """
import json, os
from alttrain_cli.engine.ranks import Ranks, join_store
number, size, address = (os.environ[name] for name in ("ALTTRAIN_RANK", "ALTTRAIN_RANKS", "ALTTRAIN_RANK_0"))
ranks = Ranks(int(number), int(size), join_store(address, int(number), int(size)))
card = os.environ["CUDA_VISIBLE_DEVICES"]
data = json.loads(ranks.receive("task"))["data"]
ranks.connect()
ranks.highest(int(number))
ranks.send(f"error/{number}", f"{data} on {card}")
ranks.close()
if data == "stays":
    import time
    time.sleep(600)
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run whose further processes run REPLY."""
    (tmp_path / "reply.py").write_text(REPLY)
    monkeypatch.setattr(rank, "COMMAND", (sys.executable, str(tmp_path / "reply.py")))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    (tmp_path / "run").mkdir()
    return Run(tmp_path / "run")


def task(data: str) -> rank.RankTask:
    return rank.RankTask("{}", data, "", "")


def test_a_further_process_sees_its_own_card_and_is_gone_at_the_end(run: Run) -> None:
    with rank.joined(Launch(size=2, cards=("GPU-a", "GPU-b")), task("stays"), run) as ranks:
        assert ranks.highest(0) == [1]
        while not (words := ranks.left_by(1, "error")):
            time.sleep(0.01)
        assert words == "stays on GPU-b"


def test_a_further_process_that_dies_at_its_start_is_told_at_once(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rank, "COMMAND", (sys.executable, "-c", "raise SystemExit(7)"))
    with (
        pytest.raises(ModelError, match="Rank 1 has ended with exit code 7"),
        rank.joined(Launch(size=2, cards=("GPU-a", "GPU-b")), task("never read"), run),
    ):
        raise AssertionError("not reached")


def test_one_process_alone_sends_nothing_and_agrees_with_itself() -> None:
    alone = Ranks()
    assert alone.highest(3, -1) == [3, -1]
    assert alone.total(2.5) == 2.5
    alone.check_same({"anything": "x"})
    alone.add_up([None])
    alone.copy_from_first([None])


def test_torchruns_variables_are_taken_away_and_each_process_gets_its_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert Launch.take() == Launch()
    for name, value in _environments(2)[1].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert Launch.take() == Launch()
    assert not {"RANK", "WORLD_SIZE", "LOCAL_RANK"} & set(os.environ)  # else accelerate wraps the model
    for name, value in _environments(2)[1].items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    with pytest.raises(AlttrainError, match=r"LOCAL_WORLD_SIZE is not\. Start the processes with torchrun"):
        Launch.take()
    for name, value in _environments(2)[1].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_PORT", "0")
    with pytest.raises(AlttrainError, match=r"MASTER_PORT is 0: .* --standalone"):
        Launch.take()
    for name, value in _environments(2)[1].items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    pretend_gpus(tmp_path, monkeypatch, CARDS)
    found = Launch.take()
    assert (found.rank, found.size, found.cards) == (1, 2, ("GPU-a", "GPU-b"))
    assert found.address.startswith("127.0.0.1:")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-b"
    assert not {"RANK", "WORLD_SIZE", "LOCAL_RANK"} & set(os.environ)


def test_a_signal_is_heard_while_a_launchers_store_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    heard = iter(range(3))

    def interrupted(seconds: float) -> None:
        if next(heard) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(ranks.time, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        join_store(address, 1, 2)
    monkeypatch.setattr(ranks, "START_WAIT", timedelta(0))
    with pytest.raises(LostRankError, match="the launcher's store does not answer"):
        join_store(address, 1, 2)


TAKEN = """
import os
from alttrain_cli.training.launch import Launch
found = Launch.take()
line = f"{found.rank} {found.size} {found.address} {'WORLD_SIZE' in os.environ}\\n"
os.write(1, line.encode())  # at once: two processes write here, and print writes word by word if unbuffered
"""


@pytest.mark.model
def test_accelerate_launch_is_understood_as_torchrun_is(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2")
    (tmp_path / "taken.py").write_text(TAKEN, encoding="utf-8")
    script = ("--main_process_port", "0", "--no_python", sys.executable, tmp_path / "taken.py")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [*command, *script], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment
    )
    first, second = sorted(line.split() for line in done.stdout.splitlines())
    assert (first[:2], second[:2]) == (["0", "2"], ["1", "2"])
    assert first[2:] == second[2:]
    assert first[3] == "False"
    assert first[2].rpartition(":")[2].isdigit()


@pytest.mark.parametrize(
    ("gpus", "script", "message"),
    [
        ("3", CARDS, "this machine has 2 GPUs"),
        ("2", "exit 9", "no NVIDIA GPU"),
        ("all", "exit 9", "no NVIDIA GPU"),
    ],
)
def test_more_gpus_than_there_are_is_an_error(
    gpus: str, script: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "kept by the test")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    pretend_gpus(tmp_path, monkeypatch, script)
    with pytest.raises(AlttrainError, match=message):
        Launch.on(gpus)


def test_the_plan_is_made_for_the_smallest_of_the_cards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "kept by the test")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    small, large = "GPU-a, A, 2048, 2048", "GPU-b, B, 4096, 4096"
    pretend_gpus(
        tmp_path, monkeypatch, f'case "$*" in *GPU-a) echo "{small}";; *GPU-b) echo "{large}";; *) echo "{large}"; echo "{small}";; esac'
    )  # fmt: skip
    launch = Launch.on("all")
    assert launch.cards == ("GPU-b", "GPU-a")
    assert launch.machine() == Machine("A", 2, gpu=True, cards=2)
    assert launch.machine().in_words == "2 x A, 2.0 GiB"


def test_a_store_is_reached_from_this_computer_alone() -> None:
    store = host_store()
    other = join_store(f"127.0.0.1:{store.port}", 1, 2)
    other.set("key", "value")
    assert store.get("key") == b"value"
    addresses = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    own = {"127.0.0.2"} if sys.platform == "linux" else set[str]()  # a store at all addresses is here too
    for address in (addresses | own) - {"127.0.0.1", "127.0.1.1"}:
        with pytest.raises(ConnectionRefusedError), socket.create_connection((address, store.port), 1):
            pass


def test_a_store_that_is_gone_is_a_lost_process() -> None:
    store = host_store()
    ranks = Ranks(1, 2, join_store(f"127.0.0.1:{store.port}", 1, 2))
    del store
    with pytest.raises(LostRankError):
        ranks.receive("task")
