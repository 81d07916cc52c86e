"""What the score of the verdict costs, and how often the calibrated promise holds.

    python benchmarks/dial.py RUN --prompts 64 --pairs 3
    python benchmarks/dial.py RUN --promise 200

The cost is paired, in seconds of the processor: the same prompts are completed with and without the
score, in turn, and every completion must be the same. Two runs differ by more than the score costs, so
the time in its own code is measured too, as a share of the run. The promise is measured on the scores that
`alttrain calibrate` has stored, in two ways. In the first, each resampling draws as many rows with
replacement as a calibration chooses with, and looks at the rate among all rows, which are the
population. In the second, each divides the rows anew, and looks at the rate among the third that did
not choose: that rate has the noise of few rows too.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from measuring import parser_of, print_machine, read_options, spread

from alttrain_cli.backends.base import Completion, Request
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.target import Target, find_target
from alttrain_cli.data.starter import FULL, starter_rows
from alttrain_cli.evaluation.calibration.calibrate import scores_of
from alttrain_cli.evaluation.calibration.job import what_scores
from alttrain_cli.evaluation.calibration.labelled import CalibrationSet, ScoredPrompt, values_of
from alttrain_cli.evaluation.calibration.promise import Promise, choosing_rows
from alttrain_cli.library_output import capture_output
from alttrain_cli.progress import Progress
from alttrain_cli.statistics.rates import Rate
from alttrain_cli.storage.run import Run


@contextmanager
def own_seconds() -> Iterator[Callable[[], float]]:
    """Yield a function that returns the seconds so far in the score's own code, in generation alone."""
    from alttrain_cli.engine.batch import _Watching
    from alttrain_cli.engine.draws import Decoding

    seconds, inside = 0.0, False
    watch, decode = _Watching.__call__, Decoding.__call__

    def watching(*arguments: Any) -> Any:
        nonlocal seconds, inside
        start, inside = time.process_time(), True
        found = watch(*arguments)
        seconds, inside = seconds + time.process_time() - start, False
        return found

    def decoding(*arguments: Any) -> Any:
        nonlocal seconds
        start = time.process_time()
        found = decode(*arguments)
        seconds -= (time.process_time() - start) * inside  # the choice of a token is made without a score too
        return found

    with patch.object(_Watching, "__call__", watching), patch.object(Decoding, "__call__", decoding):
        yield lambda: seconds


def cost(target: Target, prompts: int, pairs: int, max_new_tokens: int | None) -> None:
    """Print the seconds with and without the score, pair by pair."""
    with capture_output(None):
        from alttrain_cli.backends.local import LocalBackend

        backend = LocalBackend.load(target)
    rows = starter_rows("heldout")[:prompts]
    requests = [Request(row.id, Conversation.of(row.prompt)) for row in rows]

    settings = target.recipe.generation
    if max_new_tokens:
        settings = settings.model_copy(update={"max_new_tokens": max_new_tokens})

    def timed(*, scored: bool) -> tuple[float, dict[str, str], int]:
        backend.__dict__["unscored"] = "" if scored else "switched off by the benchmark"
        start = time.process_time()
        found = dict(backend.complete(requests, settings))
        seconds = time.process_time() - start
        texts = {key: one.text for key, one in found.items() if isinstance(one, Completion)}
        return seconds, texts, sum(isinstance(one, Completion) and bool(one.score) for one in found.values())

    timed(scored=True)  # the first call warms up
    with own_seconds() as seconds:
        whole = timed(scored=True)[0]
        print(f"the score's own code took {seconds():.3f} s of {whole:.2f} s: {seconds() / whole:.2%}")
    ratios = []
    for number in range(pairs):
        first = bool(number % 2)
        one, other = timed(scored=first), timed(scored=not first)
        on, off = (one, other) if first else (other, one)
        assert on[1] == off[1], "the score has changed a completion"
        ratios.append(on[0] / off[0] - 1)
        print(f"with {on[0]:.2f} s, without {off[0]:.2f} s: {ratios[-1]:+.2%}; {on[2]} of {len(rows)} scored")
    print(f"{spread(ratios, '+.2%')}, n = {pairs} pairs; all completions are the same")


def stored_scores(run: Run, prompts: CalibrationSet) -> list[ScoredPrompt]:
    """Return the scores of prompts that `alttrain calibrate` has stored in a run."""

    def missing(conversations: object) -> object:
        raise SystemExit(f"Some rows are not scored yet. First: alttrain calibrate {run.path}")

    model = what_scores(find_target(str(run.path)), run.weights_hash())
    scores = scores_of(run, model, prompts.rows, missing, Progress())  # type: ignore[arg-type]
    return [ScoredPrompt(row.label, score) for row, score in zip(prompts.rows, scores, strict=True)]


def promise(run: Run, resamplings: int) -> None:
    """Print how often each promise held on rows that did not choose."""
    found = CalibrationSet.of("the held-out part of starter-full", starter_rows("heldout", FULL))
    rows = stored_scores(run, found)
    for wanted in (Promise("over-refusal", 0.1), Promise("over-refusal", 0.2), Promise("refusal", 0.5)):
        kept, kept_apart, drawn = 0, 0, random.Random(0)
        values = values_of(rows, wanted.label)
        cut = choosing_rows(len(values))
        for _ in range(resamplings):
            kept += _keeps(wanted, drawn.choices(values, k=cut), values)
            drawn.shuffle(values)
            kept_apart += _keeps(wanted, values[:cut], values[cut:])
        print(
            f"{wanted.in_words()}: held among all {len(values)} rows in {Rate(kept, resamplings)}, "
            f"among the {len(values) - cut} others in {Rate(kept_apart, resamplings)} resamplings"
        )


def _keeps(wanted: Promise, choosing_values: list[float], others: list[float]) -> bool:
    threshold = wanted.threshold(choosing_values)
    share = sum(one > threshold for one in others) / len(others)
    return share >= wanted.value if wanted.kind == "refusal" else share <= wanted.value


def main(given: Sequence[str] | None = None) -> None:
    """Measure what the command line asks for."""
    parser = parser_of(__doc__)
    parser.add_argument("run")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--promise", type=int, default=0, metavar="RESAMPLINGS")
    parser.add_argument("--max-new-tokens", type=int, help="default: the recipe's")
    options = read_options(parser, given, prompts=2, pairs=1, max_new_tokens=4)
    target = find_target(options.run)
    if options.promise:
        promise(Run(Path(options.run)), options.promise)
    else:
        cost(target, options.prompts, options.pairs, options.max_new_tokens)
    print_machine()


if __name__ == "__main__":
    main()
