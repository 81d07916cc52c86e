"""`alttrain build-data`: from sources to data.jsonl, or the audit of a data file."""

from itertools import islice
from pathlib import Path

import typer

from alttrain_cli import console
from alttrain_cli.backends.open import open_later
from alttrain_cli.commands import build_options as options
from alttrain_cli.commands.options import check, check_not_empty
from alttrain_cli.data.annotators import SAMPLING, BenignAnnotator, ModelAnnotator, Template
from alttrain_cli.data.audit import audit
from alttrain_cli.data.build import build
from alttrain_cli.data.outputs import Outputs
from alttrain_cli.data.part import SourceConfig
from alttrain_cli.data.prompts import read_prompts
from alttrain_cli.data.responses import ResponseStore
from alttrain_cli.data.samples import SampleReader
from alttrain_cli.data.sources import Source
from alttrain_cli.data.traces import MAX_TOKENS, TraceGenerator
from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.suites.prompts import suite_prompts
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.files import is_folder
from alttrain_cli.storage.lock import locked
from alttrain_cli.structure.row import iter_rows


def build_data(
    context: typer.Context,
    source: options.SourceOption = None,
    mix: options.MixOption = None,
    out: options.OutOption = Path("data.jsonl"),
    overwrite: options.OverwriteOption = False,
    columns: options.ColumnsOption = None,
    label: options.LabelOption = None,
    style: options.StyleOption = "alttrain",
    annotator: options.AnnotatorOption = "template",
    trust: options.TrustOption = None,
    traces_from: options.TracesOption = None,
    base_url: options.UrlOption = None,
    model: options.ModelOption = None,
    recipe: options.BaseRecipeOption = None,
    concurrency: options.ConcurrencyOption = 32,
    price: options.PriceOption = None,
    seed: options.SeedOption = 1995,
    suite: options.SuiteOption = "smoke",
    suite_file: options.SuiteFileOption = None,
    audited: options.AuditOption = None,
    show: options.ShowOption = 0,
) -> None:
    """Build a training data file from reasoning traces.

    Each row teaches three steps: understand the request, assess its harm,
    then refuse or solve. Model answers are saved as they arrive. To resume
    after an interruption, run the same command again; only missing answers
    are requested.
    """
    check_not_empty(context, "suite")
    check(options.audit_rules(context))
    if audited is not None:
        _audit(audited, suite_prompts(suite, suite_file or (), read_prompts), show)
        return
    if is_folder(out):
        raise DataError(f"--out {out}: a folder, but a file is needed, for example {out / 'data.jsonl'}")
    if not source and not mix:
        raise typer.BadParameter("give at least one; try --source starter", param_hint="--source")
    options.check_style(style, traces_from)
    sources, mixed = ([Source.parse(text) for text in given or ()] for given in (source, mix))
    dollars = options.read_price(price)
    reader = SampleReader.of(
        columns, label, needs_label=annotator == "template", needs_response=traces_from is None
    )
    benign = SampleReader.of(columns, None, needs_label=False)
    check(options.build_rules(context, sources, mixed))
    suites = suite_prompts(suite, suite_file or (), read_prompts)
    named = Recipe.load(recipe) if recipe else None
    with locked(out, Outputs.of(out).lock), console.WorkView() as view:
        store = ResponseStore.beside(out, view, dollars)
        backends = {
            kind: open_later(options.served_by(kind, base_url, model, named), view, in_flight=concurrency)
            for kind in dict.fromkeys((annotator, traces_from))
            if kind is not None and kind != "template"
        }
        judge = (
            Template()
            if annotator == "template"
            else ModelAnnotator(store.responses(backends[annotator], "annotations", SAMPLING))
        )
        limit = named.generation.max_new_tokens if named else MAX_TOKENS
        traces = TraceGenerator(backends[traces_from], store, limit) if traces_from else None
        result = build(
            [
                *(SourceConfig(one, reader, style, judge, trust, traces) for one in sources),
                *(SourceConfig(one, benign, "original", BenignAnnotator()) for one in mixed),
            ],
            out,
            seed,
            suites=suites,
            overwrite=overwrite,
            progress=view,
        )
    with console.summary():
        console.print_build(result.facts, result.rows, result.manifest, result.dropped)
        for warning in result.warnings:
            console.print_warning(warning)
        _show(result.rows, show)
    result.audit.check(result.rows)
    if warning := result.usage.check(result.rows):
        console.print_warning(warning)


def _audit(rows: Path, suites: dict[str, list[str]], show: int) -> None:
    with console.status(f"Auditing {rows} ..."):
        result = audit(iter_rows(rows), suites)
    console.print_audit(result.facts())
    _show(rows, show)
    result.check(rows)


def _show(rows: Path, count: int) -> None:
    for row in islice(iter_rows(rows), count):
        console.print_row(row)
