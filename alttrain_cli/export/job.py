"""One export: checks, what the trained model writes, the files, and the proof of each of them."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alttrain_cli.engine.licence import licence_of
from alttrain_cli.engine.source import locate
from alttrain_cli.errors import AlttrainError, GateError
from alttrain_cli.export.format import Format, TrainedModel
from alttrain_cli.export.preflight import Room, check_base, check_room, check_template
from alttrain_cli.export.proof import Proof, prove
from alttrain_cli.export.push import check_push, check_repository, push
from alttrain_cli.library_output import capture_output
from alttrain_cli.progress import Progress
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.runs.model_card import NAME as CARD
from alttrain_cli.runs.model_card import ModelCard
from alttrain_cli.storage.files import atomic_writer, write_json
from alttrain_cli.storage.folder_state import FolderState
from alttrain_cli.storage.licence import Licence
from alttrain_cli.storage.lock import lock_folder
from alttrain_cli.storage.new_folder import check_free, hidden_folder, publish
from alttrain_cli.storage.run import EXPORTED_RECIPE, Run
from alttrain_cli.structure.sections import order_of
from alttrain_cli.structure.verdict_form import NAME as VERDICT_FORM
from alttrain_cli.structure.verdict_form import VerdictForm

if TYPE_CHECKING:
    from alttrain_cli.export.probes import Probes

FAILED = "-FAILED"  # the ending of a folder's name
PROOF, WARNING = "export.json", "PROOF-FAILED.txt"


@dataclass(frozen=True)
class Export:
    """A folder that was written, and its proofs: one per file of a model."""

    folder: Path
    proofs: Sequence[Proof]
    next_step: str  # a command that uses it

    @property
    def problems(self) -> list[str]:
        return [f"{proof.export}: {problem}" for proof in self.proofs for problem in proof.problems]

    def record(self) -> dict[str, Any]:
        """Return what `export.json` holds."""
        return {"proofs": [proof.record() for proof in self.proofs]}


@dataclass(frozen=True)
class ExportJob:
    """What is exported, where, and the prompts on which it is proved."""

    run: Run
    recipe: Recipe
    out: Path
    formats: Sequence[Format]
    prompts: Sequence[str]
    repo: str | None  # on the hub, for the one format

    def check(self) -> Room:
        """Find out before anything is loaded what would fail later; return the room on the disk."""
        if self.repo is not None:
            if len(self.formats) != 1:
                raise AlttrainError(
                    "--push takes one format, because a repository holds one model. Give one --format."
                )
            check_repository(self.repo)
        for one in self.formats:
            one.check(self.recipe)
            check_free(self.out / one.name)
            check_free(self.out / (one.name + FAILED))
        with capture_output(None):  # the embedded model may be converted
            check_base(self.run, self.recipe)
        return check_room(self.recipe, self.out, sum(one.copies for one in self.formats))

    def files(self, one: Format) -> list[str]:
        """Return the names of the files in the folder of a format, which are those that an upload sends."""
        return [*one.files(self.run, self.recipe), CARD, EXPORTED_RECIPE, VERDICT_FORM, PROOF]

    def card(self) -> ModelCard:
        """Return the model card of the first format, without a proof."""
        licence = licence_of(self.recipe.model, locate(self.recipe))
        return ModelCard.of(self.run, self.recipe, self.formats[0].library, licence)


def export(job: ExportJob, progress: Progress) -> list[Export]:
    """Write the exports and prove them; a folder appears when it is whole, marked if its proof failed."""
    room = job.check()
    if room.needed is None:
        progress.warn(room.in_words)
    if job.repo is not None:
        check_push()
    with ExitStack() as stack:
        stack.callback(FolderState.begin(job.out, ()).undo)  # removes the folder again if it stays empty
        stack.enter_context(lock_folder(job.out))
        hidden = [stack.enter_context(hidden_folder(job.out / one.name)) for one in job.formats]
        probes, licence = _write(job, hidden, progress)
        with progress.status("Finishing the files ..."), capture_output(None):
            for one, folder in zip(job.formats, hidden, strict=True):
                one.convert(folder)
        exports = []
        for one, folder in zip(job.formats, hidden, strict=True):
            proofs = _prove(job, one, folder, probes, progress)
            exports.append(_publish(job, one, folder, proofs, licence))
    return exports


def push_proved(job: ExportJob, exports: Sequence[Export], progress: Progress) -> str | None:
    """Upload the export, if --push was given; return its address."""
    return push(exports[0].folder, job.repo, progress) if job.repo is not None else None


def check_proofs(exports: Sequence[Export]) -> None:
    """Fail if a proof failed, naming the folder and what is wrong."""
    for one in exports:
        if one.problems:
            raise GateError(f"{one.folder}: the proof failed. {'; '.join(one.problems)}.")


def _write(job: ExportJob, folders: Sequence[Path], progress: Progress) -> tuple["Probes", Licence | None]:
    """Write the formats that need the trained model; return its completions and its base's licence."""
    with progress.status(f"Loading {job.run.path} ..."), capture_output(None):
        from alttrain_cli.engine.load import load_target
        from alttrain_cli.engine.memory import release_memory
        from alttrain_cli.export.probes import Probes

        loaded = load_target(job.recipe, job.run.adapter_path)
        licence = licence_of(job.recipe.model, loaded.source)
    check_template(job.run, loaded.template.fingerprint)
    with progress.status("Generating with base and adapter ..."), capture_output(None):
        longest, order = job.recipe.generation.max_new_tokens, order_of(job.run)
        probes = Probes.of(loaded, job.prompts, longest, order)
    for one, folder in zip(job.formats, folders, strict=True):
        with progress.status(f"Writing {one.name} ..."), capture_output(None):
            one.write(TrainedModel(job.run, job.recipe, loaded), folder)
    del loaded
    release_memory()
    return probes, licence


def _prove(job: ExportJob, one: Format, folder: Path, probes: "Probes", progress: Progress) -> list[Proof]:
    proofs = []
    with progress.status(f"Proving {one.name} ..."), capture_output(None):
        for model in one.models(job.recipe, folder):
            try:
                proofs.append(prove(probes, model))
            finally:
                model.close()
    return proofs


def _publish(
    job: ExportJob, one: Format, hidden: Path, proofs: Sequence[Proof], licence: Licence | None
) -> Export:
    """Add what is not weights, and give the folder its name: a marked one if a proof failed."""
    made = Export(job.out / one.name, proofs, one.next_step(job.out / one.name))
    write_json(hidden / PROOF, made.record())
    lines = [line for proof in proofs for line in proof.in_words()]
    ModelCard.of(job.run, job.recipe, one.library, licence, lines).save(hidden)
    VerdictForm.of_run(job.run).save(hidden)
    if made.problems:
        made = replace(made, folder=made.folder.with_name(made.folder.name + FAILED))
        with atomic_writer(hidden / WARNING) as file:
            file.write("".join(f"{problem}.\n" for problem in made.problems))
    publish(hidden, made.folder)
    return made
