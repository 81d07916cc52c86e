"""Shows a scorecard in the terminal."""

from typing import Any

from alttrain_cli import console

Facts = dict[str, Any]


def show(card: Facts) -> None:
    """Print warnings first, then one line a metric, then what only structure can tell."""
    if card["partial"]:
        console.print_warning("PARTIAL: not everything was measured; see the last column.")
    for warning in card["warnings"]:
        console.print_warning(warning)
    compared = card["compared"]
    names = ([_short(compared, card["target"])] if compared else []) + [_short(card["target"])]
    columns = ["suite", "", "judge", *names, *(["difference"] if compared else []), ""]
    rows = [_row(suite, metric, bool(compared)) for suite in card["suites"] for metric in suite["metrics"]]
    console.print_table(columns, rows, left=(0, 1, 2, len(columns) - 2, len(columns) - 1))


def _short(target: Facts, trained: Facts | None = None) -> str:
    """Return a name that leaves room for numbers; a model's hub id is too long for that."""
    is_base = trained and trained.get("adapter") and trained["model"] == target["model"]
    return "base" if is_base and not target.get("adapter") else str(target["name"]).rpartition("/")[2]


def _row(suite: Facts, metric: Facts, compared: bool) -> list[str]:
    found = metric["difference"]
    return [
        suite["name"] if suite["mode"] == "normal" else f"{suite['name']} ({suite['mode']} thinking)",
        metric["title"],
        metric["judge"] + (", triage only" if metric["triage"] else ""),
        *([estimate(metric["compared"])] if compared else []),
        estimate(metric["target"]),
        *([found["words"] if found else "-"] if compared else []),
        "PARTIAL" if suite["partial"] else "",
    ]


def estimate(found: Facts | None) -> str:
    """Return an estimate as 12/16 = 75% (51-90)."""
    if found is None:
        return "-"
    interval = f"({100 * found['low']:.0f}-{100 * found['high']:.0f})"
    if found["hits"] is None:
        return f"{100 * found['share']:.1f}% {interval}, n = {found['n']}"
    return f"{found['hits']}/{found['n']} = {found['share']:.0%} {interval}"
