"""Broken model files: each is one line that names the file and the next step, through the real command."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from alttrain_cli.cli import app
from alttrain_cli.engine.source import locate
from alttrain_cli.errors import ModelError
from alttrain_cli.library_output import capture_output
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.run import Run
from alttrain_cli.structure import rendering
from tests.tiny import write_hub_cache, write_model

pytestmark = pytest.mark.model

Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with capture_output(None):
        import unsloth  # noqa: F401

    return write_model(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def folder(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy that a test may break."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(whole, tmp_path / "model").name)


def text(name: str, content: str) -> Damage:
    return lambda folder: (folder / name).write_text(content)


def data(name: str, content: bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(content)


def gone(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


def cut(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def set_config(**values: object) -> Damage:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def fewer(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: weights[name] for name in list(weights)[:5]}, folder / "model.safetensors", {"format": "pt"}
    )


def sharded(shards: Any) -> Damage:
    def change(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "part.safetensors")
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))

    return change


def chat_template(source: str) -> Damage:
    return text("chat_template.jinja", source)


LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
LAST = "{% for m in messages[-1:] %}"
QUESTION = "<｜User｜>{{ messages[-1].content }}<｜Assistant｜>"
MARKED = "{% for m in messages %}{{ '<｜User｜>' if m.role == 'user' else '<｜Assistant｜>' }}"

DAMAGES: dict[str, tuple[Damage, str]] = {
    "weights of zero bytes": (data("model.safetensors", b""), "model.safetensors: damaged"),
    "truncated weights": (cut, "model.safetensors: damaged"),
    "garbage as weights": (data("model.safetensors", b"\x00garbage" * 99), "model.safetensors: damaged"),
    "a huge header": (data("model.safetensors", b"\xff" * 64), "model.safetensors: damaged"),
    "no weights": (gone("model.safetensors"), "holds no weights"),
    "pickled weights": (pickled, "pytorch_model.bin"),
    "weights of another shape": (set_config(hidden_size=64, intermediate_size=96), "cannot be loaded"),
    "weights missing": (fewer, "some of its weights are missing"),
    "a shard missing": (sharded({"lm_head.weight": "other.safetensors"}), "other.safetensors: missing"),
    "a shard elsewhere": (sharded({"lm_head.weight": "../x.safetensors"}), "not a safetensors file"),
    "a pickled shard": (sharded({"lm_head.weight": "x.bin"}), "not a safetensors file"),
    "an index without files": (sharded([]), "names no files"),
    "an empty config": (text("config.json", ""), "config.json"),
    "a torn config": (text("config.json", '{"model_type": "lla'), "config.json"),
    "a list as config": (text("config.json", "[]"), "config.json: not a JSON object"),
    "a config that is not UTF-8": (data("config.json", b"\xff\xfe{}"), "config.json"),
    "no architecture": (text("config.json", "{}"), "model_type"),
    "an unknown architecture": (set_config(model_type="nope"), "cannot be loaded"),
    "a number that is text": (set_config(num_hidden_layers="many"), "cannot be loaded"),
    "no tokenizer": (gone("tokenizer.json"), "model: "),
    "a torn tokenizer": (text("tokenizer.json", '{"version'), "tokenizer.json: not valid JSON"),
    "a torn tokenizer config": (text("tokenizer_config.json", "{"), "tokenizer_config.json: not valid JSON"),
    "a list as tokenizer config": (text("tokenizer_config.json", "[]"), "tokenizer_config.json"),
    "a tokenizer of another kind": (text("tokenizer.json", "{}"), "model: "),
    "no chat template": (gone("chat_template.jinja"), "no chat template"),
    "a template that is wrong": (chat_template("{% for %}"), "chat template fails"),
    "a template that the sandbox refuses": (
        chat_template("{{ ''.__class__.__mro__ }}"), "chat template fails"
    ),
    "a template that refuses": (chat_template("{{ raise_exception('never') }}"), "chat template fails"),
    "a template that loops": (chat_template(LOOP + QUESTION), "not rendered within"),
    "a template with a huge power": (chat_template("{{ 9**9**9**9 }}" + QUESTION), "huge numbers (**)"),
    "a template with a huge text": (chat_template("{{ 'a' * 99999999999 }}" + QUESTION), "huge numbers"),
    "a template that drops the question": (chat_template("<｜User｜><｜Assistant｜>"), "drops the question"),
    "a template that drops answers": (
        chat_template("{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}"),
        "drops an earlier answer",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_a_broken_model_is_one_line_with_the_file_and_the_next_step(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(rendering, "SECONDS", 1)
    damage, said = DAMAGES[name]
    damage(folder)
    done = CliRunner().invoke(app, ["chat", str(folder), "-p", "hi", "--max-new-tokens", "2"])
    shown = " ".join(done.output.split())
    assert done.exit_code == 2, (shown, done.exception)
    assert said in shown
    assert "model" in shown
    assert "Traceback" not in shown
    assert shown.rstrip().endswith((".", "--judge-model"))


def test_a_whole_model_of_this_kind_is_loaded(folder: Path) -> None:
    done = CliRunner().invoke(app, ["chat", str(folder), "-p", "hi", "--max-new-tokens", "2"])
    assert done.exit_code in (0, 3), done.output


def test_a_template_that_drops_the_system_text_is_refused_where_there_is_one(folder: Path) -> None:
    body = "{% if m.role != 'system' %}{{ m.content }}{% endif %}{% endfor %}"
    chat_template(MARKED + body)(folder)
    with capture_output(None):
        from alttrain_cli.engine.load import load_template

        recipe = named(folder)
        load_template(recipe)
        with pytest.raises(
            ModelError, match=r"model: the chat template drops the system prompt.*system=null"
        ):
            load_template(recipe.changed({"model": {"system": "Be brief."}}))


def test_a_template_that_drops_the_system_text_is_refused_where_a_chat_has_one(folder: Path) -> None:
    body = "{% if m.role != 'system' %}{{ m.content }}{% endif %}{% endfor %}"
    chat_template(MARKED + body)(folder)
    talk = ["chat", str(folder), "-p", "hi", "--max-new-tokens", "2"]
    done = CliRunner().invoke(app, [*talk, "--system", "Be brief."])
    assert done.exit_code == 2
    assert "the model's chat template drops the system prompt" in " ".join(done.output.split())
    assert CliRunner().invoke(app, talk).exit_code in (0, 3)


def named(folder: Path, **model: object) -> Recipe:
    recipe = Recipe.load("r1-7b", ("lora.r=4", "train.max_length=64"))
    source = {"name": str(folder), "package": None, "shape": None, "load_in_4bit": False}
    return recipe.changed({"model": source | model})


@pytest.fixture(scope="module")
def adapter(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained adapter for the model, saved as after training."""
    path = tmp_path_factory.mktemp("run") / "adapter"
    with capture_output(None):
        from alttrain_cli.engine.load import load_base

        load_base(named(whole), training=True).model.save_pretrained(path)
    return path


def no_number(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "adapter_model.safetensors")
    next(iter(weights.values()))[0, 0] = float("nan")
    save_file(weights, folder / "adapter_model.safetensors")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (data("adapter_model.safetensors", b""), "adapter_model.safetensors: damaged"),
        (data("adapter_model.safetensors", b"\x00garbage" * 99), "adapter_model.safetensors: damaged"),
        (gone("adapter_model.safetensors"), "no such adapter"),
        (lambda folder: (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin"), "pickled"),
        (no_number, "holds NaN"),
    ],
)  # fmt: skip
def test_a_broken_adapter_is_one_line(
    whole: Path, adapter: Path, tmp_path: Path, damage: Damage, said: str
) -> None:
    broken = shutil.copytree(adapter, tmp_path / "adapter")
    damage(broken)
    with capture_output(None):
        from alttrain_cli.engine.load import load_adapter

        with pytest.raises(ModelError, match=said):
            load_adapter(named(whole), broken)


def test_an_adapter_s_config_names_the_model_of_the_recipe(whole: Path, adapter: Path) -> None:
    config = json.loads((adapter / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(whole)


def test_a_judge_with_pickled_or_torn_weights_is_refused_before_it_is_opened(folder: Path) -> None:
    with capture_output(None):
        from alttrain_cli.engine.classify import fetch

        fetch(str(folder))
        cut(folder)
        with pytest.raises(ModelError, match="damaged"):
            fetch(str(folder))
        pickled(folder)
        with pytest.raises(ModelError, match="pickled"):
            fetch(str(folder))


def test_modules_that_a_model_lacks_are_named_before_anything_is_trained(tmp_path: Path) -> None:
    with capture_output(None):
        from alttrain_cli.engine.load import load_base

        fused = write_model(tmp_path / "phi", "phi3")
        with pytest.raises(
            ModelError, match=r"q_proj, k_proj, v_proj.*\[o_proj,qkv_proj,gate_up_proj,down_proj\]"
        ):
            load_base(named(fused), training=True)
        modules = Recipe.load("phi4-reasoning").lora.target_modules
        loaded = load_base(named(fused).changed({"lora": {"target_modules": modules}}), training=True)
    trained = {name.split(".lora_")[0] for name, _ in loaded.model.named_parameters() if "lora_A" in name}
    assert len(trained) == 2 * len(modules)  # two layers
    assert loaded.notes == ()


def test_layers_without_a_target_module_are_counted() -> None:
    import torch

    from alttrain_cli.engine.lora import check_targets

    def layer(*names: str) -> torch.nn.Module:
        return torch.nn.ModuleDict({name: torch.nn.Linear(2, 2) for name in names})

    both = ("q_proj", "o_proj")
    layers = torch.nn.ModuleList([layer(*both), layer(*both), layer(*both), layer("o_proj")])
    model = torch.nn.ModuleDict({"layers": layers})
    lines = check_targets(model, "some/model", ("q_proj", "o_proj"))
    assert lines == ["1 of 4 layers have no q_proj: the adapter does not change them there"]


def test_a_fully_fine_tuned_run_is_evaluated_and_known_by_its_own_weights(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.create(
        Path("runs/whole"), "whole", named(Path("elsewhere/base"), full_finetuning=True).to_yaml()
    )
    shutil.copytree(folder, run.adapter_path)
    command = ["eval", "runs/whole", "--suite", "smoke-harmful", "--limit", "2", "--no-judge-card"]
    done = CliRunner().invoke(app, [*command, "--baseline", "none", "--max-new-tokens", "4"])
    assert done.exit_code == 0, (done.output, done.exception)
    plan = json.loads((run.path / "eval" / "smoke-harmful" / "plan.json").read_text())
    assert plan["target"]["adapter"] is None
    assert len(plan["target"]["weights"]) == 16


def test_no_memory_while_a_model_is_loaded_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from unsloth import FastLanguageModel

    def full(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(FastLanguageModel, "from_pretrained", staticmethod(full))
    done = CliRunner().invoke(app, ["chat", str(folder), "-p", "hi"])
    said = " ".join(done.output.split())
    assert done.exit_code == 2, (said, done.exception)
    assert "model: out of memory while loading it." in said
    assert "smaller model" in said


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Pretend a GPU with 1 MB for judges; return the options of every load, which happens on the CPU."""
    from transformers import AutoModelForCausalLM

    from alttrain_cli.engine import classify

    seen: list[dict[str, Any]] = []
    original = AutoModelForCausalLM.from_pretrained

    def load(name: str, *, device_map: Any = None, quantization_config: Any = None, **options: Any) -> Any:
        seen.append(
            {"device_map": device_map, "four_bit": getattr(quantization_config, "load_in_4bit", False)}
        )
        return original(name, **options)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", staticmethod(load))
    monkeypatch.setattr(classify, "has_gpu", lambda: True)
    monkeypatch.setattr(classify, "free_bytes", lambda: 10**6)
    return seen


def test_a_judge_is_loaded_in_16_bits_where_it_fits_and_else_in_4(
    folder: Path, loads: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from alttrain_cli.engine import classify

    assert classify.Classifier(str(folder)).bits == 16
    monkeypatch.setattr(classify, "free_bytes", lambda: 1000)
    assert classify.Classifier(str(folder)).bits == 4
    assert loads == [{"device_map": {"": 0}, "four_bit": False}, {"device_map": {"": 0}, "four_bit": True}]


def test_a_judge_that_runs_out_of_memory_takes_fewer_at_a_time_and_ends_in_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from alttrain_cli.engine import classify

    judge = classify.Classifier(str(folder))
    texts = [f"Is {number} safe?" for number in range(9)]
    expected = {index for index, *_ in judge.answers(texts, 3)}
    write, most = classify._answers, 2

    def narrow(model: Any, tokenizer: Any, rendered: list[list[int]], tokens: int) -> list[str]:
        if len(rendered) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return write(model, tokenizer, rendered, tokens)

    monkeypatch.setattr(classify, "_answers", narrow)
    assert {index for index, *_ in judge.answers(texts, 3)} == expected
    most = 0
    with pytest.raises(ModelError, match="out of memory on one response"):
        list(judge.answers(texts, 3))


@pytest.mark.parametrize(("role", "what"), [("user", "the request"), ("assistant", "the response")])
def test_a_judge_whose_chat_template_drops_what_it_judges_judges_nothing(
    folder: Path, role: str, what: str
) -> None:
    from alttrain_cli.engine import classify

    body = f"{{% if m.role != '{role}' %}}{{{{ m.content }}}}{{% endif %}}{{% endfor %}}"
    chat_template(MARKED + body)(folder)
    judge = classify.Classifier(str(folder))
    assert list(judge.answers(["Is it safe?"], 2))  # a text that is rendered already needs no template
    judged = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]
    with pytest.raises(ModelError, match=f"the judge's chat template drops {what}"):
        list(judge.answers([judged], 2))


COMMITS = {"main": "a" * 40, "older": "b" * 40}


@pytest.fixture
def on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model in the hub's cache, at two commits."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    write_hub_cache(tmp_path / "hub", "some/model", COMMITS)
    return "some/model"


def test_a_full_disk_is_not_called_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device", "config.json")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", full)
    with pytest.raises(
        ModelError, match=r"R1-Distill-Qwen-7B: cannot be downloaded: the disk is full\. Free"
    ):
        locate(Recipe.load("r1-7b"))


def test_what_is_loaded_from_the_hub_is_the_commit_of_the_revision_and_the_adapter_says_which(
    on_the_hub: str, tmp_path: Path
) -> None:
    with capture_output(None):
        from alttrain_cli.backends.fingerprints import fingerprint_of
        from alttrain_cli.backends.target import Target
        from alttrain_cli.engine.load import load_base

        weights = {}
        for revision, commit in ((None, "a" * 40), ("older", "b" * 40), ("b" * 40, "b" * 40)):
            recipe = named(Path(on_the_hub), revision=revision)
            loaded = load_base(recipe, training=True)
            assert loaded.source == (on_the_hub, commit)
            assert fingerprint_of(Target("x", recipe), loaded).weights == commit
            weights[revision] = float(loaded.model.get_input_embeddings().weight[5, 5])
            loaded.model.save_pretrained(tmp_path / commit)
            config = json.loads((tmp_path / commit / "adapter_config.json").read_text())
            assert (config["base_model_name_or_path"], config["revision"]) == (on_the_hub, commit)
        with pytest.raises(ModelError, match="some/model: not on this machine at revision 'newer'"):
            load_base(named(Path(on_the_hub), revision="newer"))
    assert weights[None] != weights["older"] == weights["b" * 40]


def test_a_repository_with_pickled_weights_alone_is_refused_before_anything_is_loaded(
    on_the_hub: str, tmp_path: Path
) -> None:
    [snapshot] = (tmp_path / "hub").glob("*/snapshots/" + "a" * 40)
    pickled(snapshot)
    with capture_output(None):
        from alttrain_cli.engine.load import load_base

        with pytest.raises(ModelError, match="its weights are not on this machine"):
            load_base(named(Path(on_the_hub)))
