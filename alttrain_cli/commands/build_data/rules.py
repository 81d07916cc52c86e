"""Which options of `alttrain build-data` have an effect together, and what their values mean."""

import math
import os
from collections.abc import Sequence

import typer

from alttrain_cli.backends.open import Address
from alttrain_cli.backends.target import Target
from alttrain_cli.commands.build_data.options import BuildOptions
from alttrain_cli.commands.shared.rules import Rule, rule_of, rules_alone
from alttrain_cli.data.annotators import ANNOTATORS
from alttrain_cli.data.choices import Served
from alttrain_cli.data.responses import Price
from alttrain_cli.data.sources import Source
from alttrain_cli.data.styles import STYLES
from alttrain_cli.errors import DataError
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.reading import is_file, is_folder
from alttrain_cli.text import quoted, suggest


def audit_rules(ctx: typer.Context) -> list[Rule]:
    """Return the rules of --audit: nothing is built."""
    return rules_alone(ctx, "audited", "suite", "suite_file", "show")


def build_rules(
    ctx: typer.Context, options: BuildOptions, sources: Sequence[Source], mixed: Sequence[Source]
) -> list[Rule]:
    """Return the rules of everything else; `mixed` are the sources of --mix."""
    annotator = ANNOTATORS[options.annotator]
    used = {annotator.backend, options.generate_traces}
    traces = any(not source.is_starter for source in sources)
    columns = traces or any(not source.is_starter for source in mixed)
    served = "endpoint" in used
    ours = "with the starter set alone"
    no_server = "without a server; add --annotator endpoint or --generate-traces endpoint"
    no_model = "without a model; add --annotator model or --generate-traces model"
    no_judge = "without a model as annotator; add --annotator endpoint|model"
    conditions = {
        "base_url": (served, no_server),
        "model": (served, no_server),
        "concurrency": (served or ("model" in used and options.engine == "vllm"), no_server),
        "price": (served, no_server),
        "recipe": ("model" in used or options.generate_traces is not None, no_model),
        "on_disagreement": (annotator.backend is not None, no_judge),
        "style": (bool(sources), "without --source: --mix adds traces unchanged"),
        "columns": (columns, ours),
        "label": (traces, ours),
        "annotator": (traces, ours),
        "generate_traces": (traces, ours),
    }
    return [
        *(rule_of(ctx, name, *condition) for name, condition in conditions.items()),
        *_value_rules(options, mixed),
        *options.engine_rules(here="model" in used, elsewhere=no_model),
    ]


def _value_rules(options: BuildOptions, mixed: Sequence[Source]) -> list[Rule]:
    starter = any(one.is_starter for one in mixed)
    without_labels = options.label == "unknown"
    as_published = options.generate_traces is None
    by_label = "with --generate-traces: it needs to know which prompts are harmful"
    return [
        Rule("--mix starter", starter, False, "because it has no traces; use --source"),
        Rule("--label unknown", without_labels, as_published, by_label),
    ]


def check_build(options: BuildOptions) -> None:
    if is_folder(options.out):
        example = options.out / "data.jsonl"
        raise DataError(f"--out {options.out}: a folder, but a file is needed, for example {example}")
    is_special = os.path.lexists(options.out) and not is_file(options.out)  # refused where it is opened
    if options.out.suffix.lower() != ".jsonl" and not is_special:  # train takes no other
        better = options.out.with_name(f"{options.out.stem}.jsonl")
        raise DataError(
            f"--out {options.out}: rows are written as .jsonl. Choose another name, for example {better}"
        )
    if not options.source and not options.mix:
        raise typer.BadParameter(
            "give at least one source, for example --source starter", param_hint="--source"
        )
    for option, name, known in (
        ("--style", options.style, list(STYLES)),
        ("--annotator", options.annotator, list(ANNOTATORS)),
    ):
        if name not in known:
            raise typer.BadParameter(f"{quoted(name)} is unknown. {suggest(name, known)}", param_hint=option)
    if options.generate_traces and options.style == "original":
        raise DataError(
            "--style original cannot be used with --generate-traces: it needs full traces, but only the "
            "opening of a harmful trace is generated. Leave out one of the two."
        )


def served_by(kind: Served, options: BuildOptions, recipe: Recipe | None) -> Address | Target:
    if kind == "endpoint":
        if not options.base_url:
            words = "endpoint needs the address of a server, for example --base-url http://localhost:8000/v1"
            raise typer.BadParameter(words, param_hint="--base-url")
        return Address(",".join(options.base_url), options.model)
    if recipe is None:
        raise typer.BadParameter(
            "model needs a recipe, whose base model it uses. To list them: alttrain recipes",
            param_hint="--recipe",
        )
    # The name is part of the keys of what the model answered.
    revision = f"@{recipe.model.revision}" if recipe.model.revision else ""
    return Target(recipe.model.name + revision, recipe)


def read_price(text: str | None) -> Price | None:
    if text is None:
        return None
    try:
        price = Price(*map(float, text.split(",")))
    except (ValueError, TypeError):  # TypeError: not two
        price = Price(math.nan, math.nan)
    if not all(0 <= dollars < math.inf for dollars in price):
        raise typer.BadParameter(
            "two numbers of at least 0 are needed, for example 2.5,10", param_hint="--price"
        )
    return price
