"""How fast `build-data` is, how its memory grows, and what many requests in flight are worth.

    python benchmarks/build_data.py [--source FILE.json] [--rows 1000 10000 41000] [--rounds 2]

Rows: the samples of a source of traces (the full starter set by default), repeated with a changed prompt
until there are enough. Every size is built in a process of its own, so that its peak memory is its own.
Besides, a tenth and nine tenths of 1,000 rows are chosen by label out of as many samples in SafeChain's form.
Requests: one builder asks a server on loopback that takes 200 ms for an answer, with 1 and with 32 requests
in flight, in turn.
"""

import json
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
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

KINDS = ("vanilla_harmful", "vanilla_benign", "adversarial_harmful", "adversarial_benign")
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


def safechain_shaped(samples: list[dict[str, Any]], count: int) -> Iterator[dict[str, Any]]:
    """Yield samples with the columns and the four kinds of SafeChain; what is benign has no refusal."""
    for number, one in enumerate(perturbed(samples, count)):
        thinking = one["response"].partition("</think>")[0]
        benign = f"{thinking}</think>\n\nHere is an answer. {thinking[8:400]}"
        kind = KINDS[number % len(KINDS)]
        response = benign if "benign" in kind else one["response"]
        yield {"instruction": one["prompt"], "response": response, "label": kind}


def build(samples: Iterable[dict[str, Any]], count: int, folder: Path, quotas: str = "") -> Figures:
    """Build rows of `count` samples: all, or as many of each label as the quotas say."""
    source, out = folder / "traces.jsonl", folder / "data.jsonl"
    with source.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(one) + "\n" for one in samples)
    used = run_alttrain("build-data", "--source", f"{source}{quotas}", "--out", out)
    kept = json.loads((folder / "data.manifest.json").read_text())["rows"]
    out.unlink()
    return {
        "rows": kept,
        "s": used.seconds,
        "CPU s": used.cpu,
        "samples/s": count / used.seconds,
        "MiB": used.mib,
    }


def build_all(samples: list[dict[str, Any]], count: int, folder: Path) -> Figures:
    """Build a row of each of `count` samples."""
    return build(perturbed(samples, count), count, folder)


def build_1k(samples: list[dict[str, Any]], count: int, folder: Path) -> Figures:
    """Build AltTrain-1K, or as much of it as the samples allow."""
    benign = min(100, count // 20)
    return build(safechain_shaped(samples, count), count, folder, f":harmful={9 * benign},benign={benign}")


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
        sides = {
            f"{what} of {count:,} samples": partial(how, samples, count, Path(name))
            for count in options.rows
            for what, how in (("all", build_all), ("1,000", build_1k))
        }
        measured = in_turn(options.rounds, sides)
    print_sides(measured, {"rows": ".0f", "s": ".1f", "CPU s": ".1f", "samples/s": ".0f", "MiB": ".0f"})
    with chat_server(lambda *_: "yes", seconds=SECONDS) as served:
        asking = partial(ask, served.base_url, per_place=options.per_place)
        sides = {f"{many} in flight": partial(asking, many) for many in (1, 32)}
        asked = in_turn(options.rounds, sides)
    print_sides(asked, {"answers/s": ".1f"})
    print_ratio(asked, "answers/s", "32 in flight", "1 in flight")
    print_machine()


if __name__ == "__main__":
    main()
