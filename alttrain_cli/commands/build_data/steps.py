"""The work of `alttrain build-data`: from sources to data.jsonl, or the audit of a data file."""

import shlex
from contextlib import ExitStack
from pathlib import Path

import typer

from alttrain_cli import console
from alttrain_cli.backends.open import open_later
from alttrain_cli.commands.build_data.options import BuildOptions
from alttrain_cli.commands.build_data.rules import (
    audit_rules,
    build_rules,
    check_build,
    read_price,
    served_by,
)
from alttrain_cli.commands.shared.rules import check, typed_again
from alttrain_cli.data.annotators import ANNOTATORS, SAMPLING, Annotator, BenignAnnotator
from alttrain_cli.data.audit import audit_file
from alttrain_cli.data.build import BuildResult, build
from alttrain_cli.data.outputs import Outputs
from alttrain_cli.data.part import SourceConfig
from alttrain_cli.data.responses import ResponseStore
from alttrain_cli.data.samples import SampleReader, read_prompts
from alttrain_cli.data.sources import Source
from alttrain_cli.data.starter import STARTER
from alttrain_cli.data.traces import MAX_TOKENS, TraceGenerator
from alttrain_cli.evaluation.suites.published import suite_prompts
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.lock import lock_folder
from alttrain_cli.storage.reading import check_ordinary
from alttrain_cli.training.fit import find_machine, recommended_recipe


def build_data(context: typer.Context, options: BuildOptions) -> None:
    check(audit_rules(context))
    if options.audited is not None:
        _audit(options.audited, _suites(options), options.show)
        return
    check_build(options)
    out = options.out
    sources, mixed = ([Source.parse(text) for text in given or ()] for given in (options.source, options.mix))
    price = read_price(options.price)
    reader = SampleReader.of(
        options.columns,
        options.label,
        needs_label=ANNOTATORS[options.annotator].needs_label,
        needs_response=options.generate_traces is None,
    )
    benign = SampleReader.of(options.columns, None, needs_label=False)
    check(build_rules(context, options, sources, mixed))
    suites = _suites(options)
    recipe = Recipe.load(options.recipe) if options.recipe else None
    with lock_folder(out, Outputs.of(out).lock), console.Reporter() as view, ExitStack() as opened:
        annotator, traces = _models(options, recipe, ResponseStore.beside(out, view, price), opened)
        configs = [
            *(
                SourceConfig(one, reader, options.style, annotator, options.on_disagreement, traces)
                for one in sources
            ),
            *(SourceConfig(one, benign, "original", BenignAnnotator()) for one in mixed),
        ]
        result = build(
            *(configs, out, options.seed, suites),
            overwrite=options.overwrite,
            first=options.show,
            progress=view,
        )
    _report(context, options, result)


def _suites(options: BuildOptions) -> dict[str, list[str]]:
    return suite_prompts(options.suite, options.suite_file or (), read_prompts)


def _models(
    options: BuildOptions, recipe: Recipe | None, store: ResponseStore, opened: ExitStack
) -> tuple[Annotator, TraceGenerator | None]:
    """Return the annotator and the trace generator. What both use is opened once."""
    judging = ANNOTATORS[options.annotator]
    backends = {
        kind: open_later(
            served_by(kind, options, recipe),
            store.progress,
            in_flight=options.concurrency,
            engine=options.program,
        )
        for kind in dict.fromkeys((judging.backend, options.generate_traces))
        if kind is not None
    }
    for backend in backends.values():
        opened.callback(backend.close)
    if judging.backend is None:
        annotator = judging.make()
    else:
        annotator = judging.make(store.responses(backends[judging.backend], "annotations", SAMPLING))
    if options.generate_traces is None:
        return annotator, None
    limit = recipe.generation.max_new_tokens if recipe else MAX_TOKENS
    system = recipe.model.system if recipe and options.generate_traces == "model" else None
    return annotator, TraceGenerator(backends[options.generate_traces], store, limit, system)


def _report(context: typer.Context, options: BuildOptions, result: BuildResult) -> None:
    with console.summary():
        console.print_result(result.record())
        console.print_build(result)
    result.audit.check(result.rows)
    if warning := result.usage.check(result.rows):
        console.print_warning(warning)
    if not result.is_enough and result.takes_starter:
        own = [one for one in options.source or () if not Source.parse(one).is_starter]
        words = [word for one in (*own, STARTER) for word in ("--source", one)]
        console.print_next(shlex.join([*typed_again(context, "source"), *words]))
        return
    _print_training(result.rows, one_label=not result.audit.has_both_labels)


def _print_training(rows: Path, *, one_label: bool) -> None:
    words = ["alttrain", "train", "--recipe", recommended_recipe(find_machine()), "--data", str(rows)]
    console.print_next(shlex.join([*words, *["--allow-one-label"] * one_label]))


def _audit(rows: Path, suites: dict[str, list[str]], show: int) -> None:
    check_ordinary(rows)
    with console.status(f"Auditing {rows} ..."):
        result = audit_file(rows, suites, first=show)
    console.print_result({"file": str(rows), "audit": result.record()})
    console.print_audit(result)
    result.check(rows)
    _print_training(rows, one_label=not result.has_both_labels)
