"""`transformers serve` with the first layers of the embedded model: a public server, for tests marked `model`."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

_RUNNING = re.compile(r"running on (http://[\d.:]+)")


@pytest.fixture(scope="session")
def server(first_layers: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Yield address and model name of the server."""
    model, log = str(first_layers), tmp_path_factory.mktemp("server") / "log.txt"
    command = [
        *(str(Path(sys.executable).with_name("transformers")), "serve", model),
        *("--host", "127.0.0.1", "--port", "0", "--device", "cpu"),
    ]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        try:
            yield f"{_address(process, log)}/v1", model
        finally:
            process.kill()
            process.wait()


def _address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """Return the address that the server writes into its log once it listens."""
    deadline = time.monotonic() + 300
    while not (found := _RUNNING.search(log.read_text(errors="replace"))):
        assert process.poll() is None, log.read_text()[-2000:]
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.1)
    return found[1]
