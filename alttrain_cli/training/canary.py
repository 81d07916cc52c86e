"""The canary: at every checkpoint, does the model refuse the harmful prompts, and only those?"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from alttrain_cli.backends.base import Backend, BackendError, Completion, Request
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.storage.files import write_jsonl
from alttrain_cli.storage.run import Run
from alttrain_cli.storage.run_records import CanaryRecord, RefusalRecord
from alttrain_cli.structure.refusal import is_refusal
from alttrain_cli.structure.row import Row
from alttrain_cli.structure.trace import Trace

DEFAULT_PAIRS = 8
PROBED_PAIRS = 6  # after training, with complete answers
# Enough for the structure and the first words of an answer, which decide whether it refuses.
NEW_TOKENS = 192


@dataclass(frozen=True)
class Canary:
    """The held-out rows, how many pairs of them are tested, and the limit that ends a run.

    Attributes:
        rows: pairs of a harmful and a similar benign row; none of them is trained on.
        pairs: per checkpoint; None chooses by the device.
        stop_over_refusal: the highest rate of benign refusals, 0 to 1; None sets no limit.
    """

    rows: Sequence[Row]
    pairs: int | None = None
    stop_over_refusal: float | None = None

    def pairs_on(self, device: str) -> int:
        """Return the number of pairs; by default none on a CPU, where they would slow the run."""
        if self.pairs is not None:
            return self.pairs
        return DEFAULT_PAIRS if device != "cpu" or self.stop_over_refusal is not None else 0

    def chosen(self, pairs: int) -> list[Row]:
        """Return the rows of some pairs, evenly spaced."""
        both = list(zip(self.rows[::2], self.rows[1::2], strict=True))
        return [row for pair in both[:: max(1, len(both) // pairs)][:pairs] for row in pair]

    def test(self, backend: Backend, pairs: int, sampling: Sampling) -> RefusalRecord:
        """Generate the openings of completions and count the refusals."""
        rows = self.chosen(pairs)
        completions = _complete(backend, rows, _at_most(NEW_TOKENS, sampling))
        return count_refusals(rows, [one.trace for one in completions])

    def probe(self, backend: Backend, sampling: Sampling, run: Run, longest: int | None) -> RefusalRecord:
        """Generate complete answers, save them in probes.jsonl and count the refusals.

        `longest` is the longest completion of training, in tokens. A small model that writes more than that
        mostly repeats itself up to its limit. Whether it refuses is decided long before.
        """
        rows = self.chosen(PROBED_PAIRS)
        completions = _complete(backend, rows, _at_most(longest or sampling.max_new_tokens, sampling))
        write_jsonl(
            run.path / "probes.jsonl",
            (
                {"id": row.id, "label": row.label, "prompt": row.prompt, "completion": completion.text}
                for row, completion in zip(rows, completions, strict=True)
            ),
        )
        return count_refusals(rows, [one.trace for one in completions])

    def reason_to_stop(self, counts: CanaryRecord, run: Run) -> str:
        """Return why the run must end at this checkpoint, or ""."""
        limit = self.stop_over_refusal
        if limit is None or counts.over_refusal <= limit:
            return ""
        resume, higher = run.resume_command(), min(1.0, round(limit + 0.2, 2))
        more = f" To continue with a higher limit: {resume} --stop-over-refusal {higher:g}" if resume else ""
        return (
            f"Stopped at step {counts.step}: the model refuses {counts.refused['benign']} of "
            f"{counts.asked['benign']} benign prompts (limit: --stop-over-refusal {limit:g}). Add benign "
            f"rows that look dangerous and start a new run.{more}"
        )


def count_refusals(rows: Sequence[Row], traces: Sequence[Trace]) -> RefusalRecord:
    """Count the completions that have all sections, and by label those that refuse."""
    asked = Counter(row.label for row in rows)
    refused = Counter(row.label for row, trace in zip(rows, traces, strict=True) if is_refusal(trace.answer))
    return RefusalRecord(
        n=len(rows),
        structured=sum(trace.structured for trace in traces),
        asked=dict(asked),
        refused={label: refused[label] for label in asked},
    )


def _at_most(tokens: int, sampling: Sampling) -> Sampling:
    return sampling.limited(min(tokens, sampling.max_new_tokens))


def _complete(backend: Backend, rows: Sequence[Row], sampling: Sampling) -> list[Completion]:
    requests = (Request(number, Conversation.of(row.prompt)) for number, row in enumerate(rows))
    found: dict[int, Completion] = {}
    for number, completion in backend.complete(requests, sampling):
        if isinstance(completion, BackendError):
            raise completion
        found[number] = completion
    return [found[number] for number in range(len(rows))]
