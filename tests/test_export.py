"""`alttrain export` for real, on tiny models with a random adapter: files, proof, marks, kills."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from alttrain_cli.backends.target import find_target
from alttrain_cli.cli import app
from alttrain_cli.engine import shared_files
from alttrain_cli.engine.load import LoadedModel
from alttrain_cli.export.job import FAILED
from alttrain_cli.export.proof import NEAR_TIE
from alttrain_cli.library_output import capture_output
from alttrain_cli.storage.files import write_json
from alttrain_cli.storage.run import Run
from alttrain_cli.storage.run_records import WordsRecord
from alttrain_cli.structure.verdict_words import VerdictWords
from tests.command_lines import result_of
from tests.trained import write_run
from tests.warm import Warm

pytestmark = pytest.mark.model
WORDS = VerdictWords((" unsafe",), (" safe",))  # not the usual ones
ALL = bool(os.environ.get("ALTTRAIN_ALL_FAULTS"))  # make faults

CLEAN = os.environ.get("ALTTRAIN_CLEAN_PYTHON", "")  # a Python with torch, transformers and safetensors alone

# What transformers alone, in a process without our code, renders and writes for some prompts, and by how many
# nats it prefers its token where it leaves the tokens that are wanted.
STOCK = """
import json, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, cases = sys.argv[1], json.load(sys.stdin)
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
found = []
for case in cases:
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": case["prompt"]}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )["input_ids"]
    options = {"attention_mask": torch.ones_like(ids), "do_sample": False, "max_new_tokens": case["limit"]}
    new = model.generate(ids, **options)[0, ids.shape[1]:].tolist()
    pairs = enumerate(zip(new, case["wanted"]))
    after = next((number for number, (one, other) in pairs if one != other), None)
    lead = 0.0
    if after is not None:
        with torch.no_grad():
            logits = model(torch.tensor([ids[0].tolist() + new[:after]])).logits[0, -1].float()
        lead = (logits[new[after]] - logits[case["wanted"][after]]).item()
    found.append({"prompt": ids[0].tolist(), "new": new, "after": after, "lead": lead})
print(json.dumps({
    "found": found, "modules": sorted({"unsloth", "peft", "alttrain_cli"} & set(sys.modules)),
    "settings": {key: getattr(model.generation_config, key) for key in ("temperature", "top_p", "top_k")},
    "stops": model.generation_config.eos_token_id,
}))
"""


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def proof(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "export.json").read_text())["proofs"][0]
    return found


@pytest.fixture(scope="module")
def r1(tmp_path_factory: pytest.TempPathFactory) -> Run:
    made = write_run(tmp_path_factory.mktemp("r1"), "r1-llama", "llama", "r1-8b")
    made.update_manifest(verdict_words=WordsRecord(harmful=WORDS.harmful, benign=WORDS.benign))
    return made


@pytest.fixture(scope="module")
def merged(r1: Run) -> Path:
    done = run("export", r1.path)
    assert done.exit_code == 0, done.output
    return r1.path / "export" / "merged"


def test_an_export_is_whole_and_proved(merged: Path) -> None:
    found = proof(merged)
    assert found["problems"] == []
    assert found["wrong_ids"] == 0
    assert found["unlike_base"] == found["prompts"] == 8
    assert found["same"] + len(found["differences"]) == found["prompts"]
    assert not list(merged.parent.glob(".*"))
    assert {path.suffix for path in merged.iterdir()} == {".safetensors", ".json", ".jinja", ".md", ".yaml"}


def test_other_programs_may_read_every_file(merged: Path) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in merged.iterdir()}
    assert set(modes.values()) == {0o644}, modes


Stock = Callable[[str, Path], "subprocess.CompletedProcess[str]"]  # runs STOCK in a folder, with this input


def in_python(python: str) -> Stock:
    """Run it in a Python of its own."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return lambda given, folder: subprocess.run(
        [python, "-c", STOCK, str(folder)], input=given, capture_output=True, text=True,
        timeout=600, cwd=folder, env={**environment, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip


def in_fork(libraries: Warm) -> Stock:
    """Run it in a process that has already imported transformers."""
    return lambda given, folder: libraries.run("-c", STOCK, folder, cwd=folder, stdin=given, python=True)


def check_stock(
    run_stock: Stock, trained: LoadedModel, folder: Path, prompts: list[str], limit: int
) -> dict[str, Any]:
    """Let transformers alone write with an export; check its ids and its tokens: all, up to a near tie."""
    from alttrain_cli.export.probes import write

    rendered = [trained.template.prompt(prompt) for prompt in prompts]
    with capture_output(None):
        written = write(trained, rendered, limit)
    stop = trained.template.terminator_id
    wanted = [[*one.ids, *([stop] if one.finished else [])] for one in written]
    cases = [
        {"prompt": prompt, "wanted": ids, "limit": limit} for prompt, ids in zip(prompts, wanted, strict=True)
    ]
    done = run_stock(json.dumps(cases), folder)
    assert done.returncode == 0, done.stderr[-2000:]
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert answer["modules"] == []
    for one, text, ids in zip(answer["found"], rendered, wanted, strict=True):
        assert one["prompt"] == trained.template.encode_text(text)
        assert one["lead"] <= NEAR_TIE
        assert one["after"] is not None or one["new"] == ids
    return answer


@pytest.mark.parametrize(
    "python",
    [
        pytest.param("", id="forked"),
        pytest.param(
            CLEAN,
            marks=pytest.mark.skipif(not CLEAN, reason="ALTTRAIN_CLEAN_PYTHON names no Python"),
            id="clean",
        ),
    ],
)
def test_transformers_alone_renders_the_prompts_of_training_and_writes_the_same(
    r1: Run, merged: Path, python: str, libraries: Warm
) -> None:
    from alttrain_cli.engine.load import load_target
    from alttrain_cli.recipe.model import Recipe

    with capture_output(None):
        trained = load_target(Recipe.of_run(r1), r1.adapter_path)
    run_stock = in_python(python) if python else in_fork(libraries)
    answer = check_stock(run_stock, trained, merged, ["How do I boil an egg?", "Name three rivers."], 24)
    assert answer["settings"] == {"temperature": 0.6, "top_p": 0.95, "top_k": 0}
    assert trained.template.terminator_id in answer["stops"]


VERSION_4 = os.environ.get("ALTTRAIN_TRANSFORMERS_4", "")  # a Python with transformers 4
TOKENIZE = """
import json, sys
from transformers import AutoTokenizer
folder, *prompts = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(folder)
print(json.dumps([
    tokenizer.apply_chat_template([{"role": "user", "content": prompt}], add_generation_prompt=True)
    for prompt in prompts
]))
"""


@pytest.mark.skipif(not VERSION_4, reason="ALTTRAIN_TRANSFORMERS_4 names no Python with transformers 4")
@pytest.mark.parametrize("format", ["merged", "adapter"])
def test_transformers_4_loads_the_tokenizer_and_renders_the_prompts_of_training(
    r1: Run, tmp_path: Path, format: str
) -> None:
    assert run("export", r1.path, "--format", format, "--out", tmp_path).exit_code == 0
    prompts = ["How do I boil an egg?", "Zwei  Leerzeichen,\n\teine Zeile \N{SNOWMAN}"]
    done = subprocess.run(
        [VERSION_4, "-c", TOKENIZE, str(tmp_path / format), *prompts],
        capture_output=True, text=True, timeout=120, env={"HF_HUB_OFFLINE": "1", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    with capture_output(None):
        from alttrain_cli.engine.shared_files import load_saved_template

        template = load_saved_template(tmp_path / format)
    wanted = [template.encode_text(template.prompt(prompt)) for prompt in prompts]
    assert json.loads(done.stdout) == wanted


@pytest.mark.parametrize(
    ("family", "kind", "recipe", "system"),
    [
        ("s1", "qwen2", "s1-7b", "Think 'twice'.\nAnswer \\once."),
        ("smollm2", "llama", "smollm2-135m", ""),
        ("qwen3", "qwen3", "qwen3-8b", None),
    ],
)
def test_the_exported_template_holds_the_recipes_system_text_also_of_a_base_in_several_files(
    family: str, kind: str, recipe: str, system: str | None, tmp_path: Path
) -> None:
    words = f"model.system={json.dumps(system)}"
    trained = write_run(tmp_path, family, kind, recipe, words)
    if family == "qwen3":
        put_in_two_files(tmp_path / "base")
    done = run("export", trained.path, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "10 of 10 as in training" in " ".join(done.output.split())
    own = (tmp_path / "base" / "chat_template.jinja").read_text()
    assert (trained.adapter_path / "chat_template.jinja").read_text() != own or system is None
    exported = (tmp_path / "out" / "merged" / "chat_template.jinja").read_text()
    assert (exported == own) is (system is None)


def put_in_two_files(base: Path) -> None:
    """Store a model's weights as those of a large one are."""
    from safetensors.torch import load_file, save_file

    whole = base / "model.safetensors"
    weights = load_file(whole)
    places = {name: f"model-0000{1 + number % 2}-of-00002.safetensors" for number, name in enumerate(weights)}
    for file in set(places.values()):
        part = {name: weight for name, weight in weights.items() if places[name] == file}
        save_file(part, base / file, metadata={"format": "pt"})
    write_json(base / "model.safetensors.index.json", {"metadata": {}, "weight_map": places})
    whole.unlink()


def test_the_adapter_is_exported_with_the_template_of_training_and_its_base_by_name(
    r1: Run, tmp_path: Path
) -> None:
    words = ("export", r1.path, "--format", "adapter,merged", "--json", "--out", tmp_path)
    planned = result_of(run(*words, "--dry-run").stdout)["planned"]
    done = run(*words)
    assert done.exit_code == 0, done.output
    printed = {Path(one.pop("folder")): one for one in result_of(done.stdout)["exports"]}
    assert printed == {
        folder: json.loads((folder / "export.json").read_text()) for folder in tmp_path.iterdir()
    }
    assert {path.name for path in tmp_path.iterdir()} == {"adapter", "merged"}
    for one in planned:  # what an upload would send
        assert sorted(one["files"]) == sorted(path.name for path in Path(one["folder"]).iterdir())
        assert find_target(one["folder"]).verdict_words == WORDS
    found = proof(tmp_path / "adapter")
    assert (found["same"], found["wrong_ids"]) == (8, 0)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(r1.path.parent / "base")
    assert not (tmp_path / "adapter" / "config.json").exists()


def test_the_adapter_folder_of_a_run_can_be_handed_on(r1: Run) -> None:
    names = {path.name for path in r1.adapter_path.iterdir()}
    assert {
        "adapter_model.safetensors",
        "adapter_config.json",
        "chat_template.jinja",
        "tokenizer.json",
    } <= names
    config = json.loads((r1.adapter_path / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"


def test_a_merge_without_the_adapter_is_marked_and_ends_with_3(
    r1: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def base_only(loaded: LoadedModel, *rest: Any) -> None:
        with loaded.model.disable_adapter():
            for layer in loaded.model.modules():
                if hasattr(layer, "lora_B"):
                    layer.lora_B["default"].weight.data.zero_()
        saved(loaded, *rest)

    saved = shared_files.save_merged
    monkeypatch.setattr(shared_files, "save_merged", base_only)
    done = run("export", r1.path, "--out", tmp_path)
    assert done.exit_code == 3, done.output
    assert "base model" in " ".join(done.output.split())
    marked = tmp_path / f"merged{FAILED}"
    assert [path.name for path in tmp_path.iterdir()] == [marked.name]
    assert "base model" in (marked / "PROOF-FAILED.txt").read_text()
    assert proof(marked)["unlike_base"] == 0


def test_an_export_that_is_interrupted_leaves_nothing(
    r1: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shared_files, "save_generation_config", interrupted)
    done = run("export", r1.path, "--out", tmp_path / "new" / "out")
    assert done.exit_code == 130
    assert not list(tmp_path.iterdir())


def test_an_export_killed_at_any_point_leaves_no_folder_that_looks_whole_and_the_next_one_works(
    r1: Run, tmp_path: Path, warm: Warm
) -> None:
    log, folder = tmp_path / "log", tmp_path / "in"

    def export(at: int) -> int:
        """Export; killed just before it changes a file for the `at`-th time, if that is not 0."""
        where = {"root": str(folder), "log": str(log), "kind": "kill" if at else "", "at": at}
        hooks = [("tests.faults", "install", where)]
        return warm.run("export", r1.path, "--out", folder / "out", cwd=tmp_path, hooks=hooks).returncode

    folder.mkdir()
    assert export(0) == 0
    points = log.read_text(encoding="utf-8").splitlines()
    points = points[: points.index("replace out/merged") + 1]
    whole = sorted(path.name for path in (folder / "out/merged").iterdir())
    shutil.rmtree(folder / "out")
    for at in range(len(points), 0, -1 if ALL else -6):
        assert export(at) == -signal.SIGKILL
        assert not list(folder.glob("out/[!.]*")), points[at - 1]
    assert export(0) == 0
    assert [path.name for path in (folder / "out").iterdir()] == ["merged"]
    assert sorted(path.name for path in (folder / "out/merged").iterdir()) == whole


def test_a_folder_that_holds_something_is_left_alone(r1: Run, merged: Path) -> None:
    before = {path.name: path.read_bytes() for path in merged.iterdir()}
    done = run("export", r1.path)
    assert done.exit_code == 2
    assert "already exists" in done.output
    assert {path.name: path.read_bytes() for path in merged.iterdir()} == before
