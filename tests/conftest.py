"""One torch thread: two on two cores, with anything beside them, are 20 times slower."""

import gc
import os
import signal
import sys
from collections.abc import Iterator

import hypothesis
import pytest

from tests import forks, known_speed, later
from tests.forks import pytest_addoption  # noqa: F401
from tests.serving import server  # noqa: F401  # started once for all modules that ask for it
from tests.skips import pytest_make_collect_report, pytest_runtest_makereport  # noqa: F401
from tests.thorough import pytest_deselected, pytest_terminal_summary  # noqa: F401
from tests.tiny import tiny  # noqa: F401
from tests.warm import Early, libraries, light, warm  # noqa: F401

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("COLUMNS", "100")

# Dozens of processes import torch: each would compile it anew, which takes longer than most tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Where the tests run in the background, SIGINT or SIGHUP may be ignored, and every child would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

known_speed.install()

# How long an example takes says how busy the machine is, not whether the code is right.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")


@pytest.fixture(autouse=True)
def _online_again() -> Iterator[None]:
    """Undo what `--offline` sets for libraries and child processes: a command may be in this very process."""
    names = ("ALTTRAIN_OFFLINE", "HF_HUB_OFFLINE", "WANDB_MODE")
    before = {name: os.environ[name] for name in names if name in os.environ}
    yield
    for name in names:
        os.environ.pop(name, None)
    os.environ |= before
    if terminal := sys.modules.get("alttrain_cli.console.terminal"):
        terminal.end_commands_with("")


def pytest_configure(config: pytest.Config) -> None:
    """With `--workers`, import once what all of them need."""
    forks.pytest_configure(config)
    if config.pluginmanager.has_plugin("forks"):
        config.pluginmanager.register(Early())


def pytest_collection_finish() -> None:
    """Leave modules and tests out of every later collection of garbage."""
    later.look()
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Leave the engine out too, as soon as it is imported: Unsloth collects garbage after every step."""
    had = "unsloth" in sys.modules
    yield
    if not had and "unsloth" in sys.modules:
        gc.collect()
        gc.freeze()


# Those that take more than about 7 seconds of the processor, or wait long; the longest first.
LONGEST = (
    *("model", "product", "examples", "cuda_path", "faults", "vllm_process", "ranks", "bad_evaluation_files"),
    *(
        "sandbox",
        "generate",
        "training",
        "export",
        "gguf",
        "backends",
        "offline",
        "study",
        "page",
        "prefixes",
    ),
    *("eval_model", "contributing", "harness", "chat_model", "starter", "judging_memory", "calibration"),
    *(
        "study_model",
        "repl",
        "bad_input",
        "bad_clients",
        "bad_servers",
        "model_files",
        "annotators",
        "gpu_pool",
    ),
    *("livecodebench", "serve_command", "streams", "time", "wording"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest: one at the end would leave a worker idle."""
    places = {f"test_{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))
