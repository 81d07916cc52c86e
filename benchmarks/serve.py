"""How fast the server is: its tokens per second beside `complete`'s, and its first token.

    python benchmarks/serve.py [--target RUN] [--prompts 96] [--in-flight 32] [--rounds 3]

In turn: `complete` with so many slots, and the server with as many clients. They are in a process of their
own, and each sends its next prompt when it has read its answer. Same model, same prompts (the starter set),
greedy. Then the first token, one request at a time with nothing else to do: one forward pass over the prompt,
and the time from sending a request to its first event, which comes with the first token.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from measuring import (
    Figures,
    in_thread,
    in_turn,
    parser_of,
    print_machine,
    print_ratio,
    print_sides,
    read_options,
    spread,
)  # fmt: skip

from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.local import LocalBackend
from alttrain_cli.backends.open import find, open_backend
from alttrain_cli.backends.our_prompts import rendered
from alttrain_cli.console import print_lines, print_table
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.errors import AlttrainError
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.serve.served_models import warm_up
from alttrain_cli.serve.server import BACKLOG, Serving, check_installed, serve, take_address


class Clients:
    """The process of the clients."""

    def __init__(self, port: int, model: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("serve_client.py"), "127.0.0.1", str(port), model],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def load(self, prompts: Sequence[str], in_flight: int, max_tokens: int) -> Any:
        """Return what the clients measured."""
        assert self._process.stdin
        assert self._process.stdout
        wanted = {"prompts": list(prompts), "in_flight": in_flight, "max_tokens": max_tokens}
        print(json.dumps(wanted), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


@contextmanager
def clients(backend: Any, defaults: Sampling) -> Iterator[Clients]:
    """Serve in a thread; yield clients of that server."""
    taken, stop = take_address("127.0.0.1", 0), threading.Event()
    taken.listen(BACKLOG)
    serving = Serving({backend.name: backend}, defaults)
    thread = threading.Thread(target=serve, args=(serving, taken), kwargs={"stop": stop})
    thread.start()
    made = Clients(taken.getsockname()[1], backend.name)
    try:
        yield made
    finally:
        made.close()
        stop.set()
        thread.join()
        taken.close()


def throughput(
    backend: LocalBackend, asking: Clients, prompts: list[str], options: argparse.Namespace
) -> None:
    """Print tokens per second of both sides."""
    from alttrain_cli.engine.generate import complete

    sampling = Sampling(max_new_tokens=options.max_new_tokens, do_sample=False)
    conversations = [Conversation.of(prompt) for prompt in prompts]
    texts = [rendered(backend.loaded.template, one) for one in conversations]
    lengths: list[list[int]] = []

    def alone() -> Figures:
        watches = [backend._watch(one, sampling) for one in conversations]  # a server scores verdicts too
        how = {"slots": options.in_flight, "watches": watches, "adapter": backend._adapter}
        wall, cpu = time.perf_counter(), time.process_time()
        done = in_thread(lambda: dict(complete(backend.loaded, texts, sampling, **how)))
        seconds, computed = time.perf_counter() - wall, time.process_time() - cpu
        lengths.append([done[at].tokens for at in range(len(prompts))])
        return _figures(lengths[-1], seconds, computed)

    def served() -> Figures:
        cpu = time.process_time()
        found = asking.load(prompts, options.in_flight, options.max_new_tokens)
        computed = time.process_time() - cpu
        lengths.append([one["tokens"] for one in found["replies"]])
        return {**_figures(lengths[-1], found["seconds"], computed), "clients' CPU s": found["cpu"]}

    measured = in_turn(options.rounds, {"complete": alone, "serve": served})
    print_sides(measured, {"tokens/s": ".1f", "tokens per CPU s": ".1f", "clients' CPU s": ".2f"})
    print_ratio(measured, "tokens/s", "serve", "complete")
    same = sum(a == b for one in lengths for a, b in zip(lengths[0], one, strict=True))
    print_lines([
        ("load:", f"{len(prompts)} prompts, {options.in_flight} in flight, {sum(lengths[0])} tokens"),
        ("of the same length:", f"{same - len(prompts)} of {len(prompts) * (len(lengths) - 1)}"),
    ])  # fmt: skip


def _figures(lengths: Sequence[int], seconds: float, cpu: float) -> Figures:
    """Return the speed, and the tokens per second of this process's own computing."""
    return {"tokens/s": sum(lengths) / seconds, "tokens per CPU s": sum(lengths) / cpu}


def first_tokens(backend: LocalBackend, asking: Clients, prompts: list[str], count: int) -> None:
    """Print the time to the first token beside a forward pass, in pairs."""
    long, table = " ".join(prompts), []
    for name, texts in (
        ("short", prompts[: 2 * count]),
        ("long", [long[at * 150 : at * 150 + 2000] for at in range(count)]),
    ):
        pairs = [
            (in_thread(partial(_forward, backend, text)), asking.load([text], 1, 2)["replies"][0])
            for text in texts
        ]
        tokens = backend.count(Conversation.of(texts[0]))
        table.append((
            f"{name} (about {tokens} tokens), n = {len(texts)}",
            spread([1000 * alone for alone, _ in pairs], ".0f"),
            spread([1000 * reply["first"] for _, reply in pairs], ".0f"),
            spread([reply["first"] / alone for alone, reply in pairs], ".2f"),
        ))  # fmt: skip
    print_table(("prompts", "forward pass, ms", "first token, ms", "first token / forward pass"), table)


def _forward(backend: Any, text: str) -> float:
    """Return the seconds of one pass over a prompt."""
    import torch

    loaded = backend.loaded
    ids = torch.tensor([loaded.template.encode_text(loaded.template.prompt(text))])
    begun = time.perf_counter()
    with torch.inference_mode():
        loaded.model(input_ids=ids.to(loaded.model.device), use_cache=True, logits_to_keep=1)
    return time.perf_counter() - begun


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--target", default="smollm2-135m")
    parser.add_argument("--prompts", type=int, default=96)
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-new-tokens", type=int, default=128)
    options = read_options(parser, given, prompts=6, in_flight=3, rounds=1, max_new_tokens=6)
    try:
        check_installed()
    except AlttrainError as missing:
        raise SystemExit(str(missing)) from None
    backend: Any = in_thread(lambda: open_backend(find(options.target)))
    in_thread(lambda: warm_up(backend))
    rows = [*starter_rows("train"), *starter_rows("heldout")]
    prompts = [rows[at * len(rows) // options.prompts].prompt for at in range(options.prompts)]
    with clients(backend, Sampling(max_new_tokens=2, do_sample=False)) as asking:
        asking.load(prompts[:2], 2, 2)  # the first call warms up
        throughput(backend, asking, prompts, options)
        first_tokens(backend, asking, prompts, 1 if options.quick else 10)
    print_machine()
    backend.close()


if __name__ == "__main__":
    main()
