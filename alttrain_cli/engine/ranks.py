"""The processes that train one run: what they agree on, and the sum of their gradients.

torch's process groups are used without `torch.distributed.init_process_group`: Unsloth, accelerate and
transformers ask for the default group, and would divide the rows and wrap the model a second time.
"""

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from alttrain_cli.engine.draws import number_of
from alttrain_cli.engine.memory import is_out_of_memory
from alttrain_cli.errors import AlttrainError

LOOPBACK = "127.0.0.1"
LONGEST_WAIT = timedelta(days=7)  # the others wait while rank 0 tests the canary
START_WAIT = timedelta(minutes=10)  # for the launcher's store
PIECE = 16 * 2**20  # numbers that are sent at once: 64 MiB
_POLL = 0.05  # seconds


class LostRankError(AlttrainError):
    """Another process of the run has ended, so this one cannot continue."""


def host_store() -> Any:
    """Return a store of rank 0 that this computer alone can reach; its `port` is free until now."""
    from torch.distributed import TCPStore

    listener = socket.create_server((LOOPBACK, 0))
    port = listener.getsockname()[1]
    return TCPStore(LOOPBACK, port, None, True, wait_for_workers=False, master_listen_fd=listener.detach())


def join_store(address: str, rank: int, size: int) -> Any:
    """Return the store of a launcher, or of rank 0, at host:port.

    Raises:
        LostRankError: if nothing answers there.
    """
    from torch.distributed import TCPStore

    host, _, port = address.rpartition(":")
    is_host = rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    if not is_host:
        _await_store(host, int(port))
    return TCPStore(host, int(port), size, is_host, START_WAIT, wait_for_workers=False, multi_tenant=is_host)


def _await_store(host: str, port: int) -> None:
    """Wait in Python, so that signals are heard: torch would wait in C++."""
    until = time.monotonic() + START_WAIT.total_seconds()
    while True:
        try:
            socket.create_connection((host, port), timeout=10).close()
            return
        except OSError as error:
            if time.monotonic() > until:
                reason = f"{host}:{port}: the launcher's store does not answer ({error})."
                raise LostRankError(f"{reason} Start the processes again, with another port.") from None
        time.sleep(_POLL)


class Ranks:
    """The processes of a run. With one process, nothing is sent and every answer is its own.

    All of them must call the same methods in the same order; each call waits for the others.

    Raises:
        LostRankError: from every method, if another process has ended.
    """

    def __init__(self, rank: int = 0, size: int = 1, store: Any = None) -> None:
        self.rank = rank
        self.size = size
        self._store = store
        self._control: Any = None  # gloo: numbers that the processes agree on
        self._cuda: Any = None  # NCCL: gradients on GPUs

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files of the run."""
        return self.rank == 0

    def connect(self, check: Callable[[], None] = lambda: None) -> None:
        """Wait until all processes are there; `check` may raise meanwhile if one has ended."""
        from torch.distributed import PrefixStore, ProcessGroupGloo

        self.send(f"here/{self.rank}", "")
        self._await([f"here/{rank}" for rank in range(self.size)], check)
        with self._together():
            store = PrefixStore("control", self._store)
            self._control = ProcessGroupGloo(store, self.rank, self.size, LONGEST_WAIT)

    def close(self) -> None:
        """Leave the others. Closing twice is harmless."""
        if self._cuda is not None:
            self._cuda.shutdown()
        self._cuda = self._control = None

    def send(self, name: str, text: str) -> None:
        """Leave a text for the others; a process that has ended left its own."""
        with self._together():
            self._store.set(name, text)

    def receive(self, name: str) -> str:
        """Return a text that another process leaves, when it is there."""
        self._await([name])
        return str(self._store.get(name).decode())

    def left_by(self, rank: int, name: str) -> str:
        """Return a text of a process that may have ended; empty if it left none."""
        with self._together():
            key = f"{name}/{rank}"
            return str(self._store.get(key).decode()) if self._store.check([key]) else ""

    def _await(self, names: list[str], check: Callable[[], None] = lambda: None) -> None:
        """Wait in Python, so that signals are heard."""
        with self._together():
            while not self._store.check(names):
                check()
                time.sleep(_POLL)

    def highest(self, *numbers: int) -> list[int]:
        """Return for each place the highest number that a process has there."""
        if self.size == 1:
            return list(numbers)
        import torch
        from torch.distributed import ReduceOp

        found = torch.tensor(numbers, dtype=torch.int64)
        self._reduce(self._control, found, ReduceOp.MAX)
        return [int(number) for number in found.tolist()]

    def total(self, number: Any) -> Any:
        """Return the sum over the processes of a tensor with one number: the same bits in each."""
        if self.size == 1:
            return number
        from torch.distributed import ReduceOp

        found = number.detach().double().cpu()
        self._reduce(self._control, found, ReduceOp.SUM)
        return found.to(number)

    def check_same(self, values: Mapping[str, str]) -> None:
        """Make sure that all processes have the same values."""
        for name, value in values.items():
            number = number_of(value)
            high, low = self.highest(number, -number)
            if high != -low:
                raise AlttrainError(
                    f"The processes of this run have different {name}. They need the same files and versions."
                )

    def draw_apart(self, seed: int, step: int) -> None:
        """Let each process draw other numbers for dropout in this step, and the same ones after a resume."""
        if self.size > 1:
            import torch

            torch.manual_seed(number_of(f"{seed} {step} {self.rank}"))

    def add_up(self, parameters: Sequence[Any]) -> None:
        """Replace each gradient by its sum over the processes, computed in 32 bits.

        A parameter gets a gradient if any process has one for it.
        """
        if self.size == 1:
            return
        import torch
        from torch.distributed import ReduceOp

        used = self.highest(*(int(one.grad is not None) for one in parameters))
        trained = [one for one, is_used in zip(parameters, used, strict=True) if is_used]
        for parameter in trained:
            grad = parameter.grad
            parameter.grad = torch.zeros_like(parameter) if grad is None else grad.contiguous()
        for pieces in _pieces([one.grad for one in trained]):
            flat = torch.cat([piece.float() for piece in pieces])
            self._reduce(self._group(flat), flat, ReduceOp.SUM)
            for piece, summed in zip(pieces, flat.split([len(one) for one in pieces]), strict=True):
                piece.copy_(summed)

    def copy_from_first(self, tensors: Sequence[Any]) -> None:
        """Replace tensors by those of rank 0."""
        if self.size == 1:
            return
        from torch.distributed import BroadcastOptions

        for tensor in tensors:
            sent = tensor if self._has_nccl(tensor) else tensor.cpu()
            with self._together():
                self._group(sent).broadcast([sent], BroadcastOptions()).wait()
            tensor.copy_(sent)

    def _group(self, tensor: Any) -> Any:
        """Return the group that sends a tensor of this device."""
        if not self._has_nccl(tensor):
            return self._control
        if self._cuda is None:
            from torch.distributed import PrefixStore, ProcessGroupNCCL

            store = PrefixStore("nccl", self._store)
            self._cuda = ProcessGroupNCCL(store, self.rank, self.size, ProcessGroupNCCL.Options())
        return self._cuda

    def _has_nccl(self, tensor: Any) -> bool:
        from torch.distributed import is_nccl_available

        return bool(tensor.is_cuda and is_nccl_available())

    def _reduce(self, group: Any, tensor: Any, operation: Any) -> None:
        from torch.distributed import AllreduceOptions

        options = AllreduceOptions()
        options.reduceOp = operation
        sent = tensor.cpu() if group is self._control else tensor
        with self._together():
            group.allreduce([sent], options).wait()
        if sent is not tensor:
            tensor.copy_(sent)

    @contextmanager
    def _together(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            raise LostRankError("Another process of this run has ended without a message.") from error


ONE_RANK = Ranks()


def _pieces(gradients: Sequence[Any]) -> Iterator[list[Any]]:
    """Yield views of gradients, (numbers,), in lists of at most PIECE numbers."""
    room = PIECE
    pieces: list[Any] = []
    for gradient in gradients:
        for part in gradient.view(-1).split(PIECE):
            if len(part) > room:
                yield pieces
                room, pieces = PIECE, []
            pieces.append(part)
            room -= len(part)
    if pieces:
        yield pieces
