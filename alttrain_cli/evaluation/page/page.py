"""Renders the page. Every text is escaped by Jinja, and nothing may be loaded or run but what we wrote."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from alttrain_cli.evaluation.page.bars import attacked_models
from alttrain_cli.evaluation.page.chart import chart_of, table_of
from alttrain_cli.evaluation.page.entries import KINDS, Entry, entries
from alttrain_cli.evaluation.page.environment import rendered
from alttrain_cli.evaluation.page.notices import notices
from alttrain_cli.evaluation.page.tiles import tiles
from alttrain_cli.evaluation.scorecard_values import Scorecard
from alttrain_cli.evaluation.structure_stats import SPREADS, shown_rates
from alttrain_cli.evaluation.suite_result import SuiteResult
from alttrain_cli.storage.files import atomic_writer
from alttrain_cli.text import escape_hidden


def write_page(
    path: Path,
    card: Scorecard,
    sides: Sequence[SuiteResult],
    compared: Mapping[str, SuiteResult],
    *,
    show: bool = False,
) -> None:
    """Write the page of a scorecard, atomically, one completion in memory at a time.

    `show` puts harmful completions in, folded; without it their text stays in the run's folder.
    """
    with atomic_writer(path) as file:
        file.writelines(page(card, entries(sides, compared, show=show)))


def page(card: Scorecard, browsed: Iterable[Entry]) -> Iterator[str]:
    """Yield the page piece by piece; `browsed` is what `entries` yields."""
    sides = (side for suite in card.suites for side in (suite.target, suite.compared) if side)
    return rendered(
        "page.html",
        script="page.js",
        card=card,
        rates=shown_rates(sides),
        spreads=SPREADS,
        suites=sorted(card.suites, key=lambda suite: KINDS.index(suite.kind)),
        notices=notices(card),
        tiles=tiles(card),
        chart=chart_of(card),
        paper=table_of(card),
        attacks=attacked_models(card),
        entries=_lines(browsed),
    )


def _lines(browsed: Iterable[Entry]) -> Iterator[Any]:
    """Yield each entry as a line of JSON that cannot leave its script element."""
    from jinja2.utils import htmlsafe_json_dumps

    for entry in browsed:
        yield htmlsafe_json_dumps(_visible(entry), ensure_ascii=False, separators=(",", ":"))


def _visible(value: Any) -> Any:
    """Return a value of an entry for JSON, with its texts visible."""
    if isinstance(value, str):
        return escape_hidden(value)
    if isinstance(value, list | tuple):
        return [_visible(one) for one in value]
    named = vars(value) if is_dataclass(value) else value
    return {key: _visible(one) for key, one in named.items()} if isinstance(named, dict) else value
