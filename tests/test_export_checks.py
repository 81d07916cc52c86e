"""What an export refuses before it loads a model, and what a dry run shows: one line each, nothing written."""

import hashlib
import json
import os
import re
import shutil
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from alttrain_cli.cli import app
from alttrain_cli.engine import weight_sizes
from alttrain_cli.engine.source import require_weights
from alttrain_cli.errors import ModelError, RunError
from alttrain_cli.export import llama_process, push
from alttrain_cli.export.formats import choose_formats
from alttrain_cli.export.gguf import QUANTISED, GgufFormat
from alttrain_cli.export.preflight import SPARE, check_room
from alttrain_cli.progress import Progress
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.runs.model_card import ModelCard
from alttrain_cli.storage.files import write_json
from alttrain_cli.storage.licence import Licence
from alttrain_cli.storage.run import Run
from alttrain_cli.storage.run_records import BaseRecord
from tests.hub import TOKEN, Hub, Refusal, hub_server

SHAPE = ("model.shape=null", "model.package=null")


def export(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, arguments)], prog_name="alttrain")


def refused(result: Result, *words: str) -> None:
    """It ended with one line that holds the words."""
    assert result.exit_code == 2, result.output
    said = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(said) == 1, said
    for word in words:
        assert word in said[0]


def base_of(folder: Path, **config: Any) -> Path:
    import numpy
    from safetensors.numpy import save_file

    folder.mkdir()
    write_json(folder / "config.json", {"model_type": "llama", **config})
    save_file({"weight": numpy.zeros(4, numpy.float32)}, folder / "model.safetensors")
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run whose files are there, as far as they are looked at before a model is loaded."""
    base = base_of(tmp_path / "base")
    recipe = Recipe.load("smollm2-135m", (f"model.name={base}", *SHAPE))
    made = Run.create(tmp_path / "mine", recipe.name, recipe.to_yaml())
    made.adapter_path.mkdir()
    (made.adapter_path / "adapter_model.safetensors").touch()
    made.update_manifest(status="finished", recipe="own", base=BaseRecord(name=str(base)), template="t" * 64)
    return made


@pytest.fixture
def files(run: Run) -> Any:
    """Nothing of the run changes."""
    before = sorted(run.path.rglob("*"))
    yield
    assert sorted(run.path.rglob("*")) == before


pytestmark = pytest.mark.usefixtures("files")


def test_a_run_without_an_adapter(run: Run) -> None:
    shutil.move(run.adapter_path, run.path.parent / "elsewhere")
    try:
        refused(export(run.path), "has no adapter")
    finally:
        shutil.move(run.path.parent / "elsewhere", run.adapter_path)


def test_no_such_run(tmp_path: Path) -> None:
    refused(export(tmp_path / "nowhere"), "no such run")


def test_a_base_model_that_is_gone(run: Run, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "base")
    refused(export(run.path), str(tmp_path / "base"), "no such model folder")


def test_a_base_model_with_other_weights(run: Run) -> None:
    run.update_manifest(base=BaseRecord(name="base", weights="0" * 16))
    refused(export(run.path), "weights have changed", "train again")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--format", "gguff"), ("no such format", "Did you mean 'gguf'?")),
        (("--format", "onnx"), ("no such format", "adapter, merged, gguf, ollama")),
        (("--format", ""), ("--format is empty",)),
        (("--format", "gguf", "--quantize", "q4_k_x"), ("no such type", "Did you mean 'q4_k_s'?")),
        (("--format", "gguf", "--quantize", "q4"), ("no such type", "Did you mean 'q4_k_m'?")),
        (("--format", "gguf", "--quantize", "q3"), ("no such type", "Did you mean 'q3_k_m'?")),
        (("--format", "gguf", "--quantize", "iq2_xxs"), ("no such type",)),
        (("--quantize", "q8_0"), ("--quantize has no effect without --format gguf or ollama",)),
        (("--format", "merged,adapter", "--push", "me/x"), ("--push takes one format",)),
        (("--push", "my model"), ("not a repository", "OWNER/NAME")),
        (("--push", "me/model.git", "--dry-run"), ("not a repository", "OWNER/NAME")),
    ],
)
def test_an_option_that_is_wrong(run: Run, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    refused(export(run.path, *arguments), *words)


def test_a_converter_that_is_missing_is_said_before_anything_is_merged(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_process.util, "find_spec", lambda name: None)
    refused(export(run.path, "--format", "ollama"), "pip install 'alttrain[gguf]'")


def test_a_disk_that_is_too_small(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(2**40, 2**40, 2**20))
    refused(export(run.path), "the disk has 0.0 GiB free", "0.1")


@pytest.mark.parametrize(("name", "least"), [("a/b", "2.1"), ("a/b-bnb-4bit", "8.1")])
def test_a_model_of_the_hub_has_the_size_of_its_files_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, least: str
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    kept = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text("c" * 40)
    base = base_of(tmp_path / "other")
    os.truncate(base / "model.safetensors", 2**31)  # it takes no room
    (kept / "snapshots").mkdir()
    base.rename(kept / "snapshots" / ("c" * 40))
    recipe = Recipe.load("smollm2-135m", (f"model.name={name}", *SHAPE))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(2**40, 2**40, 2**30))
    with pytest.raises(RunError, match=rf"1\.0 GiB free, but this export needs {least}"):
        check_room(recipe, tmp_path, 1.0)


@pytest.fixture
def of_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """The recipe of a model of which the cache has one of two files of weights, of 1 GiB each."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(weight_sizes, "is_offline", lambda: False)
    kept = tmp_path / "hub" / "models--a--b"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text("c" * 40)
    snapshot = kept / "snapshots" / ("c" * 40)
    snapshot.mkdir(parents=True)
    files = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    write_json(snapshot / "config.json", {"model_type": "llama"})
    write_json(snapshot / "model.safetensors.index.json", {"weight_map": dict(zip("xy", files, strict=True))})
    (snapshot / files[0]).touch()
    sizes = {**dict.fromkeys(files, 2**30), "original.pth": 2**40, "config.json": 1}

    def model_info(api: Any, name: str, *, revision: str, files_metadata: bool, timeout: float) -> Any:
        assert (name, revision, files_metadata) == ("a/b", "c" * 40, True)
        assert 0 < timeout < 60
        named = namedtuple("named", "rfilename size")
        return namedtuple("info", "siblings")([named(*one) for one in sizes.items()])

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", model_info)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(2**40, 2**40, 5 * 2**29))
    return Recipe.load("smollm2-135m", ("model.name=a/b", *SHAPE))


def test_what_must_be_downloaded_is_counted_too(of_hub: Recipe, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"2\.5 GiB free, but this export needs 3\.1"):  # 2 written, 1 fetched
        check_room(of_hub, tmp_path, 1.0)
    assert check_room(of_hub, tmp_path, 0.5) == (2 * 2**30 + SPARE, 5 * 2**29)


def test_a_download_that_the_disk_of_the_cache_has_no_room_for(
    of_hub: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr("huggingface_hub.file_exists", lambda name, file, **_: asked.append(file) or True)
    require_weights("a/b", "c" * 40)
    assert asked  # what the cache has is a part
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(2**40, 2**40, 2**29))
    with pytest.raises(ModelError, match=r"cache has 0\.5 GiB free, but the download needs 1\.0"):
        require_weights("a/b", "c" * 40)


@pytest.mark.parametrize("offline", [False, True])
def test_without_the_hub_the_recipes_shape_decides_and_without_it_the_size_is_not_known(
    of_hub: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, offline: bool
) -> None:
    calls = []

    def unreachable(*_: Any, **__: Any) -> None:
        calls.append(1)
        raise OSError("no route")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", unreachable)
    monkeypatch.setattr(weight_sizes, "is_offline", lambda: offline)
    room = check_room(of_hub, tmp_path, 1.0)
    assert room.needed is None
    assert "not known" in room.in_words
    shape = Recipe.load("smollm2-135m").model.shape
    assert shape
    known = of_hub.model_copy(update={"model": of_hub.model.model_copy(update={"shape": shape})})
    assert check_room(known, tmp_path, 1.0).needed == 4 * shape.parameters + SPARE  # written and fetched
    assert bool(calls) is not offline


def test_an_out_that_is_below_a_file_or_no_place_for_files(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for more in ((), ("--dry-run",)):
        refused(export(run.path, "--out", tmp_path / "file" / "x", *more), "file is not a folder")
        if Path("/proc/self").is_dir():
            refused(export(run.path, "--out", "/proc/x", *more), "/proc/x: no files can be written here")


def test_an_out_without_permission_is_refused_by_a_dry_run_too(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: mode == os.R_OK)  # as not for root
    refused(export(run.path, "--dry-run"), f"no permission to write in {run.path}", "Choose another --out")


@pytest.mark.parametrize(
    ("kinds", "least", "most"),
    [
        (("q8_0",), 2.0, 2.0),  # the merged model and one of 16 bits, before the first is deleted
        (("f32", "f16"), 4.0, 4.0),
        (("f16", *QUANTISED), 6.0, 8.0),
        (("iq4_xs", "q2_k"), 2.0, 2.0),
    ],
)
def test_every_file_of_an_export_to_gguf_needs_room(
    kinds: tuple[str, ...], least: float, most: float
) -> None:
    assert least <= GgufFormat(kinds, for_ollama=False).copies <= most


def test_a_folder_that_holds_something(run: Run, tmp_path: Path) -> None:
    (tmp_path / "out" / "merged").mkdir(parents=True)
    (tmp_path / "out" / "merged" / "mine.txt").touch()
    refused(export(run.path, "--out", tmp_path / "out"), "already exists, and holds mine.txt")
    (tmp_path / "file").touch()
    refused(export(run.path, "--out", tmp_path / "file"), "file", "not a folder")


def test_a_link_or_a_mount_point_that_the_finished_folder_could_not_replace(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "out" / "merged"
    place.mkdir(parents=True)
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == place)
    refused(export(run.path, "--out", tmp_path / "out"), f"{place}: is a mount point. Remove it, or")
    (tmp_path / "elsewhere").mkdir()
    place.rmdir()
    place.symlink_to(tmp_path / "elsewhere")
    refused(export(run.path, "--out", tmp_path / "out"), f"{place}: is a link. Remove it, or choose")


def test_a_base_of_4_bits_on_a_cpu(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alttrain_cli.engine.device.has_gpu", lambda: False)
    config = json.loads((tmp_path / "base" / "config.json").read_text())
    write_json(tmp_path / "base" / "config.json", {**config, "quantization_config": {"load_in_4bit": True}})
    refused(export(run.path), "4-bit", "CPU")
    assert export(run.path, "--format", "adapter", "--dry-run").exit_code == 0


def test_an_adapter_of_a_full_fine_tune(tmp_path: Path, run: Run) -> None:
    run.recipe_path.write_text(
        run.recipe_path.read_text().replace("full_finetuning: false", "full_finetuning: true")
    )
    refused(export(run.path, "--format", "adapter"), "--format merged")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The real client of the hub, and a strict hub on loopback."""
    from huggingface_hub import constants

    for name in ("HF_HUB_OFFLINE", "ALTTRAIN_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_XET_CACHE", str(tmp_path / "xet"))
    with hub_server() as found:
        monkeypatch.setattr(constants, "ENDPOINT", found.url)
        yield found


def test_a_dry_run_says_whether_a_token_is_there_and_a_real_one_asks_for_it_first(
    run: Run, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = export(run.path, "--push", "me/x", "--dry-run")
    assert "token: found." in " ".join(done.output.split())
    assert TOKEN not in done.output
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    done = export(run.path, "--push", "me/x", "--dry-run")
    assert done.exit_code == 0, done.output
    assert "token: none found. The upload needs one: run hf auth login" in " ".join(done.output.split())
    assert "token:" not in export(run.path, "--dry-run").output
    refused(export(run.path, "--push", "me/x"), "needs a token", "hf auth login")


def test_a_hub_that_cannot_be_reached_or_must_not_be(
    run: Run, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody_else")
    refused(export(run.path, "--push", "me/x"), "the hub refuses the token")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # nobody listens
    refused(export(run.path, "--push", "me/x"), "cannot be reached")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    refused(export(run.path, "--push", "me/x"), "HF_HUB_OFFLINE")


def test_a_dry_run_shows_files_repository_and_card_and_does_nothing(
    run: Run, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = export(run.path, "--push", "me/x", "--dry-run")
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    files = "model.safetensors", "README.md, training-recipe.yaml, verdict.json, export.json"
    for words in ("export/merged", *files, "me/x (private if it is new)", "## Not tested"):
        assert words in said, words
    assert done.output.splitlines()[-1] == f"next: alttrain export {run.path} --push me/x"
    card = done.output.partition("---")[2].splitlines()
    assert all(len(line) <= 80 or line.startswith(("alttrain ", "next: ")) for line in card)
    assert "GiB free, 0.1 GiB needed" in said
    assert hub.paths == []


@pytest.mark.parametrize(
    ("recipe", "weights"),
    [
        ("smollm2-135m", ["model.safetensors"]),
        ("r1-7b", ["model-*.safetensors", "model.safetensors.index.json"]),
    ],
)
def test_the_weights_of_a_large_model_are_listed_as_several_files(
    run: Run, recipe: str, weights: list[str]
) -> None:
    (merged,) = choose_formats(["merged"], [])
    assert merged.files(run, Recipe.load(recipe))[: len(weights)] == weights


@pytest.fixture
def exported(run: Run, tmp_path: Path) -> Path:
    """A folder as an export leaves it: with a real card, a binary file, and one of text."""
    folder = tmp_path / "my run"
    folder.mkdir()
    ModelCard.of(run, Recipe.of_run(run), "transformers", Licence("apache-2.0")).save(folder)
    (folder / "model.safetensors").write_bytes(os.urandom(100_000))
    (folder / "tokenizer.json").write_text("{}")
    return folder


@pytest.mark.parametrize("is_xet", [True, False])
def test_the_real_client_uploads_the_whole_folder_into_a_private_repository(
    exported: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, *, is_xet: bool
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", not is_xet)
    files = {path.name: path.read_bytes() for path in exported.iterdir()}
    assert push.push(exported, "me/x", Progress()) == f"{hub.url}/me/x"
    assert hub.refused == []
    (name, found), *others = hub.repositories.items()
    assert (name, found.visibility, others) == ("me/x", "private", [])
    assert [one["files"] for one in found.commits] == [
        sorted(files)
    ]  # one commit: it is there in full or not
    large = files["model.safetensors"]
    wanted = {"model.safetensors": hashlib.sha256(large).hexdigest()} if is_xet else {}
    assert found.files == {**files, **wanted}
    assert hub.stored >= (len(large) if is_xet else 0)
    (exported / "tokenizer.json").write_text('{"new": 1}')
    push.push(exported, "me/x", Progress())  # into the one that exists
    assert found.files["tokenizer.json"] == b'{"new": 1}'


def test_an_upload_that_fails_names_the_folder_and_the_next_step(exported: Path, hub: Hub) -> None:
    full = Refusal("Private repository storage limit reached", 403)
    hub.fault = lambda line: full if "/commit/" in line else None
    with pytest.raises(push.AlttrainError, match=r"is complete.*storage limit.*hf upload me/x '.*my run'$"):
        push.push(exported, "me/x", Progress())


def test_an_upload_that_is_interrupted_names_what_is_there_and_the_next_step(
    exported: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    class Said(Progress):
        def warn(self, text: str) -> None:
            said.append(text)

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("huggingface_hub.HfApi.upload_folder", interrupted)
    with pytest.raises(KeyboardInterrupt):
        push.push(exported, "me/x", Said())
    [line] = said
    assert re.search(r"interrupted\..*is complete.*me/x may lack.*hf upload me/x '.*my run'$", line)


def test_a_card_that_the_hub_refuses_is_shown_with_every_reason_and_must_be_corrected(
    exported: Path, hub: Hub
) -> None:
    text = (exported / "README.md").read_text()
    text = text.replace('license: "apache-2.0"', "license: own").replace(
        "library_name: ", "library_name: 1 #"
    )
    (exported / "README.md").write_text(text)
    with pytest.raises(push.AlttrainError) as refusal:
        push.push(exported, "me/x", Progress())
    said = 'README.md: "library_name" must be a string; "license" must be one of [apache-2.0, '
    assert said in str(refusal.value)
    assert f"Correct the first lines of {exported / 'README.md'}, then run: hf upload me/x" in str(
        refusal.value
    )
    assert "Try again" not in str(refusal.value)
    assert hub.repositories["me/x"].commits == []
