"""How fast dialogues are played in lock-step, whether they are those of one at a time, and what kills cost.

    python benchmarks/attacks.py RUN [--goals 64] [--turns 8] [--max-new-tokens 96] [--alone 64] [--rounds 1]
                                     [--kills 0]

The target is a run; the attacker is scripted and the judge a rule, so that the target's time is what is
measured. In turn: all goals in lock-step, and the first --alone of them one dialogue after the other.
The ratio is that of the dialogues per second. With --kills the same dialogues are then played by processes
that are killed at random moments. Their outcomes must equal those of lock-step, and no answered call may be
there twice.
"""

import argparse
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from measuring import Figures, in_turn, parser_of, print_machine, print_ratio, print_sides, read_options

from alttrain_cli.backends.base import Ability, Request
from alttrain_cli.backends.open import find, open_backend
from alttrain_cli.backends.scripted import ScriptedBackend
from alttrain_cli.backends.target import Target
from alttrain_cli.console import print_lines
from alttrain_cli.evaluation.attacks.catalogue import Budget
from alttrain_cli.evaluation.attacks.one import find_attack
from alttrain_cli.evaluation.attacks.runner import Dialogue, play_all
from alttrain_cli.evaluation.attacks.setup import AttackSetup
from alttrain_cli.evaluation.suites.suite import Item, SampleRequest
from alttrain_cli.progress import Progress
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.storage.journal import Journal

CameTo = tuple[str, str, list[str]]  # key, outcome and answers of a dialogue
LOCK_STEP, ALONE = "lock-step", "one at a time"
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
        attacker = ScriptedBackend(message, name="scripted", abilities=Ability.NOTHING)
        self.setup = AttackSetup(attacker, budget=Budget(arguments.turns, backtracks=0))
        sampling = Sampling(max_new_tokens=arguments.max_new_tokens, do_sample=False)
        self.journal = Journal(folder / "calls.jsonl")
        self.callers = self.setup.callers(self.suite, target, sampling, self.journal)

    def play(self, requests: Sequence[SampleRequest]) -> list[CameTo]:
        """Play in lock-step; return what each came to."""
        found = list(play_all(self.setup.attack(self.suite), requests, self.callers, Progress()))
        return sorted(map(_came_to, found))


def _came_to(one: Dialogue) -> CameTo:
    if one.done is None:
        raise SystemExit(f"a dialogue was stopped: {one.error}")
    return one.request.key, one.done.outcome.value, [attempt.answer for attempt in one.done.attempts]


def requests_of(number: int) -> list[SampleRequest]:
    names = [f"Say something silly about {SUBJECTS[at % 8]} number {at}." for at in range(number)]
    return [SampleRequest(f"{at:04}", Item(f"{at:04}", name), 0) for at, name in enumerate(names)]


def killed(target: Any, arguments: argparse.Namespace, folder: Path, seconds: float) -> list[CameTo]:
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


def compare(target: Any, options: argparse.Namespace, folder: Path) -> tuple[list[CameTo], float]:
    """Print how fast dialogues are in lock-step and alone. Return those in lock-step, and their seconds."""
    requests, numbers = requests_of(options.goals), count()
    Played(target, options, folder / "warm").play(requests[:1])
    found: dict[str, list[CameTo]] = {}

    def timed(name: str, parts: list[list[SampleRequest]]) -> Figures:
        playing = Played(target, options, folder / f"{name} {next(numbers)}")
        begun = time.perf_counter()
        found[name] = [one for part in parts for one in playing.play(part)]
        seconds, many = time.perf_counter() - begun, len(found[name])
        return {"s": seconds, "s per dialogue": seconds / many, "dialogues/s": many / seconds}

    alone = [[request] for request in requests[: options.alone]]
    sides = {LOCK_STEP: partial(timed, LOCK_STEP, [requests]), ALONE: partial(timed, ALONE, alone)}
    measured = in_turn(options.rounds, sides)
    print_sides(measured, {"s": ".1f", "s per dialogue": ".2f"})
    print_ratio(measured, "dialogues/s", LOCK_STEP, ALONE)
    together, single = found[LOCK_STEP], found[ALONE]
    outcomes = Counter(one[1] for one in together)
    print_lines(
        [
            ("dialogues:", f"{len(together)} in lock-step, {len(single)} one at a time"),
            ("outcomes:", ", ".join(f"{name} {n}" for name, n in outcomes.items())),
            ("answers:", f"{sum(len(one[2]) for one in together)} in lock-step"),
            ("same answers:", f"{sum(one in together for one in single)} of {len(single)}"),
        ]
    )
    return together, measured[LOCK_STEP][-1]["s"]


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("run")
    parser.add_argument("--goals", type=int, default=64)
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--max-new-tokens", type=int, default=96)
    parser.add_argument("--alone", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--kills", type=int, default=0)
    options = read_options(parser, given, goals=2, turns=1, max_new_tokens=4, alone=1)
    found = find(options.run)
    if not isinstance(found, Target):
        raise SystemExit("A run or a model on this machine is needed.")
    target = open_backend(found)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        together, seconds = compare(target, options, folder)
        if options.kills:
            again = killed(target, options, folder / "killed", seconds)
            keys = [line["key"] for line in Journal(folder / "killed" / "calls.jsonl")]
            print_lines(
                [
                    ("killed:", f"{options.kills} times"),
                    ("same outcomes:", f"{sum(one in together for one in again)} of {len(again)}"),
                    ("calls twice:", f"{len(keys) - len(set(keys))} of {len(keys)}"),
                ]
            )
    print_machine()
    target.close()


if __name__ == "__main__":
    main()
