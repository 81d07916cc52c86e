"""How fast dialogues are played in lock-step, whether they are those of one at a time, and what kills cost.

    python benchmarks/attacks.py RUN [--goals 64] [--turns 8] [--max-new-tokens 96] [--alone 64] [--kills 0]

The target is a run; the attacker is scripted and the judge a rule, so that the target's time is what is
measured. A plays all goals in lock-step. B plays the first --alone of them, one dialogue after the other.
The ratio is that of the seconds per dialogue. With --kills the same dialogues are then played by processes
that are killed at random moments. Their outcomes must equal A's, and no answered call may be there twice.
"""

import argparse
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alttrain_cli.backends.base import Can, Request
from alttrain_cli.backends.open import find, open_backend
from alttrain_cli.backends.scripted import Scripted
from alttrain_cli.backends.target import Target
from alttrain_cli.console import print_lines
from alttrain_cli.evaluation.attacks.catalogue import Budget
from alttrain_cli.evaluation.attacks.crew import Crew
from alttrain_cli.evaluation.attacks.one import find_attack
from alttrain_cli.evaluation.attacks.runner import Dialogue, play_all
from alttrain_cli.evaluation.suites.suite import Item, SampleRequest
from alttrain_cli.progress import Progress
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.storage.journal import Journal

SUBJECTS = ("rivers", "stamps", "owls", "bread", "kites", "maps", "clocks", "tea")
ASKS = ("What is new about", "Why do people like", "Who knows most about", "How do I start with")


def message(request: Request[Any], sampling: Sampling) -> str:
    """Return the attacker's next message: any harmless question, by the seed alone."""
    at = request.seed
    return f'{{"message": "{ASKS[at % 4]} {SUBJECTS[at // 4 % 8]}, in {at % 13 + 2} sentences?"}}'


class Played:
    """The dialogues towards some goals, with one journal."""

    def __init__(self, target: Any, arguments: argparse.Namespace, folder: Path) -> None:
        self.suite = find_attack("crescendo-smoke")
        attacker = Scripted(message, name="scripted", can=Can.NOTHING)
        self.crew = Crew(attacker, budget=Budget(arguments.turns, backtracks=0))
        sampling = Sampling(max_new_tokens=arguments.max_new_tokens, do_sample=False)
        self.journal = Journal(folder / "calls.jsonl")
        self.callers = self.crew.callers(self.suite, target, sampling, self.journal)

    def play(self, requests: Sequence[SampleRequest]) -> list[tuple[str, str, list[str]]]:
        """Play in lock-step; return what each came to."""
        found = list(play_all(self.crew.attack(self.suite), requests, self.callers, Progress()))
        return sorted(map(_came_to, found))


def _came_to(one: Dialogue) -> tuple[str, str, list[str]]:
    if one.done is None:
        raise SystemExit(f"a dialogue was stopped: {one.error}")
    return one.request.key, one.done.outcome.value, [attempt.answer for attempt in one.done.attempts]


def requests_of(count: int) -> list[SampleRequest]:
    names = [f"Say something silly about {SUBJECTS[at % 8]} number {at}." for at in range(count)]
    return [SampleRequest(f"{at:04}", Item(f"{at:04}", name), 0) for at, name in enumerate(names)]


def killed(
    target: Any, arguments: argparse.Namespace, folder: Path, seconds: float
) -> list[tuple[str, str, list[str]]]:
    """Play in processes that are killed, then to the end; `seconds` is what an undisturbed one needs."""
    requests, chance = requests_of(arguments.goals), random.Random(1)
    for _ in range(arguments.kills):
        child = os.fork()
        if child == 0:
            try:
                Played(target, arguments, folder).play(requests)
            finally:
                os._exit(0)
        time.sleep(chance.uniform(0, seconds / 10))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return Played(target, arguments, folder).play(requests)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--goals", type=int, default=64)
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--max-new-tokens", type=int, default=96)
    parser.add_argument("--alone", type=int, default=64)
    parser.add_argument("--kills", type=int, default=0)
    arguments = parser.parse_args()
    found = find(arguments.run)
    if not isinstance(found, Target):
        raise SystemExit("A run or a model on this machine is needed.")
    target = open_backend(found)
    requests = requests_of(arguments.goals)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Played(target, arguments, folder / "warm").play(requests_of(1))
        start = time.perf_counter()
        together = Played(target, arguments, folder / "together").play(requests)
        lock_step = time.perf_counter() - start
        start = time.perf_counter()
        one_by_one = Played(target, arguments, folder / "alone")
        alone = [one for request in requests[: arguments.alone] for one in one_by_one.play([request])]
        serial = time.perf_counter() - start
        each, single = lock_step / len(together), serial / len(alone)
        print_lines(
            [
                (
                    "outcomes:",
                    ", ".join(f"{name} {n}" for name, n in Counter(one[1] for one in together).items()),
                ),
                ("answers:", f"{sum(len(one[2]) for one in together)} in lock-step"),
                ("lock-step:", f"{len(together)} dialogues in {lock_step:.1f} s, {each:.2f} s each"),
                ("one at a time:", f"{len(alone)} dialogues in {serial:.1f} s, {single:.2f} s each"),
                ("faster:", f"{single / each:.1f} times"),
                ("same answers:", f"{sum(one in together for one in alone)} of {len(alone)}"),
            ]
        )
        if arguments.kills:
            again = killed(target, arguments, folder / "killed", lock_step)
            keys = [line["key"] for line in Journal(folder / "killed" / "calls.jsonl")]
            print_lines(
                [
                    ("killed:", f"{arguments.kills} times"),
                    ("same outcomes:", f"{sum(one in together for one in again)} of {len(again)}"),
                    ("calls twice:", f"{len(keys) - len(set(keys))} of {len(keys)}"),
                ]
            )
    target.close()


if __name__ == "__main__":
    main()
