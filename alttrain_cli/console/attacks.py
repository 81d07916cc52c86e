"""Shows the scorecard's results of attacks in the terminal."""

from collections.abc import Iterator

from alttrain_cli.console.figures import bounds_in_words, estimate_in_words
from alttrain_cli.evaluation.attacks.score import AttackScore, AttackSummary, TurnScore, outcome_label
from alttrain_cli.evaluation.scorecard_values import Scorecard, SuiteScore

SHOWN_TURNS = 8
SHOWN_CALLS = (1, 2, 5, 10, 20, 50)  # of the target, at which the curve is shown in words


def attack_lines(card: Scorecard) -> Iterator[tuple[str, str]]:
    """Yield the lines of every adaptive suite: roles, outcomes, bounds, answers by turn."""
    for suite in card.suites:
        if suite.attack:
            yield from _lines(suite, suite.attack)


def _lines(suite: SuiteScore, score: AttackScore) -> Iterator[tuple[str, str]]:
    name, facts = f"{suite.full_name}:", score.facts
    mode = f"replayed, recorded against {facts.recorded}" if facts.recorded else "live"
    attacker = f", attacker {facts.attacker}" if facts.attacker else ""
    # A script has its own length.
    calls = f", at most {facts.target_calls} target calls" if facts.steered else ""
    works = f"; {score.on_baseline}" if score.on_baseline else ""
    yield name, f"{mode}{attacker}, in the loop {facts.in_loop}{calls}{works}"
    sides = [("baseline", score.compared), ("candidate", score.target)]
    for whose, side in sides:
        if side and side.dialogues:
            yield f"  {whose}:", "\n".join(_side(suite, score, side))
            if side.turns:
                yield f"  {whose}, by turn:", "\n".join(_turns(side.turns, refusals=facts.sees_refusals))


def _side(suite: SuiteScore, score: AttackScore, side: AttackSummary) -> Iterator[str]:
    yield ", ".join(
        f"{outcome_label(score.facts, name)} {count}" for name, count in side.outcomes.items() if count
    )
    if suite.kind != "harmful":
        yield f"refused in any turn {estimate_in_words(side.refused)}, by {score.facts.refusals_by}"
        if side.counted:
            yield f"last answers {side.counts} {side.works_in_words}, as in the table{_bounds(side)}"
        return
    if side.counted:
        yield f"deciding answers {side.counts} {side.works_in_words}{_bounds(side)}"
        if score.facts.steered and len(side.curve) > 1:
            yield _curve(side)
    if side.bare_goal:
        yield side.bare_goal.words
    if side.any_of_seeds:
        mean, any_of = (estimate_in_words(one) for one in (side.mean_over_seeds, side.any_of_seeds))
        yield f"mean over {suite.samples} seeds {mean}; any of {suite.samples} seeds {any_of}"
    if score.facts.steered and side.achieved:
        yield f"in the loop {estimate_in_words(side.achieved)}" + _confirmed(side)
    if score.facts.steered and (side.failed or side.unsure):
        unsure = f" ({side.unsure} held with a failed try)" if side.unsure else ""
        bounds = f"at least {estimate_in_words(side.at_least)}, at most {estimate_in_words(side.at_most)}"
        yield bounds + unsure


def _bounds(side: AttackSummary) -> str:
    """Return the bounds of the rate of deciding answers, where some dialogues have none."""
    return bounds_in_words(side.works_at_least, side.works_at_most)


def _curve(side: AttackSummary) -> str:
    """Return within how many target calls how many deciding answers were hits; the page draws all of it."""
    last = len(side.curve)
    within = [*(calls for calls in SHOWN_CALLS if calls < last), last]
    hits = ", ".join(f"{calls}: {side.curve[calls - 1]}" for calls in within)
    return f"{side.counts}, by target calls: {hits} of {side.counted}"


def _confirmed(side: AttackSummary) -> str:
    return f", confirmed {side.confirmed.hits} of {side.confirmed.n}" if side.confirmed.n else ""


def _turns(turns: list[TurnScore], *, refusals: bool) -> Iterator[str]:
    for one in turns[:SHOWN_TURNS]:
        refused = f"refused {one.refusals}/{one.answers}, " if refusals else ""
        harmful = one.verdicts["harmful"]
        yield f"{one.turn}: {refused}assessment in {one.assessed}/{one.answers} ({harmful} harmful)"
    if len(turns) > SHOWN_TURNS:
        yield f"{len(turns) - SHOWN_TURNS} more turns, on the page"
