"""Runs on the screen: their list, one in detail, two side by side."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.cells import cell_len

from alttrain_cli.console.figures import estimate_in_words, size_in_words
from alttrain_cli.console.pairs import print_lines
from alttrain_cli.console.terminal import duration, out, print_next, print_table
from alttrain_cli.errors import AlttrainError
from alttrain_cli.runs.scores import PAGE, HeldOutTally, Tally, evaluation_of
from alttrain_cli.storage.run import Run
from alttrain_cli.storage.sizes import size_of
from alttrain_cli.text import date_and_time

if TYPE_CHECKING:
    from alttrain_cli.runs.comparison import ScorePair, Setting
    from alttrain_cli.runs.entry import RunEntry

_COLUMNS = ("run", "state", "loss", "all\nsections", "harmful\nrefused", "benign\nrefused", "size")
_RESULTS = ("state", "started", *_COLUMNS[2:], "tokens/s", "training time", "peak memory")
_ROOM = 23  # columns for the names; with them the table fits into 80
_IN_BRACKETS = "in brackets: from held-out prompts after training"


def print_runs(entries: Sequence["RunEntry"], *, numbered: bool = False) -> None:
    """Print runs; what is not known is empty. With numbers a person can choose one."""
    rows = [(_names(one), f"{one.state}\n{_begun(one)}".strip(), *_figures(one)) for one in entries]
    if numbered:
        rows = [(f"{number}  {row[0]}", *row[1:]) for number, row in enumerate(rows, 1)]
    print_table(_COLUMNS, rows, left=(0, 1), whole=range(len(_COLUMNS)))
    long = dict.fromkeys(entry.path.parent for entry in entries if cell_len(str(entry.path)) > _ROOM)
    print_lines(("in:", folder.absolute()) for folder in long)
    print_lines(("problem:", entry.problem) for entry in entries if entry.problem)
    _print_counts(entries)


def print_run(entry: "RunEntry", next_step: str) -> None:
    print_lines([*_origin(entry), *_training(entry), *_files(entry)])
    if entry.scores:
        rows = [
            row
            for suite in entry.scores.suites
            for row in [(*one[:2], estimate_in_words(one.estimate)) for one in suite.rates()]
            or [(suite.full_name, "no completions", "-")]
        ]
        print_table(("evaluation", "rate", "count and 95% interval"), rows, left=(0, 1, 2))
    print_next(next_step)


def print_comparison(
    entries: Sequence["RunEntry"], settings: Sequence["Setting"], scores: Sequence["ScorePair"]
) -> None:
    """Print the settings of two runs that differ, and their results side by side."""
    names = [str(entry.path) for entry in entries]
    print_lines(("problem:", entry.problem) for entry in entries if entry.problem)
    if settings:
        print_table(("setting", *names), settings, left=(0, 1, 2))
    else:
        print_lines([("settings:", "the same")])
    out().print()
    values = [(entry.state, _begun(entry), *_figures(entry), *_speed(entry)) for entry in entries]
    results = [name.replace("\n", " ") for name in _RESULTS]
    print_table(("result", *names), zip(results, *values, strict=True))
    _print_counts(entries)
    if scores:
        out().print()
        rows = [
            (f"{one.suite}\n  {one.title}", estimate_in_words(one.first), estimate_in_words(one.second))
            for one in scores
        ]
        print_table(("evaluation", *names), rows)


def print_sizes(what: Sequence[tuple[Path, int]]) -> None:
    """Print the folders to delete, with their sizes."""
    print_lines((f"{size_in_words(count)}:", path) for path, count in what)


def _print_counts(entries: Sequence["RunEntry"]) -> None:
    """Print what counts in brackets are, if there are any."""
    tallies = [tally for entry in entries for tally in _tallies(entry) if tally]
    if any(isinstance(tally, HeldOutTally) for tally in tallies):
        evaluated = not all(isinstance(tally, HeldOutTally) for tally in tallies)
        print_lines([("counts:", f"from the evaluation; {_IN_BRACKETS}" if evaluated else _IN_BRACKETS)])


def _names(entry: "RunEntry") -> str:
    """Return run, recipe and data; of a long path the last part."""
    data = entry.manifest.data
    paths = [entry.path, *([Path(data.path)] if data else [])]
    run, *more = [str(path) if cell_len(str(path)) <= _ROOM else path.name for path in paths]
    return "\n  ".join(filter(None, (run, entry.manifest.recipe, *more)))


def _begun(entry: "RunEntry") -> str:
    return entry.manifest.begun[:10]


def _figures(entry: "RunEntry") -> tuple[str, ...]:
    loss = entry.manifest.loss
    return (
        f"{loss.last:.2f}" if loss else "",
        *map(_tally, _tallies(entry)),
        size_in_words(entry.bytes),
    )


def _tallies(entry: "RunEntry") -> tuple[Tally | None, ...]:
    return (entry.structure, entry.refused("harmful"), entry.refused("benign"))


def _tally(tally: Tally | None) -> str:
    if tally is None:
        return ""
    shown = f"{tally.hits}/{tally.n}"
    return f"({shown})" if isinstance(tally, HeldOutTally) else shown


def _speed(entry: "RunEntry") -> tuple[str, ...]:
    manifest = entry.manifest
    return (
        f"{manifest.tokens_per_second:.0f}" if manifest.tokens_per_second else "",
        duration(manifest.seconds_training) if manifest.seconds_training else "",
        f"{manifest.peak_memory_gib:.1f} GiB" if manifest.peak_memory_gib else "",
    )


def _origin(entry: "RunEntry") -> Iterator[tuple[str, object]]:
    manifest, data, base = entry.manifest, entry.manifest.data, entry.manifest.base
    yield "run:", entry.path
    yield "state:", f"{entry.state}{f' ({manifest.error})' if manifest.error else ''}"
    if entry.problem:
        yield "problem:", entry.problem
    changes = "".join(f" --set {change}" for change in manifest.overrides)
    if manifest.recipe:
        yield "recipe:", f"{manifest.recipe}{changes}"
    if base:
        yield "model:", f"{base.name}{f' at {base.commit}' if base.commit else ''}"
    if data:
        labels = ", ".join(f"{count} {label}" for label, count in sorted(data.labels.items()))
        yield "data:", f"{data.path}: {data.rows:,} rows ({labels}), sha256 {data.sha256[:12]}"
    if found := entry.data_manifest:
        yield from (("source:", f"{source.name}: {source.in_words(digits=12)}") for source in found.sources)
    if manifest.begun:
        yield "started:", date_and_time(manifest.begun)
        software = f"alttrain {manifest.alttrain}, Python {manifest.python}"
        yield "software:", f"{software} on {manifest.device or 'cpu'}"


def _training(entry: "RunEntry") -> Iterator[tuple[str, object]]:
    manifest = entry.manifest
    if manifest.loss:
        steps = f"{manifest.steps} of {manifest.plan.steps}" if manifest.plan else f"{manifest.steps}"
        yield "loss:", f"{manifest.loss.first:.3f} -> {manifest.loss.last:.3f} in {steps} steps"
        seconds = duration(manifest.seconds_training)
        yield "speed:", f"{manifest.tokens_per_second:.0f} tokens/s, {seconds} of training"
    if manifest.peak_memory_gib:
        yield "peak memory:", f"{manifest.peak_memory_gib:.1f} GiB"
    for counts in manifest.canary:
        yield "canary:", f"step {counts.step}: {counts.in_words()}"
    if manifest.probes:
        yield "held-out:", manifest.probes.in_words()
        if manifest.probes.advice:
            yield "advice:", manifest.probes.advice


def _files(entry: "RunEntry") -> Iterator[tuple[str, object]]:
    run = Run(entry.path)
    parts = {
        "adapter": run.adapter_path,
        "checkpoints": run.checkpoints_path,
        "evaluation": entry.path / "eval",
        "export": entry.path / "export",
    }
    sizes = [f"{name} {size_in_words(size_of(path))}" for name, path in parts.items() if path.is_dir()]
    yield "on disk:", f"{size_in_words(entry.bytes)}{': ' if sizes else ''}{', '.join(sizes)}"
    if run.curve_path.is_file():
        yield "curve:", run.curve_path
    if entry.scores:
        yield "page:", evaluation_of(entry.path) / PAGE
    if calibration := _calibration(run):
        yield "calibration:", calibration


def _calibration(run: Run) -> str:
    """Return the calibrated threshold in words, or why it does not hold; empty without one."""
    try:
        found = run.calibration()
    except AlttrainError as error:
        return str(error)
    return found.in_words() if found else ""
