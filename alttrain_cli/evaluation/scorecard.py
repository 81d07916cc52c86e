"""Builds the scorecard from the files. Terminal and page draw it; nothing else counts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from alttrain_cli import __version__
from alttrain_cli.evaluation.attack_metrics import Control, attack_score
from alttrain_cli.evaluation.attacks.score import AttackScore, beside_control, warnings_of
from alttrain_cli.evaluation.choices import ASSESSING
from alttrain_cli.evaluation.completion import Ending
from alttrain_cli.evaluation.contamination import (
    NOTHING_CHECKED,
    Contamination,
    EarlierChecks,
    Training,
    contamination,
)
from alttrain_cli.evaluation.judge_card import JudgeCard
from alttrain_cli.evaluation.judge_run import outdated
from alttrain_cli.evaluation.judgement import FOUR_BITS, ON_SERVER
from alttrain_cli.evaluation.judges.catalogue import is_triage, judge_named
from alttrain_cli.evaluation.macros import macro_scores
from alttrain_cli.evaluation.metrics import (
    ablated_scores,
    agreement,
    pooled_scores,
    suite_metrics,
    unpooled_baselines,
)
from alttrain_cli.evaluation.plan import NONE, EvalPlan
from alttrain_cli.evaluation.published_tables import find_published
from alttrain_cli.evaluation.repair import named
from alttrain_cli.evaluation.scorecard_values import SCHEMA, JudgeRecord, PaperFigures, Scorecard, SuiteScore
from alttrain_cli.evaluation.structure_stats import add_tables
from alttrain_cli.evaluation.suite_result import SuiteResult
from alttrain_cli.evaluation.suites.suite import Item, all_suites, without_instruction
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.structure.markers import CHAT_MARKER
from alttrain_cli.text import after_names

UNFINISHED_LIMIT = 0.02


def scorecard(
    results: Sequence[SuiteResult],
    baselines: Mapping[str, SuiteResult],
    training: Training | None,
    cards: Mapping[str, JudgeCard],
    earlier: EarlierChecks = NOTHING_CHECKED,
) -> Scorecard:
    """Return the scorecard of one model; `baselines` are by folder name, `cards` by judge."""
    control = Control.among(results, baselines)
    suites = [
        _suite(one, baselines.get(one.name), _overlap(one.plan, training, earlier), cards, control)
        for one in results
    ]
    judges = sorted({metric.judge for suite in suites for metric in suite.metrics})
    others = [baselines[result.name].plan.target for result in results if result.name in baselines]
    return Scorecard(
        schema=SCHEMA,
        alttrain=__version__,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        target=results[0].plan.target,
        compared=others[0] if others else None,
        partial=any(suite.partial for suite in suites),
        warnings=[
            *after_names((suite.full_name, text) for suite in suites for text in suite.warnings),
            *unpooled_baselines(results, baselines),
            *beside_control({suite.full_name: suite.attack for suite in suites if suite.attack}),
        ],
        judges={name: _judge_facts(name, cards.get(name), results) for name in judges},
        paper=_paper(),
        pooled=pooled_scores(results, baselines),
        ablated=ablated_scores(results, baselines),
        macros=macro_scores(suites),
        says_and_does=add_tables(
            result.verdict_by_behaviour()
            for result in results
            if result.plan.suite.kind != "ability" and result.plan.is_single_turn
        ),
        suites=suites,
    )


def _paper() -> list[PaperFigures]:
    """Return AltTrain's main results: shown for orientation, not for comparison."""
    rows = find_published("alttrain").tables[0].rows
    return [PaperFigures(row.backbone, row.method, **row.figures) for row in rows]


def _suite(
    result: SuiteResult,
    baseline: SuiteResult | None,
    found: Contamination,
    cards: Mapping[str, JudgeCard],
    control: Control,
) -> SuiteScore:
    plan = result.plan
    attack = attack_score(result, baseline, control)
    missing = result.missing()
    also = [f"baseline: {text}" for text in (baseline.missing() if baseline else ()) if text not in missing]
    return SuiteScore(
        **asdict(plan.suite),
        mode=plan.mode,
        settings=plan.settings,
        samples=plan.samples,
        published=plan.published,
        items=len(plan.items),
        expected=len(plan.keys),
        folder=str(result.folder.path),
        compared_folder=str(baseline.folder.path) if baseline else None,
        partial=missing + also,
        warnings=_warnings(result, baseline, found, attack),
        target=result.summary(),
        compared=baseline.summary() if baseline else None,
        metrics=suite_metrics(result, baseline, {hit.item for hit in found.hits}, cards),
        agreement=agreement(result),
        contamination=found,
        attack=attack,
    )


def _warnings(
    result: SuiteResult, baseline: SuiteResult | None, found: Contamination, attack: AttackScore | None
) -> list[str]:
    plan = result.plan
    warnings = [_unfinished(result, "")] + ([_unfinished(baseline, "baseline: ")] if baseline else [])
    warnings += _outdated(result, "") + (_outdated(baseline, "baseline: ") if baseline else [])
    if plan.settings.threshold is not None and plan.mode in ASSESSING:
        warnings.append(f"the threshold {plan.settings.threshold} overrode the model's own verdicts")
    if baseline and _decoding(plan) != _decoding(baseline.plan):
        warnings.append("candidate and baseline were generated with different settings")
    if baseline:
        warnings.append(_other_items(plan, baseline.plan))
    if attack:
        warnings += warnings_of(attack, harmful=plan.suite.kind == "harmful")
    if baseline and plan.attack != baseline.plan.attack:
        warnings.append(
            "candidate and baseline were attacked in different ways, so they cannot be compared in pairs"
        )
    if plan.suite.in_distribution:
        warnings.append(f"in distribution: {plan.suite.in_distribution}")
    if found.hits:
        items = len({hit.item for hit in found.hits})
        warnings.append(f"{items} of {len(plan.items)} items overlap with the training rows")
    warnings.append(_marked(plan))
    return [text for text in (*warnings, *plan.caveats) if text]


def _overlap(plan: EvalPlan, training: Training | None, earlier: EarlierChecks) -> Contamination:
    return earlier.instead_of(contamination(training, _as_published(plan)), plan)


def _as_published(plan: EvalPlan) -> Iterator[Item]:
    """Yield the items without the instruction that the suite puts around each.

    Training rows do not have it, so a short item would not be found in them. Or all have it, and each item
    would be found. Plans of earlier versions do not name it; that of a shipped suite is known.
    """
    suite = all_suites().get(plan.suite.name)
    words = plan.instruction or (suite.instruction if suite else None)
    return (item._replace(prompt=without_instruction(item.prompt, words)) for item in plan.items)


def _other_items(plan: EvalPlan, other: EvalPlan) -> str:
    """Return how many items can be compared, if the baseline was evaluated on other data of this name."""
    if plan.suite.sha256 == other.suite.sha256:
        return ""
    both = sum(place != NONE for place in plan.partners(other))
    if both == len(plan.items):
        return ""
    return (
        f"the baseline was evaluated on other data: {both} of {len(plan.items)} items are the same, and "
        "only these are compared in pairs. Evaluate both again."
    )


def _marked(plan: EvalPlan) -> str:
    """Return how many items contain markers of chat templates; nothing if none does."""
    texts = ("\n".join((item.prompt, *(item.turns or ()))) for item in plan.items)
    found = sum(CHAT_MARKER.search(text) is not None for text in texts)
    if not found:
        return ""
    return (
        f"{found} of {len(plan.items)} items contain markers of chat templates, for example <|im_end|>. "
        "A model whose own they are reads them as the end or the start of a turn."
    )


def _decoding(plan: EvalPlan) -> tuple[Sampling, str]:
    """Return how completions were decoded, without the threshold, which a base model cannot have."""
    return plan.settings.without_threshold(), plan.mode


def _unfinished(result: SuiteResult, whose: str) -> str:
    count, n = result.stats.endings[Ending.UNFINISHED], result.stats.n
    if not n or count / n <= UNFINISHED_LIMIT:
        return ""
    return (
        f"{whose}{count} of {n} completions end in their reasoning, so it is not known whether their "
        'answers are safe. "At most" is the rate if all of them count against it. Raise --max-new-tokens.'
    )


def _outdated(result: SuiteResult, whose: str) -> list[str]:
    counts = {name: outdated(result.folder, result.plan, name) for name in result.judged}
    return [
        f"{whose}{count} of {len(result.judged[name])} judgements of {name} are by another version of it, or "
        f"for another right answer. To judge again: alttrain eval judge {named(result.folder.path.parent)}"
        for name, count in counts.items()
        if count
    ]


def _judge_facts(name: str, card: JudgeCard | None, results: Sequence[SuiteResult]) -> JudgeRecord:
    judge = judge_named(name)
    four_bits, served = False, None
    for result in results:
        for line in result.folder.judgements(name):
            four_bits = four_bits or line.get(FOUR_BITS, False)
            served = served or line.get(ON_SERVER)
    how = ", loaded in 4 bits" if four_bits else ""
    how += f", on a server as {served}" if served else ""
    return JudgeRecord(judge.title + how, is_triage(name), list(judge.measures), four_bits, card, served)
