"""Which options of `alttrain build-data` have an effect beside which, and what they may be."""

import math
from collections.abc import Sequence

import typer

from alttrain_cli.commands.options import Rule, alone, is_given
from alttrain_cli.data.sources import Source


def audit_rules(ctx: typer.Context) -> list[Rule]:
    """Return the rules of --audit: nothing is built."""
    return alone(ctx, "audited", "suite", "suite_file", "show")


def build_rules(ctx: typer.Context, sources: Sequence[Source], mixed: Sequence[Source]) -> list[Rule]:
    """Return the rules of everything else; `mixed` are the sources of --mix."""
    values = ctx.params
    asked = {values["annotator"], values["traces_from"]}
    traces = any(not source.is_starter for source in sources)
    columns = traces or any(not source.is_starter for source in mixed)
    served = "endpoint" in asked
    ours = "without a --source that is not the starter set"
    no_server = "without a server to ask; add --annotator endpoint or --traces-from endpoint"
    no_model = "without a model to ask; add --annotator model or --traces-from model"
    no_judge = "without an annotator that judges; add --annotator endpoint|model"
    conditions = {
        "base_url": (served, no_server),
        "model": (served, no_server),
        "concurrency": (served, no_server),
        "price": (served, no_server),
        "recipe": ("model" in asked or values["traces_from"] is not None, no_model),
        "trust": (values["annotator"] != "template", no_judge),
        "style": (bool(sources), "without --source: --mix keeps traces untouched"),
        "columns": (columns, ours),
        "label": (traces, ours),
        "annotator": (traces, ours),
        "traces_from": (traces, ours),
    }
    return [
        *(
            Rule(f"--{name.replace('_', '-')}", is_given(ctx, name), has_effect, words)
            for name, (has_effect, words) in conditions.items()
        ),
        Rule(
            "--mix starter", any(one.is_starter for one in mixed), False, "as it has no traces; use --source"
        ),
    ]


def read_price(text: str | None) -> tuple[float, float] | None:
    """Return the dollars per million tokens of --price: of what is asked, and of what is answered.

    Raises:
        typer.BadParameter: if it is not two numbers of at least 0.
    """
    if text is None:
        return None
    try:
        asked, answered = (float(part) for part in text.split(","))
    except ValueError:
        asked = answered = math.nan
    if not (0 <= asked < math.inf and 0 <= answered < math.inf):
        raise typer.BadParameter(
            "two numbers of at least 0 are needed, for example 2.5,10", param_hint="--price"
        )
    return asked, answered
