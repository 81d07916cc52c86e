"""What chat costs beside bare transformers: first token, speed, memory over 100 turns, --compare.

    python benchmarks/chat.py RUN [ROUNDS]

The three ways take turns on the same loaded model, prompt and greedy tokens, so that what else the
machine does meets all of them alike. "bare" is model.generate() without anything around it, "streamer"
the same with transformers' TextIteratorStreamer in a thread, "chat" is ours, drawing on a terminal
of 100 x 40 included.
"""

import io
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import psutil
from rich.console import Console

from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.local import LocalBackend
from alttrain_cli.backends.target import find_target
from alttrain_cli.chat.completion import stream_completion
from alttrain_cli.chat.settings import Settings
from alttrain_cli.chat.transcript import Transcript, Turn
from alttrain_cli.console import THEME
from alttrain_cli.console.live import CompletionView
from alttrain_cli.engine import quiet

PROMPT = Conversation.of("Tell me everything about bees, their hives and their honey.")
TOKENS = 128
TURNS = 100


class Timing(NamedTuple):
    """One generation."""

    first_seconds: float
    tokens_per_second: float  # all tokens over all seconds


def bare(backend: LocalBackend, settings: Settings) -> Timing:
    """Time generate() alone; nobody sees its first token."""
    begun = time.monotonic()
    tokens = in_thread(lambda: _generate(backend, settings))
    return Timing(float("nan"), tokens / (time.monotonic() - begun))


def streamer(backend: LocalBackend, settings: Settings) -> Timing:
    """Time generate() with transformers' own streamer."""
    from transformers import TextIteratorStreamer

    written: list[int] = []
    begun = time.monotonic()
    pieces = TextIteratorStreamer(backend.loaded.tokenizer, skip_prompt=True)
    thread = threading.Thread(target=lambda: written.append(_generate(backend, settings, streamer=pieces)))
    thread.start()
    first = next(time.monotonic() for piece in pieces if piece) - begun
    for _ in pieces:
        pass
    thread.join()
    return Timing(first, written[0] / (time.monotonic() - begun))


def chat(backend: LocalBackend, settings: Settings) -> Timing:
    """Time what `alttrain chat` does between Enter and the last character."""
    screen = Console(file=io.StringIO(), force_terminal=True, width=100, height=40, theme=THEME)
    begun = time.monotonic()
    with CompletionView(screen) as view:
        completion = stream_completion(backend, PROMPT, settings, view.show)
    view.finish([completion], settings.sent_seed)
    stats = completion.stats
    assert stats.time_to_first_token is not None
    return Timing(stats.time_to_first_token, stats.tokens / (time.monotonic() - begun))


def in_thread(work: Callable[[], Any]) -> Any:
    """Compute in a thread that ends, as chat does.

    A thread that has computed keeps its OpenMP team; with two teams on two cores none of them waits
    actively any more, and short operations take half as long again.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def _generate(backend: LocalBackend, settings: Settings, **more: Any) -> int:
    import torch

    loaded = backend.loaded
    inputs = loaded.tokenizer(
        loaded.template.prompt(PROMPT.wire()), add_special_tokens=False, return_tensors="pt"
    )
    with torch.inference_mode(), loaded.model.disable_adapter():
        made = loaded.model.generate(
            **inputs.to(loaded.model.device),
            max_new_tokens=settings.sampling.max_new_tokens,
            do_sample=False,
            pad_token_id=loaded.tokenizer.pad_token_id,
            **more,
        )
    return int(made.shape[1] - inputs["input_ids"].shape[1])


def print_speed(backend: LocalBackend, settings: Settings, rounds: int) -> None:
    """Print first token and speed of the three ways."""
    ways = {"bare": bare, "streamer": streamer, "chat": chat}
    for way in ways.values():
        way(backend, settings)  # warms up
    done = [{name: way(backend, settings) for name, way in ways.items()} for _ in range(rounds)]
    print("| | first token, s | tokens/s |\n|---|---|---|")
    for name in ways:
        first = _spread([timings[name].first_seconds for timings in done], ".3f")
        speed = _spread([timings[name].tokens_per_second for timings in done], ".1f")
        print(f"| {name} | {first} | {speed} |")
    firsts = [timings["chat"].first_seconds / timings["streamer"].first_seconds for timings in done]
    speeds = [timings["chat"].tokens_per_second / timings["bare"].tokens_per_second for timings in done]
    print(f"\nfirst token, chat / streamer, round by round: {_spread(firsts, '.2f')}")
    print(f"tokens/s, chat / bare, round by round: {_spread(speeds, '.3f')}")


def print_compare(backend: LocalBackend, settings: Settings) -> None:
    """Print what base beside aligned costs."""
    before, begun = resident_mib(), time.monotonic()
    assert backend.base is not None
    for one in (backend.base, backend):
        stream_completion(one, PROMPT, settings)
    seconds, grown = time.monotonic() - begun, resident_mib() - before
    weights = sum(parameter.nbytes for parameter in backend.loaded.model.parameters()) / 2**20
    print(f"\n--compare: two generations in {seconds:.1f} s, {grown:+.0f} MiB", end=" ")
    print(f"(a second copy of the weights: {weights:+.0f} MiB)")


def print_memory(backend: LocalBackend, settings: Settings) -> None:
    """Print the resident memory while one conversation grows, its context held at 1024 tokens."""
    transcript, seen = Transcript(), []
    for number in range(TURNS):
        prompt = f"Question {number}: what is {number} plus {number}?"
        transcript.truncate_to_context(prompt, backend.count, 1024)
        completion = stream_completion(backend, transcript.conversation(prompt), settings)
        transcript.turns.append(Turn.of(prompt, completion.trace))
        seen.append(resident_mib())
    print(f"\nresident memory after every tenth turn, MiB: {', '.join(f'{mib:.0f}' for mib in seen[9::10])}")


def resident_mib() -> float:
    """Return the memory of this process."""
    return float(psutil.Process().memory_info().rss) / 2**20


def _spread(values: Sequence[float], form: str) -> str:
    middle, least, most = statistics.median(values), min(values), max(values)
    return "-" if middle != middle else f"{middle:{form}} ({least:{form}} to {most:{form}})"


def main(run: str, rounds: int = 7) -> None:
    """Measure and print everything."""
    target = find_target(run)
    with quiet.capture_output(None):
        backend: LocalBackend = in_thread(lambda: LocalBackend.load(target))
    settings = Settings(target.recipe.generation).set("temperature=0")
    print(f"{rounds} rounds of {TOKENS} greedy tokens on {backend.loaded.device}; median (least to most)\n")
    base = backend.base
    assert isinstance(base, LocalBackend)
    print_speed(base, settings.set(f"max_new_tokens={TOKENS}"), rounds)
    print_compare(backend, settings.set(f"max_new_tokens={TOKENS}"))
    print_memory(backend, settings.set("max_new_tokens=24"))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:3]))
