"""One export: checks, the trained model's own completions, the files, and the proof of each of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alttrain_cli.engine import quiet
from alttrain_cli.errors import GateError, RunError
from alttrain_cli.export.preflight import check_base, check_room
from alttrain_cli.export.proof import Proof
from alttrain_cli.progress import Progress
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.files import atomic_writer, write_json
from alttrain_cli.storage.lock import locked
from alttrain_cli.storage.new_folder import check_free, hidden_folder, publish
from alttrain_cli.storage.run import Run

FAILED = "-FAILED"  # the ending of a folder's name
PROOF, WARNING = "export.json", "PROOF-FAILED.txt"


@dataclass(frozen=True)
class Export:
    """A folder that was written, and its proof."""

    folder: Path
    proof: Proof


@dataclass(frozen=True)
class Job:
    """What is exported, where, and the prompts on which it is proved."""

    run: Run
    recipe: Recipe
    out: Path
    prompts: Sequence[str]

    def check(self) -> None:
        """Find out before anything is loaded what would fail later.

        Raises:
            AlttrainError: naming it, and the next step.
        """
        folder = self.folder
        check_free(folder)
        check_free(folder.with_name(folder.name + FAILED))
        check_base(self.run, self.recipe)
        check_room(self.recipe, self.out)

    @property
    def folder(self) -> Path:
        """The folder of the merged model."""
        return self.out / "merged"


def export(job: Job, progress: Progress) -> list[Export]:
    """Write the exports and prove them; each folder appears when it is whole.

    Raises:
        GateError: if a proof failed. The folder is kept, and marked in its name and by a file.
        AlttrainError: if nothing could be written.
    """
    job.check()
    with locked(job.out), hidden_folder(job.folder) as hidden:
        proof = _merged(job, hidden, progress)
        write_json(hidden / PROOF, proof.record())
        folder = job.folder
        if proof.problems:
            folder = folder.with_name(folder.name + FAILED)
            with atomic_writer(hidden / WARNING) as file:
                file.write("".join(f"{problem}.\n" for problem in proof.problems))
        publish(hidden, folder)
    return [Export(folder, proof)]


def check_proofs(exports: Sequence[Export]) -> None:
    """Fail if a proof failed.

    Raises:
        GateError: naming the folder and what is wrong.
    """
    for one in exports:
        if one.proof.problems:
            raise GateError(f"{one.folder}: the proof failed: {'; '.join(one.proof.problems)}.")


def _merged(job: Job, hidden: Path, progress: Progress) -> Proof:
    with progress.status(f"Loading {job.run.path} ..."), quiet.captured(None):
        from alttrain_cli.engine.load import load_target
        from alttrain_cli.engine.memory import release_memory
        from alttrain_cli.engine.merge import save_merged
        from alttrain_cli.export.in_memory import InMemory
        from alttrain_cli.export.probes import Probes
        from alttrain_cli.export.proof import prove

        loaded = load_target(job.recipe, job.run.adapter_path)
    _check_template(job.run, loaded.template.fingerprint)
    with progress.status("Generating with base and adapter ..."), quiet.captured(None):
        probes = Probes.of(loaded, job.prompts, job.recipe.generation.max_new_tokens)
    with progress.status("Merging ..."), quiet.captured(None):
        save_merged(loaded, job.recipe.generation, hidden)
    del loaded
    release_memory()
    with progress.status("Generating with the merged model ..."), quiet.captured(None):
        model = InMemory.merged(job.recipe, hidden)
        proof = prove(probes, model)
        model.close()
    return proof


def _check_template(run: Run, fingerprint: str) -> None:
    if run.manifest().template not in (None, fingerprint):
        raise RunError(
            f"{run.path}: the base model's chat template has changed since this run was trained. "
            "Bring back the model as it was, or train again."
        )
