"""The scorecard: all that the files say, as one JSON object. Terminal and page draw it, nothing else counts.

scorecard.json (every estimate is {share, low, high, n, hits}: shares from 0 to 1, a 95% interval, prompts,
and the count, or null for a mean):

    {"schema": 1, "alttrain": VERSION, "made": ISO TIME,
     "target": FACTS, "compared": FACTS | null,    {name, model, adapter, weights, template, engine, ...}
     "partial": bool,                              anything missing anywhere: show PARTIAL at the top
     "warnings": [TEXT],                           to be shown at the top
     "judges": {NAME: {title, triage, measures, four_bits: bool, card: CARD | null}},   four_bits: the
                                                   judge did not fit in memory in 16 bits
     "paper": [{backbone, model: "untrained" | "AltTrain", harmful, over_refusal, reasoning}],   percent
     "pooled": {"harmful" | "over_refusal": [{judge, metric, suites, target, compared, difference}]},
                                                   every prompt once, over the suites of that kind
     "says_and_does": TABLE,                       all suites with harmful or benign prompts together
     "suites": [{
        "name", "title", "kind": "harmful" | "benign" | "ability", "paper": bool,
        "in_distribution": TEXT | null,
        "mode": "normal" | "zero" | "less" | "more",    thinking ablations
        "settings": {...}, "samples": K, "source", "revision", "sha256", "pinned": bool, "licence", "note",
        "file", "file_sha256": what was read, "dropped": rows without a prompt, "grader": NAME | null,
        "published": items there are, "items": items chosen, "expected": completions wanted,
        "folder": TEXT, "compared_folder": TEXT | null,   hold completions.jsonl and judgements.*.jsonl
        "partial": [TEXT], "warnings": [TEXT],
        "target": SIDE, "compared": SIDE | null,
        "metrics": [{
           "judge": its files' name ("rule", "strongreject~gpt-4o", "wildguard@reasoning"), "metric": NAME,
           "title": TEXT, "better": "lower" | "higher", "triage": bool,
           "target": ESTIMATE | null, "compared": ESTIMATE | null,
           "difference": DIFFERENCE | null,
           "clean": ESTIMATE | null,               without contaminated items; null where there are none
           "corrected": ESTIMATE | null,           of those judged, freed from the judge's errors by its card
           "safe_at": {"safe@1", "safe@k", "conssafe@k": ESTIMATE} | null,       K > 1 only
           "states": {judged, unfinished, empty, unparsed, unjudged}}],
        "agreement": [{judges: [A, B], metric, n, agree, kappa | null}],
        "contamination": {checked: bool, reason: TEXT | null, hits: [{row, item, sign, shared}]}}]}

DIFFERENCE is {n, points, low, high, p, test, only_target, only_compared, distinguishable: bool, words}:
target minus compared in percentage points; with only_target + only_compared the discordant prompts.
SIDE is {completed, endings: {whole, cut, unfinished, empty}, structure: {understanding, assessment,
reasoning, answer, structured: ESTIMATE}, tokens, thinking_tokens: {mean, median, p90, max} | null,
says_and_does: TABLE}.
TABLE is {harmful | benign | missing: {refused, partial, complied, unfinished, empty, unjudged:
completions}}: the rows are the verdict of the model's own assessment, the columns what it did.
CARD is in `card.py`, a completion's line in `completion.py`, a judgement's
in `judgement.py`; the two are joined by the judgement's `completion`, which is the completion's `key`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from alttrain_cli import __version__
from alttrain_cli.evaluation.completion import Ending
from alttrain_cli.evaluation.contamination import Training, contamination
from alttrain_cli.evaluation.judgement import FOUR_BITS
from alttrain_cli.evaluation.judges.catalogue import is_triage, judge_named
from alttrain_cli.evaluation.metrics import agreement, pooled, suite_metrics
from alttrain_cli.evaluation.plan import Facts
from alttrain_cli.evaluation.structure_stats import add_tables
from alttrain_cli.evaluation.suite_result import SuiteResult

SCHEMA = 1
UNFINISHED_LIMIT = 0.02

# The paper's own figures (arXiv 2604.18946), percent: what ours may be set beside, not compared with.
PAPER = tuple(
    {"backbone": backbone, "model": model, "harmful": harmful, "over_refusal": over, "reasoning": reasoning}
    for backbone, model, harmful, over, reasoning in (
        ("R1-7B", "untrained", 82.2, 0.0, 72.6),
        ("R1-7B", "AltTrain", 14.3, 31.6, 69.5),
        ("R1-8B", "untrained", 83.5, 0.4, 58.1),
        ("R1-8B", "AltTrain", 4.8, 14.0, 59.8),
        ("R1-32B", "untrained", 82.5, 0.0, 76.0),
        ("R1-32B", "AltTrain", 3.7, 11.2, 78.0),
        ("S1-14B", "untrained", 89.7, 0.0, 65.9),
        ("S1-14B", "AltTrain", 6.7, 14.0, 64.8),
    )
)


def scorecard(
    sides: list[SuiteResult],
    compared: Mapping[str, SuiteResult],
    training: Training | None,
    cards: Mapping[str, Facts],
) -> Facts:
    """Return the scorecard of one target; `compared` has the other's sides by folder, `cards` by judge."""
    suites = [_suite(side, compared.get(side.folder), training, cards) for side in sides]
    judges = sorted({metric["judge"] for suite in suites for metric in suite["metrics"]})
    others = [compared[side.folder].plan.target for side in sides if side.folder in compared]
    return {
        "schema": SCHEMA,
        "alttrain": __version__,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "target": sides[0].plan.target,
        "compared": others[0] if others else None,
        "partial": any(suite["partial"] for suite in suites),
        "warnings": [f"{suite['name']}: {text}" for suite in suites for text in suite["warnings"]],
        "judges": {name: _judge_facts(name, cards.get(name), sides) for name in judges},
        "paper": list(PAPER),
        "pooled": pooled(sides, compared),
        "says_and_does": add_tables(
            side.verdict_by_behaviour()
            for side in sides
            if side.plan.suite["kind"] != "ability" and side.plan.mode == "normal"
        ),
        "suites": suites,
    }


def _suite(
    side: SuiteResult, other: SuiteResult | None, training: Training | None, cards: Mapping[str, Facts]
) -> Facts:
    plan = side.plan
    found = contamination(training, list(plan.items))
    return {
        **plan.suite,
        "mode": plan.mode,
        "settings": plan.settings,
        "samples": plan.samples,
        "published": plan.published,
        "items": len(plan.items),
        "expected": len(plan.keys),
        "folder": str(side.place.folder),
        "compared_folder": str(other.place.folder) if other else None,
        "partial": side.missing() + ([f"compared: {text}" for text in other.missing()] if other else []),
        "warnings": _warnings(side, other, found),
        "target": side.facts(),
        "compared": other.facts() if other else None,
        "metrics": suite_metrics(side, other, {hit["item"] for hit in found["hits"]}, cards),
        "agreement": agreement(side),
        "contamination": found,
    }


def _warnings(side: SuiteResult, other: SuiteResult | None, found: Facts) -> list[str]:
    warnings = [_unfinished(side, "")] + ([_unfinished(other, "compared: ")] if other else [])
    if other and (side.plan.settings, side.plan.mode) != (other.plan.settings, other.plan.mode):
        warnings.append("target and compared were asked with different settings")
    if side.plan.suite["in_distribution"]:
        warnings.append(f"in distribution: {side.plan.suite['in_distribution']}")
    if found["hits"]:
        items = len({hit["item"] for hit in found["hits"]})
        warnings.append(f"{items} of {len(side.plan.items)} items stand in the training rows too")
    return [text for text in (*warnings, *side.plan.caveats) if text]


def _unfinished(side: SuiteResult, whose: str) -> str:
    if side.profile.share(Ending.UNFINISHED) <= UNFINISHED_LIMIT:
        return ""
    count = side.profile.endings[Ending.UNFINISHED.value]
    return (
        f"{whose}{count} of {side.profile.n} completions end within their reasoning; they count as neither "
        "safe nor refused. Raise --max-new-tokens."
    )


def _judge_facts(name: str, card: Facts | None, sides: list[SuiteResult]) -> Facts:
    judge = judge_named(name)
    four_bits = any(line.get(FOUR_BITS) for side in sides for line in side.place.judgements(name))
    return {
        "title": judge.title + (", loaded in 4 bits" if four_bits else ""),
        "triage": is_triage(name),
        "measures": list(judge.measures),
        "four_bits": four_bits,
        "card": card,
    }
