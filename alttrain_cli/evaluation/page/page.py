"""Renders the page. Every text is escaped by Jinja, and nothing may be loaded or run but what we wrote."""

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alttrain_cli.evaluation.completion import Ending
from alttrain_cli.evaluation.page.chart import chart_of, table_of
from alttrain_cli.evaluation.page.entries import KINDS, Entry, entries
from alttrain_cli.evaluation.page.notices import notices
from alttrain_cli.evaluation.page.tiles import tiles
from alttrain_cli.evaluation.scorecard_values import Scorecard, SuiteScore
from alttrain_cli.evaluation.structure_stats import BEHAVIOURS, SPREADS, shown_rates
from alttrain_cli.evaluation.suite_result import SuiteResult
from alttrain_cli.statistics.estimates import Estimate
from alttrain_cli.statistics.rates import percent
from alttrain_cli.storage.files import atomic_writer
from alttrain_cli.text import visible

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATE = Path(__file__).parent / "template"


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
    from markupsafe import Markup

    style, script = (
        Markup((TEMPLATE / name).read_text(encoding="utf-8")) for name in ("page.css", "page.js")
    )
    return (
        _environment()
        .get_template("page.html")
        .generate(
            card=card,
            rates=shown_rates(
                side for suite in card.suites for side in (suite.target, suite.compared) if side
            ),
            spreads=SPREADS,
            suites=sorted(card.suites, key=lambda suite: KINDS.index(suite.kind)),
            notices=notices(card),
            tiles=tiles(card),
            chart=chart_of(card),
            paper=table_of(card),
            entries=_lines(browsed),
            style=style,
            script=script,
            policy=f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
            "base-uri 'none'; form-action 'none'",
        )
    )


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATE),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    environment.filters["count"] = _count
    environment.globals.update(
        suite_name=_suite_name, behaviours=BEHAVIOURS, ending_title=lambda ending: Ending(ending).label
    )
    return environment


def _finalize(value: Any) -> Any:
    """Make hidden characters visible in every text that is not our markup."""
    return visible(value) if type(value) is str else value


def _lines(browsed: Iterable[Entry]) -> Iterator[Any]:
    """Yield each entry as a line of JSON that cannot leave its script element."""
    from jinja2.utils import htmlsafe_json_dumps

    for entry in browsed:
        yield htmlsafe_json_dumps(_visible(asdict(entry)), ensure_ascii=False, separators=(",", ":"))


def _visible(value: Any) -> Any:
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, list | tuple):
        return [_visible(one) for one in value]
    return {key: _visible(one) for key, one in value.items()} if isinstance(value, dict) else value


def _suite_name(suite: SuiteScore) -> str:
    """Return a suite's title, with its thinking ablation if it is one."""
    return suite.title + ("" if suite.mode == "normal" else f" ({suite.mode} thinking)")


def _count(estimate: Estimate) -> str:
    """Return what an estimate was counted from, and its interval."""
    counted = f"n = {estimate.n}" if estimate.hits is None else f"{estimate.hits}/{estimate.n}"
    return f"{counted} ({100 * estimate.low:.0f}-{100 * estimate.high:.0f}%)"


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
