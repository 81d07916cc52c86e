"""The pictures of an attack: outcomes as one stacked bar, hits by the number of target calls as a line."""

from dataclasses import dataclass

from alttrain_cli.evaluation.attacks.attack_record import AttackRecord
from alttrain_cli.evaluation.attacks.score import AttackScore, AttackSummary, outcome_label
from alttrain_cli.evaluation.scorecard_values import Scorecard, SuiteScore


@dataclass(frozen=True)
class Segment:
    """One outcome in the bar; places in percent of its width."""

    label: str
    css: str
    count: int
    left: float
    width: float


@dataclass(frozen=True)
class AttackedModel:
    """One model under one attack. `points` are those of the curve: percent from the left, from the top."""

    name: str
    css: str
    summary: AttackSummary
    bar: list[Segment]
    points: list[tuple[float, float]]


@dataclass(frozen=True)
class AttackBars:
    """One attack, on the baseline if there is one and on the candidate. `calls` is where the curve ends."""

    suite: SuiteScore
    sides: list[AttackedModel]
    calls: int


def attacked_models(card: Scorecard) -> list[AttackBars]:
    """Return every adaptive suite that has dialogues, as it is drawn."""
    found = [_attacked(suite, suite.attack, bool(card.compared)) for suite in card.suites if suite.attack]
    return [one for one in found if one.sides]


def _attacked(suite: SuiteScore, score: AttackScore, compared: bool) -> AttackBars:
    name = "candidate" if compared else "model"
    found = [("baseline", "compared", score.compared), (name, "target", score.target)]
    played = [(name, css, one) for name, css, one in found if one and one.dialogues]
    calls = max((len(one.curve) for _, _, one in played), default=0) if score.facts.steered else 0
    sides = [
        AttackedModel(name, css, one, _bar(one, score.facts), _points(one, calls))
        for name, css, one in played
    ]
    return AttackBars(suite, sides, calls)


def _bar(side: AttackSummary, facts: AttackRecord) -> list[Segment]:
    left, found = 0.0, []
    for name, count in side.outcomes.items():
        width = 100 * count / side.dialogues
        if count:
            found.append(Segment(outcome_label(facts, name), name, count, round(left, 2), round(width, 2)))
        left += width
    return found


def _points(side: AttackSummary, calls: int) -> list[tuple[float, float]]:
    """Return the steps of the curve; it stays at its last value up to the last call of all."""
    if not side.counted or not calls:
        return []
    values = [0, *side.curve, *[side.curve[-1]] * (calls - len(side.curve))]
    return [
        (round(100 * at / calls, 2), round(100 - 100 * hits / side.counted, 2))
        for at, hits in enumerate(values)
    ]
