"""Shows a scorecard in the terminal."""

import re
from collections.abc import Iterator, Sequence

from alttrain_cli import console
from alttrain_cli.console.attacks import attack_lines
from alttrain_cli.console.dial import print_dial
from alttrain_cli.console.figures import bounds_in_words, estimate_in_words
from alttrain_cli.console.published import macro_lines, print_published
from alttrain_cli.console.terminal import NARROW, out
from alttrain_cli.evaluation.judge_card import JudgeCard
from alttrain_cli.evaluation.labels import INSTALL
from alttrain_cli.evaluation.published_tables import PublishedPaper
from alttrain_cli.evaluation.report import Report
from alttrain_cli.evaluation.scorecard_values import MetricScore, PooledScore, Scorecard, SuiteScore
from alttrain_cli.evaluation.structure_stats import BEHAVIOURS, RATES, SPREADS, Statistic, shown_rates
from alttrain_cli.statistics.estimates import Estimate
from alttrain_cli.statistics.rates import Rate
from alttrain_cli.statistics.spread import Spread
from alttrain_cli.storage.names import suite_name

SHOWN_HITS = 5
_NAME_COLUMNS = 18


def print_report(report: Report, published: PublishedPaper | None = None) -> None:
    """Print the problems first, then the metrics, then the structure, and a paper's tables if requested."""
    card = report.card
    with console.summary():
        _print_card(card)
        if published:
            print_published(card, published)
        if not report.has_labels:
            console.print_warning(
                "the judges' accuracy was not measured, because the human labels are not installed. "
                f"Install them: {INSTALL}"
            )
        console.print_lines([("scorecard:", report.path), ("page:", report.page)])


def _print_card(card: Scorecard) -> None:
    if card.partial:
        console.print_warning("PARTIAL: something was left out or is missing.")
        for suite in card.suites:
            for reason in suite.partial:
                console.print_warning(_one_line(f"{_name(suite)}: {reason}"))
    for warning in card.warnings:
        console.print_warning(_one_line(warning))
    _print_metrics(card)
    console.print_lines(attack_lines(card))
    console.print_lines(macro_lines(card))
    _print_structure(card)
    _print_verdicts(card)
    print_dial(card.dial)
    console.print_lines(_notes(card))


def _print_metrics(card: Scorecard) -> None:
    compared = card.compared
    names = [card.compared_name, card.target_name] if compared else [card.target_name]
    titles = ["baseline", "candidate"] if compared else ["rate"]
    heads = [f"{title}\n{_in_lines(name)}" for title, name in zip(titles, names, strict=True)]
    columns = ["suite\n metric, judge", *heads, *(["difference"] if compared else [])]
    rows: list[list[str]] = []
    for suite in card.suites:
        name = _name(suite) + (" PARTIAL" if suite.partial else "")
        rows += [_metric(name, metric, bool(compared)) for metric in suite.metrics]
        if suite.lacks:
            rows.append([f"{name}\n {suite.lacks}", *["-"] * (len(columns) - 1)])
    for mode, pools in {"normal": card.pooled, **card.ablated}.items():
        for kind, metrics in pools.items():
            name = suite_name(f"all {kind.replace('_', '-')}", mode, replayed=False)
            name += " PARTIAL" * card.partial
            rows += [_metric(name, metric, bool(compared)) for metric in metrics if len(metric.suites) > 1]
    console.print_table(columns, rows, left=range(len(columns)))


def _in_lines(name: str) -> str:
    """Return a model's name, in two lines where it is too long for a column of a usual terminal."""
    is_short = len(name) <= _NAME_COLUMNS or out().width < NARROW
    return name if is_short else re.sub(r"-(?=[^-]+$)", "-\n", name)


def _metric(name: str, metric: MetricScore | PooledScore, compared: bool) -> list[str]:
    found = metric.difference
    without = metric.clean if isinstance(metric, MetricScore) else None
    clean = f"; without overlap {estimate_in_words(without)}" if without else ""
    return [
        f"{name}\n {metric.title}, {metric.judge}{'*' * metric.triage}",
        *([_bounded(*metric.bounded("compared"))] if compared else []),
        _bounded(*metric.bounded("target")) + clean,
        *([found.words if found else "-"] if compared else []),
    ]


def _bounded(found: Estimate | None, at_least: Estimate | None, at_most: Estimate | None) -> str:
    """Return a rate with its bounds: what is not known counts for the model, and against it."""
    return estimate_in_words(found) + bounds_in_words(at_least, at_most)


def _print_structure(card: Scorecard) -> None:
    rates = shown_rates(suite.target for suite in card.suites)
    spreads = ", ".join(one.title for one in SPREADS)
    console.print_lines(
        [
            ("structure:", f"completions with each section; {spreads} as median/90th percentile"),
            *((f"{_name(suite)}:", _structure(suite, rates)) for suite in card.suites if _has_any(suite)),
        ]
    )


def _has_any(suite: SuiteScore) -> bool:
    """Whether a completion was made: the rate of none is no rate."""
    return any(found is not None and found.n for found in suite.target.structure.values())


def _structure(suite: SuiteScore, rates: Sequence[Statistic]) -> str:
    found = suite.target.structure
    sections = [f"{one.title} {_rate(found.get(one.name), whole=one in RATES)}" for one in rates]
    return "; ".join([", ".join(sections), *(_spreads(suite, one) for one in SPREADS)])


def _spreads(suite: SuiteScore, one: Statistic) -> str:
    baseline = f" (baseline {_spread(getattr(suite.compared, one.name))})" if suite.compared else ""
    return f"{one.title} {_spread(getattr(suite.target, one.name))}{baseline}"


def _print_verdicts(card: Scorecard) -> None:
    table = card.says_and_does
    used = [name for name in BEHAVIOURS if any(row[name] for row in table.values())]
    if used:
        rows = [[behaviour, *(row[behaviour] for row in table.values())] for behaviour in used]
        console.print_table(("answer", *(f"verdict {verdict}" for verdict in table)), rows)


def _notes(card: Scorecard) -> Iterator[tuple[str, str]]:
    for suite in card.suites:
        yield f"{_name(suite)}:", _provenance(suite)
    for name, judge in card.judges.items():
        title = f"{judge.title}{_card(judge.card)}"
        yield f"{name}*:" if judge.triage else f"{name}:", title
    for suite in card.suites:
        for metric in suite.metrics:
            for name, found in (metric.safe_at or {}).items():
                words = name.replace("k", str(suite.samples))
                yield f"{words}:", f"{_name(suite)}, {metric.judge}: {estimate_in_words(found)}"
            if metric.corrected:
                name = f"{_name(suite)}, {metric.title}, for the judge's errors"
                yield "corrected:", f"{name}: {estimate_in_words(metric.corrected)}"
    for suite in card.suites:
        for pair in suite.agreement:
            kappa = "" if pair.kappa is None else f", kappa {round(pair.kappa, 2) + 0.0:.2f}"
            agree = "-" if pair.agree is None else str(Rate(round(pair.agree * pair.n), pair.n))
            judges = " and ".join(pair.judges)
            yield "agreement:", f"{_name(suite)}, {pair.metric.replace('_', ' ')}, {judges}: {agree}{kappa}"
        yield from _hits(suite)
    for words in sorted({suite.contamination.words for suite in card.suites} - {""}):
        yield "contamination:", words


def _hits(suite: SuiteScore) -> Iterator[tuple[str, str]]:
    hits = suite.contamination.hits
    for hit in hits[:SHOWN_HITS]:
        yield (
            "in training:",
            f"{_name(suite)} {hit.item} overlaps with row {hit.row} ({hit.sign}: {hit.shared})",
        )
    if len(hits) > SHOWN_HITS:
        yield "in training:", f"{_name(suite)}: {len(hits) - SHOWN_HITS} more, in scorecard.json"


def _card(card: JudgeCard | None) -> str:
    if card is None:
        return ""
    said = [
        f"{question}: sensitivity {estimate_in_words(part.sensitivity)}, "
        f"specificity {estimate_in_words(part.specificity)}"
        for question, part in card.questions.items()
    ]
    return f" · compared with {card.labels}, {'; '.join(said)}"


def _provenance(suite: SuiteScore) -> str:
    paper = "in the table of AltTrain's paper · " if suite.paper else ""
    pinned = "" if suite.pinned else ", not pinned"
    is_replay = suite.attack is not None and suite.attack.facts.recorded is not None
    lack = "goals without a dialogue that came to an end" if is_replay else "without a prompt"
    dropped = f" · {suite.dropped} {lack} dropped" if suite.dropped else ""
    settings = suite.settings
    sampled = f"temperature {settings.temperature}" if settings.do_sample else "greedy"
    return (
        f"{paper}{suite.title}, {suite.source} (sha256 {suite.sha256[:12]}{pinned}){dropped} · "
        f"{suite.licence} · {sampled}, at most {settings.max_new_tokens} tokens"
    )


def _one_line(text: str) -> str:
    """Return a text that cannot look like several lines of ours."""
    return text.replace("\n", "<U+000A>").replace("\t", "<U+0009>")


def _name(suite: SuiteScore) -> str:
    return _one_line(suite.full_name)


def _rate(found: Estimate | None, *, whole: bool) -> str:
    """Return the rate of complete structures; of a section only the count, to save space."""
    return estimate_in_words(found) if whole or found is None else f"{found.hits}/{found.n}"


def _spread(spread: Spread | None) -> str:
    return f"{spread.median:.0f}/{spread.p90:.0f}" if spread else "unknown"
