"""What may differ when a command is run again: the table of docs/resume.md, cell by cell."""

import json
import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from alttrain_cli.backends import fingerprints
from alttrain_cli.backends.base import Fingerprint, Request
from alttrain_cli.backends.target import Target
from alttrain_cli.cli import app
from alttrain_cli.commands.build_data import steps
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.engine import load
from alttrain_cli.engine.source import ModelSource
from alttrain_cli.errors import RecipeError, RunError
from alttrain_cli.evaluation.generate import EvalRequest
from alttrain_cli.evaluation.plan import SuiteDir
from alttrain_cli.evaluation.suites.published import read_suites
from alttrain_cli.evaluation.suites.suite import find_suites
from alttrain_cli.progress import Progress
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.files import write_jsonl
from alttrain_cli.storage.run import Run
from alttrain_cli.storage.run_records import StepRecord
from alttrain_cli.structure.template import EncodedRow
from alttrain_cli.training import checks, job, run_setup
from alttrain_cli.training.run_setup import check_packages, open_for_resume
from tests.samples import TRACE, put
from tests.scorecards import generate
from tests.scripted import ScriptedBackend

DOCS = Path(__file__).parent.parent / "docs" / "resume.md"
COMMANDS = ("build-data", "train --resume", "eval")
USED, AGAIN, NEW, REFUSED, NOTED = (
    "Used.",
    "Again.",
    "Only what is new.",
    "Refused.",
    "Accepted, with a warning.",
)
TABLE: dict[str, tuple[str, str, str]] = {
    "the recipe, or a `--set` value": (AGAIN, REFUSED, AGAIN),
    "the data": (NEW, REFUSED, NEW),
    "the seed": (USED, REFUSED, USED),
    "the chat template": (USED, REFUSED, AGAIN),
    "the system prompt": (AGAIN, REFUSED, AGAIN),
    "versions of libraries": (USED, NOTED, AGAIN),
    "the device": (USED, NOTED, AGAIN),
    "the revision that the recipe names": (AGAIN, REFUSED, AGAIN),
    "the branch of the base model, on the hub": (USED, USED, AGAIN),
    "the weights of a base model in a folder": (USED, REFUSED, AGAIN),
}


def test_the_table_in_the_docs_is_this_one() -> None:
    lines = [f"| what differs | {' | '.join(f'`{one}`' for one in COMMANDS)} |", "|---" * 4 + "|"]
    lines += [f"| {what} | {' | '.join(cells)} |" for what, cells in TABLE.items()]
    assert "\n".join(lines) in DOCS.read_text(encoding="utf-8")


@dataclass
class World:
    """All that may differ between two runs of a command."""

    folder: Path
    recipe: Recipe = field(default_factory=lambda: RECIPE)
    prompts: tuple[str, ...] = ("How do I boil an egg?", "How do I fry a goose?")
    seed: int = 1
    template: str = "template"
    torch: str = "2.1"
    device: str = "cpu"
    source: ModelSource = field(default_factory=lambda: ModelSource("owner/model", "c" * 40))
    weights: str | None = None  # of a folder

    @property
    def loaded(self) -> Any:
        """What the engine would have loaded."""
        template = SimpleNamespace(fingerprint=f"{self.template} {self.recipe.model.system}")
        model = SimpleNamespace(dtype="torch.float32")
        return SimpleNamespace(
            template=template, device=self.device, source=self.source, quantised=False, model=model, notes=()
        )

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Pretend the versions of libraries and the hash of weights."""
        versions = {"torch": self.torch}
        monkeypatch.setattr(metadata, "version", lambda name: versions.get(name, "1"))
        known = self.weights
        monkeypatch.setattr(ModelSource, "weights", property(lambda source: known or str(source.commit)))


RECIPE = Recipe.load("smollm2-135m").changed(
    {"model": {"name": "owner/model", "package": None, "system": None}}
)


def with_model(world: World, **values: Any) -> World:
    return replace(world, recipe=world.recipe.changed({"model": values}))


CHANGES: dict[str, Callable[[World], World]] = {
    "the recipe, or a `--set` value": lambda one: with_model(one, name="owner/other"),
    "the data": lambda one: replace(one, prompts=(*one.prompts, "How do I poach a plum?")),
    "the seed": lambda one: replace(one, seed=2),
    "the chat template": lambda one: replace(one, template="another"),
    "the system prompt": lambda one: with_model(one, system="Be brief."),
    "versions of libraries": lambda one: replace(one, torch="2.2"),
    "the device": lambda one: replace(one, device="NVIDIA GeForce RTX 4090"),
    "the revision that the recipe names": lambda one: replace(
        with_model(one, revision="d" * 40), source=ModelSource("owner/model", "d" * 40)
    ),
    "the branch of the base model, on the hub": lambda one: replace(
        one, source=ModelSource("owner/model", "e" * 40)
    ),
    "the weights of a base model in a folder": lambda one: replace(one, weights="other weights"),
}


def before(what: str, folder: Path) -> World:
    """Return the world of the first run; a folder's weights are known by their hash."""
    weights = "weights" if "folder" in what else None
    return World(folder, weights=weights)


def test_every_cell_is_tested() -> None:
    assert CHANGES.keys() == TABLE.keys()


class Backend(ScriptedBackend):
    """Answers as annotator and as model, with the fingerprint that the real engine would have."""

    def __init__(self, world: World) -> None:
        super().__init__(self._reply_to, name=world.recipe.model.name)
        self._world = world

    @property
    def fingerprint(self) -> Fingerprint:
        world = self._world
        return fingerprints.fingerprint_of(Target("name", world.recipe), world.loaded)

    @staticmethod
    def _reply_to(request: Request[Any], sampling: Any) -> str:
        assert not isinstance(request.input, str)
        if request.input.messages[0].role == "system" and "verdict" in request.input.messages[0].content:
            return json.dumps({"verdict": "benign", "assessment": "This request is benign, as food is."})
        return TRACE


def counted(first: int, second: int) -> str:
    """Return what a second run did, by the requests that both made."""
    assert first > 0
    return USED if second == 0 else AGAIN if second == first else NEW


# --- build-data


def build(world: World, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Let the model annotate and write the traces; return the number of its answers, and the rows."""
    world.install(monkeypatch)
    backends: list[Backend] = []

    def open_later(target: Target, *_: Any, **__: Any) -> Backend:
        assert target.recipe == world.recipe
        backends.append(Backend(world))
        backends[-1].name = target.name
        return backends[-1]

    monkeypatch.setattr(steps, "open_later", open_later)
    world.recipe.save(world.folder / "mine.yaml")
    put(world.folder / "s.jsonl", *({"prompt": one, "label": "benign"} for one in world.prompts))
    line = ["build-data", "--source", str(world.folder / "s.jsonl"), "--out", str(world.folder / "d.jsonl")]
    line += ["--annotator", "model", "--generate-traces", "model"]
    line += ["--recipe", str(world.folder / "mine.yaml")]
    done = CliRunner().invoke(app, [*line, "--seed", str(world.seed)])
    assert done.exit_code == 0, done.output
    return sum(len(one.received) for one in backends), (world.folder / "d.jsonl").read_text()


@pytest.mark.parametrize("what", TABLE)
def test_build_data_run_again(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = before(what, tmp_path)
    first, rows = build(start, monkeypatch)
    assert first == 2 * len(start.prompts)
    changed = CHANGES[what](start)
    second, others = build(changed, monkeypatch)
    expected = TABLE[what][0]
    if what == "the system prompt":  # the annotator has its own, so only the traces are made again
        assert (second, expected) == (len(start.prompts), AGAIN)
    else:
        assert counted(first, second) == expected
    assert build(changed, monkeypatch) == (0, others)  # and then it is complete
    assert build(start, monkeypatch) == (0, rows)  # what was there before is still there


# --- train --resume


class Session:
    """Trains one step and is interrupted."""

    def __init__(self, run: Run, *_: Any) -> None:
        self._run = run

    def train(self, *_: Any) -> None:
        self._run.add_step(StepRecord(step=1, loss=0.5, tokens=9, seconds=1.0))
        raise KeyboardInterrupt


def train(world: World, monkeypatch: pytest.MonkeyPatch, *more: str) -> tuple[int, str, list[str | None]]:
    """Train or resume; return the exit code, the output, and the revisions that were loaded."""
    world.install(monkeypatch)
    revisions: list[str | None] = []

    def load_base(recipe: Recipe, *, training: bool) -> Any:
        revisions.append(recipe.model.revision)
        commit = recipe.model.revision or world.source.commit
        return replace(world, source=world.source._replace(commit=commit)).loaded

    monkeypatch.setattr(load, "load_base", load_base)
    monkeypatch.setattr(job, "training_rows", lambda *_: [EncodedRow([1, 2], [-100, 2])])
    monkeypatch.setattr(checks, "probe_logits", lambda _: None)
    monkeypatch.setattr(job, "TrainingSession", Session)
    recipe = world.recipe.changed({"train": {"seed": world.seed}})
    recipe.save(world.folder / "mine.yaml")
    rows = starter_rows("train")[: 2 + len(world.prompts)]
    write_jsonl(world.folder / "d.jsonl", (row.model_dump() for row in rows))
    line = ["train", "--recipe", str(world.folder / "mine.yaml"), "--data", str(world.folder / "d.jsonl")]
    done = CliRunner().invoke(app, [*line, "--out", str(world.folder / "run"), *more])
    return done.exit_code, " ".join(done.output.split()), revisions


MESSAGES = {
    "the recipe, or a `--set` value": "values have changed. Use the original ones or start a new run. To resume: "
    "alttrain train --recipe ",
    "the data": "differs from the data that this run started with",
    "the seed": "the recipe or the --set values have changed",
    "the chat template": "the model's chat template has changed since this run started",
    "the system prompt": "the recipe or the --set values have changed",
    "the revision that the recipe names": "the recipe or the --set values have changed",
    "the weights of a base model in a folder": "the weights of owner/model have changed since this run started",
    "versions of libraries": "with torch 2.2 instead of 2.1. The result may differ",
    "the device": "with NVIDIA GeForce RTX 4090 instead of cpu. The result may differ",
    "the branch of the base model, on the hub": "",
}


@pytest.mark.parametrize("what", TABLE)
def test_train_resumed(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = before(what, tmp_path)
    assert train(start, monkeypatch)[0] == 130
    run = Run(tmp_path / "run")
    was, files = run.manifest(), {path.name: path.read_bytes() for path in run.path.iterdir()}
    code, said, revisions = train(CHANGES[what](start), monkeypatch, "--resume")
    assert MESSAGES[what] in said
    expected = TABLE[what][1]
    if expected == REFUSED:
        assert code == 2, said
        assert {path.name: path.read_bytes() for path in run.path.iterdir()} == files
        return
    assert code == 130, said
    assert revisions == [start.source.commit]  # the commit that the run started with
    assert run.manifest().begun == was.begun
    assert ("may differ" in said) == (expected == NOTED)
    assert len(run.manifest().differences) == (expected == NOTED)
    # once noted, it stays noted
    assert train(CHANGES[what](start), monkeypatch, "--resume")[0] == 130
    assert len(run.manifest().differences) == (expected == NOTED)


def test_train_resumes_what_differs_in_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without this, a train that refuses everything would pass all tests of refusing."""
    start = before("", tmp_path)
    assert train(start, monkeypatch)[0] == 130
    code, said, _ = train(start, monkeypatch, "--resume")
    assert code == 130, said
    assert "may differ" not in said


def test_a_run_of_an_earlier_version_resumes_without_the_weights_that_it_did_not_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = before("the weights of a base model in a folder", tmp_path)
    assert train(start, monkeypatch)[0] == 130
    path = tmp_path / "run" / "manifest.json"
    manifest = json.loads(path.read_text())
    for old in ("weights", "quantised"):
        del manifest["base"][old]
    del manifest["differences"]
    path.write_text(json.dumps(manifest, indent=2))
    assert train(replace(start, weights="other weights"), monkeypatch, "--resume")[0] == 130


def test_the_set_values_of_a_run_stay_noted_if_its_own_recipe_resumes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = before("", tmp_path)
    assert train(start, monkeypatch, "--set", "train.save_steps=7")[0] == 130
    own = replace(start, recipe=start.recipe.changed({"train": {"save_steps": 7}}))
    assert train(own, monkeypatch, "--resume")[0] == 130
    assert list(Run(tmp_path / "run").manifest().overrides) == ["train.save_steps=7"]


def opened(out: Path) -> Run:
    return open_for_resume(out, RECIPE, "sha", Path("d.jsonl"))


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (None, "there is no run to resume. Train without --resume"),
        ({"notes.txt": ""}, "holds no run to resume, but other files"),
        ({"recipe.yaml": "name: other"}, "holds no run to resume, but other files"),
        ({"manifest.json": '{"status": "started"}'}, "not the manifest of a run"),
        (
            {"manifest.json": {"status": "finished"}},
            "this run is already finished. To try it: alttrain chat ",
        ),
        ({"manifest.json": {"status": "failed"}, "sha": "x"}, "d.jsonl differs from the data"),
    ],
)
def test_what_is_no_interrupted_run_is_not_resumed(
    files: dict[str, Any] | None, says: str, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    for name, content in (files or {}).items():
        out.mkdir(exist_ok=True)
        if isinstance(content, dict):
            data = {"path": "d.jsonl", "sha256": (files or {}).get("sha", "sha")}
            content = json.dumps({**content, "data": data})
        if name != "sha":
            (out / name).write_text(content)
    with pytest.raises(RunError, match=re.escape(says)):
        opened(out)


def test_a_run_that_was_killed_before_it_started_or_that_failed_is_resumed(tmp_path: Path) -> None:
    RECIPE.save(tmp_path / "recipe.yaml")
    assert opened(tmp_path).path == tmp_path
    data = {"path": "moved.jsonl", "sha256": "sha"}
    (tmp_path / "manifest.json").write_text(json.dumps({"status": "failed", "data": data}))
    assert opened(tmp_path).manifest().status == "failed"


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        *[(one, None) for one in ("none", "all", "here", ["here", "none"], [], None)],
        *[(one, "gone") for one in ("gone", ["none", "gone"], ["here", "gone"])],
    ],
)
def test_a_tracker_that_is_not_installed_is_named_before_anything_is_loaded(
    names: Any, missing: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_setup.util, "find_spec", lambda name: object() if name == "here" else None)
    recipe = RECIPE.changed({"train": {"report_to": names}}) if names is not None else RECIPE
    with pytest.raises(RecipeError, match=f"{missing} is not installed") if missing else nullcontext():
        check_packages(recipe)


OPTIMISERS = {
    "galore_adamw_8bit": "galore_torch",
    "apollo_adamw_layerwise": "apollo_torch",
    "adalomo": "lomo_optim",
    "schedule_free_sgd": "schedulefree",
    "stable_adamw": "optimi",
    "adamw_torch_8bit": "torchao",
    "paged_lion_8bit": "bitsandbytes",
    "adamw_torch": None,
    "adamw_torch_fused": None,
}


@pytest.mark.parametrize(("name", "module"), OPTIMISERS.items())
def test_the_package_of_an_optimiser_is_named_before_anything_is_loaded(
    name: str, module: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_for: list[str] = []
    monkeypatch.setattr(run_setup.util, "find_spec", looked_for.append)
    recipe = RECIPE.changed({"train": {"optim": name}})
    with pytest.raises(RecipeError, match=f"which {name} needs, is not") if module else nullcontext():
        check_packages(recipe)
    assert looked_for == ([module] if module else [])


# --- eval


def evaluate(world: World, monkeypatch: pytest.MonkeyPatch) -> tuple[int, set[str]]:
    """Generate; return the number of completions that were made, and all keys that are stored."""
    world.install(monkeypatch)
    [(suite, reading)] = read_suites(find_suites("smoke-benign"), {}, Progress())
    items = [one._replace(prompt=prompt) for one, prompt in zip(reading.items, world.prompts, strict=False)]
    wanted = EvalRequest([(suite, reading._replace(items=items))], world.recipe.generation)
    if world.seed > 1:  # samples are numbered: a further one has the next number as its seed
        sampling = world.recipe.generation.model_copy(update={"do_sample": True})
        wanted = replace(wanted, sampling=sampling, samples=world.seed)
    backend = Backend(world)
    generate(world.folder / "eval", backend, wanted, Progress())
    return len(backend.received), SuiteDir(world.folder / "eval" / "smoke-benign").completions.keys()


@pytest.mark.parametrize("what", [one for one in TABLE if one != "the seed"])
def test_eval_run_again(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = before(what, tmp_path)
    first, keys = evaluate(start, monkeypatch)
    assert first == len(start.prompts)
    changed = CHANGES[what](start)
    second, both = evaluate(changed, monkeypatch)
    assert counted(first, second) == TABLE[what][2]
    assert keys <= both
    assert evaluate(changed, monkeypatch) == (0, both)
    assert evaluate(start, monkeypatch) == (0, both)


def test_eval_run_again_with_more_samples_uses_those_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = replace(before("the seed", tmp_path), seed=2)
    first, keys = evaluate(start, monkeypatch)
    assert first == 2 * len(start.prompts)
    second, more = evaluate(replace(start, seed=3), monkeypatch)
    assert (second, keys < more) == (len(start.prompts), True)
