"""Keys and passwords: in no file that is written, and nowhere on the screen."""

import os
from base64 import b64encode
from pathlib import Path

import pytest
from typer.testing import CliRunner

from alttrain_cli.cli import app
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.storage.files import write_jsonl
from tests.servers import Script, begun_stream, chat_server, event, http, script_server
from tests.tiny import settings
from tests.warm import Warm

SECRET = "CANARY-5a7e"
IN_ENVIRONMENT = {
    name: f"CANARY-{place}"
    for place, name in enumerate(
        ("ALTTRAIN_API_KEY", "OPENAI_API_KEY", "HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY")
    )
}
BASIC = b64encode(f"user:{SECRET}".encode()).decode()
SAID = "<think>\nThey ask.\n\nThis is harmless.\n\nI can help.\n</think>\n\nSure."
LINES = {
    "build-data": (
        *("build-data", "--source", "s.jsonl", "--suite", "", "--out", "d.jsonl"),
        *("--annotator", "endpoint", "--model", "tiny"),
    ),
    "eval": ("eval", "--suite", "smoke", "--limit", "1", "--no-judge-card", "--model", "tiny"),
    "chat": ("chat", "-p", "Hi", "--json", "--model", "tiny"),
}
ECHO = f"Wrong key {IN_ENVIRONMENT['ALTTRAIN_API_KEY']} of user:{SECRET} (Basic {BASIC})"
ERRORS: dict[str, Script] = {
    **{str(code): [http({"error": {"message": ECHO}}, status=f"{code} No")] for code in (400, 401, 403, 404)},
    "text": [http(ECHO.encode(), status="401 No", kind="text/plain")],
    "500": [http({"error": {"message": ECHO}}, "Retry-After: 0", status="500 No")],
    "page": [http(f"<html><title>{ECHO}</title></html>".encode(), status="502 No", kind="text/html")],
    "list": [http([ECHO], status="400 No")],
    "event": [begun_stream() + event({"error": {"message": ECHO, "code": 500}})],
    "garbled": [begun_stream() + b"data: " + ECHO.encode() + b"\n\n"],
    "header": [http({}, f"X-Key: {ECHO}", f"Location: /{SECRET}", status="302 Found")],
}


def check(folder: Path, output: str) -> None:
    """Look for the canaries in the output, and in the names and the bytes of all files."""
    assert "CANARY" not in output
    assert BASIC not in output
    for path in folder.rglob("*"):
        assert "CANARY" not in str(path)
        assert path.is_dir() or b"CANARY" not in path.read_bytes(), path


def run(warm: Warm, folder: Path, *line: str) -> str:
    environment = {**os.environ, **IN_ENVIRONMENT, "HOME": str(folder)}
    hooks = [("tests.servers", "retry_at_once", {})]
    done = warm.run(*line, cwd=folder, env=environment, timeout=100, hooks=hooks)
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.fixture(autouse=True)
def here(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "s.jsonl", [{"prompt": "How?", "response": "<think>\nHow.\n</think>\n\nSo."}])


@pytest.mark.parametrize("command", LINES)
def test_secrets_of_a_server_are_in_no_file_and_no_output(command: str, tmp_path: Path, light: Warm) -> None:
    with chat_server(lambda *_: SAID) as served:
        url = served.base_url.replace("http://", f"http://user:{SECRET}@")
        output = run(light, tmp_path, *LINES[command], "--base-url", url)
        assert served.requests
        assert all(request["authorization"] for request in served.requests)
    check(tmp_path, output)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("command", LINES)
def test_a_server_that_repeats_the_key_does_not_bring_it_to_light(
    command: str, error: str, tmp_path: Path, light: Warm
) -> None:
    with script_server(ERRORS[error]) as served:
        url = served.base_url.replace("http://", f"http://user:{SECRET}@")
        output = run(light, tmp_path, *LINES[command], "--base-url", url)
        assert served.requests
    assert "Error" in output or "Warning" in output, output
    check(tmp_path, output)


@pytest.mark.parametrize("line", [("serve",), ("calibrate",), ("doctor", "--model")], ids=" ".join)
def test_a_command_that_takes_no_server_refuses_it_without_its_password(line: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*line, f"http://user:{SECRET}@localhost:1/v1"])
    assert done.exit_code == 2
    assert "http://localhost:1/v1: " in done.stderr
    assert SECRET not in done.output


@pytest.mark.model
def test_keys_in_the_environment_are_in_no_file_and_no_output_of_a_local_run(
    tmp_path: Path, warm: Warm, tiny: Path
) -> None:
    write_jsonl(tmp_path / "rows.jsonl", (row.model_dump() for row in starter_rows("train")[:4]))
    values = (*settings(tiny), "train.max_steps=1", "generation.max_new_tokens=4")
    given = [part for one in values for part in ("--set", one)]
    output = run(
        warm, tmp_path, "train", "--recipe", "smollm2-135m", "--data", "rows.jsonl", "--out", "run", *given
    )
    assert (tmp_path / "run" / "adapter").is_dir(), output
    output += run(warm, tmp_path, "chat", "run", "-p", "Hi", "--max-new-tokens", "4")
    output += run(
        warm, tmp_path, "eval", "./run", "--suite", "smoke", "--limit", "1", "--max-new-tokens", "4"
    )
    assert (tmp_path / "run" / "eval" / "scorecard.json").is_file(), output
    check(tmp_path, output)
