"""How pages are rendered: every text is escaped, and nothing may be loaded or run but what we wrote."""

import base64
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alttrain_cli.evaluation.completion import Ending
from alttrain_cli.evaluation.scorecard_values import SuiteScore
from alttrain_cli.evaluation.structure_stats import BEHAVIOURS
from alttrain_cli.statistics.estimates import Estimate
from alttrain_cli.statistics.rates import percent, span
from alttrain_cli.storage.files import atomic_writer
from alttrain_cli.text import date_and_time, escape_hidden

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATE = Path(__file__).parent / "template"


@cache
def environment() -> "Environment":
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
    environment.filters["date_and_time"] = date_and_time
    environment.globals.update(
        suite_name=_suite_name, behaviours=BEHAVIOURS, ending_title=lambda ending: Ending(ending).label
    )
    return environment


def write_plain_page(path: Path, template: str, **values: Any) -> None:
    """Write a page without a script, atomically."""
    with atomic_writer(path) as file:
        file.writelines(rendered(template, **values))


def rendered(template: str, script: str | None = None, **values: Any) -> Iterator[str]:
    """Yield a page piece by piece. It loads nothing, and its policy allows its style and its script alone."""
    from markupsafe import Markup

    style, code = (
        Markup((TEMPLATE / name).read_text(encoding="utf-8") if name else "") for name in ("page.css", script)
    )
    sources = f"style-src {_source_of(style)};" + (f" script-src {_source_of(code)};" if code else "")
    policy = f"default-src 'none'; {sources} base-uri 'none'; form-action 'none'"
    page = environment().get_template(template)
    return page.generate(**values, style=style, script=code, policy=policy)


def _source_of(text: str) -> str:
    """Return a style or a script as a source of a content security policy."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _finalize(value: Any) -> Any:
    """Make hidden characters visible in every text that is not our markup."""
    return escape_hidden(value) if type(value) is str else value


def _suite_name(suite: SuiteScore) -> str:
    """Return a suite's title, with its thinking ablation or its replay if it is one."""
    if suite.attack and suite.attack.facts.recorded:
        return f"{suite.title} (replayed)"
    return suite.title + ("" if suite.mode == "normal" else f" ({suite.mode} thinking)")


def _count(estimate: Estimate) -> str:
    counted = f"n = {estimate.n}" if estimate.hits is None else f"{estimate.hits}/{estimate.n}"
    return f"{counted} ({span(estimate.low, estimate.high)}%)"
