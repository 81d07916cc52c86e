"""`alttrain study`: plan, run and show a grid of trainings and evaluations."""

import typer

from alttrain_cli import console
from alttrain_cli.commands.shared.app import App, DefaultGroup
from alttrain_cli.commands.shared.every_command import answer_in_json
from alttrain_cli.commands.shared.options import take_options
from alttrain_cli.commands.shared.rules import check
from alttrain_cli.commands.study.options import (
    StudyPlanOptions,
    StudyRunOptions,
    StudyTableOptions,
    run_rules,
    table_rules,
)
from alttrain_cli.storage.shipped_files import shipped_studies

app = App(
    cls=DefaultGroup,
    help="Run a grid of trainings and evaluations, and show its table.\n\nShipped studies: "
    f"{', '.join(path.stem for path in shipped_studies())}.",
)


@app.command()
@take_options(StudyPlanOptions)
def plan(context: typer.Context, options: StudyPlanOptions) -> None:
    """Show the steps of a study, which of them are done, and their cost."""
    from alttrain_cli.study.plan import plan_study
    from alttrain_cli.training.fit import find_machine
    from alttrain_cli.training.time_plan import renew_rate

    machine = find_machine(options.gpu)
    place = options.open()
    with console.status("Estimating memory and time ...", lines=False):
        renew_rate(machine)
        planned = plan_study(place.grid, place.folder, machine)
    console.print_result([step.record(options.price_of_step) for step in planned.steps])
    console.print_study_plan(planned, place.folder, options.jobs, options.price_of_step)
    console.print_next(place.command("table" if planned.is_done else "run"))


@app.command("list")
def list_studies() -> None:
    """List the studies that come with alttrain, with what each compares."""
    from alttrain_cli.study.file import StudyFile

    studies = {path.stem: StudyFile.load(path.stem) for path in shipped_studies()}
    console.print_result(
        [{"study": name, **one.model_dump(mode="json", exclude_unset=True)} for name, one in studies.items()]
    )
    console.print_studies(studies)
    console.print_next("alttrain study plan smoke")


@app.command()
@take_options(StudyRunOptions)
def run(context: typer.Context, options: StudyRunOptions) -> None:
    """Run all steps that are not done, and show the table. To resume, run the same command again."""
    from alttrain_cli.training.fit import find_machine

    check(run_rules(context, options.on))
    place = options.open()
    if options.on == "slurm":
        submitted = place.submit(find_machine(options.gpu), options.of_sbatch)
        console.print_result([one.record() for one in submitted])
        console.print_submitted(submitted)
        console.print_next(place.command("plan"))
        return
    failures = place.run(options.jobs, console.StudyView())
    table = place.read_table()
    console.print_result({**table.record(), "page": str(place.page)})
    console.print_study_table(table, place.page)
    place.write_page(table)  # last: in a folder of others, or on a full disk, it fails
    place.check(failures)
    console.print_next(place.command("table", "--format", "markdown"))


@app.command()
@take_options(StudyTableOptions)
def table(context: typer.Context, options: StudyTableOptions) -> None:
    """Show the table of the finished steps, and write it as a page."""
    from alttrain_cli.study.formats import FORMATS

    check(table_rules(context, options))
    place = options.open()
    found = place.read_table()
    if options.form == "json":
        answer_in_json(context)
    console.print_result({**found.record(), "page": str(place.page)})
    if options.form in FORMATS:
        console.print_text(FORMATS[options.form](found))
    else:
        console.print_study_table(found, place.page)
    place.write_page(found)
    if options.form not in FORMATS:
        to_do = place.command("run") if found.missing else place.command("table", "--format", "markdown")
        console.print_next(to_do)
