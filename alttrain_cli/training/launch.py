"""How many processes train one run, and which of them this is: from torchrun's variables, or `--gpus`."""

import os
from typing import NamedTuple

from alttrain_cli.engine.machine import Machine, card_ids
from alttrain_cli.errors import AlttrainError

# With these the libraries would divide rows and wrap the model. They see one process with one GPU.
_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
_ADDRESS = ("MASTER_ADDR", "MASTER_PORT")
_SHARDED = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_MEGATRON_LM")


class Launch(NamedTuple):
    """A process among those that train one run. Rank 0 has the terminal and writes all files."""

    rank: int = 0
    size: int = 1
    cards: tuple[str, ...] = ()  # of this machine, one per process on it; none on a CPU
    address: str = ""  # host:port of the launcher's store; empty: rank 0 starts the other processes

    @classmethod
    def take(cls) -> "Launch":
        """Return what torchrun or accelerate launch put into the environment, and remove it from there.

        It must be called before torch is imported: afterwards, CUDA sees the card of this process alone.
        """
        found = {name: os.environ.get(name, "") for name in (*_VARIABLES, *_ADDRESS)}
        for name in _VARIABLES:
            os.environ.pop(name, None)
        if not found["RANK"] or found["WORLD_SIZE"] in ("", "1"):
            return cls()
        if missing := next((name for name, value in found.items() if not value), None):
            raise AlttrainError(
                f"RANK and WORLD_SIZE are set, but {missing} is not. Start the processes with torchrun, or "
                "unset RANK to train with one."
            )
        if found["MASTER_PORT"] == "0":
            raise AlttrainError(
                "MASTER_PORT is 0: torchrun does not tell its processes which port it chose. Give one, for "
                "example --master-port 29500, or --standalone, which finds a free one."
            )
        for name in _SHARDED:
            if os.environ.get(name) == "true":
                raise AlttrainError(
                    f"{name} is set: alttrain does not divide a model over GPUs. Use torchrun, "
                    "or accelerate launch without FSDP, DeepSpeed and Megatron-LM."
                )
        rank, size, local, here = (int(found[name]) for name in _VARIABLES)
        cards = _first_cards(here, f"torchrun has started {here} processes on this machine")
        if cards:
            use_card(cards[local])
        return cls(rank, size, cards, ":".join(found[name] for name in _ADDRESS))

    @classmethod
    def on(cls, gpus: str) -> "Launch":
        """Return rank 0 of `--gpus N` or `--gpus all`, which will start the other processes."""
        cards = cards_of(gpus)
        use_card(cards[0])
        return cls(size=len(cards), cards=cards)

    def machine(self) -> Machine:
        """Return what each process may use: the smallest of the cards, or its part of this computer."""
        if self.size == 1:
            return Machine.detect()
        if self.cards:
            smallest = min((Machine.detect(card) for card in self.cards), key=lambda one: one.gib)
            return smallest._replace(cards=self.size)
        computer = Machine.detect()
        return computer._replace(gib=computer.gib / self.size)


ALONE = Launch()


def cards_of(gpus: str) -> tuple[str, ...]:
    """Return the cards of `--gpus N` or `--gpus all`, as CUDA_VISIBLE_DEVICES names them."""
    found = card_ids()
    if not found:
        raise AlttrainError(f"--gpus {gpus}: no NVIDIA GPU was found. Leave --gpus out to use the CPU.")
    return tuple(found) if gpus == "all" else _first_cards(int(gpus), f"--gpus {gpus}")


def use_card(card: str) -> None:
    """Let CUDA, and all libraries on top of it, see one card alone."""
    os.environ["CUDA_VISIBLE_DEVICES"] = card


def _first_cards(wanted: int, who: str) -> tuple[str, ...]:
    found = card_ids()
    if found and len(found) < wanted:
        raise AlttrainError(f"{who}, but this machine has {len(found)} GPUs. Give at most {len(found)}.")
    return tuple(found[:wanted])
