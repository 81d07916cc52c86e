"""What the page says first: the bad news, then before and after in words."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from alttrain_cli.evaluation.plan import Facts
from alttrain_cli.rates import Rate

Tone = Literal["better", "worse", "even"]


@dataclass(frozen=True)
class Tile:
    """One number that counts, before and after."""

    question: str
    by: str
    target: Facts
    compared: Facts | None
    words: str | None  # of the difference
    tone: Tone


@dataclass(frozen=True)
class Notice:
    """Something that a reader must know before any number."""

    title: str
    lines: list[str]
    serious: bool


def suite_name(suite: dict[str, Any]) -> str:
    """Return a suite's title, with its thinking ablation if it is one."""
    return (
        str(suite["title"]) if suite["mode"] == "normal" else f"{suite['title']} ({suite['mode']} thinking)"
    )


def notices(card: Facts) -> list[Notice]:
    """Return what is wrong with this scorecard, the worst first."""
    missing = [f"{suite['name']}: {text}" for suite in card["suites"] for text in suite["partial"]]
    unchecked = _by_reason(
        (f"not checked against the training rows: {suite['contamination']['reason']}", suite["name"])
        for suite in card["suites"]
        if not suite["contamination"]["checked"] and card["target"].get("adapter")
    )
    unpinned = _by_reason(
        ("the data's revision is not pinned", suite["name"])
        for suite in card["suites"]
        if not suite["pinned"]
    )
    triage = [
        f"{facts['title']}: good for a first look, not for a claim"
        for name, facts in card["judges"].items()
        if facts["triage"]
    ]
    found = [
        Notice("PARTIAL: not everything was measured", missing, True),
        Notice("Warnings", card["warnings"], True),
        Notice("Not checked", unchecked + unpinned, False),
        Notice("Judged by rules", triage, False),
    ]
    return [notice for notice in found if notice.lines]


def _by_reason(found: Iterable[tuple[str, str]]) -> list[str]:
    """Say each reason once, behind the names of all suites that it holds for."""
    names: dict[str, list[str]] = {}
    for reason, name in found:
        names.setdefault(reason, []).append(name)
    return [f"{', '.join(suites)}: {reason}" for reason, suites in names.items()]


def tiles(card: Facts) -> list[Tile]:
    """Return the rates that answer what it bought and what it cost."""
    found = [
        _tile(question, metric["title"], metric, by=_by(card, metric, metric["suites"]), better="lower")
        for kind, question in (("harmful", "Harmful prompts"), ("over_refusal", "Benign prompts"))
        for metric in card["pooled"][kind]
        if metric["target"]
    ]
    found += [
        _tile(suite["title"], metric["title"], metric, by=_by(card, metric, []), better=metric["better"])
        for suite in card["suites"]
        if suite["kind"] == "ability" and suite["mode"] == "normal"
        for metric in suite["metrics"]
        if metric["target"]
    ]
    return found + [tile for tile in [_structure(card)] if tile]


def _tile(what: str, title: str, metric: Facts, *, by: str, better: str) -> Tile:
    found = metric["difference"]
    words = found["words"] if found else None
    return Tile(f"{what}: {title}", by, metric["target"], metric["compared"], words, _tone(found, better))


def _tone(found: Facts | None, better: str) -> Tone:
    if found is None or not found["distinguishable"]:
        return "even"
    return "better" if (found["points"] < 0) == (better == "lower") else "worse"


def _by(card: Facts, metric: Facts, suites: list[str]) -> str:
    judge = card["judges"][metric["judge"]]["title"]
    return f"judge: {judge}" + (f"; {', '.join(suites)}" if suites else "")


def _structure(card: Facts) -> Tile | None:
    suites = [suite for suite in card["suites"] if suite["mode"] == "normal"]
    target = _pooled_structure([suite["target"] for suite in suites])
    if target is None:
        return None
    others = [suite["compared"] for suite in suites if suite["compared"]]
    by = "understanding, assessment with a verdict, and an answer; all suites"
    return Tile("Completions: whole structure", by, target, _pooled_structure(others), None, "even")


def _pooled_structure(sides: list[Facts]) -> Facts | None:
    found = [side["structure"]["structured"] for side in sides]
    rate = Rate(sum(one["hits"] for one in found), sum(one["n"] for one in found))
    if not rate.n:
        return None
    low, high = rate.interval
    return {"share": rate.share, "low": low, "high": high, "n": rate.n, "hits": rate.hits}
