"""`alttrain doctor`: each trap and each fault is found, named, and has its cure."""

import copy
import errno
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.client import BadStatusLine
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typer.testing import CliRunner, Result

from alttrain_cli.backends.vllm import Vllm
from alttrain_cli.cli import app
from alttrain_cli.console.doctor import print_findings
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.doctor import hub, machine, packages
from alttrain_cli.doctor.finding import Finding, Level
from alttrain_cli.doctor.traps import find_traps
from alttrain_cli.engine import embedded, torch_probe
from alttrain_cli.engine.torch_probe import ask_torch
from alttrain_cli.errors import ModelError
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.run import EXPORTED_RECIPE
from tests import families
from tests.command_lines import result_of

ROW = starter_rows("heldout")[1]
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")


def alttrain(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["doctor", *arguments])


def traps(tokenizer: Any, system: str | None = None) -> dict[str, Finding]:
    return {one.check: one for one in find_traps(tokenizer, system, ROW)}


def broken(template: str, family: str = "qwen3", **tokens: str) -> Any:
    """A family's tokenizer with another chat template, or other special tokens."""
    tokenizer = copy.deepcopy(families.tokenizer(family))
    tokenizer.chat_template = template
    for name, token in tokens.items():
        setattr(tokenizer, name, token)
    return tokenizer


@pytest.mark.parametrize("name", families.NAMES)
def test_every_family_of_the_recipes_has_no_problem(name: str) -> None:
    found = find_traps(families.tokenizer(name), None, ROW)
    assert [one for one in found if one.level is Level.PROBLEM] == []
    assert traps(families.tokenizer(name))["training row"].level is Level.OK


@pytest.mark.parametrize(
    ("name", "check", "words"),
    [
        ("r1-qwen", "reasoning", "deletes an assistant's reasoning"),
        ("r1-qwen", "prefilled marker", "already ends in <think>"),
        ("r1-qwen", "padding", "also ends a turn"),
        ("qwen3-thinking-2507", "prefilled marker", "already ends in <think>"),
        ("smollm2", "family", "not a known reasoning model"),
    ],
)
def test_the_traps_of_real_families_are_noted_with_what_to_do_elsewhere(
    name: str, check: str, words: str
) -> None:
    found = traps(families.tokenizer(name))[check]
    assert found.level is Level.NOTE
    assert words in found.found
    assert found.cure


def test_a_family_without_traps_has_no_note_of_them() -> None:
    found = traps(families.tokenizer("qwen3"))
    assert {"prefilled marker", "start of text", "family"} & found.keys() == set()
    assert {found[check].level for check in ("reasoning", "padding", "end of turn")} == {Level.OK}


@pytest.mark.parametrize(
    ("template", "check", "words"),
    [
        (CHATML.replace("{{ m.content }}", "{% if m.role != 'user' %}{{ m.content }}{% endif %}"), "conversation", "drops the question"),
        (CHATML.replace("{{ m.content }}", "{% if m.role != 'assistant' %}{{ m.content }}{% endif %}"), "conversation", "drops an earlier answer"),
        ("", "conversation", "drops the question"),
        ("{{ 1 / 0 }}", "chat template", "fails"),
        ("{{ 9**9999999 }}", "chat template", "huge numbers"),
        (CHATML.replace("<|im_end|>", "END"), "end of turn", "with a single token"),
    ],
)  # fmt: skip
def test_a_broken_chat_template_is_a_problem_with_a_cure(template: str, check: str, words: str) -> None:
    tokenizer = broken(template, eos_token="NONE") if "END" in template else broken(template)
    found = [one for one in find_traps(tokenizer, None, ROW) if one.level is Level.PROBLEM]
    assert any(one.check == check and words in one.found for one in found), found
    assert all(one.cure for one in found)


def test_a_template_that_drops_the_system_text_matters_only_to_a_recipe_with_one() -> None:
    tokenizer = broken(
        CHATML.replace("{% for m in messages %}", "{% for m in messages if m.role != 'system' %}")
    )
    assert traps(tokenizer)["conversation"].level is Level.NOTE
    found = traps(tokenizer, "Be safe.")
    assert found["conversation"].level is Level.PROBLEM
    assert "--set model.system=null" in found["conversation"].cure
    assert found["training row"].level is Level.PROBLEM


def test_a_tokenizer_that_loses_spaces_is_a_problem() -> None:
    class Lossy:
        def __getattr__(self, name: str) -> Any:
            return getattr(families.tokenizer("qwen3"), name)

        def decode(self, ids: list[int], **options: Any) -> str:
            text: str = families.tokenizer("qwen3").decode(ids, **options)
            return text.replace(" ", "")

    found = traps(Lossy())
    assert found["text"].level is Level.PROBLEM
    assert "LlamaTokenizerFast" in found["text"].found
    assert "conversation" not in found  # the template drops nothing


def test_a_tokenizer_that_adds_a_second_bos_is_noted() -> None:
    class Adds:
        def __getattr__(self, name: str) -> Any:
            return getattr(families.tokenizer("r1-qwen"), name)

        def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
            inner = families.tokenizer("r1-qwen")
            bos = [inner.bos_token_id] * add_special_tokens
            return [*bos, *inner.encode(text, add_special_tokens=False)]

    found = traps(Adds())["start of text"]
    assert "adds it again" in found.found
    assert "add_special_tokens=False" in found.cure


def test_a_padding_token_that_ends_a_turn_is_noted() -> None:
    assert traps(broken(CHATML, pad_token="<|im_end|>"))["padding"].level is Level.NOTE


def test_an_end_of_turn_that_is_not_the_end_of_sequence_is_noted() -> None:
    found = traps(broken(CHATML, eos_token="<|endoftext|>"))["end of turn"]
    assert (found.level, "add <|im_end|> as a stop token" in found.cure) == (Level.NOTE, True)


class _Hub(BaseHTTPRequestHandler):
    asked: ClassVar[list[str]] = []
    answer: ClassVar = threading.Event()  # what it waits for

    def do_HEAD(self) -> None:
        self.asked.append(self.path)
        self.answer.wait(60)
        self.send_response(429)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def own_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Hub]]:
    server = HTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    monkeypatch.setattr(_Hub, "asked", [])
    monkeypatch.setattr(_Hub, "answer", threading.Event())
    monkeypatch.setattr(hub, "SECONDS", 60)
    yield _Hub
    _Hub.answer.set()
    server.shutdown()


def test_a_hub_that_answers_is_reached_and_offline_it_is_not_contacted(
    own_hub: type[_Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "offline" in hub.ask_hub()().found
    assert own_hub.asked == []
    own_hub.answer.set()
    monkeypatch.delenv("HF_HUB_OFFLINE")
    assert hub.ask_hub()().level is Level.OK
    assert len(own_hub.asked) == 1


def test_a_hub_that_does_not_answer_is_given_up(own_hub: type[_Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(hub, "SECONDS", 0.2)
    found = hub.ask_hub()()
    assert (found.level, "cannot be reached" in found.found) == (Level.NOTE, True)


def test_a_hub_whose_name_is_looked_up_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    never = threading.Event()
    monkeypatch.setattr(hub, "_contact", lambda: never.wait(300))
    monkeypatch.setattr(hub, "SECONDS", 0.1)
    assert "no answer" in hub.ask_hub()().found
    never.set()


def test_the_doctor_waits_for_the_hub_for_less_than_a_second() -> None:
    assert hub.SECONDS < 1


def test_what_is_no_hub_is_not_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that asks for a login may answer with what is not HTTP."""

    def answer(*_: object, **__: object) -> None:
        raise BadStatusLine("Log in first")

    monkeypatch.setattr(hub.urllib.request, "urlopen", answer)
    assert "cannot be reached: Log in first" in hub._contact().found


def test_a_speed_that_was_measured_is_shown_with_how_to_measure_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "kept_rates", lambda: {576: 1e11, 2048: 2e11})
    assert "200 GFLOP/s" in machine._speed().found
    assert "alttrain recipes --measure" in machine._speed().cure
    monkeypatch.setattr(machine, "kept_rates", dict)
    assert "not measured yet" in machine._speed().found


def test_the_installed_packages_are_compared_with_the_tested_set(monkeypatch: pytest.MonkeyPatch) -> None:
    tested = packages.tested_versions()
    assert {"torch", "unsloth", "trl", "peft"} <= tested.keys() & set(packages.required_packages())
    versions = {"trl": "0.0.1", "torch": f"{tested['torch']}+cpu", "peft": None}

    def version(name: str) -> str:
        found = versions.get(name, tested[name])
        if found is None:
            raise metadata.PackageNotFoundError
        return found

    monkeypatch.setattr(packages.metadata, "version", version)
    found = list(packages.examine_packages())
    assert [(one.level, one.found.split()[0]) for one in found[:-1]] == [
        (Level.PROBLEM, "peft"),
        (Level.NOTE, "trl"),
    ]
    assert f"pip install peft=={tested['peft']}" in found[0].cure
    assert found[-1].found.startswith(f"{len(packages.required_packages()) - 2} required")


def test_a_full_disk_is_a_problem_and_a_small_one_a_note(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    levels = []
    for free in (1e9, 10e9, 100e9):
        monkeypatch.setattr(
            machine.shutil, "disk_usage", lambda _, free=free: type("Usage", (), {"free": free})
        )
        levels.append(machine._disk("disk", tmp_path / "not" / "there").level)
    assert levels == [Level.PROBLEM, Level.NOTE, Level.OK]


@pytest.mark.parametrize("code", [errno.EACCES, errno.ENOENT])
def test_a_folder_that_cannot_be_examined_is_a_problem_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int
) -> None:
    """HOME is another user's, or the folder in which the shell still is was deleted."""

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(machine.shutil, "disk_usage", refuse)
    found = machine._disk("disk", tmp_path)
    assert (found.level, os.strerror(code).lower() in found.found) == (Level.PROBLEM, True)
    assert "set HOME" in found.cure
    monkeypatch.setattr(Path, "is_dir", refuse)
    assert [one.level for one in hub.examine_caches()] == [Level.OK, Level.OK]


def test_each_optional_tool_is_there_or_has_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing = "llama_cpp_py_sync"
    monkeypatch.setattr(packages, "find_spec", lambda name: None if name == missing else name)
    found = {one.check: one for one in packages.examine_tools()}
    assert found["GGUF converter"].cure == "pip install 'alttrain[gguf]'"
    assert "only needed for export to GGUF" in found["GGUF converter"].found
    assert found["uvicorn"].level is Level.OK
    monkeypatch.setattr(packages, "find_spec", lambda _: None)
    monkeypatch.setattr(packages.shutil, "which", lambda _: None)
    missing_tools = list(packages.examine_tools())
    assert {one.level for one in missing_tools} == {Level.NOTE}
    assert [one.check for one in missing_tools if not one.cure] == []


def test_a_card_is_named_with_its_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    command = tmp_path / "nvidia-smi"
    command.write_text(
        "#!/bin/sh\ncase $1 in *driver*) echo 595.10;; *) echo 'GPU-1, RTX 4090, 24564, 24000';; esac\n"
    )
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = {one.check: one for one in machine.examine_machine()}["GPU"]
    assert (found.level, found.found) == (Level.OK, "RTX 4090 (23.4 of 24.0 GiB free), driver 595.10")


@pytest.mark.parametrize(
    ("code", "seconds", "words"),
    [
        ("import time; time.sleep(99)", 1, "within 1 s"),
        ("raise SystemExit('no driver')", 60, "no driver"),
        ("import os; os.abort()", 60, "exit code -6"),
    ],
)  # fmt: skip
def test_a_torch_that_hangs_fails_or_crashes_is_one_line(
    code: str, seconds: int, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "probe.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # the working folder is not looked in
    monkeypatch.setattr(torch_probe, "__name__", "probe")
    with pytest.raises(ModelError, match=words):
        ask_torch("gpu", seconds)


@pytest.mark.parametrize(
    ("answer", "card", "level"),
    [({"usable": True}, True, Level.OK), ({"usable": False}, True, Level.PROBLEM), ({"usable": False}, False, Level.NOTE)],
)  # fmt: skip
def test_what_torch_says_of_the_gpu_is_judged_by_whether_there_is_one(
    answer: dict[str, bool], card: bool, level: Level, monkeypatch: pytest.MonkeyPatch
) -> None:
    more: dict[str, Any] = {
        "torch": "2.13",
        "cuda": None,
        "name": "RTX",
        "bf16": True,
        "free_gib": 20.0,
        "total_gib": 24.0,
    }
    monkeypatch.setattr(machine, "ask_gpu", lambda *_: torch_probe.TorchGpu(**(more | answer)))
    monkeypatch.setattr(machine.Machine, "detect", lambda: machine.Machine("RTX", 24, gpu=card))
    found = machine.examine_torch()
    assert (found.level, bool(found.cure)) == (level, level is not Level.OK)


def test_a_command_that_a_cure_names_is_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a terminal of 80 columns does not cut it."""
    rates: dict[int, float] = {576: 1e11}
    monkeypatch.setattr(machine, "kept_rates", lambda: rates)
    found = [machine._gpu(), machine._speed()]
    rates.clear()
    found.append(machine._speed())
    commands = [one.cure.splitlines()[-1] for one in found]
    assert commands == ["alttrain recipes --gpu 12", "alttrain recipes --measure", "alttrain recipes"]


def test_in_a_terminal_of_40_columns_no_word_is_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    cure = "To see what a GPU with 12 GB could train:\nalttrain recipes --gpu 12"
    found = Finding("disk, cache", Level.NOTE, "68.0 GB free at /home/somebody/.cache/alttrain", cure)
    print_findings([found])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "note disk, cache"
    assert {"/home/somebody/.cache/alttrain", "alttrain recipes --gpu 12"} <= {*map(str.strip, lines)}
    assert max(map(len, lines)) <= 40


def test_vllm_is_to_be_installed_in_an_environment_of_its_own() -> None:
    """Its versions would replace those of alttrain's own packages."""
    assert "separate environment" in packages.PROGRAMS["vllm"][2]


def test_vllm_is_found_where_its_engine_finds_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "other" / "python"))
    (program := tmp_path / "vllm").write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = {one.check: one for one in packages.examine_tools()}["vllm"]
    assert (found.level, found.found) == (Level.OK, *Vllm(None).command())


def test_every_line_fits_into_80_columns_and_every_finding_is_json_too() -> None:
    shown = alttrain()
    assert shown.exit_code == 0, shown.output
    assert max(map(len, shown.output.splitlines())) <= 80
    assert re.search(
        r"\nproblems: +none; nothing fails because of the \d+ notes\nnext: alttrain\n$", shown.output
    )
    records = result_of(alttrain("--json").output)["findings"]
    assert {"system", "processor", "memory", "GPU", "packages", "hub", "hub cache", "Ollama"} <= {
        one["check"] for one in records
    }
    assert all(one.keys() == {"check", "level", "found", "cure"} for one in records)
    assert [one["check"] for one in records if one["level"] != "ok" and not one["cure"]] == []


def test_a_problem_is_exit_code_3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "required_packages", lambda: ["no-such-package"])
    result = alttrain()
    assert result.exit_code == 3
    assert "pip install no-such-package" in result.output
    assert "1 problem" in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "http://localhost:1/v1"], "a server hides its tokenizer"),
        (["--model", "smollm2-135"], "Did you mean 'smollm2-135m'"),
        (["--recipe", "r1-7"], "Did you mean 'r1-7b'"),
        (["--model", "r1-7b", "--recipe", "r1-8b"], "has its own recipe"),
        (["--model", ""], "--model is empty"),
    ],
)
def test_a_model_that_cannot_be_examined_is_one_line(arguments: list[str], words: str) -> None:
    result = alttrain(*arguments)
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())


def test_a_model_that_is_not_here_is_a_problem_and_the_rest_is_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    result = alttrain("--model", "nobody/nothing")
    assert result.exit_code == 3
    assert "nobody/nothing: not on this machine" in " ".join(result.output.split())
    assert "packages" in result.output


def test_the_cure_for_a_model_that_is_not_here_is_a_command_that_works(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    shown = result_of(alttrain("--model", "nobody/nothing", "--json").stdout)
    [found] = [one for one in shown["findings"] if one["check"] == "model"]
    [_, command] = found["cure"].split("alttrain doctor ")
    families.tokenizer("qwen3").save_pretrained(tmp_path / "FOLDER")
    (tmp_path / "FOLDER" / "config.json").write_text('{"model_type": "qwen3"}')
    followed = alttrain(*command.split())
    assert followed.exit_code == 0, followed.output
    assert "training row" in followed.output
    assert max(map(len, followed.output.splitlines())) <= 80
    assert "no shipped recipe names this model" in followed.output
    (tmp_path / "FOLDER" / EXPORTED_RECIPE).write_text(Recipe.load("qwen3-8b").to_yaml())
    assert f"{EXPORTED_RECIPE}, with which it was trained" in alttrain(*command.split()).output


def test_the_tokenizer_alone_of_a_folder_is_rendered(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    families.tokenizer("r1-qwen").save_pretrained(folder)
    (folder / "config.json").write_text('{"model_type": "qwen2"}')
    code = (
        "import sys; from alttrain_cli.cli import app\n"
        f"try: app(['doctor', '--model', {str(folder)!r}])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print('LEFT', [one for one in sys.modules if one.partition('.')[0] in ('torch', 'transformers')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    text = " ".join(done.stdout.split())
    assert "the chat template deletes an assistant's reasoning" in text
    assert "<｜Assistant｜><think>" in text
    assert f"{ROW.answer}⟦<｜end▁of▁sentence｜>⟧" in text
    assert "no shipped recipe names this model" in text
    assert "LEFT []" in text  # so that both can be imported


@pytest.mark.thorough
@pytest.mark.model
def test_the_embedded_model_is_converted_at_its_first_use_in_another_process(tmp_path: Path) -> None:
    code = (
        "import sys; from alttrain_cli.cli import app\n"
        "try: app(['doctor', '--model', 'smollm2-135m'])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print('LEFT', [one for one in sys.modules if one.partition('.')[0] in ('torch', 'transformers')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
    )  # fmt: skip
    assert "LEFT []" in done.stdout
    assert "training row" in done.stdout
    [folder] = (tmp_path / "alttrain" / "models").iterdir()
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {one.name for one in folder.iterdir()}


@pytest.mark.parametrize(
    ("code", "words"),
    [("raise SystemExit('no room')", "no room"), ("import os; os.abort()", "exit code -6")],
)
def test_a_conversion_that_fails_in_another_process_is_a_finding(
    code: str, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "convert.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # the working folder is not looked in
    monkeypatch.setattr(embedded, "__name__", "convert")
    monkeypatch.setattr(embedded, "CACHE", tmp_path / "cache")
    shown = result_of(alttrain("--model", "smollm2-135m", "--json").stdout)
    [found] = [one for one in shown["findings"] if one["check"] == "model"]
    assert (found["level"], words in found["found"]) == ("problem", True)


@pytest.mark.thorough
def test_torch_and_transformers_can_be_imported_after_a_model_was_examined(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    families.tokenizer("r1-qwen").save_pretrained(folder)
    (folder / "config.json").write_text('{"model_type": "qwen2"}')
    code = (
        "from alttrain_cli.cli import app\n"
        f"try: app(['doctor', '--model', {str(folder)!r}])\n"
        "except SystemExit: pass\n"
        "import torch; from transformers import Qwen2ForCausalLM; print(issubclass(Qwen2ForCausalLM, torch.nn.Module))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "True"
