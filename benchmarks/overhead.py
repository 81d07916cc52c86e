"""What our client costs beside vLLM's own: one server, the same load by `bench serve` and by `complete`.

    python benchmarks/overhead.py TARGET --vllm-python PATH [--prompts 96] [--in-flight 32] [--rounds 3]

TARGET is a run, or a model without an adapter. `complete` is what `eval --engine vllm` calls. Both send the
same rendered prompts, decode greedily, and take turns. Each counts from its first request to its last answer.
All prompts are in vLLM's cache before. Its environment needs pandas: `bench serve` reads prompts with it.
"""

import argparse
import json
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from measuring import Figures, in_turn, parser_of, print_machine, print_ratio, print_sides, read_options

from alttrain_cli.backends.base import Completion, Request
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.open import find
from alttrain_cli.backends.our_prompts import rendered
from alttrain_cli.backends.rendered_server import RenderedServer
from alttrain_cli.backends.target import Target
from alttrain_cli.backends.vllm import Vllm
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.engine.source import locate
from alttrain_cli.progress import Progress
from alttrain_cli.recipe.model import Sampling

OURS, THEIRS = "alttrain", "bench serve"


class BenchServe:
    """`vllm bench serve` on a running server."""

    def __init__(self, python: Path, folder: Path, tokenizer: str, prompts: Sequence[str], stop: int) -> None:
        self._python, self._result, self._tokenizer = python, folder / "result.json", tokenizer
        self._prompts, self._stop = folder / "prompts.jsonl", stop
        lines = [json.dumps({"prompt": prompt}) + "\n" for prompt in prompts]
        self._prompts.write_text("".join(lines), encoding="utf-8")

    def __call__(self, endpoint: Any, count: int, in_flight: int, max_tokens: int) -> Figures:
        """Return tokens per second, tokens and seconds."""
        extra = {
            "stop_token_ids": [self._stop],
            "skip_special_tokens": False,
            "add_special_tokens": False,
        }
        words = [
            *("--backend", "openai", "--base-url", endpoint.base_url.removesuffix("/v1")),
            *("--endpoint", "/v1/completions", "--model", self._tokenizer),
            *("--served-model-name", endpoint.model, "--dataset-name", "custom"),
            *("--dataset-path", self._prompts, "--skip-chat-template", "--disable-shuffle"),
            *("--custom-output-len", max_tokens, "--num-prompts", count, "--max-concurrency", in_flight),
            *("--temperature", 0, "--extra-body", json.dumps(extra), "--disable-tqdm", "--save-result"),
            *("--result-dir", self._result.parent, "--result-filename", self._result.name),
        ]
        command = [str(self._python), "-m", "vllm.entrypoints.cli.main", "bench", "serve", *map(str, words)]
        environment = {**os.environ, "OPENAI_API_KEY": endpoint.api_key, "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            raise SystemExit(f"vllm bench serve:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        found = json.loads(self._result.read_text(encoding="utf-8"))
        if found["completed"] != count:
            raise SystemExit(f"vllm bench serve completed {found['completed']} of {count} prompts.")
        return _figures(found["total_output_tokens"], found["duration"])


def ours(backend: Any, prompts: Sequence[str], max_tokens: int) -> Figures:
    """Return the same figures of `complete`."""
    sampling = Sampling(max_new_tokens=max_tokens, do_sample=False)
    requests = [Request(number, Conversation.of(one)) for number, one in enumerate(prompts)]
    begun = time.perf_counter()
    found = [one for _, one in backend.complete(requests, sampling)]
    seconds = time.perf_counter() - begun
    failed = [one for one in found if not isinstance(one, Completion)]
    if failed:
        raise SystemExit(f"{len(failed)} requests failed: {failed[0]}")
    return _figures(sum(one.tokens or 0 for one in found), seconds)


def _figures(tokens: int, seconds: float) -> Figures:
    return {"tokens/s": tokens / seconds, "tokens": tokens, "s": seconds}


def compare(backend: RenderedServer, prompts: Sequence[str], options: argparse.Namespace) -> None:
    """Print both sides for the run and for its base."""
    texts = [rendered(backend._template, Conversation.of(one)) for one in prompts]
    tokenizer, stop = locate(backend._target.recipe).name, backend._template.terminator_id
    with tempfile.TemporaryDirectory() as folder:
        bench = BenchServe(options.vllm_python, Path(folder), tokenizer, texts, stop)
        for view in filter(None, (backend.base, backend)):
            assert isinstance(view, RenderedServer)
            load = (len(prompts), options.in_flight, options.max_new_tokens)
            sides = {
                THEIRS: partial(bench, view._endpoint, *load),
                OURS: partial(ours, view, prompts, options.max_new_tokens),
            }
            ours(view, prompts, 1)  # else the first side would fill vLLM's cache for the other one
            print(f"\n{view.name}, n = {len(prompts)} prompts, {options.in_flight} in flight:")
            measured = in_turn(options.rounds, sides)
            print_sides(measured, {"tokens/s": ".1f", "tokens": ".0f", "s": ".1f"})
            print_ratio(measured, "s", OURS, THEIRS)


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("target")
    parser.add_argument("--vllm-python", type=Path, required=True)
    parser.add_argument("--prompts", type=int, default=96)
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    options = read_options(parser, given, prompts=4, in_flight=2, max_new_tokens=4, rounds=1)
    target = find(options.target)
    if not isinstance(target, Target):
        raise SystemExit("A run or a model on this machine is needed.")
    rows = [*starter_rows("train"), *starter_rows("heldout")]
    prompts = [row.prompt for row in random.Random(0).sample(rows, options.prompts)]
    with closing(Vllm(options.vllm_python).open(target, Progress(), options.in_flight)) as backend:
        assert isinstance(backend, RenderedServer)
        compare(backend, prompts, options)
    print_machine()


if __name__ == "__main__":
    main()
