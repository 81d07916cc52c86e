"""The canary: at every checkpoint, does the model refuse what it should, and only that?"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from alttrain_cli import console
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.files import write_jsonl
from alttrain_cli.storage.run import Run
from alttrain_cli.structure.refusal import refuses
from alttrain_cli.structure.row import Row
from alttrain_cli.structure.trace import Trace

DEFAULT_PAIRS = 8
PROBED_PAIRS = 6  # after training, with whole answers
# Enough for the structure and the first words of an answer, which say whether it refuses.
NEW_TOKENS = 192


class Canary(NamedTuple):
    """How many pairs are asked (None: as the device can bear), and when it ends the run."""

    pairs: int | None
    stop_over_refusal: float | None

    def pairs_on(self, device: str) -> int:
        """Return how many pairs to ask; on a CPU none unless wanted, since it would slow the run."""
        if self.pairs is not None:
            return self.pairs
        return DEFAULT_PAIRS if device != "cpu" or self.stop_over_refusal is not None else 0


def watch_answers(
    run: Run, loaded: Any, recipe: Recipe, canary: Canary, screen: console.TrainingView
) -> Callable[[int], str]:
    """Return what to call at every checkpoint: it asks, keeps, shows, and says why to stop, if so."""
    pairs = canary.pairs_on(loaded.device)

    def ask(step: int) -> str:
        if not pairs:
            return ""
        counts = _ask(loaded, recipe, canary_rows(pairs))
        run.add_canary({"step": step, **counts})
        screen.say(f"canary at step {step}: {in_words(counts)}")
        limit = canary.stop_over_refusal
        if limit is None or over_refusal(counts) <= limit:
            return ""
        refused, asked = counts["refused"]["benign"], counts["asked"]["benign"]
        return (
            f"Stopped at step {step}: {refused} of {asked} benign prompts are refused, more than "
            f"--stop-over-refusal {limit:g}. More benign rows that look dangerous help; the checkpoint "
            f"stays: go on with --out {run.path} --resume and a higher limit."
        )

    return ask


def _ask(loaded: Any, recipe: Recipe, rows: Sequence[Row]) -> dict[str, Any]:
    from alttrain_cli.engine.generate import generate

    tokens = min(NEW_TOKENS, recipe.generation.max_new_tokens)
    settings = recipe.generation.model_copy(update={"max_new_tokens": tokens})
    completions = generate(loaded, [row.prompt for row in rows], settings)
    return count_answers(rows, [loaded.template.parse(completion.text) for completion in completions])


def probe(run: Run, loaded: Any, recipe: Recipe) -> dict[str, Any]:
    """Generate on held-out prompts, half harmful; keep the completions beside the run."""
    from alttrain_cli.engine.generate import generate

    rows = canary_rows(PROBED_PAIRS)
    completions = generate(loaded, [row.prompt for row in rows], recipe.generation)
    write_jsonl(
        run.path / "probes.jsonl",
        (
            {"id": row.id, "label": row.label, "prompt": row.prompt, "completion": completion.text}
            for row, completion in zip(rows, completions, strict=True)
        ),
    )
    return count_answers(rows, [loaded.template.parse(completion.text) for completion in completions])


def canary_rows(pairs: int) -> list[Row]:
    """Return held-out prompts, taken evenly: of each pair a harmful one and a benign one like it."""
    heldout = starter_rows("heldout")
    both = list(zip(heldout[::2], heldout[1::2], strict=True))
    return [row for pair in both[:: max(1, len(both) // pairs)][:pairs] for row in pair]


def count_answers(rows: Sequence[Row], traces: Sequence[Trace]) -> dict[str, Any]:
    """Count what the answers are: n, structured, asked and refused by label."""
    asked = Counter(row.label for row in rows)
    refused = Counter(row.label for row, trace in zip(rows, traces, strict=True) if refuses(trace.answer))
    return {
        "n": len(rows),
        "structured": sum(trace.structured for trace in traces),
        "asked": dict(asked),
        "refused": {label: refused[label] for label in asked},
    }


def over_refusal(counts: dict[str, Any]) -> float:
    """Return the share of benign prompts that were refused."""
    return float(counts["refused"]["benign"] / counts["asked"]["benign"])


def in_words(counts: dict[str, Any]) -> str:
    """Return the counts in a line."""
    refused = ", ".join(f"{counts['refused'][label]} of {n} {label}" for label, n in counts["asked"].items())
    return f"{counts['structured']} of {counts['n']} carry the structure; refused: {refused}"
