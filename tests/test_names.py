"""Names that become files and folders."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from alttrain_cli.backends.endpoint import Endpoint
from alttrain_cli.backends.open import Address
from alttrain_cli.backends.server import ServerBackend
from alttrain_cli.backends.target import Target
from alttrain_cli.chat.files import new_chat
from alttrain_cli.cli import app
from alttrain_cli.errors import RecipeError
from alttrain_cli.evaluation.eval_target import local_target, served_target
from alttrain_cli.evaluation.judge_run import JudgeRun
from alttrain_cli.evaluation.judges.catalogue import find_judges
from alttrain_cli.recipe.layers import shipped_recipes
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.files import write_json
from alttrain_cli.storage.names import LONGEST, is_hub_id, is_name, model_file_name, safe_name, suite_name

BAD = [
    *("../../x", "/tmp/x", "a/b", "a\\b", "..", ".", "", " ", "-x", "--out", ".hidden", "x.", "x ", "a\0b"),
    *(
        "a\nb",
        "a\x1b[31mb",
        "a\u202eb",
        "x" * 300,
        "é" * 60,
        "con",
        "NUL",
        "aux.txt",
        "COM1",
        "a:b",
        "a*b",
        "~x",
    ),
    *("a\u2028b", "a\u200bb"),
]


@pytest.mark.parametrize("name", BAD, ids=ascii)
def test_a_recipe_is_not_called_what_is_no_folders_name(name: str, tmp_path: Path) -> None:
    assert not is_name(name)
    values = Recipe.load("smollm2-135m").model_dump(mode="json") | {"name": name}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(RecipeError, match=r"mine\.yaml: name: must be a name for a folder") as refusal:
        Recipe.load(str(path))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["../../escaped", "/tmp/escaped"])
def test_a_name_makes_no_run_outside_of_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "a" / "b" / "work"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    runner = CliRunner()
    assert runner.invoke(app, ["build-data", "--source", "starter:8", "--out", "d.jsonl"]).exit_code == 0
    before = sorted(tmp_path.rglob("*"))
    arguments = ["train", "--recipe", "smollm2-135m", "--data", "d.jsonl", "--set", f"name={name}"]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 2
    assert "name: must be" in result.output
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["r1-7b", "My recipe 2", "рецепт", "配方", "a.b_c+d", "_x", "7"])
def test_usual_names_are_taken(name: str) -> None:
    assert is_name(name)
    assert Recipe.load("smollm2-135m", (f"name='{name}'",)).name == name


@pytest.mark.parametrize("stem", ["-rf", "a:b", ".mine", "x" * 200, "con"])
def test_a_recipe_without_a_name_gets_a_safe_one_of_its_file(stem: str, tmp_path: Path) -> None:
    values = Recipe.load("smollm2-135m").model_dump(mode="json", exclude={"name"})
    path = tmp_path / f"{stem}.yaml"
    path.write_text(yaml.safe_dump(values))
    assert is_name(Recipe.load(str(path)).name)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        *[(one, True) for one in ("owner/model", "o/m", "O-1/m_2.b-c", "0/_m")],
        *[(one, False) for one in ("model", "a/b/c", "/b", "a/", "a b/c", "a/b.", "-a/b", "é/m", "a/b\n")],
        *[(one, False) for one in ("a..b/c", "a/b..c", "a--b/c", "a/b--c", "../b")],
        *[("a" * length + "/" + "b" * length, length <= 96) for length in (96, 97)],
    ],
)
def test_a_hub_id_is_an_owner_and_a_name_as_the_hub_allows_them(text: str, is_one: bool) -> None:
    assert is_hub_id(text) is is_one


def test_the_longest_name_has_a_hundred_bytes() -> None:
    assert is_name("x" * 100)
    assert not is_name("x" * 101)
    assert (safe_name("x" * 100), len(safe_name("x" * 101))) == ("x" * 100, 100)


@pytest.mark.parametrize(
    ("mode", "replayed", "name"),
    [
        ("normal", False, "smoke"),
        ("zero", False, "smoke+zerothink"),
        ("less", False, "smoke+lessthink"),
        ("normal", True, "smoke+replayed"),
        ("zero", True, "smoke+replayed"),
    ],
)
def test_thinking_ablations_and_replays_have_folders_of_their_own(
    mode: str, replayed: bool, name: str
) -> None:
    assert suite_name("smoke", mode, replayed=replayed) == name


def test_shipped_recipes_have_names_for_folders() -> None:
    assert all(is_name(Recipe.load(str(path)).name) for path in shipped_recipes())


@pytest.mark.parametrize(
    "text", [*BAD, "owner/model@http://localhost:8000/v1", "a/../../b", "x/" * 400], ids=ascii
)
def test_any_text_becomes_one_safe_name(text: str) -> None:
    for gap in ("-", "--"):
        name = safe_name(text, gap)
        assert Path(name).name == name
        assert len(name.encode()) <= LONGEST
        assert is_name(name)
    assert safe_name("owner/model", "--") == "owner--model"
    assert safe_name("x" * 300) != safe_name("x" * 301)


def test_two_models_have_two_names_of_files_and_usual_names_stay_readable() -> None:
    usual = {"gpt-4o": "gpt-4o", "owner/model": "owner--model", "qwen3:8b": "qwen3+8b", "a/b:c": "a--b+c"}
    assert {model: model_file_name(model) for model in usual} == usual
    unusual = [
        "owner--model",
        "/owner/model",
        "owner model",
        "owner@model",
        "owner:model",
        "owner+model",
        "a:b/c",
        "a:",
        ":a",
        "x/" * 400,
        "x" * 300,
        "",
    ]
    names = [model_file_name(model) for model in (*usual, *unusual)]
    assert len(set(names)) == len(names)
    assert all(is_name(name) and "~" not in name and "@" not in name for name in names)
    assert model_file_name("x" * 300) == safe_name("x" * 300)


@pytest.mark.parametrize("model", ["../../x", "/etc/passwd", "x" * 300, "..", "a\0b", "con"], ids=ascii)
def test_whatever_a_model_is_called_its_files_stay_in_their_folders(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Endpoint("http://user:SECRET@127.0.0.1:1/v1?key=SECRET", model, "none")
    monkeypatch.setattr(Endpoint, "find", lambda *_, **__: found)
    root = served_target(ServerBackend.find(found.base_url, model)).root
    recipe = Recipe.load("smollm2-135m")
    named = recipe.model_copy(update={"model": recipe.model.model_copy(update={"name": model})})
    places = [root, local_target(Target(model, named)).root]
    assert [place.parent for place in places] == [Path("evals")] * 2
    chat = new_chat(model, datetime(2026, 1, 1))
    assert chat.parent == Path("chats")
    judge = JudgeRun(find_judges("strongreject")[0], model=model).name
    for name in (root.name, chat.name, f"judgements.{judge}.jsonl"):
        assert Path(name).name == name
        assert len(name.encode()) < 200
        assert "SECRET" not in name


def served(model: str, server: str = "http://127.0.0.1:1/v1") -> Path:
    """Return the folder of the evaluations of a server's model."""
    return served_target(ServerBackend(Endpoint(server, model, "none"))).root


def local(model: str) -> Path:
    """Return the folder of the evaluations of a model on the hub or in a folder."""
    recipe = Recipe.load("smollm2-135m")
    named = recipe.model_copy(update={"model": recipe.model.model_copy(update={"name": model})})
    return local_target(Target(model, named)).root


@pytest.mark.parametrize("folder", [served, local])
def test_two_models_have_two_folders_of_evaluations_and_usual_ones_keep_their_name(
    folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["a/b", "a:b", "a--b", "a+b", "a b", "/a/b", "a/b:c", "a--b--c"]
    assert len({folder(name) for name in names}) == len(names)
    end = "--http--127.0.0.1--1--v1" * (folder is served)
    assert folder("a/b") == Path(f"evals/a--b{end}")


@pytest.mark.parametrize("folder", [served, local])
def test_an_evaluation_of_an_earlier_version_is_found_by_the_model_in_its_plans(
    folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    earlier, named = folder("a/b"), folder("a--b")
    facts = {"name": "a--b", "model": "a--b"}
    facts |= {"server": "http://127.0.0.1:1/v1"} if folder is served else {}
    for name in ("smoke-harmful", "smoke-benign"):
        (earlier / name).mkdir(parents=True)
        write_json(earlier / name / "plan.json", {"target": facts})
    assert folder("a--b") == earlier
    write_json(earlier / "smoke-benign" / "plan.json", {"target": facts | {"model": "a/b"}})
    assert folder("a--b") == named  # of two models: each is evaluated again
    write_json(earlier / "smoke-benign" / "plan.json", {"target": facts})
    named.mkdir()
    assert folder("a--b") == named


@pytest.mark.parametrize("folder", [served, local])
def test_an_evaluation_of_another_model_is_left_alone(
    folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    shared = folder("a/b")
    other = {"name": "a--b", "model": "a--b", "server": "http://127.0.0.1:1/v1" if folder is served else None}
    write_json(shared / "smoke-harmful" / "plan.json", {"target": other})
    own = folder("a/b")
    assert (folder("a--b"), own.parent, own != shared) == (shared, Path("evals"), True)
    write_json(own / "smoke-harmful" / "plan.json", {"target": {**other, "name": "a/b", "model": "a/b"}})
    assert (folder("a/b"), folder("a--b")) == (own, shared)
    write_json(shared / "smoke-benign" / "plan.json", {"target": {**other, "model": "a:b", "name": "a:b"}})
    assert folder("a:b") not in (shared, own)  # of two models: each has a folder of its own


def test_chats_with_unnamed_models_of_two_servers_are_two() -> None:
    urls = ["http://localhost:8000/v1", "http://user:SECRET@localhost:8001/v1?key=SECRET"]
    names = [Address(url).name for url in urls]
    assert names == ["localhost:8000/v1", "localhost:8001/v1"]
    now = datetime(2026, 1, 1)
    assert new_chat(names[0], now) == Path("chats/localhost-8000-v1-20260101-000000.jsonl")
    assert Address(urls[0], "m").name == "m"
