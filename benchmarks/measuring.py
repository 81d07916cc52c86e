"""What the benchmarks share: options, sides that take turns, spread over the rounds, and the tables."""

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from alttrain_cli.console import print_lines, print_table

Figures = dict[str, float]  # what one round of one side has measured: name -> value
T = TypeVar("T")


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of the options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="the smallest size, to try the script: its figures mean nothing"
    )
    return parser


def read_options(
    parser: argparse.ArgumentParser, given: Sequence[str] | None = None, **quick: Any
) -> argparse.Namespace:
    """Read the command line. With --quick, `quick` holds where nothing else is given."""
    if parser.parse_known_args(given)[0].quick:
        parser.set_defaults(**quick)
    return parser.parse_args(given)


def in_turn(rounds: int, sides: Mapping[str, Callable[[], T]]) -> dict[str, list[T]]:
    """Run all sides in turn, A B A B, so that what else the machine does meets all of them alike."""
    found: dict[str, list[T]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, run in sides.items():
            print(f"round {number + 1} of {rounds}: {name} ...", file=sys.stderr, flush=True)
            found[name].append(run())
    return found


def in_thread(work: Callable[[], T]) -> T:
    """Compute in a thread that ends, as chat and serve do.

    A thread that has computed keeps its OpenMP team; with two teams on two cores none of them waits
    actively any more, and short operations take half as long again.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def spread(values: Sequence[float], form: str = ".1f") -> str:
    """Return median, least and most."""
    if not values:
        return "-"
    if len(values) == 1:
        return f"{values[0]:{form}}"
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def print_sides(measured: Mapping[str, Sequence[Figures]], forms: Mapping[str, str]) -> None:
    """Print each side's figures: the median of all rounds, the least and the most."""
    rows = []
    for name, found in measured.items():
        values = {figure: [one[figure] for one in found if figure in one] for figure in forms}
        rows.append((name, *(spread(values[figure], form) for figure, form in forms.items())))
    print_table(("", *forms), rows)


def print_ratio(measured: Mapping[str, Sequence[Figures]], figure: str, of: str, to: str) -> list[float]:
    """Print and return how the sides compare, round by round."""
    pairs = zip(measured[of], measured[to], strict=True)
    ratios = [one[figure] / other[figure] for one, other in pairs]
    print_lines([(f"{figure}, {of} / {to}:", f"{spread(ratios, '.3f')}, n = {len(ratios)} rounds")])
    return ratios


def print_machine() -> None:
    """Print on what the figures were measured."""
    torch = sys.modules.get("torch")
    device = torch.cuda.get_device_name() if torch and torch.cuda.is_available() else _processor()
    threads = f", {torch.get_num_threads()} torch threads" if torch else ""
    busy = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print_lines([("machine:", f"{device}, {os.cpu_count()} cores{threads}{busy}")])


def _processor() -> str:
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text(encoding="utf-8").splitlines() if cpus.exists() else ()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), platform.processor() or platform.machine())


class Used(NamedTuple):
    """What a process has used."""

    seconds: float
    cpu: float  # seconds, of the process and its children
    mib: float  # of memory at its peak


def run_alttrain(*arguments: object) -> Used:
    """Run `alttrain ARGUMENTS` in a process of its own, so that its peak memory is its own.

    Raises:
        SystemExit: if it fails, with what it printed.
    """
    words = [str(argument) for argument in arguments]
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, "-c", _CODE, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"alttrain {' '.join(words)}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Used(seconds, cpu, int(done.stdout.rsplit("PEAK ", 1)[1]) / 1024)


# Runs a command line and prints the peak. Of this process it is Linux's own count: getrusage has that of the
# process which started it too, if that was larger.
_CODE = """
import pathlib, re, resource, sys
from alttrain_cli.cli import app
try:
    app(sys.argv[1:])
except SystemExit as end:
    if end.code:
        raise
status = pathlib.Path("/proc/self/status")
own = re.search(r"VmHWM:\\s+(\\d+)", status.read_text()) if status.exists() else None
peak = int(own[1]) if own else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print("\\nPEAK", max(peak, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
"""
