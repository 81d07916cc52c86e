"""How fast the server is: its tokens per second beside `complete`'s, and its first token.

    python benchmarks/serve.py [--target RUN] [--prompts 96] [--in-flight 32] [--rounds 3]

Side by side, A B A B: A is `complete` with so many slots; B are as many clients in a process of their own,
each of which sends its next prompt when it has read its answer. Same model, same prompts (the starter
set), greedy. Then the first token, one request at a time with nothing else to do: A is one forward pass
over the prompt, B the time from sending a request to its first text.
"""

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alttrain_cli.backends.base import Request
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.open import find, open_backend
from alttrain_cli.console import print_table
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.serve.served import warm_up
from alttrain_cli.serve.server import BACKLOG, Serving, address_of, serve, take_address


@contextmanager
def server(backend: Any, defaults: Sampling) -> Iterator[str]:
    """Serve in a thread; yield the address."""
    taken, stop = take_address("127.0.0.1", 0), threading.Event()
    taken.listen(BACKLOG)
    address = address_of(taken)
    serving = Serving({backend.name: backend}, defaults)
    thread = threading.Thread(target=serve, args=(serving, taken), kwargs={"stop": stop})
    thread.start()
    try:
        yield address
    finally:
        stop.set()
        thread.join()


def clients(url: str, model: str, in_flight: int, tokens: int, prompts: list[str]) -> list[dict[str, Any]]:
    """Return what the clients measured."""
    command = [
        sys.executable,
        Path(__file__).with_name("serve_client.py"),
        url,
        model,
        str(in_flight),
        str(tokens),
    ]
    lines = "".join(json.dumps(prompt) + "\n" for prompt in prompts)
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def throughput(backend: Any, url: str, prompts: list[str], options: argparse.Namespace) -> None:
    """Print tokens per second, in pairs."""
    from alttrain_cli.engine.generate import complete

    sampling = Sampling(max_new_tokens=options.max_new_tokens, do_sample=False)
    rendered = [backend.loaded.template.prompt(prompt) for prompt in prompts]
    table, ratios, costs, same = [], [], [], 0
    for turn in range(options.rounds):
        begun = _clocks()
        done = dict(complete(backend.loaded, rendered, sampling, slots=options.in_flight))
        alone = _per_second(begun, sum(one.tokens for one in done.values()))
        begun = _clocks()
        replies = clients(url, backend.name, options.in_flight, options.max_new_tokens, prompts)
        served = _per_second(begun, sum(one["tokens"] for one in replies))
        same += sum(reply["tokens"] == done[at].tokens for at, reply in enumerate(replies))
        ratios.append(100 * served[0] / alone[0])
        costs.append(100 * served[1] / alone[1])
        figures = (alone[0], served[0], ratios[-1], alone[1], served[1], costs[-1])
        table.append((str(turn + 1), *(f"{one:.1f}" for one in figures)))
    heads = ("A tokens/s", "B tokens/s", "B of A, %", "A tokens/CPU s", "B tokens/CPU s", "B of A, %")
    print_table(("round", *heads), table)
    print(f"B of A: {_spread(ratios, '%')}; per CPU second of this process: {_spread(costs, '%')}")
    print(f"n = {len(prompts)} prompts; of the same length: {same} of {options.rounds * len(prompts)}\n")


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _per_second(begun: tuple[float, float], tokens: int) -> tuple[float, float]:
    """Return tokens per second, and per second of this process's own computing: the clients' is not in it."""
    wall, computing = (now - then for now, then in zip(_clocks(), begun, strict=True))
    return tokens / wall, tokens / computing


def first_tokens(backend: Any, url: str, prompts: list[str], options: argparse.Namespace) -> None:
    """Print the time to the first token beside a forward pass, in pairs."""
    import torch

    loaded, ratios, table = backend.loaded, [], []
    long = " ".join(prompts)
    for name, texts in (
        ("short", prompts[:20]),
        ("long", [long[at * 150 : at * 150 + 2000] for at in range(10)]),
    ):
        passes, firsts = [], []
        for text in texts:
            ids = torch.tensor([loaded.template.encode_text(loaded.template.prompt(text))])
            begun = time.perf_counter()
            with torch.inference_mode():
                loaded.model(input_ids=ids.to(loaded.model.device), use_cache=True, logits_to_keep=1)
            passes.append(time.perf_counter() - begun)
            firsts.append(clients(url, backend.name, 1, 2, [text])[0]["first"])
        ratios = [first / alone for first, alone in zip(firsts, passes, strict=True)]
        tokens = backend.count(Conversation.of(texts[0]))
        table.append((
            f"{name} (about {tokens} tokens)", f"{1000 * statistics.median(passes):.0f}",
            f"{1000 * statistics.median(firsts):.0f}", _spread(ratios, "x"),
        ))  # fmt: skip
    print_table(("prompts", "A forward, ms", "B first token, ms", "B of A"), table)


def _spread(values: list[float], unit: str) -> str:
    return f"median {statistics.median(values):.2f}{unit}, {min(values):.2f}-{max(values):.2f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--target", default="smollm2-135m")
    parser.add_argument("--prompts", type=int, default=96)
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-new-tokens", type=int, default=128)
    options = parser.parse_args()
    backend: Any = open_backend(find(options.target))
    warm_up(backend)
    rows = [*starter_rows("train"), *starter_rows("heldout")]
    prompts = [rows[at * len(rows) // options.prompts].prompt for at in range(options.prompts)]
    short = Sampling(max_new_tokens=2, do_sample=False)
    list(backend.complete([Request(0, Conversation.of("Hi."))], short))  # the first call warms up
    with server(backend, short) as url:
        throughput(backend, url, prompts, options)
        first_tokens(backend, url, prompts, options)


if __name__ == "__main__":
    main()
