"""`alttrain build-data`: from sources to data.jsonl."""

from pathlib import Path
from typing import Annotated

import typer

from alttrain_cli import console
from alttrain_cli.data.build import SECTIONS, Build, build, write
from alttrain_cli.row import Label


def build_data(
    source: Annotated[
        list[str],
        typer.Option(
            "--source",
            metavar="FILE",
            help="R1 traces as .json, .jsonl, .csv or .parquet, or the word starter for the set that "
            "comes with alttrain. Give it more than once to mix.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="The data file to write.")] = Path("data.jsonl"),
    label: Annotated[
        str | None,
        typer.Option("--label", help="harmful or benign, for sources without a label column."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the order of rows.")] = 1995,
) -> None:
    """Turn reasoning traces into rows that teach: understand, assess the harm, then decide."""
    result = build(source, _label(label), seed)
    manifest, dropped = write(result, out)
    _print_summary(result)
    console.print_lines(
        [
            ("rows:", out),
            ("manifest:", manifest),
            *([("set aside:", dropped)] if result.dropped else []),
            ("next:", f"alttrain train --recipe NAME --data {out}"),
        ]
    )
    labels = {row.label for row in result.rows}
    for missing in {"harmful", "benign"} - labels:
        console.print_warning(
            f"no {missing} rows: training needs both. Add --source FILE with {missing} prompts, "
            "or --source starter."
        )


def _label(label: str | None) -> Label | None:
    match label:
        case None | "harmful" | "benign":
            return label
        case _:
            raise typer.BadParameter(f"{label!r} is neither harmful nor benign.", param_hint="--label")


def _print_summary(result: Build) -> None:
    manifest = result.manifest()
    labels = " · ".join(f"{count} {label}" for label, count in sorted(manifest["labels"].items()))
    console.print_lines([("rows", f"{len(result.rows)} ({labels})")])
    statistics = manifest["estimated_tokens"]
    console.print_table(
        ("tokens (estimate)", "mean", "median", "max"),
        [
            (name, f"{values['mean']:.0f}", f"{values['median']:.0f}", f"{values['max']:.0f}")
            for name, values in ((name, statistics[name]) for name in (*SECTIONS, "row"))
        ],
    )
    if result.dropped:
        console.print_table(("set aside, because", "rows"), manifest["dropped"].items())
