"""`transformers serve` with a tiny model: a public server, for tests marked `model`."""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import families
from tests.tiny import write_model
from tests.warm import Process, Warm

_RUNNING = re.compile(r"running on (http://[\d.:]+)")


@pytest.fixture(scope="session")
def server(libraries: Warm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Yield address and model name of the server."""
    folder = tmp_path_factory.mktemp("server")
    model, log = str(_write_talker(folder / "model")), folder / "log.txt"
    command = ("-m", "transformers.cli.transformers", "serve", model)
    address = ("--host", "127.0.0.1", "--port", "0", "--device", "cpu")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with log.open("wb") as output:
        process = libraries.start(
            *command, *address, cwd=folder, env=environment, outputs=(output.fileno(),) * 2, python=True
        )
    try:
        yield f"{_address(process, log)}/v1", model
    finally:
        process.kill()
        process.wait(60)


def _write_talker(folder: Path) -> Path:
    """Write a model that writes letters alone: its completions are not empty, and do not end."""
    from safetensors.torch import load_file, save_file

    write_model(folder, family="smollm2")
    tokens = families.tokenizer("smollm2").get_vocab().items()
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"][[number for token, number in tokens if not re.fullmatch("[a-z]", token)]] = 0
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def _address(process: Process, log: Path) -> str:
    """Return the address that the server writes into its log once it listens."""
    deadline = time.monotonic() + 300
    while not (found := _RUNNING.search(log.read_text(errors="replace"))):
        assert process.poll() is None, log.read_text()[-2000:]
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.1)
    return found[1]
