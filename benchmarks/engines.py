"""Engines side by side on the same prompts: base and adapter, speed and completions token by token.

    python benchmarks/engines.py TARGET [--prompts 96] [--rows 32] [--max-new-tokens 128] [--rounds 3]
                                 [--vllm-python PATH | --url URL --models BASE ADAPTER]

TARGET is a run, or a model without an adapter. In turn: plain transformers one prompt at a time (the loop of
R1-Act's and other papers' repositories), plain transformers in static batches sorted by length, our engine,
and vLLM: --vllm-python starts a server, --url names one that is running. All decode greedily; on a CPU in
float32. Each engine has a process of its own. One prompt at a time takes longest, so it gets only the first
--alone of the prompts.
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
from contextlib import closing, contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from measuring import Figures, in_turn, parser_of, print_machine, print_ratio, print_sides, read_options

from alttrain_cli.backends.open import find
from alttrain_cli.backends.rendered_server import RenderedServer
from alttrain_cli.backends.target import Target
from alttrain_cli.backends.vllm import Vllm
from alttrain_cli.console import print_lines
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.progress import Progress

Tokens = list[list[int]]
Engine = Callable[..., tuple[float, Tokens]]  # from a load to its seconds and the tokens of each completion
ALONE, STATIC, OURS, SERVER = "one at a time", "static batches", "alttrain", "vLLM"


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
def vllm(options: argparse.Namespace, target: Target) -> Iterator[Server | None]:
    """Yield the vLLM server that the options name, if they name one."""
    if options.vllm_python is None:
        yield Server(options.url, options.models, target) if options.url else None
        return
    with closing(Vllm(options.vllm_python).open(target, Progress(), options.rows)) as backend:
        assert isinstance(backend, RenderedServer)
        endpoint = backend._endpoint
        yield Server(endpoint.base_url, ("base", "adapter"), target, endpoint.api_key)


def compare(sides: Mapping[str, Callable[[], tuple[float, Tokens]]], rounds: int) -> None:
    """Print the speed of all sides, and how the completions of each differ from those of the one before."""
    made: dict[str, Tokens] = {}

    def run(name: str) -> Figures:
        seconds, made[name] = sides[name]()
        return {"tokens/s": sum(map(len, made[name])) / seconds, "s": seconds}

    measured = in_turn(rounds, {name: partial(run, name) for name in sides})
    print_sides(measured, {"tokens/s": ".1f", "s": ".1f"})
    for name in sides:
        if name != OURS:
            print_ratio(measured, "tokens/s", OURS, name)
    for wanted, name in pairwise(sides):  # in float32 all are the same, but where two tokens are as likely
        print_lines([(f"{name}, as {wanted}:", difference(made[wanted], made[name]))])


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


def compare_all(
    options: argparse.Namespace,
    prompts: list[str],
    states: Sequence[bool],
    ours: Engine,
    plain: Engine,
    server: Engine | None,
) -> None:
    """Compare the engines with each state of the adapter."""
    for adapter in states:
        how = {"adapter": adapter, "rows": options.rows, "max_tokens": options.max_new_tokens}
        sides = {
            ALONE: partial(plain, **{**how, "rows": 1}, prompts=prompts[: options.alone]),
            STATIC: partial(plain, **how, prompts=prompts),
            OURS: partial(ours, **how, prompts=prompts),
        }
        if server:
            sides[SERVER] = partial(server, **how, prompts=prompts)
        for engine in filter(None, (ours, plain, server)):
            engine(**{**how, "max_tokens": 2}, prompts=prompts[:1])  # the first call warms up
        name = "adapter" if adapter else "base"
        print(f"\n{name}, n = {len(prompts)} prompts, {options.rows} together at most:")
        compare(sides, options.rounds)


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = arguments(given)
    target = find(options.target)
    if not isinstance(target, Target):
        raise SystemExit("A run or a model on this machine is needed.")
    rows = [*starter_rows("train"), *starter_rows("heldout")]
    prompts = [row.prompt for row in random.Random(0).sample(rows, options.prompts)]
    ours, plain = Worker("ours", options.target), Worker("plain", options.target)
    with vllm(options, target) as server:
        states = (False, True) if target.adapter else (False,)
        compare_all(options, prompts, states, ours, plain, server)
    print_machine()
    for worker in (ours, plain):
        worker.close()


if __name__ == "__main__":
    main()
