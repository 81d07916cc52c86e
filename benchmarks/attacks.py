"""How fast dialogues are played in lock-step, and whether they are those of one at a time.

    python benchmarks/attacks.py RUN [--goals 64] [--turns 8] [--max-new-tokens 96] [--alone 4] [--rounds 1]

The target is a run; the attacker is scripted and the judge a rule, so that the target's time is what is
measured. In turn: all goals in lock-step, and --alone of them, evenly spaced, one dialogue after the other.
Outcomes and answers of these are compared. One dialogue alone takes as long as half a dozen in lock-step, so
few are played, and a rate is per dialogue or per call of the target. A dialogue that ends early has fewer
calls, so with a small sample the rate per call is fairer; on a busy machine that per second of its processor.
"""

import argparse
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
from tests.scripted import ScriptedBackend

CameTo = tuple[str, str, list[str]]  # key, outcome and all that the target wrote in a dialogue
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
    return one.request.key, one.done.outcome.value, [completion.text for completion in one.completions]


def requests_of(number: int) -> list[SampleRequest]:
    names = [f"Say something silly about {SUBJECTS[at % 8]} number {at}." for at in range(number)]
    return [SampleRequest(f"{at:04}", Item(f"{at:04}", name), 0) for at, name in enumerate(names)]


def compare(target: Any, options: argparse.Namespace, folder: Path) -> None:
    """Print how fast dialogues are in lock-step and alone."""
    requests, numbers = requests_of(options.goals), count()
    Played(target, options, folder / "warm").play(requests[:1])
    found: dict[str, list[CameTo]] = {}

    def timed(name: str, parts: list[list[SampleRequest]]) -> Figures:
        playing = Played(target, options, folder / f"{name} {next(numbers)}")
        begun, busy = time.perf_counter(), time.process_time()
        found[name] = [one for part in parts for one in playing.play(part)]
        seconds, used = time.perf_counter() - begun, time.process_time() - busy
        calls, many = sum(len(one[2]) for one in found[name]), len(found[name])
        rates = {"dialogues/s": many / seconds, "calls/s": calls / seconds, "calls/CPU s": calls / used}
        return {"s": seconds, "CPU s": used, "calls": calls, **rates}

    alone = [[request] for request in requests[:: max(1, len(requests) // options.alone)]][: options.alone]
    sides = {LOCK_STEP: partial(timed, LOCK_STEP, [requests]), ALONE: partial(timed, ALONE, alone)}
    measured = in_turn(options.rounds, sides)
    rates = ("dialogues/s", "calls/s", "calls/CPU s")
    print_sides(measured, {"s": ".1f", "CPU s": ".1f", "calls": ".0f", **dict.fromkeys(rates, ".3f")})
    for figure in rates:
        print_ratio(measured, figure, LOCK_STEP, ALONE)
    together, single = found[LOCK_STEP], found[ALONE]
    outcomes = Counter(one[1] for one in together)
    print_lines(
        [
            ("dialogues:", f"{len(together)} in lock-step, {len(single)} one at a time"),
            ("outcomes:", ", ".join(f"{name} {n}" for name, n in outcomes.items())),
            ("same outcome and answers:", f"{sum(one in together for one in single)} of {len(single)}"),
        ]
    )


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("run")
    parser.add_argument("--goals", type=int, default=64)
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--max-new-tokens", type=int, default=96)
    parser.add_argument("--alone", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=1)
    options = read_options(parser, given, goals=2, turns=1, max_new_tokens=4, alone=1)
    found = find(options.run)
    if not isinstance(found, Target):
        raise SystemExit("A run or a model on this machine is needed.")
    target = open_backend(found)
    with tempfile.TemporaryDirectory() as name:
        compare(target, options, Path(name))
    print_machine()
    target.close()


if __name__ == "__main__":
    main()
