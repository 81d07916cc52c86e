"""`alttrain build-data`: from sources to data.jsonl, or the audit of a data file."""

from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

import typer

from alttrain_cli import console
from alttrain_cli.commands.build_options import audit_rules, build_rules, read_price
from alttrain_cli.commands.options import check, check_not_empty, expanded
from alttrain_cli.data.annotators import SETTINGS, AllBenign, Annotator, Asked, Template, Trust
from alttrain_cli.data.answers import Answers, Asker, Usage
from alttrain_cli.data.askers import endpoint_asker, engine_asker
from alttrain_cli.data.audit import Audit, audit
from alttrain_cli.data.build import Built, Ingredient, build
from alttrain_cli.data.outputs import Outputs
from alttrain_cli.data.prompts import read_prompts
from alttrain_cli.data.samples import Reading
from alttrain_cli.data.sources import Source
from alttrain_cli.data.styles import STYLES
from alttrain_cli.data.traces import OPENING_TOKENS, OwnTraces
from alttrain_cli.errors import DataError, GateError
from alttrain_cli.evaluation.suites.prompts import suite_prompts
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.files import is_folder
from alttrain_cli.storage.lock import locked
from alttrain_cli.structure.row import iter_rows
from alttrain_cli.text import shown

_ASKING, _LOOKING = "Asking a model", "Looking at rows"
Who = Literal["template", "endpoint", "model"]
Writer = Literal["endpoint", "model"]


def build_data(
    context: typer.Context,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            metavar="NAME[:COUNT]",
            help="A .json, .jsonl, .csv or .parquet file of R1 traces, a hub id (OWNER/NAME, or "
            "OWNER/NAME@REVISION), or one of safechain, star-1, r1-act, starter. FILE:900 takes 900 rows, "
            "each category's share kept. Give it more than once to mix.",
        ),
    ] = None,
    mix: Annotated[
        list[str] | None,
        typer.Option(
            "--mix",
            metavar="NAME[:COUNT]",
            help="The same, for benign traces that are kept untouched, as math rows.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="The data file to write.", callback=expanded)] = Path(
        "data.jsonl"
    ),
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace --out also where build-data did not make it, or where it was edited since.",
        ),
    ] = False,
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            metavar="OURS=THEIRS,...",
            help="As in prompt=question,response=output; ours are prompt, response, label, category, id.",
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option("--label", help="harmful or benign, for sources without labels; or column:NAME."),
    ] = None,
    style: Annotated[str, typer.Option("--style", help=f"One of {', '.join(STYLES)}.")] = "alttrain",
    annotator: Annotated[
        Who,
        typer.Option(
            "--annotator",
            rich_help_panel=_ASKING,
            help="Who writes the assessment: template repeats the label in words, offline; endpoint asks a "
            "server (--base-url); model asks the recipe's own base model (--recipe).",
        ),
    ] = "template",
    trust: Annotated[
        Trust | None,
        typer.Option(
            "--trust",
            rich_help_panel=_ASKING,
            help="Whose word counts where label and annotator differ; default: set aside.",
        ),
    ] = None,
    traces_from: Annotated[
        Writer | None,
        typer.Option(
            "--traces-from",
            rich_help_panel=_ASKING,
            help="Let the model to be trained write the traces itself, for prompts that come without. Such "
            "on-policy data keeps its abilities best: it learns the structure in its own words.",
        ),
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option(
            "--base-url",
            rich_help_panel=_ASKING,
            help="An OpenAI-compatible server, as http://localhost:8000/v1.",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", rich_help_panel=_ASKING, help="The server's model.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", rich_help_panel=_ASKING, help="The recipe whose base model is asked."),
    ] = None,
    concurrency: Annotated[
        int,
        typer.Option("--concurrency", rich_help_panel=_ASKING, min=1, max=1024, help="Requests in flight."),
    ] = 32,
    price: Annotated[
        str | None,
        typer.Option(
            "--price",
            rich_help_panel=_ASKING,
            metavar="IN,OUT",
            help="Dollars a million tokens, to show the cost.",
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option("--seed", min=0, max=2**63 - 1, help="Seed of what is chosen and of the order."),
    ] = 1995,
    suite: Annotated[
        str,
        typer.Option(
            "--suite",
            rich_help_panel=_LOOKING,
            help="Evaluation suites that must not stand in the data, as in smoke,xstest; none with ''.",
        ),
    ] = "smoke",
    suite_file: Annotated[
        list[str] | None,
        typer.Option(
            "--suite-file",
            metavar="[NAME=]FILE",
            rich_help_panel=_LOOKING,
            help="A suite's published file on this disk, or any file of prompts.",
        ),
    ] = None,
    audited: Annotated[
        Path | None,
        typer.Option("--audit", rich_help_panel=_LOOKING, help="Only audit this data file; build nothing."),
    ] = None,
    show: Annotated[
        int,
        typer.Option(
            "--show", rich_help_panel=_LOOKING, min=0, help="Print so many rows, sections in colour."
        ),
    ] = 0,
) -> None:
    """Turn reasoning traces into rows that teach: understand, assess the harm, then decide.

    Answers of a model are kept as they arrive. After an interruption the same
    command asks only what is missing.
    """
    check_not_empty(context, "suite")
    check(audit_rules(context))
    if audited is not None:
        _audit(audited, suite_prompts(suite, suite_file or (), read_prompts), show)
        return
    if is_folder(out):
        raise DataError(f"--out {out}: a folder, but a file is needed, for example {out / 'data.jsonl'}")
    if not source and not mix:
        raise typer.BadParameter("give at least one; try --source starter", param_hint="--source")
    if style not in STYLES:
        raise typer.BadParameter(f"{shown(style)} is none of {', '.join(STYLES)}", param_hint="--style")
    if traces_from and style == "original":
        raise DataError(
            "--style original trains traces untouched; --traces-from has the model write only beginnings."
        )
    sources, mixed = ([Source.parse(text) for text in given or ()] for given in (source, mix))
    dollars = read_price(price)
    reading = Reading.of(
        columns, label, needs_label=annotator == "template", needs_response=traces_from is None
    )
    benign = Reading.of(columns, None, needs_label=False)
    check(build_rules(context, sources, mixed))
    suites = suite_prompts(suite, suite_file or (), read_prompts)
    asked = {annotator, traces_from}
    asks = bool(asked & {"endpoint", "model"})
    outputs = Outputs.of(out)
    with locked(out, outputs.lock), console.WorkView() as view:
        helpers = _Helpers(out, view, base_url, model, recipe, concurrency, dollars) if asks else None
        judge = helpers.annotator(annotator) if helpers else Template()
        traces = helpers.traces(traces_from) if helpers and traces_from else None
        built = build(
            [
                *(Ingredient(one, reading, style, judge, trust, traces) for one in sources),
                *(Ingredient(one, benign, "original", AllBenign()) for one in mixed),
            ],
            out,
            seed,
            suites=suites,
            overwrite=overwrite,
            on_progress=view.show,
        )
    with console.summary():
        _report(built)
        _show(built.rows, show)
    _refuse_contradictions(built.rows, built.audit)
    if helpers and helpers.failures:
        _report_failures(built.rows, helpers)


def _audit(rows: Path, suites: dict[str, list[str]], show: int) -> None:
    with console.status(f"Looking at {rows} ..."):
        result = audit(iter_rows(rows), suites)
    console.print_audit(result.facts())
    _show(rows, show)
    _refuse_contradictions(rows, result)


class _Helpers:
    """The servers and models that are asked, each found when it is needed, and their answers on disk."""

    def __init__(
        self,
        out: Path,
        view: console.WorkView,
        base_url: str | None,
        model: str | None,
        recipe: str | None,
        concurrency: int,
        price: tuple[float, float] | None,
    ) -> None:
        self._folder = out.with_name(f"{out.stem}.answers")
        self._view = view
        self._server = (base_url, model, concurrency)
        self._recipe = recipe
        self._price = price
        self._askers: dict[str, Asker] = {}
        self._usages: list[Usage] = []

    @property
    def failures(self) -> int:
        """How many questions got no answer."""
        return sum(usage.failures for usage in self._usages)

    @property
    def answers(self) -> int:
        """How many answers were used, those of earlier runs included."""
        return sum(usage.answers for usage in self._usages)

    def annotator(self, who: Who) -> Annotator:
        """Return who judges."""
        return (
            Template()
            if who == "template"
            else Asked(self._answers(who, "annotations", SETTINGS.max_new_tokens))
        )

    def traces(self, who: Writer) -> OwnTraces:
        """Return who writes traces."""
        limit = Recipe.load(self._recipe).generation.max_new_tokens if self._recipe else 4096
        return OwnTraces(self._answers(who, "traces", limit), self._answers(who, "openings", OPENING_TOKENS))

    def _answers(self, who: Writer, purpose: str, limit: int) -> Answers:
        settings = SETTINGS.model_copy(update={"max_new_tokens": limit})

        def show(done: int, total: int, usage: Usage) -> None:
            self._view.show(f"asking for {purpose}", done, total, self._figures(usage))

        answers = Answers(self._folder / f"{purpose}.jsonl", self._asker(who), settings, show)
        self._usages.append(answers.usage)
        return answers

    def _asker(self, who: Writer) -> Asker:
        if who not in self._askers:
            self._askers[who] = self._find(who)
        return self._askers[who]

    def _find(self, who: Writer) -> Asker:
        base_url, model, concurrency = self._server
        if who == "endpoint":
            if base_url is None:
                raise typer.BadParameter(
                    "endpoint needs an address, as http://localhost:8000/v1", param_hint="--base-url"
                )
            return endpoint_asker(base_url, model, concurrency)
        if self._recipe is None:
            raise typer.BadParameter("model needs a recipe; see: alttrain recipes", param_hint="--recipe")
        return engine_asker(Recipe.load(self._recipe))

    def _figures(self, usage: Usage) -> str:
        parts = [f"{usage.tokens:,} tokens", f"{usage.failures} errors"]
        if self._price:
            dollars = usage.prompt_tokens * self._price[0] + usage.completion_tokens * self._price[1]
            parts.insert(1, f"${dollars / 1e6:.4f}")
        return " · ".join(parts)


def _report(built: Built) -> None:
    console.print_audit(built.facts)
    console.print_lines(
        [
            ("rows:", built.rows),
            ("manifest:", built.manifest),
            *([("set aside:", built.dropped)] if built.dropped else []),
            ("next:", f"alttrain train --recipe NAME --data {built.rows}"),
        ]
    )
    for source in built.facts["sources"]:
        if source["samples"] < (source["wanted"] or 0):
            console.print_warning(f"{source['name']} has {source['samples']:,} of {source['wanted']:,} rows.")
    for missing in {"harmful", "benign"} - built.audit.labels.keys():
        console.print_warning(
            f"no {missing} rows: training needs both. Add --source FILE with {missing} prompts, "
            "or --source starter."
        )


def _report_failures(rows: Path, helpers: _Helpers) -> None:
    """Warn of questions without an answer; where none was answered, the work was not done."""
    again = "The same command asks only these again."
    if not helpers.answers:
        raise GateError(f"{rows}: none of {helpers.failures:,} questions got an answer. {again}")
    console.print_warning(f"{helpers.failures:,} questions got no answer. {again}")


def _show(rows: Path, count: int) -> None:
    for row in islice(iter_rows(rows), count):
        console.print_row(row)


def _refuse_contradictions(rows: Path, result: Audit) -> None:
    found = result.contradictions
    if found:
        raise GateError(
            f"{rows}: {len(found)} rows contradict themselves, the first is {found[0].row}: "
            f"{found[0].problem}. Fix or remove them before training."
        )
