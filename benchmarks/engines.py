"""Engines side by side on the same prompts: base and adapter, speed and completions token by token.

    python benchmarks/engines.py TARGET [--prompts 96] [--rows 32] [--max-new-tokens 128] [--rounds 3]
                                 [--vllm-python PATH | --url URL --models BASE ADAPTER]

TARGET is a run, or a model without an adapter. In turn: plain transformers one prompt at a time (the loop of
R1-Act's and other papers' repositories), plain transformers in static batches sorted by length, our engine,
and vLLM: --vllm-python starts a server, --url names one that is running. All decode greedily; on a CPU in
float32. Each engine has a process of its own. On a GPU it ends before the next one starts, and the share of
what the memory's bandwidth allows is printed. A server that --url names keeps its memory all the time. One
prompt at a time takes longest, so it gets only the first --alone of the prompts.
"""

import argparse
import json
import random
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from measuring import Figures, in_turn, parser_of, print_machine, print_ratio, print_sides, read_options

from alttrain_cli.backends.open import find
from alttrain_cli.backends.rendered_server import RenderedServer
from alttrain_cli.backends.target import Target
from alttrain_cli.backends.vllm import Vllm
from alttrain_cli.console import print_lines
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.engine.machine import Machine
from alttrain_cli.progress import Progress
from alttrain_cli.training.cards import GB_PER_S, card_called

Tokens = list[list[int]]
Engine = Callable[..., tuple[float, Tokens]]  # from a load to its seconds and the tokens of each completion
ALONE, STATIC, OURS, SERVER = SIDES = "one at a time", "static batches", "alttrain", "vLLM"
PROMPT_TOKENS = 64  # of a prompt of starter, with the template


class Round(NamedTuple):
    """What an engine wrote in one round, and its speed."""

    made: Tokens
    figures: Figures


class Worker:
    """The process of one engine."""

    def __init__(self, side: str, target: str) -> None:
        script = Path(__file__).with_name("engines_worker.py")
        self._process = subprocess.Popen(
            [sys.executable, script, side, target], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, **load: Any) -> tuple[float, Tokens]:
        """Return the seconds and the tokens of each completion."""
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps(load), file=self._process.stdin, flush=True)
        reply = json.loads(self._process.stdout.readline())
        return reply["seconds"], reply["tokens"]

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


class Server:
    """A vLLM server, asked by token ids, so that no chat template of its own is between."""

    def __init__(self, url: str, models: Sequence[str], target: Target, key: str = "") -> None:
        from transformers import AutoTokenizer

        from alttrain_cli.engine.source import locate
        from alttrain_cli.structure.template import Template

        source = locate(target.recipe)
        tokenizer = AutoTokenizer.from_pretrained(source.name, revision=source.commit)
        self._template = Template.of(tokenizer, target.recipe.model.system)
        self._stops = sorted({self._template.terminator_id, tokenizer.eos_token_id})
        self._url, self._models = f"{url.rstrip('/')}/completions", models
        self._headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}

    def __call__(
        self, *, prompts: list[str], adapter: bool, rows: int, max_tokens: int
    ) -> tuple[float, Tokens]:
        """Return the seconds and the tokens of each completion, with so many requests in flight."""
        bodies = [
            {
                "model": self._models[adapter],
                "prompt": self._template.encode_text(self._template.prompt(prompt)),
                "max_tokens": max_tokens,
                "temperature": 0,
                "stop_token_ids": self._stops,
                "return_token_ids": True,
            }
            for prompt in prompts
        ]
        begun = time.perf_counter()
        with ThreadPoolExecutor(rows) as pool:
            found = list(pool.map(self._ask, bodies))
        return time.perf_counter() - begun, found

    def _ask(self, body: dict[str, Any]) -> list[int]:
        request = urllib.request.Request(self._url, json.dumps(body).encode(), self._headers)
        with urllib.request.urlopen(request, timeout=600) as reply:
            tokens: list[int] = json.load(reply)["choices"][0]["token_ids"]
        return tokens[:-1] if tokens and tokens[-1] in self._stops else tokens


@contextmanager
def vllm(options: argparse.Namespace, target: Target) -> Iterator[Server]:
    """Yield the vLLM server that the options name."""
    if options.vllm_python is None:
        yield Server(options.url, options.models, target)
        return
    with closing(Vllm(options.vllm_python).open(target, Progress(), options.rows)) as backend:
        assert isinstance(backend, RenderedServer)
        endpoint = backend._endpoint
        yield Server(endpoint.base_url, ("base", "adapter"), target, endpoint.api_key)


def measure(
    options: argparse.Namespace,
    prompts: list[str],
    states: Sequence[bool],
    starts: Mapping[str, Callable[[], AbstractContextManager[Engine]]],
    *,
    apart: bool,
) -> dict[bool, dict[str, list[Round]]]:
    """Return what all sides measure and write with each state of the adapter.

    `apart` ends each engine before the next one starts, because a GPU has memory for one of them. Else their
    rounds take turns, so that what else the machine does meets all of them alike.
    """
    found: dict[bool, dict[str, list[Round]]] = {adapter: {} for adapter in states}
    for group in [[one] for one in starts] if apart else [list(starts)]:
        with ExitStack() as stack:
            engines = {name: stack.enter_context(starts[name]()) for name in group}
            for adapter in states:
                how = {"adapter": adapter, "rows": options.rows, "max_tokens": options.max_new_tokens}
                sides = {}
                for name, engine in engines.items():
                    engine(**{**how, "max_tokens": 2}, prompts=prompts[:1])  # the first call warms up
                    if name == STATIC:
                        alone = prompts[: options.alone]
                        sides[ALONE] = partial(run, engine, **{**how, "rows": 1}, prompts=alone)
                    sides[name] = partial(run, engine, **how, prompts=prompts)
                found[adapter] |= in_turn(options.rounds, sides)
    return found


def run(engine: Engine, **load: Any) -> Round:
    """Measure one round of an engine."""
    seconds, tokens = engine(**load)
    return Round(tokens, {"tokens/s": sum(map(len, tokens)) / seconds, "s": seconds})


def show(found: Mapping[str, Sequence[Round]], limits: Mapping[str, float]) -> None:
    """Print the speed of all sides, and how the completions of each differ from those of the one before.

    `limits` are the tokens per second that the memory of the card allows.
    """
    measured = {name: [one.figures for one in found[name]] for name in SIDES if name in found}
    for name, limit in limits.items():
        for figures in measured.get(name, ()):
            figures["% of limit"] = 100 * figures["tokens/s"] / limit
    more = {"% of limit": ".0f"} if limits else {}
    print_sides(measured, {"tokens/s": ".1f", "s": ".1f", **more})
    for name in measured:
        if name != OURS:
            print_ratio(measured, "tokens/s", OURS, name)
    for wanted, name in pairwise(measured):  # in float32 all are the same, but where two tokens are as likely
        print_lines([(f"{name}, as {wanted}:", difference(found[wanted][-1].made, found[name][-1].made))])


def bandwidth_limits(target: Target, machine: Machine, rows: int, tokens: float) -> dict[str, float]:
    """Return how many tokens per second the card's memory allows on each side; nothing if that is not known.

    Each step reads all weights once, in 16 bits or as the recipe loads them, and for each row the keys and
    values of its `tokens` so far. Steps with fewer rows, as at the end, are not counted: so it is a limit.
    """
    model, card = target.recipe.model, card_called(machine.name) if machine.gpu else None
    if card is None or model.shape is None:
        return {}
    limits, cache = {}, model.shape.cached_bytes * tokens
    for name in SIDES:
        together = 1 if name == ALONE else rows
        in_4bit = model.load_in_4bit and name in (OURS, SERVER)
        read = model.shape.weight_bytes(2, in_4bit=in_4bit) + together * cache
        limits[name] = GB_PER_S[card] * 1e9 * together / read
    return limits


def difference(wanted: Tokens, found: Tokens) -> str:
    """Return how many completions are the same, and where the first other one parts."""
    pairs = list(zip(wanted, found, strict=False))
    others = [at for at, (a, b) in enumerate(pairs) if a != b]
    same = f"{len(pairs) - len(others)} of {len(pairs)} completions"
    if not others:
        return same
    one, other = pairs[others[0]]
    parts = next(
        (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
    return (
        f"{same}; the first other one is prompt {others[0]}: token {parts} of {len(one)} "
        f"is {other[parts : parts + 1]}, not {one[parts : parts + 1]}"
    )


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = parser_of(__doc__)
    parser.add_argument("target")
    parser.add_argument("--prompts", type=int, default=96)
    parser.add_argument("--alone", type=int, default=32, help="prompts that are completed one at a time")
    parser.add_argument("--rows", type=int, default=32, help="prompts that are generated together, at most")
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--vllm-python", type=Path, help="the Python of an environment with vLLM")
    parser.add_argument("--url", help="of a vLLM server, for example http://127.0.0.1:8000/v1")
    parser.add_argument("--models", nargs=2, metavar=("BASE", "ADAPTER"), help="their names on that server")
    return read_options(parser, given, prompts=4, alone=2, rows=2, max_new_tokens=4, rounds=1)


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = arguments(given)
    target = find(options.target)
    if not isinstance(target, Target):
        raise SystemExit("A run or a model on this machine is needed.")
    rows = [*starter_rows("train"), *starter_rows("heldout")]
    prompts = [row.prompt for row in random.Random(0).sample(rows, options.prompts)]
    starts: dict[str, Callable[[], AbstractContextManager[Engine]]] = {
        STATIC: lambda: closing(Worker("plain", options.target)),
        OURS: lambda: closing(Worker("ours", options.target)),
    }
    if options.vllm_python or options.url:
        starts[SERVER] = lambda: vllm(options, target)
    machine, states = Machine.detect(), (False, True) if target.adapter else (False,)
    found = measure(options, prompts, states, starts, apart=bool(machine.gpu))
    for adapter in states:
        name = "adapter" if adapter else "base"
        print(f"\n{name}, n = {len(prompts)} prompts, {options.rows} together at most:")
        read = PROMPT_TOKENS + options.max_new_tokens / 2
        show(found[adapter], bandwidth_limits(target, machine, min(options.rows, len(prompts)), read))
    print_machine()


if __name__ == "__main__":
    main()
