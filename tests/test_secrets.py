"""Keys and passwords of servers: in no file that is written, and nowhere on the screen."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from alttrain_cli.storage.files import write_jsonl
from tests.servers import chat_server

SECRET = "CANARY-5a7e"
SAID = "<think>\nThey ask.\n\nThis is harmless.\n\nI can help.\n</think>\n\nSure."
LINES = {
    "build-data": (
        *("build-data", "--source", "s.jsonl", "--suite", "", "--out", "d.jsonl"),
        *("--annotator", "endpoint", "--model", "tiny"),
    ),
    "eval": ("eval", "--suite", "smoke", "--limit", "1", "--no-judge-card", "--model", "tiny"),
    "chat": ("chat", "-p", "Hi", "--json"),
}


@pytest.mark.parametrize("command", list(LINES))
def test_secrets_of_a_server_are_in_no_file_and_no_output(command: str, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "s.jsonl", [{"prompt": "How?", "response": "<think>\nHow.\n</think>\n\nSo."}])
    with chat_server(lambda *_: SAID) as served:
        url = served.base_url.replace("http://", f"http://user:{SECRET}@")
        environment = {**os.environ, "ALTTRAIN_API_KEY": SECRET}
        line = [sys.executable, "-m", "alttrain_cli", *LINES[command], "--base-url", url]
        done = subprocess.run(
            line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200
        )
        assert all(request["authorization"] for request in served.requests)
        assert served.requests
    assert SECRET not in done.stdout + done.stderr
    for path in tmp_path.rglob("*"):
        assert SECRET not in str(path)
        assert path.is_dir() or SECRET.encode() not in path.read_bytes()
