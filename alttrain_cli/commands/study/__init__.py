"""`alttrain study`: plan, run and show a grid of trainings and evaluations."""

import typer

from alttrain_cli import console
from alttrain_cli.commands.shared.app import App, DefaultGroup
from alttrain_cli.commands.shared.options import GpuOption, JsonOption
from alttrain_cli.commands.shared.rules import check, check_not_empty
from alttrain_cli.commands.study.options import (
    FormatOption,
    JobsOption,
    OnOption,
    OutOption,
    PriceOption,
    SbatchOption,
    StudyArgument,
    StudySetOption,
    run_rules,
    sbatch_options,
)
from alttrain_cli.storage.shipped_files import shipped_studies

app = App(
    cls=DefaultGroup,
    help="Run a grid of trainings and evaluations, and show its table.\n\nShipped studies: "
    f"{', '.join(path.stem for path in shipped_studies())}.",
)


@app.command()
def plan(
    context: typer.Context,
    study: StudyArgument,
    overrides: StudySetOption = None,
    out: OutOption = None,
    gpu: GpuOption = "auto",
    jobs: JobsOption = 1,
    price: PriceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the steps of a study, which of them are done, and their cost."""
    from alttrain_cli.study.place import open_study
    from alttrain_cli.study.plan import plan_study
    from alttrain_cli.training.fit import find_machine

    check_not_empty(context)
    machine = find_machine(gpu)
    place = open_study(study, overrides or (), out)
    with console.status("Estimating memory and time ...", lines=False):
        planned = plan_study(place.grid, place.folder, machine)
    if as_json:
        for step in planned.steps:
            console.print_json(step.record())
        return
    console.print_study_plan(planned, place.folder, jobs, price)
    console.print_next(place.command("table" if planned.is_done else "run"))


@app.command()
def run(
    context: typer.Context,
    study: StudyArgument,
    overrides: StudySetOption = None,
    out: OutOption = None,
    jobs: JobsOption = 1,
    on: OnOption = "local",
    gpu: GpuOption = "auto",
    sbatch: SbatchOption = None,
) -> None:
    """Run all steps that are not done, and show the table. To resume, run the same command again."""
    from alttrain_cli.study.place import open_study
    from alttrain_cli.training.fit import find_machine

    check_not_empty(context)
    check(run_rules(context, on))
    place = open_study(study, overrides or (), out)
    if on == "slurm":
        console.print_submitted(place.submit(find_machine(gpu), sbatch_options(sbatch or ())))
        console.print_next(place.command("plan"))
        return
    failures = place.run(jobs, console.StudyView())
    table, page = place.table()
    console.print_study_table(table, page)
    place.check(failures)
    console.print_next(place.command("table", "--format", "markdown"))


@app.command()
def table(
    context: typer.Context,
    study: StudyArgument,
    overrides: StudySetOption = None,
    out: OutOption = None,
    form: FormatOption = "terminal",
) -> None:
    """Show the table of the finished steps, and write it as a page."""
    from alttrain_cli.study.formats import FORMATS
    from alttrain_cli.study.place import open_study

    check_not_empty(context)
    place = open_study(study, overrides or (), out)
    found, page = place.table()
    if form == "json":
        console.print_json(found.record())
    elif form in FORMATS:
        typer.echo(FORMATS[form](found), nl=False)
    else:
        console.print_study_table(found, page)
        to_do = place.command("run") if found.missing else place.command("table", "--format", "markdown")
        console.print_next(to_do)
