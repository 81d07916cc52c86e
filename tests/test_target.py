"""What a word on the command line means."""

import json
from pathlib import Path
from typing import Any

import pytest

from alttrain_cli.backends.gpu_worker import read_target, target_record
from alttrain_cli.backends.target import Target, find_target
from alttrain_cli.errors import AlttrainError
from alttrain_cli.recipe.layers import FALLBACK
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.run import EXPORTED_RECIPE, Run
from alttrain_cli.storage.run_records import WordsRecord
from alttrain_cli.structure.sections import THOUGHTS
from alttrain_cli.structure.verdict_form import NAME as VERDICT_FORM
from alttrain_cli.structure.verdict_form import VerdictForm
from alttrain_cli.structure.verdict_words import NO_ASSESSMENT, VerdictWords


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_run(*, adapter: bool = True) -> Run:
    recipe = Recipe.load("smollm2-135m", ("lora.r=4",))
    run = Run.create(None, recipe.name, recipe.to_yaml())
    if adapter:
        run.adapter_path.mkdir()
        (run.adapter_path / "adapter_model.safetensors").touch()
        write_config(run.adapter_path, r=4)
    return run


def write_config(folder: Path, **values: object) -> None:
    config = {
        "base_model_name_or_path": "Qwen/Qwen3-8B",
        "r": 8,
        "lora_alpha": 8,
        "target_modules": ["q_proj"],
    }
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(config | values))


def test_a_run_is_its_recipe_with_its_adapter() -> None:
    run = make_run()
    assert find_target(str(run.path)) == Target(
        "smollm2-135m-1", Recipe.load(str(run.recipe_path)), run.adapter_path
    )
    assert find_target(str(run.adapter_path)).recipe == Recipe.load(str(run.recipe_path))
    assert Run.trained() == [run.path]
    assert find_target(str(run.path)).base.adapter is None


def test_a_recipes_name_and_a_hub_id_are_base_models() -> None:
    assert find_target("qwen3-8b") == Target("qwen3-8b", Recipe.load("qwen3-8b"))
    assert find_target("Qwen/Qwen3-8B").recipe == Recipe.load("qwen3-8b")
    other = find_target("somebody/some-model", "qwen3-8b")
    assert other.recipe.model.name == "somebody/some-model"
    assert other.recipe.generation == Recipe.load("qwen3-8b").generation
    assert other.adapter is None


@pytest.mark.parametrize(
    "word", ["own er/name", "owner/na:me", "owner/", "-x/y", "a/b..c", "runs/none", "a" * 99 + "/b"]
)
def test_what_can_be_no_models_name_is_refused_before_anything_is_loaded(word: str) -> None:
    with pytest.raises(AlttrainError, match="neither a run, an adapter, a model folder nor a recipe"):
        find_target(word)


def test_an_adapter_that_was_handed_on_brings_the_recipe_that_it_was_trained_with(here: Path) -> None:
    write_config(here / "theirs")
    trained = Recipe.load("smollm2-135m", ("generation.max_new_tokens=7",))
    trained.save(here / "theirs" / EXPORTED_RECIPE)
    assert find_target("theirs") == Target("theirs", trained, Path("theirs"), words=VerdictWords())


def test_an_exported_model_has_the_settings_of_its_training_and_the_system_text_of_its_template(
    here: Path,
) -> None:
    (here / "merged").mkdir()
    (here / "merged" / "config.json").write_text("{}")
    trained = Recipe.load("smollm2-135m", ("generation.max_new_tokens=7",))
    trained.save(here / "merged" / EXPORTED_RECIPE)
    found = find_target("merged")
    assert found.recipe.generation == trained.generation
    assert (found.recipe.model.name, found.recipe.model.package, found.recipe.model.system) == (
        "merged",
        None,
        None,
    )
    assert found.adapter is None
    assert found.unscored == ""  # it has learned to write a verdict, as its run has
    assert "has not learned to write a verdict" in find_target("smollm2-135m").unscored


FIRST = ("assessment", "understanding", "reasoning")
UNSAFE = {"harmful": (" unsafe",), "benign": (" safe",)}


def handed_on(folder: Path, kind: str) -> Path:
    """Write what a program reads first of an export, which is not in the folder of its run."""
    folder.mkdir()
    write_config(folder) if kind == "adapter" else (folder / "config.json").write_text("{}")
    Recipe.load("smollm2-135m").save(folder / EXPORTED_RECIPE)
    return folder


@pytest.mark.parametrize("kind", ["adapter", "merged"])
def test_an_export_keeps_the_order_and_the_verdict_words_of_its_run(here: Path, kind: str) -> None:
    run = make_run()
    run.update_manifest(status="finished", order=FIRST, verdict_words=WordsRecord(**UNSAFE))
    folder = handed_on(here / "theirs", kind)
    VerdictForm.of_run(run).save(folder)
    found, own = find_target("theirs"), find_target(str(run.path))
    assert (found.order, found.verdict_words) == (own.order, own.verdict_words)
    assert (found.order, found.verdict_words) == (FIRST, VerdictWords(**UNSAFE))
    assert found.unscored == ""
    assert read_target(target_record(found)) == found  # also in a process on another GPU


@pytest.mark.parametrize("kind", ["adapter", "merged"])
@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"order": ("understanding", "reasoning"), "verdict_words": WordsRecord()}, NO_ASSESSMENT),
        (
            {"verdict_words": WordsRecord(harmful=(" harmful",))},
            "no row of its training has a benign verdict",
        ),
    ],
)
def test_an_export_without_a_score_says_why(here: Path, kind: str, values: dict[str, Any], why: str) -> None:
    run = make_run()
    run.update_manifest(status="finished", **values)
    VerdictForm.of_run(run).save(handed_on(here / "theirs", kind))
    assert find_target("theirs").unscored == find_target(str(run.path)).unscored == why
    assert VerdictForm.in_folder(here / "theirs").problem == why


@pytest.mark.parametrize("kind", ["adapter", "merged"])
def test_an_export_of_an_earlier_version_has_the_usual_verdicts(here: Path, kind: str) -> None:
    handed_on(here / "theirs", kind)
    found = find_target("theirs")
    assert (found.order, found.verdict_words, found.unscored) == (THOUGHTS, VerdictWords(), "")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "not valid JSON"),
        ("{}", "order"),
        ('{"order": ["assessment", "assessment"], "harmful": [], "benign": []}', "each at most once"),
        ('{"order": ["verdict"], "harmful": [], "benign": []}', "order"),
        ('{"order": ["assessment"], "harmful": [""], "benign": []}', "harmful"),
        ('{"order": ["assessment"], "harmful": " unsafe", "benign": []}', "harmful"),
    ],
)
def test_a_damaged_form_of_the_verdict_is_one_line(here: Path, text: str, problem: str) -> None:
    (handed_on(here / "theirs", "merged") / VERDICT_FORM).write_text(text)
    with pytest.raises(AlttrainError, match=rf"^theirs/{VERDICT_FORM}: .*{problem}.*export the run again\.$"):
        find_target("theirs")


def test_an_adapter_from_elsewhere_brings_its_base_and_its_shape(here: Path) -> None:
    write_config(here / "adapter")
    target = find_target("adapter")
    assert target.recipe.model == Recipe.load("qwen3-8b").model
    assert (target.recipe.lora.r, target.recipe.lora.target_modules) == (8, ("q_proj",))
    write_config(here / "odd", base_model_name_or_path=None)
    with pytest.raises(AlttrainError, match="--recipe NAME"):
        find_target("odd")
    write_config(here / "odd", r="many")
    with pytest.raises(AlttrainError, match="does not describe a LoRA adapter"):
        find_target("odd", "qwen3-8b")


def test_a_folder_that_is_named_by_a_dot_has_its_own_name(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run().path
    model = here / "merged"
    model.mkdir()
    (model / "config.json").write_text("{}")
    for folder in (run, run / "adapter", model):
        monkeypatch.chdir(folder)
        assert find_target(".").name == folder.name
        monkeypatch.chdir(here)
        assert find_target(f"{folder}/").name == folder.name


def test_a_model_folder_is_a_base_model(here: Path) -> None:
    (here / "merged").mkdir()
    (here / "merged" / "config.json").write_text("{}")
    assert find_target("merged").recipe.model.name == "merged"


def test_a_model_folder_is_not_looked_for_in_all_recipes(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    load = Recipe.load
    monkeypatch.setattr(Recipe, "load", lambda name, *changes: read.append(name) or load(name, *changes))
    (here / "model").mkdir()
    (here / "model" / "config.json").write_text("{}")
    find_target(str(here / "model"))
    assert read == [FALLBACK]


def test_what_is_nothing_is_named_with_the_nearest_that_is_something(here: Path) -> None:
    make_run()
    with pytest.raises(AlttrainError, match="Did you mean 'runs/smollm2-135m-1'"):
        find_target("runs/smollm2-135m-2")
    with pytest.raises(AlttrainError, match="Did you mean 'r1-7b'"):
        find_target("r1-7")
    (here / "empty").mkdir()
    with pytest.raises(AlttrainError, match="contains no run"):
        find_target("empty")


def test_a_mistyped_run_is_no_hub_id(here: Path) -> None:
    """The hub would answer after two minutes, without a suggestion."""
    (here / "work").mkdir()
    make_run().path.rename(here / "work" / "run")
    with pytest.raises(AlttrainError, match=r"work/rum: no such folder in work\. Did you mean 'work/run'"):
        find_target("work/rum")
    with pytest.raises(AlttrainError, match=r"no such folder in work\. If it is a model on the hub, type"):
        find_target("work/another-model")
    (here / "work").rename(here / "demo")
    with pytest.raises(AlttrainError, match=r"dmo/run: no such run\. Did you mean 'demo/run'"):
        find_target("dmo/run")
    (here / "Qwen").mkdir()
    assert find_target("Qwen/Qwen3-8B").adapter is find_target("someone/run").adapter is None
    assert find_target("Qwen/Another", "qwen3-8b").recipe.model.name == "Qwen/Another"


def test_a_run_that_is_not_finished_says_so() -> None:
    run = make_run(adapter=False)
    run.update_manifest(status="started")
    with pytest.raises(AlttrainError, match="Its training was interrupted"):
        find_target(str(run.path))


def test_an_adapter_that_was_moved_finds_its_recipe_and_the_commit_of_its_base(here: Path) -> None:
    write_config(here / "moved", revision="c" * 40)
    target = find_target("moved")
    assert target.recipe.name == "qwen3-8b"
    assert target.recipe.model.revision == "c" * 40
    assert target.recipe.model.shape == Recipe.load("qwen3-8b").model.shape


def test_an_adapter_on_unsloth_s_4_bit_copy_keeps_that_base_and_has_the_recipe_s_settings(here: Path) -> None:
    copy = "unsloth/DeepSeek-R1-Distill-Qwen-7B-unsloth-bnb-4bit"
    write_config(here / "moved", base_model_name_or_path=copy)
    target = find_target("moved")
    assert target.recipe.model.name == copy
    assert target.recipe.model.shape == Recipe.load("r1-7b").model.shape
    write_config(here / "moved", base_model_name_or_path="unsloth/Qwen3-8B")
    assert find_target("moved").recipe.generation == Recipe.load("qwen3-8b").generation


def test_a_run_is_asked_with_the_commit_that_it_was_trained_on() -> None:
    run = make_run()
    name = Recipe.load(str(run.recipe_path)).model.name
    run.update_manifest(status="finished", base={"name": name, "commit": "d" * 40, "quantised": False})
    for word in (run.path, run.adapter_path):
        target = find_target(str(word))
        assert target.recipe.model.revision == "d" * 40
        assert target.base.recipe.model.revision == "d" * 40
    run.update_manifest(status="finished", base={"name": "another/model", "commit": "d" * 40})
    assert find_target(str(run.path)).recipe == Recipe.load(str(run.recipe_path))
    run.update_manifest(base=None)
    assert find_target(str(run.path)).recipe == Recipe.load(str(run.recipe_path))
