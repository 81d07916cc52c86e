"""On CI a test that is skipped has failed, unless the reason is listed here: nobody looks at skips there."""

import os
import re
from collections.abc import Generator
from typing import Any

import pytest

# What is skipped, and why it cannot be otherwise on a CI machine.
ALLOWED = {
    r"shared/data/\S+ is not beside this checkout": "published data whose licences allow no copy in the repository",
    r"root may read everything": "a machine is used by root or by somebody else",
    r"needs to be root": "a machine is used by root or by somebody else",
    r"a small file system cannot be mounted|no mount here": "needs root; test_faults.py fills a disk everywhere",
    r"only Linux has all of 127\.0\.0\.0/8": "elsewhere the name of a machine does not lead to 127.0.1.1",
    r"only Linux tells a child": "elsewhere nothing ends the program of a guard that is killed",
    r"this computer has a GPU": "the CUDA path is run without one",
    r"machine code for x86-64": "there is no such code on other processors",
    r"ALTTRAIN_CLEAN_PYTHON names no Python": "needs a second set of packages, without ours",
    r"ALTTRAIN_TRANSFORMERS_4 names no Python": "needs a second set of packages, of an older major version",
    r"ALTTRAIN_VLLM_PYTHON names no Python": "vLLM needs an environment of its own",
    r"ALTTRAIN_LLAMA_SERVER names no program": "no package that we install has llama.cpp's server",
    r"ALTTRAIN_PYRIT_PYTHON names no Python": "PyRIT needs an environment of its own",
    r"lm-eval's client needs it": "a client of the harness that is no dependency of ours",
}


def is_allowed(reason: str) -> bool:
    """Whether a test may be skipped on CI for this reason."""
    return any(re.search(pattern, reason) for pattern in ALLOWED)


def _strict(report: Any) -> Any:
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        if not is_allowed(reason):
            report.outcome = "failed"
            report.longrepr = f"{reason}\nOn CI nothing is skipped that tests/skips.py does not list."
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    return _strict((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, Any]:
    return _strict((yield))
