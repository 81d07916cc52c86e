"""How fast `build-data` is, how its memory grows, and what many requests in flight are worth.

    python benchmarks/build_data.py [--source FILE.json] [--rows 1000 10000 41000] [--rounds 2]

Rows: the samples of a source of traces (the full starter set by default), repeated with a changed prompt
until there are enough. Every size is built in a process of its own, so that its peak memory is its own.
Requests: one builder asks a server on loopback that takes 200 ms for an answer, with 1 and with 32 requests
in flight, in turn.
"""

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from measuring import (
    Figures,
    in_turn,
    parser_of,
    print_machine,
    print_ratio,
    print_sides,
    read_options,
    run_alttrain,
)  # fmt: skip

from alttrain_cli.backends.base import Request
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.server import ServerBackend
from alttrain_cli.data.annotators import SAMPLING
from alttrain_cli.data.starter import FULL, starter_rows
from tests.servers import chat_server

SECONDS = 0.2  # that the server takes
PER_PLACE = 20  # requests, of each place in flight


def starter_samples() -> list[dict[str, Any]]:
    """Return the full starter set as a source of traces."""
    return [
        {"question": row.prompt, "response": f"<think>\n{row.reasoning}\n</think>\n\n{row.answer}"}
        for row in starter_rows("train", FULL)
    ]


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


def build(samples: list[dict[str, Any]], count: int, folder: Path) -> Figures:
    """Build `count` rows."""
    source, out = folder / f"{count}.jsonl", folder / f"{count}.data.jsonl"
    with source.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(one) + "\n" for one in perturbed(samples, count))
    used = run_alttrain("build-data", "--source", source, "--out", out)
    kept = json.loads((folder / f"{count}.data.manifest.json").read_text())["rows"]
    out.unlink()
    return {"rows": kept, "s": used.seconds, "samples/s": count / used.seconds, "MiB": used.mib}


def ask(base_url: str, in_flight: int, per_place: int) -> Figures:
    """Return the answers per second."""
    backend = ServerBackend.find(base_url, in_flight=in_flight)
    requests = [Request(n, Conversation.of(str(n))) for n in range(per_place * in_flight)]
    begun = time.monotonic()
    assert len(list(backend.complete(requests, SAMPLING))) == len(requests)
    return {"answers/s": len(requests) / (time.monotonic() - begun)}


def main(given: Sequence[str] | None = None) -> None:
    """Measure both and print two tables."""
    parser = parser_of(__doc__)
    parser.add_argument("--source", type=Path, help="JSON list of {question, response, category}")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 41_000])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--per-place", type=int, default=PER_PLACE, help="requests per place in flight")
    options = read_options(parser, given, rows=[20], rounds=1, per_place=1)
    source = options.source
    samples = json.loads(source.read_text(encoding="utf-8")) if source else starter_samples()
    with tempfile.TemporaryDirectory() as name:
        sides = {f"{count:,} samples": partial(build, samples, count, Path(name)) for count in options.rows}
        measured = in_turn(options.rounds, sides)
    print_sides(measured, {"rows": ".0f", "s": ".1f", "samples/s": ".0f", "MiB": ".0f"})
    with chat_server(lambda *_: "yes", seconds=SECONDS) as served:
        asking = partial(ask, served.base_url, per_place=options.per_place)
        sides = {f"{many} in flight": partial(asking, many) for many in (1, 32)}
        asked = in_turn(options.rounds, sides)
    print_sides(asked, {"answers/s": ".1f"})
    print_ratio(asked, "answers/s", "32 in flight", "1 in flight")
    print_machine()


if __name__ == "__main__":
    main()
