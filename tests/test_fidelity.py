"""What papers did, and what our recipes, data and presets do: a table per paper, each setting with its source.

A default that changes fails here. To change a setting on purpose, change it here too, and say why.
"""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from alttrain_cli.cli import app
from alttrain_cli.data.samples import SampleReader
from alttrain_cli.evaluation.presets import find_preset, preset_names
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.run import Run
from alttrain_cli.storage.shipped_files import shipped
from alttrain_cli.structure.row import read_rows
from alttrain_cli.training.rows import TrainingRows
from tests import stand_ins
from tests.samples import TRACE, put

SCRIPT = "R1-Act's training script"
EVALUATION = "R1-Act's evaluation script"
PAPER = "AltTrain, arXiv 2604.18946"
STUDY = "LRM safety study, arXiv 2505.15404"
STUDY_SCRIPT = "the LRM safety study's training script"
DEFAULT = f"the trainer's default, which {STUDY_SCRIPT} leaves"
STAR = "STAR-1's evaluation"
QWEN = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
LLAMA = "You are Llama, created by Meta AI. You are a helpful assistant."

CARD = "DeepSeek-R1's model card"
OURS = "ours"
NEITHER = "ours; nobody else has it"

Settings = dict[str, tuple[Any, str]]  # key -> (value, source)

ALL_LRM: Settings = {
    "model.full_finetuning": (False, SCRIPT),
    "data.mix": ([], "no paper but the study mixes"),
    "data.seed": (1995, OURS),
    "train.max_grad_norm": (1.0, "the trainer's default, which R1-Act's script leaves"),
    "train.train_sampling_strategy": ("random", SCRIPT),
    "train.until_verdict": (0.0, NEITHER),
    "generation.threshold": (None, NEITHER),
    "generation.top_k": (None, "no paper names it"),
    "generation.repetition_penalty": (None, "STAR-1 alone has one, in its evaluation"),
    "lora.r": (16, SCRIPT),
    "lora.lora_alpha": (16, SCRIPT),
    "lora.lora_dropout": (0.0, SCRIPT),
    "lora.bias": ("none", SCRIPT),
    "lora.target_modules": (
        ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        SCRIPT,
    ),
    "model.load_in_4bit": (True, SCRIPT),
    "train.num_train_epochs": (15, SCRIPT),
    "train.learning_rate": (1e-5, SCRIPT),
    "train.lr_scheduler_type": ("cosine", SCRIPT),
    "train.warmup_steps": (5, SCRIPT),
    "train.optim": ("adamw_8bit", SCRIPT),
    "train.adam_beta1": (0.9, SCRIPT),
    "train.adam_beta2": (0.95, SCRIPT),
    "train.weight_decay": (1e-4, SCRIPT),
    "train.seed": (1995, SCRIPT),
}
ALTTRAIN: Settings = {
    **ALL_LRM,
    "data.sources": (["safechain:harmful=900,benign=100"], f"{PAPER}: about 900 and 100"),
    "model.system": (None, f"{CARD}: none"),
    "train.max_length": (8192, f"{OURS}; R1-Act's script has 32768, and no row is as long"),
    "generation.max_new_tokens": (4096, OURS),
    "generation.do_sample": (True, CARD),
    "generation.temperature": (0.6, CARD),
    "generation.top_p": (0.95, CARD),
    "data.style": ("alttrain", PAPER),
    "data.label": (None, "SafeChain's own labels"),
    "data.annotator": ("template", "ours; the paper has GPT-4o"),
}
R1_ACT: Settings = {
    **ALL_LRM,
    "train.max_length": (32768, SCRIPT),
    "train.gradient_accumulation_steps": (1, SCRIPT),
    "generation.max_new_tokens": (1024, EVALUATION),
    "generation.do_sample": (False, EVALUATION),
    "generation.temperature": (None, "not sampled"),
    "generation.top_p": (None, "not sampled"),
    "data.annotator": ("template", "not used: the rows are as they are published"),
    "data.sources": (["r1-act"], "R1-Act's dataset"),
    "data.style": ("original", "rows as they are published"),
    "data.label": ("unknown", "the published rows have none"),
}
FULL: Settings = {
    "model.full_finetuning": (True, STUDY),
    "model.load_in_4bit": (False, STUDY),
    "model.system": (None, f"{STUDY}: the tokenizer's own chat template"),
    "train.learning_rate": (5e-6, STUDY_SCRIPT),
    "train.lr_scheduler_type": ("cosine", STUDY_SCRIPT),
    "train.warmup_steps": (0, STUDY_SCRIPT),
    "train.num_train_epochs": (1, STUDY_SCRIPT),
    "train.max_length": (4096, STUDY_SCRIPT),
    "train.max_grad_norm": (1.0, STUDY_SCRIPT),
    "train.seed": (42, STUDY_SCRIPT),
    "train.optim": ("adamw_torch", DEFAULT),
    "train.adam_beta1": (0.9, DEFAULT),
    "train.adam_beta2": (0.999, DEFAULT),
    "train.weight_decay": (0.0, DEFAULT),
    "train.train_sampling_strategy": ("random", DEFAULT),
    **{
        key: ALL_LRM[key]
        for key in (
            "data.seed",
            "train.until_verdict",
            "generation.threshold",
            "generation.top_k",
            "generation.repetition_penalty",
        )
    },
    "generation.max_new_tokens": (4096, STUDY),
    "generation.do_sample": (False, STUDY),
    "generation.temperature": (None, "not sampled"),
    "generation.top_p": (None, "not sampled"),
    "data.annotator": ("template", "not used: the rows are as they are published"),
    "data.sources": (["lrm-study-short:400"], "the study's repository: 400 of a kind of 1,000 rows"),
    "data.mix": (["lrm-study-math:4000"], "the study's repository: 4,000 rows of mathematics"),
    "data.label": ("unknown", "the published rows have none"),
    "data.style": ("original", "rows as they are published"),
}
RECIPES: dict[str, Settings] = {
    "r1-1.5b": ALTTRAIN,
    "r1-7b": ALTTRAIN,
    "r1-8b": ALTTRAIN,
    "r1-32b": ALTTRAIN,
    "s1-14b": ALTTRAIN,
    **{
        f"r1-{size}-3k": {**ALTTRAIN, "data.sources": (["safechain:harmful=2700,benign=300"], f"{PAPER}: 3K")}
        for size in ("7b", "8b")
    },
    "r1-act": {**R1_ACT, "model.system": (LLAMA, SCRIPT)},
    **{f"r1-act-{of}": {**R1_ACT, "model.system": (QWEN, SCRIPT)} for of in ("1.5b", "7b", "14b", "s1-14b")},
    "lrm-study-7b": FULL,
}
R1 = "deepseek-ai/DeepSeek-R1-Distill-"
BACKBONES = {
    "r1-1.5b": f"{R1}Qwen-1.5B",
    "r1-7b": f"{R1}Qwen-7B",
    "r1-8b": f"{R1}Llama-8B",
    "r1-32b": f"{R1}Qwen-32B",
    "s1-14b": "simplescaling/s1.1-14B",
    "r1-7b-3k": f"{R1}Qwen-7B",
    "r1-8b-3k": f"{R1}Llama-8B",
    "r1-act": f"{R1}Llama-8B",
    "r1-act-1.5b": f"{R1}Qwen-1.5B",
    "r1-act-7b": f"{R1}Qwen-7B",
    "r1-act-14b": f"{R1}Qwen-14B",
    "r1-act-s1-14b": "simplescaling/s1.1-14B",
    "lrm-study-7b": f"{R1}Qwen-7B",
}
# Keys that decide nothing of what a paper did: names, and how an update is cut to fit the memory.
FREE = (
    "name",
    "data.name",
    "model.name",  # in BACKBONES
    "model.revision",
    "model.package",
    "model.shape.",
    "train.per_device_train_batch_size",  # in ROWS_PER_STEP
    "train.gradient_accumulation_steps",
    "train.gradient_checkpointing",
    "train.save_steps",
)
ROWS_PER_STEP = {
    "r1-7b": (8, SCRIPT),
    "r1-8b": (8, SCRIPT),
    "r1-7b-3k": (8, SCRIPT),
    "r1-8b-3k": (8, SCRIPT),
    "r1-32b": (8, f"{SCRIPT}, as for 14B, its largest"),
    "s1-14b": (8, f"{SCRIPT}, as for 14B"),
    "r1-act": (8, SCRIPT),
    "r1-act-7b": (8, SCRIPT),
    "r1-act-14b": (8, SCRIPT),
    "r1-act-s1-14b": (8, f"{SCRIPT}, as for 14B"),
    "r1-1.5b": (16, SCRIPT),
    "r1-act-1.5b": (16, SCRIPT),
    "lrm-study-7b": (64, f"{STUDY_SCRIPT}: 4 GPUs, 2 rows each, 8 steps"),
}
NO_MODEL: Settings = {
    "names_the_model": (False, "no system prompt is put in front"),
    "load_in_4bit": (None, "of a run, the weights stay as they are"),
}
NOT_SAMPLED: Settings = {
    "do_sample": (False, "each paper decodes safety greedily"),
    **dict.fromkeys(("temperature", "top_p", "top_k"), (None, "not sampled")),
    "threshold": (None, NEITHER),
    "repetition_penalty": (None, "STAR-1 alone has one"),
}
PRESETS: dict[str, Settings] = {
    "r1-act": {
        **NOT_SAMPLED,
        "max_new_tokens": (1024, EVALUATION),
        "load_in_4bit": (True, EVALUATION),
        "names_the_model": (True, EVALUATION),
        "judge_part": (None, "no judge is published"),
    },
    "star-1": {
        **NOT_SAMPLED,
        **NO_MODEL,
        "max_new_tokens": (8000, STAR),
        "repetition_penalty": (1.2, STAR),
        "judge_part": ("full", "STAR-1 judges the whole text"),
    },
    "safechain": {
        **NOT_SAMPLED,
        **NO_MODEL,
        "max_new_tokens": (16000, "SafeChain's evaluation"),
        "judge_part": (None, "any"),
    },
    "lrm-safety-study": {
        **NOT_SAMPLED,
        **NO_MODEL,
        "max_new_tokens": (4096, STUDY),
        "judge_part": ("full", f"{STUDY}: no stripping of the reasoning"),
    },
}


# The ready 4-bit copies that the script loads (yeonjun-in/R1-Act, R1-Act_training_code.py, --llm).
COPIES = {
    "r1-act": "unsloth/DeepSeek-R1-Distill-Llama-8B-bnb-4bit",
    **{
        f"r1-act-{size.lower()}": f"unsloth/DeepSeek-R1-Distill-Qwen-{size}-bnb-4bit"
        for size in ("1.5B", "7B", "14B")
    },
}


@pytest.mark.parametrize("name", COPIES)
def test_a_recipe_names_the_ready_copy_that_the_script_loads(name: str) -> None:
    text = (shipped("recipes") / f"{name}.yaml").read_text(encoding="utf-8")
    assert COPIES[name] in {word.rstrip(".,") for word in text.split()}


@pytest.mark.parametrize("name", ["r1-act-s1-14b", *COPIES])
def test_a_recipe_of_a_paper_says_whose_settings_it_has(name: str) -> None:
    head = (shipped("recipes") / f"{name}.yaml").read_text(encoding="utf-8").partition("base:")[0]
    assert "script" in head


def value(recipe: dict[str, Any], key: str) -> Any:
    for part in key.split("."):
        recipe = recipe[part]
    return recipe


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_the_settings_of_its_source(name: str) -> None:
    found = Recipe.load(name).model_dump(mode="json")
    wrong = {
        key: (value(found, key), wanted, source)
        for key, (wanted, source) in RECIPES[name].items()
        if value(found, key) != wanted
    }
    assert wrong == {}


@pytest.mark.parametrize("name", RECIPES)
def test_every_setting_of_a_papers_recipe_is_in_its_table(name: str) -> None:
    recipe = Recipe.load(name)
    keys = [".".join(path) for path, _ in recipe.leaves()]
    free = (*FREE, "lora.") if recipe.model.full_finetuning else FREE
    assert [key for key in keys if not key.startswith(free) and key not in RECIPES[name]] == []


def test_every_papers_recipe_trains_its_backbone_in_its_updates() -> None:
    assert {name: Recipe.load(name).model.name for name in RECIPES} == BACKBONES
    assert ROWS_PER_STEP.keys() == RECIPES.keys()


@pytest.mark.parametrize("name", ROWS_PER_STEP)
def test_an_update_has_the_rows_of_its_source(name: str) -> None:
    assert Recipe.load(name).train.rows_per_step == ROWS_PER_STEP[name][0]


def test_a_preset_names_the_model_as_r1_act_does() -> None:
    named = find_preset("r1-act").system
    assert [named(model) for model in (f"{R1}Llama-8B", f"{R1}Qwen-7B")] == [LLAMA, QWEN]
    assert PRESETS.keys() == {*preset_names()}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_has_the_settings_of_its_source(name: str) -> None:
    preset = find_preset(name)
    own = {one.name for one in fields(preset)} - {"name", "generation", "caveats"}
    assert PRESETS[name].keys() == own | preset.generation.model_dump().keys()
    for key, (wanted, source) in PRESETS[name].items():
        home = preset.generation if hasattr(preset.generation, key) else preset
        assert getattr(home, key) == wanted, source


# --- rows of one label, and of none


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    stand_ins.install(monkeypatch)
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"How do I {verb} a pie?", "response": TRACE} for verb in ("bake", "sell", "hide")]
    put(tmp_path / "traces.jsonl", *rows)
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def said(result: Result) -> str:
    return " ".join(result.output.split())


def built(label: str, style: str = "original") -> Result:
    words = ("--source", "traces.jsonl", "--label", label, "--style", style, "--out", "data.jsonl")
    return run("build-data", *words)


@pytest.mark.parametrize(
    ("label", "warning"),
    [
        ("benign", "there are no harmful rows. The model would learn to answer everything."),
        ("unknown", "the label of 3 rows is unknown"),
    ],
)
def test_rows_of_one_label_train_only_if_that_is_wanted_and_with_a_warning(
    label: str, warning: str, here: Path
) -> None:
    assert built(label).exit_code == 0
    train = ("train", "--recipe", "smollm2-135m", "--data", "data.jsonl")
    refused = run(*train)
    assert (refused.exit_code, warning in said(refused)) == (2, True), refused.output
    assert "--allow-one-label" in said(refused)
    allowed = run(*train, "--allow-one-label")
    assert (allowed.exit_code, warning in said(allowed)) == (0, True), allowed.output
    recorded = Run(Path("runs/smollm2-135m-1")).manifest().data
    assert recorded
    assert recorded.labels == {label: 3}


def test_rows_of_unknown_label_keep_their_trace_and_make_no_assessment(here: Path) -> None:
    assert built("unknown").exit_code == 0
    [first, *_] = rows = read_rows(here / "data.jsonl")
    assert {row.label for row in rows} == {"unknown"}
    assert (first.assessment, "Water first" in first.reasoning) == ("", True)
    refused = built("unknown", "alttrain")
    assert (refused.exit_code, "only the style original trains such a trace" in said(refused)) == (2, True)


def test_an_annotator_that_judges_overrules_an_unknown_label() -> None:
    from alttrain_cli.data.annotators import Annotation, resolve_label
    from tests.samples import sample

    judged = Annotation("benign", "This is benign.")
    assert resolve_label(sample(label="unknown"), judged, None) == judged
    assert SampleReader.of(None, "unknown").label == "unknown"


def test_rows_of_both_labels_teach_nothing_that_is_warned_of(here: Path) -> None:
    run("build-data", "--source", "starter:16", "--out", "data.jsonl")
    assert TrainingRows.read(here / "data.jsonl").lesson == ""
