"""How fast `build-data` is, how its memory grows, and what many requests in flight are worth.

    python benchmarks/build_data.py [--source FILE.json] [--rows 1000 10000 41000]

Rows: the samples of a source of R1 traces (STAR-1 by default), repeated with a changed prompt until there
are enough. Every size is built in a process of its own, so that its peak memory is its own.
Requests: one builder asks a server on loopback that takes 200 ms for an answer, with 1 and with 32
requests in flight, in the order A B A B.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from alttrain_cli.backends.base import Request
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.server import ServerBackend
from alttrain_cli.console import print_table
from alttrain_cli.data.annotators import SAMPLING
from tests.servers import chat_server

STAR1 = Path(__file__).parents[2] / "shared" / "data" / "STAR-1.json"
SECONDS = 0.2  # that the server takes
REQUESTS = {1: 20, 32: 640}  # in flight -> asked


def perturbed(samples: list[dict[str, Any]], count: int) -> Iterator[dict[str, Any]]:
    """Yield `count` samples; each repetition of one has other words, so that it is no near-duplicate."""
    for number in range(count):
        sample = samples[number % len(samples)]
        turn = number // len(samples) or ""
        prompt = " ".join(f"{word}{turn}" for word in sample["question"].split())
        yield {
            "id": number,
            "prompt": prompt,
            "response": sample["response"],
            "category": sample.get("category"),
            "label": "harmful",
        }


def build(samples: list[dict[str, Any]], count: int, folder: Path) -> tuple[float, float, int]:
    """Build `count` rows; return seconds, peak MiB, and rows kept."""
    source, out = folder / f"{count}.jsonl", folder / f"{count}.data.jsonl"
    with source.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(one) + "\n" for one in perturbed(samples, count))
    code = (
        "import resource, sys; from alttrain_cli.cli import app\n"
        f"try: app(['build-data', '--source', {str(source)!r}, '--out', {str(out)!r}])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print('PEAK', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds = time.monotonic() - begun
    manifest = json.loads((folder / f"{count}.data.manifest.json").read_text())
    return seconds, int(done.stdout.split()[-1]) / 1024, manifest["rows"]


def ask(base_url: str, in_flight: int) -> float:
    """Return the answers a second."""
    backend = ServerBackend.find(base_url, in_flight=in_flight)
    requests = [Request(n, Conversation.of(str(n))) for n in range(REQUESTS[in_flight])]
    begun = time.monotonic()
    assert len(list(backend.complete(requests, SAMPLING))) == len(requests)
    return len(requests) / (time.monotonic() - begun)


def main() -> None:
    """Measure both and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--source", type=Path, default=STAR1, help="JSON list of {question, response, category}"
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 41_000])
    arguments = parser.parse_args()
    samples = json.loads(arguments.source.read_text(encoding="utf-8"))
    table = []
    with tempfile.TemporaryDirectory() as folder:
        for count in arguments.rows:
            seconds, peak, kept = build(samples, count, Path(folder))
            table.append(
                (f"{count:,}", f"{kept:,}", f"{seconds:.1f} s", f"{count / seconds:,.0f}", f"{peak:.0f} MiB")
            )
    print_table(("samples", "rows", "time", "samples/s", "peak memory"), table)
    rates: dict[int, list[float]] = {1: [], 32: []}
    with chat_server(lambda *_: "yes", seconds=SECONDS) as served:
        for _ in range(2):
            for in_flight, found in rates.items():
                found.append(ask(served.base_url, in_flight))
    print_table(
        ("requests in flight", "answers/s", "ratio"),
        [
            (in_flight, f"{median(found):.1f}", f"{median(found) / median(rates[1]):.1f}")
            for in_flight, found in rates.items()
        ],
    )


if __name__ == "__main__":
    main()
