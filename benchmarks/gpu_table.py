"""The tables of benchmarks/gpu.py, from its results."""

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from alttrain_cli.console import duration, print_lines, print_table

ALTTRAIN_1K = 1_000 * 167 * 15  # tokens: rows, mean length, epochs (arXiv 2604.18946)
Result = dict[str, Any]


def show(results: list[Result]) -> None:
    """Print what was measured, what failed and what was skipped."""
    facts: Result = {}
    for result in of(results, "environment"):
        facts.update(result)
    print()
    print_lines([(f"{key}:", str(facts[key])) for key in FACTS if key in facts])
    checks(of(results, "check"))
    training(of(results, "train"))
    generation(of(results, "generate"))
    costs(of(results, "fixed-cost"))
    table(
        ("part", "ended", "why"),
        [(r["title"], r["ended"], r.get("why", "")) for r in results if r.get("ended", "done") != "done"],
    )
    if any("tiny" in result for result in results):
        print("\n--tiny: these models are too small; no figure here says anything about speed or memory.")


FACTS = (
    "card", "driver", "cuda", "python", "free_gib", "matmul_tflops", "four_bit_error", "import_seconds",
    "versions", "missing",
)  # fmt: skip


def of(results: Iterable[Result], part: str) -> list[Result]:
    """Return the facts of one part, without how it ended."""
    return [result for result in results if result["part"] == part and "ended" not in result]


def table(columns: tuple[str, ...], lines: Sequence[tuple[str, ...]]) -> None:
    """Print a table if it has lines."""
    if lines:
        print()
        print_table(columns, lines, left=tuple(range(len(columns))))


def checks(results: list[Result]) -> None:
    """Print what is right and what is not; an error as a whole."""
    lines = []
    for result in results:
        named = ("worst", "identical", "loss", "norm", "moved")
        detail = "  ".join(f"{key} {brief(result[key])}" for key in named if key in result)
        lines.append((result["family"], result["check"], "ok" if result["ok"] else "WRONG", detail))
    table(("model", "check", "", "detail"), lines)
    for result in results:
        if "error" in result:
            print(result["error"])


def brief(value: Any) -> str:
    """Return numbers with few digits."""
    numbers = value if isinstance(value, list) else [value]
    return " ".join(f"{number:.4g}" for number in numbers)


def training(results: list[Result]) -> None:
    """Print both sides of each model, and how many times as fast ours is."""
    sides: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        sides.setdefault((result["model"], result["side"]), []).append(result)
    lines = []
    for (model, side), runs in sides.items():
        planned, allocated = runs[0].get("planned_gib"), runs[0]["allocated_gib"]
        speed = statistics.median(run["speed"] for run in runs)
        lines.append(
            (
                model, side, " ".join(f"{run['seconds']:.1f}" for run in runs), f"{speed:,.0f}",
                " ".join(f"{run['slowest_update'] / run['median_update']:.1f}" for run in runs),
                f"{allocated:.2f}" if allocated else "-", f"{runs[0]['peak_gib']:.2f}",
                f"{planned:.2f}" if planned else "-",
                f"{runs[0]['first_loss']:.3f} {runs[0]['loss']:.3f}", runs[0]["batching"],
                duration(ALTTRAIN_1K / speed),
            )
        )  # fmt: skip
    table(
        ("training", "", "seconds", "tokens/s", "slowest/median update", "allocated GiB", "peak GiB",
         "planned", "first loss, loss after", "batches", "AltTrain-1K"), lines,
    )  # fmt: skip
    for model in dict.fromkeys(model for model, _ in sides):
        a, b = ([run["speed"] for run in sides.get((model, side), [])] for side in ("ours", "baseline"))
        if a and b:
            factor = statistics.median(a) / statistics.median(b)
            print(f"{model}: ours is {factor:.2f} times as fast as the baseline (n = {len(a)} and {len(b)})")


def generation(results: list[Result]) -> None:
    """Print the speed and memory of each way to generate."""
    lines = [
        (
            result["model"], result["what"], f"{result['completions']}", f"{result['seconds']:.1f}",
            f"{result['speed']:,.0f}", "-".join(f"{length:.0f}" for length in result["lengths"]),
            f"{result['rows_at_once']}", str(result.get("sent_back", "-")),
            f"{result.get('allocated_gib', '-')}", f"{result.get('cache_formula_gib', '-')}",
        )
        for result in results
        if "what" in result
    ]  # fmt: skip
    table(
        ("generation", "", "completions", "seconds", "tokens/s", "lengths", "rows at once", "sent back",
         "allocated GiB", "cache by formula"), lines,
    )  # fmt: skip


def costs(results: list[Result]) -> None:
    """Print what a micro-batch costs beside its tokens."""
    lines = [
        (
            result["model"], str(result["row_tokens"]), f"{result['micro_batch_ms']:.1f}",
            f"{result['token_us']:.1f}", f"{result['fixed_cost_tokens']:.0f}", str(result["assumed_tokens"]),
        )
        for result in results
    ]  # fmt: skip
    table(("micro-batch", "tokens a row", "ms", "us a token", "tokens", "assumed"), lines)
