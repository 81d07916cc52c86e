"""What chat costs beside bare transformers: first token, speed, memory over 100 turns, --compare.

    python benchmarks/chat.py RUN [--rounds 7] [--tokens 128] [--turns 100]

The three ways take turns on the same loaded model, prompt and greedy tokens, so that what else the
machine does meets all of them alike. "bare" is model.generate() without anything around it, "streamer"
the same with transformers' TextIteratorStreamer in a thread, "chat" is ours, drawing on a terminal
of 100 x 40 included.
"""

import io
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import psutil
from measuring import (
    Figures,
    in_thread,
    in_turn,
    parser_of,
    print_machine,
    print_ratio,
    print_sides,
    read_options,
)  # fmt: skip
from rich.console import Console

from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.local import LocalBackend
from alttrain_cli.backends.target import find_target
from alttrain_cli.chat.completion import stream_completion
from alttrain_cli.chat.settings import Settings
from alttrain_cli.chat.transcript import Transcript, Turn
from alttrain_cli.console import THEME
from alttrain_cli.console.live import CompletionView
from alttrain_cli.library_output import capture_output

PROMPT = Conversation.of("Tell me everything about bees, their hives and their honey.")
FIRST, SPEED = "first token, s", "tokens/s"


def bare(backend: LocalBackend, settings: Settings) -> Figures:
    """Time generate() alone; nobody sees its first token."""
    begun = time.monotonic()
    tokens = in_thread(lambda: _generate(backend, settings))
    return {SPEED: tokens / (time.monotonic() - begun)}


def streamer(backend: LocalBackend, settings: Settings) -> Figures:
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
    return {FIRST: first, SPEED: written[0] / (time.monotonic() - begun)}


def chat(backend: LocalBackend, settings: Settings) -> Figures:
    """Time what `alttrain chat` does between Enter and the last character."""
    screen = Console(file=io.StringIO(), force_terminal=True, width=100, height=40, theme=THEME)
    begun = time.monotonic()
    with CompletionView(screen) as view:
        completion = stream_completion(backend, PROMPT, settings, view.show)
    view.finish([completion], settings.sent_seed)
    stats = completion.stats
    assert stats.time_to_first_token is not None
    return {FIRST: stats.time_to_first_token, SPEED: stats.tokens / (time.monotonic() - begun)}


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
    measured = in_turn(rounds, {name: partial(way, backend, settings) for name, way in ways.items()})
    print_sides(measured, {FIRST: ".3f", SPEED: ".1f"})
    print_ratio(measured, FIRST, "chat", "streamer")
    print_ratio(measured, SPEED, "chat", "bare")


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


def print_memory(backend: LocalBackend, settings: Settings, turns: int) -> None:
    """Print the resident memory while one conversation grows, its context held at 1024 tokens."""
    transcript, seen = Transcript(), []
    for number in range(turns):
        prompt = f"Question {number}: what is {number} plus {number}?"
        transcript.truncate_to_context(prompt, backend.count, 1024)
        completion = stream_completion(backend, transcript.conversation(prompt), settings)
        transcript.turns.append(Turn.of(prompt, completion.trace))
        seen.append(resident_mib())
    print(f"\nresident memory after every tenth turn, MiB: {', '.join(f'{mib:.0f}' for mib in seen[9::10])}")


def resident_mib() -> float:
    """Return the memory of this process."""
    return float(psutil.Process().memory_info().rss) / 2**20


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print everything."""
    parser = parser_of(__doc__)
    parser.add_argument("run")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=128, help="of a generation")
    parser.add_argument("--turns", type=int, default=100, help="of the conversation whose memory is measured")
    options = read_options(parser, given, rounds=1, tokens=4, turns=10)
    target = find_target(options.run)
    with capture_output(None):
        backend: LocalBackend = in_thread(lambda: LocalBackend.load(target))
    settings = Settings(target.recipe.generation).set("temperature=0")
    base = backend.base
    assert isinstance(base, LocalBackend)
    print_speed(base, settings.set(f"max_new_tokens={options.tokens}"), options.rounds)
    print_compare(backend, settings.set(f"max_new_tokens={options.tokens}"))
    print_memory(backend, settings.set(f"max_new_tokens={min(24, options.tokens)}"), options.turns)
    print_machine()
    backend.close()


if __name__ == "__main__":
    main()
