"""`alttrain runs`: list, show, compare and delete trained runs."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from alttrain_cli import console
from alttrain_cli.commands.shared.app import App, DefaultGroup
from alttrain_cli.commands.shared.completion import complete_run
from alttrain_cli.commands.shared.options import RunArgument, expand_path
from alttrain_cli.errors import AlttrainError, RunError
from alttrain_cli.runs.entry import find_entries, looked_in, open_entry
from alttrain_cli.runs.removal import check_removable, remove_checkpoints, remove_run, spare_checkpoints
from alttrain_cli.storage.run import Run, RunState
from alttrain_cli.storage.sizes import size_of
from alttrain_cli.text import counted

app = App(cls=DefaultGroup, help="List, compare and delete trained runs.")
RunsArgument = Annotated[
    list[Path], typer.Argument(metavar="RUN...", help="Run folders.", autocompletion=complete_run)
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")]
_IN = "Look for runs in this folder instead of runs/ and demo/. Repeat it for more folders."


@app.command("list")
def list_runs(
    folders: Annotated[list[Path] | None, typer.Option("--in", metavar="FOLDER", help=_IN)] = None,
) -> None:
    """List the runs in runs/ and demo/, newest first, with their state and results."""
    given = [expand_path(folder) or folder for folder in folders or ()]
    entries = find_entries(given)
    console.print_result([entry.record() for entry in entries])
    if not entries:
        console.print_lines([("runs:", f"none in {looked_in(given)}")])
        return console.print_next("alttrain runs --in ." if Run.all([Path()]) else "alttrain")
    console.print_runs(entries)
    console.print_next(shlex.join(["alttrain", "runs", "show", str(entries[0].path)]))


@app.command()
def show(run: RunArgument) -> None:
    """Show one run: its origin, its training, its evaluations, and its size on disk."""
    entry = open_entry(run)
    console.print_result(entry.record())
    console.print_run(entry, entry.next_after_show)


@app.command()
def compare(first: RunArgument, second: RunArgument) -> None:
    """Show which settings of two runs differ, and their results side by side."""
    from alttrain_cli.runs.comparison import differing_settings, score_pairs  # reads YAML: 0.1 s

    entries = (open_entry(first), open_entry(second))
    if first.resolve() == second.resolve():
        raise RunError(f"{second}: is the same run. Name another run.")
    settings = differing_settings(*entries)
    scores = [entry.scores for entry in entries]
    pairs = score_pairs(scores[0], scores[1]) if scores[0] and scores[1] else []
    console.print_result(
        {
            "runs": [entry.record() for entry in entries],
            "settings": [setting._asdict() for setting in settings],
            "scores": [pair.record() for pair in pairs],
        }
    )
    console.print_comparison(entries, settings, pairs)
    untrained = next((one for one in entries if one.state is not RunState.FINISHED), None)
    evaluate = shlex.join(["alttrain", "eval", str(first), "--baseline", str(second)])
    console.print_next(untrained.next_command if untrained else evaluate)


@app.command("rm")
def remove(runs: RunsArgument, yes: YesOption = False) -> None:
    """Delete runs with everything in their folders. You are asked first. A run in use is not deleted."""
    runs = _once(runs)
    for run in runs:
        state = open_entry(run).state
        check_removable(run)
        if state is RunState.TRAINING:
            raise RunError(f"{run}: is being trained. Stop it first.")
    sizes = [(run, size_of(run)) for run in runs]
    console.print_sizes(sizes)
    if not _agreed(f"Delete {'this run' if len(runs) == 1 else f'these {len(runs)} runs'}?", yes=yes):
        return
    for run in runs:
        remove_run(run)
        console.print_lines([("deleted:", run)])
    _print_deleted(sizes)


@app.command()
def prune(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN...", help="Run folders. Default: all.", autocompletion=complete_run),
    ] = None,
    yes: YesOption = False,
) -> None:
    """Delete checkpoints that are no longer needed: all of a finished run, and all but the latest of others.

    A run that is being trained is not changed.
    """
    entries = [open_entry(run) for run in _once(runs)] if runs else find_entries([])
    idle = [Run(one.path) for one in entries if one.state not in (RunState.TRAINING, RunState.DAMAGED)]
    spare = [(path, size_of(path)) for run in idle for path in spare_checkpoints(run)]
    if not spare:
        console.print_lines([("checkpoints:", "none to delete")])
        _print_deleted([])
        return
    console.print_sizes(spare)
    if not _agreed(f"Delete {counted(len(spare), 'checkpoint')}?", yes=yes):
        return
    for run in idle:
        remove_checkpoints(run)
    console.print_lines([("deleted:", counted(len(spare), "checkpoint"))])
    _print_deleted(spare)


def _print_deleted(sizes: Sequence[tuple[Path, int]]) -> None:
    console.print_result({"deleted": [{"path": str(path), "bytes": size} for path, size in sizes]})


def _once(runs: list[Path]) -> list[Path]:
    """Return the runs, each once, in whatever ways it is written."""
    return list({run.resolve(): run for run in runs}.values())


def _agreed(question: str, *, yes: bool) -> bool:
    if yes:
        return True
    if not _is_interactive():
        raise AlttrainError(
            "Nothing was deleted: there is no terminal to confirm it. To delete without one, add --yes."
        )
    agreed = typer.confirm(question, default=False, err=True)
    if not agreed:
        console.print_lines([("deleted:", "nothing")])
        _print_deleted([])
    return agreed


def _is_interactive() -> bool:
    return sys.stdin.isatty()
