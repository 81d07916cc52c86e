"""vLLM's routes without a model: a token is a character, and the chat template adds a system prompt of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from alttrain_cli.backends.base import Fingerprint
from alttrain_cli.backends.endpoint import Endpoint
from alttrain_cli.backends.rendered_server import RenderedServer
from alttrain_cli.backends.target import Target
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.structure.template import Template
from tests import families
from tests.servers import Answer, Served, chat_server

SYSTEM = "the template's own"
CONTEXT = 2048


def rendered(messages: list[dict[str, str]], opening: str = "") -> str:
    """Return a prompt as the template of this server renders it."""
    if messages[0]["role"] != "system":
        messages = [{"role": "system", "content": SYSTEM}, *messages]
    return "".join(f"<{one['role']}>{one['content']}" for one in messages) + f"<assistant>{opening}"


def write_program(folder: Path) -> Path:
    """Write a program that is called as the Python of vLLM's environment is."""
    path, root = folder / "python", Path(__file__).parent.parent
    call = f'PYTHONPATH="{root}" exec "{sys.executable}" -m tests.fake_vllm "$@"'
    path.write_text(f"#!/bin/sh\n{call}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@contextmanager
def vllm_server(
    answer: Answer,
    *,
    model: str = "base",
    root: Path = Path("/models/base"),
    adapters: tuple[str, ...] = ("tuned",),
    folder: Path = Path("/runs/tuned/adapter"),
    opening: str = "",
    port: int = 0,
) -> Iterator[Served]:
    """Serve a model and adapters on it, from a folder.

    `opening` is what the chat template writes of the reasoning.
    """
    base = {"id": model, "owned_by": "vllm", "root": str(root), "max_model_len": CONTEXT}
    tuned = [{"id": name, "owned_by": "vllm", "root": str(folder), "parent": model} for name in adapters]

    def tokenize(request: dict[str, Any]) -> dict[str, Any]:
        messages = request.get("messages")
        text = request["prompt"] if messages is None else rendered(messages, opening)
        return {"count": len(text), "max_model_len": CONTEXT, "tokens": [ord(one) for one in text]}

    def detokenize(request: dict[str, Any]) -> dict[str, Any]:
        return {"prompt": "".join(map(chr, request["tokens"]))}

    routes = {
        "/tokenize": tokenize,
        "/detokenize": detokenize,
        "/version": lambda request: {"version": "0.32.0"},
    }
    with chat_server(answer, models=(base, *tuned), routes=routes, port=port) as served:
        yield served


@contextmanager
def rendered_server(
    answer: Callable[[str], str], family: str, system: str | None = None, *, context: int = CONTEXT
) -> Iterator[tuple[RenderedServer, Served]]:
    """Serve a family's model that is rendered here; `answer` gets the prompt as the server would read it."""
    tokenizer = families.tokenizer(family)
    template = Template.of(tokenizer, system)

    def reply(number: int, request: dict[str, Any]) -> str:
        return answer(tokenizer.decode(request["prompt"], skip_special_tokens=False))

    with vllm_server(reply) as served:
        endpoint = Endpoint.find(served.base_url)
        endpoint = replace(endpoint, listed=endpoint.listed._replace(context=context))
        target = Target("run", Recipe.load("smollm2-135m"), Path("run/adapter"))
        fingerprint = Fingerprint("run", "model", "weights", adapter="hash", template=template.fingerprint)
        yield RenderedServer([endpoint], target, template, fingerprint, 3), served


def main(words: list[str]) -> None:
    """Be the program: python -m tests.fake_vllm -m vllm.entrypoints.cli.main serve MODEL --port N ...

    FAKE_VLLM is JSON that says what happens: `pids` is a file for the processes, `fault` is printed instead
    of serving, `once` is a file that a fault leaves so that the next start works, `slow` waits for ever,
    `says` is the text of every completion.
    """
    does = json.loads(os.environ.get("FAKE_VLLM", "{}"))
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    if "pids" in does:
        Path(does["pids"]).write_text(f"{os.getpid()} {child.pid}", encoding="utf-8")
    _log("INFO 11-25 20:00:00 [core.py:1] Initializing with config: compilation_config={...}")
    _log(f"INFO 11-25 20:00:00 [model.py:1] Starting to load model {words}")
    if "fault" in does and not ("once" in does and Path(does["once"]).exists()):
        if "once" in does:
            Path(does["once"]).touch()
        _log(f"(EngineCore pid=7) ERROR 11-25 20:00:01 [core.py:1] {does['fault']}")
        child.kill()
        sys.exit(1)
    while does.get("slow"):
        time.sleep(1)
    adapters = tuple(_adapter(words))
    port = int(words[words.index("--port") + 1])
    with vllm_server(lambda *_: does.get("says", "Yes."), adapters=adapters, port=port):
        child.wait()


def _adapter(words: list[str]) -> Iterator[str]:
    """Yield the name of the adapter, read as vLLM reads it: NAME=PATH, else JSON."""
    if "--lora-modules" in words:
        said = words[words.index("--lora-modules") + 1]
        if "=" in said and "," not in said:
            name, _path = said.split("=")
        else:
            name = json.loads(said)["name"]
        yield name


def _log(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
