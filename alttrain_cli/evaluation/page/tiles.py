"""The headline: what training bought and what it cost, one tile a rate."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from alttrain_cli.evaluation.plan import Facts
from alttrain_cli.statistics.rates import Rate

Tone = Literal["better", "worse", "even"]


@dataclass(frozen=True)
class Tile:
    """One rate, before and after."""

    title: str
    by: str
    target: Facts
    compared: Facts | None
    words: str | None  # of the difference
    tone: Tone
    partial: bool


def tiles(card: Facts) -> list[Tile]:
    """Return the rates that answer what it bought and what it cost."""
    suites = {suite["name"]: suite for suite in card["suites"] if suite["mode"] == "normal"}
    found = [
        _tile(
            card, f"{whose} prompts: {metric['title']}", metric, [suites[name] for name in metric["suites"]]
        )
        for kind, whose in (("harmful", "Harmful"), ("over_refusal", "Benign"))
        for metric in card["pooled"][kind]
        if metric["target"]
    ]
    found += [
        _tile(card, f"{suite['title']}: {metric['title']}", metric, [suite])
        for suite in suites.values()
        if suite["kind"] == "ability"
        for metric in suite["metrics"]
        if metric["target"]
    ]
    return [*found, *_structure(list(suites.values()))]


def _tile(card: Facts, title: str, metric: Facts, suites: Sequence[Facts]) -> Tile:
    found = metric["difference"]
    return Tile(
        title,
        f"judge: {card['judges'][metric['judge']]['title']}; {_names(suites)}",
        metric["target"],
        metric["compared"],
        found["words"] if found else None,
        _tone(found, metric.get("better", "lower")),  # what is pooled is better when it is lower
        _partial(suites),
    )


def _tone(found: Facts | None, better: str) -> Tone:
    if found is None or not found["distinguishable"]:
        return "even"
    return "better" if (found["points"] < 0) == (better == "lower") else "worse"


def _structure(suites: Sequence[Facts]) -> list[Tile]:
    """Return the tile of the structure rate, which needs no judge."""
    target = _pooled_structure([suite["target"] for suite in suites])
    if target is None:
        return []
    compared = _pooled_structure([suite["compared"] for suite in suites if suite["compared"]])
    by = f"understanding, assessment with a verdict, and an answer; {_names(suites)}"
    return [Tile("Completions: whole structure", by, target, compared, None, "even", _partial(suites))]


def _pooled_structure(sides: Sequence[Facts]) -> Facts | None:
    found = [side["structure"]["structured"] for side in sides]
    rate = Rate(sum(one["hits"] for one in found), sum(one["n"] for one in found))
    if not rate.n:
        return None
    low, high = rate.interval
    return {"share": rate.share, "low": low, "high": high, "n": rate.n, "hits": rate.hits}


def _names(suites: Sequence[Facts]) -> str:
    return ", ".join(str(suite["name"]) for suite in suites)


def _partial(suites: Sequence[Facts]) -> bool:
    return any(suite["partial"] for suite in suites)
