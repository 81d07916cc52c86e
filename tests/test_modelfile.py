"""Ollama's Modelfile: its grammar, and its template rendered by Go's own text/template."""

import copy
import json
import re
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from alttrain_cli.errors import ModelError
from alttrain_cli.export.gguf import GgufFormat
from alttrain_cli.export.modelfile import modelfile
from alttrain_cli.recipe.model import Recipe, Sampling
from alttrain_cli.storage.run import Run
from alttrain_cli.structure.template import Template
from alttrain_cli.structure.turns import Turns, _common_end, _common_start
from tests import families

USER, ANSWER = (
    {"role": "user", "content": "How do I\nboil an egg?"},
    {"role": "assistant", "content": "In water."},
)
SYSTEM = {"role": "system", "content": "Be brief."}
CONVERSATIONS = [[USER], [USER, ANSWER, USER], [SYSTEM, USER], [SYSTEM, USER, ANSWER, USER, ANSWER, USER]]
TEXTS = (None, "", "Think 'twice' about {{ braces }}.\nThen answer.")
# phi4-reasoning has a system prompt of its own, and drops every other one.
SYSTEMS = [
    (name, text) for name in families.NAMES for text in TEXTS if text is None or name != "phi4-reasoning"
]
RECIPES = {"s1": "s1-7b", "smollm2": "smollm2-135m"}
# Go's renderer with the values that Ollama hands over (template.go of Ollama: system messages are joined
# in .System, and stay in .Messages).
GO = r"""
package main

import ("encoding/json"; "os"; "text/template")

type Message struct { Role, Content, Thinking string }
type Case struct { Template, System string; Messages []*Message }

func main() {
	var cases []Case
	if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil { panic(err) }
	encoder := json.NewEncoder(os.Stdout)
	for _, one := range cases {
		parsed := template.Must(template.New("").Option("missingkey=zero").Parse(one.Template))
		var text writer
		if err := parsed.Execute(&text, map[string]any{"System": one.System, "Messages": one.Messages}); err != nil { panic(err) }
		encoder.Encode(string(text))
	}
}

type writer []byte
func (w *writer) Write(p []byte) (int, error) { *w = append(*w, p...); return len(p), nil }
"""


@dataclass
class Trained:
    """A run as far as a Modelfile needs it."""

    loaded: Any
    recipe: Recipe


def rendered(template: Template) -> list[tuple[list[dict[str, str]], str]]:
    """Conversations with their prompts, without those that the family cannot render."""
    found = []
    for conversation in CONVERSATIONS:
        with suppress(ModelError):
            found.append((conversation, template.prompt(conversation)))
    assert len(found) >= 2
    return found


def trained(family: str, system: str | None = None, **sampling: Any) -> Any:
    tokenizer = families.tokenizer(family)
    template = Template.of(tokenizer, system)
    recipe = Recipe.load(RECIPES.get(family, "r1-8b"))
    if sampling:
        recipe = recipe.model_copy(update={"generation": Sampling(**sampling)})
    return Trained(SimpleNamespace(template=template, tokenizer=tokenizer, context=512), recipe)


def parse(text: str) -> list[tuple[str, str]]:
    """Read a Modelfile by its documented grammar: comments, and INSTRUCTION with a value, quoted or not."""
    found, rest = [], text
    while rest := rest.lstrip(" \n"):
        if rest.startswith("#"):
            rest = rest.partition("\n")[2]
            continue
        match = re.match(
            r'(FROM|TEMPLATE|PARAMETER \w+) (?:"""(.*?)"""|"([^"\n]*)"|([^"\n]+))(?:\n|$)', rest, re.DOTALL
        )
        assert match, rest
        found.append((match[1], next(one for one in match.groups()[1:] if one is not None)))
        rest = rest[match.end() :]
    return found


@pytest.mark.parametrize(("family", "system"), SYSTEMS)
def test_the_strings_around_messages_render_every_family_as_its_template_does(
    family: str, system: str | None
) -> None:
    template = Template.of(families.tokenizer(family), system)
    turns = Turns.of(template)
    for conversation, prompt in rendered(template):
        assert turns.prompt(conversation) == prompt


def test_what_texts_have_in_common_may_be_one_character_or_none() -> None:
    assert (_common_start(["ab", "acd"]), _common_end(["ba", "dca"])) == ("a", "a")
    assert (_common_start(["ab", "cd"]), _common_start(["ab", "abc"]), _common_start(["", "a"])) == (
        "",
        "ab",
        "",
    )


def test_a_template_that_looks_at_more_than_roles_is_refused() -> None:
    tokenizer = copy.deepcopy(families.tokenizer("smollm2"))
    tokenizer.chat_template += "{% if messages|length > 3 %}<|endoftext|>{% endif %}"
    with pytest.raises(ModelError, match=r"cannot be written for Ollama.*--format gguf"):
        Turns.of(Template.of(tokenizer))


def test_a_system_prompt_that_no_modelfile_can_hold_is_found_before_the_merge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merged: list[Path] = []
    monkeypatch.setattr(
        "alttrain_cli.engine.shared_files.save_merged", lambda *given: merged.append(given[-1])
    )
    made = trained("qwen3", 'Say """no""".')
    whole: Any = SimpleNamespace(run=Run(tmp_path / "mine"), recipe=made.recipe, loaded=made.loaded)
    with pytest.raises(ModelError, match="the recipe's system prompt"):
        GgufFormat(["q8_0"], for_ollama=True).write(whole, tmp_path)
    assert merged == []


@pytest.mark.parametrize("family", families.NAMES)
def test_a_modelfile_keeps_to_the_documented_grammar(family: str) -> None:
    made = trained(family)
    lines = parse(modelfile(made, "mine-Q8_0.gguf"))
    names = [name for name, _ in lines]
    assert lines[0] == ("FROM", "./mine-Q8_0.gguf")
    assert names.count("TEMPLATE") == 1
    allowed = {"stop", "temperature", "top_p", "top_k", "repeat_penalty", "num_predict", "num_ctx"}
    assert {name.split()[1] for name in names if name.startswith("PARAMETER")} == allowed
    assert ("PARAMETER stop", made.loaded.template.terminator) in lines


def test_every_setting_of_the_recipe_is_stated_and_what_is_off_is_switched_off() -> None:
    lines = dict(
        parse(modelfile(trained("qwen3", max_new_tokens=99, do_sample=True, temperature=0.6), "m-F16.gguf"))
    )
    assert lines["PARAMETER temperature"] == "0.6"
    assert (lines["PARAMETER top_p"], lines["PARAMETER top_k"]) == ("1", "0")
    assert lines["PARAMETER repeat_penalty"] == "1"
    assert lines["PARAMETER num_predict"] == "99"
    assert lines["PARAMETER num_ctx"] == "512"  # never more than the model knows


def test_a_tokenizer_without_an_end_of_text_adds_no_stop_and_large_numbers_stay_whole() -> None:
    made = trained("qwen3", max_new_tokens=1_234_567, do_sample=False)
    made.loaded.tokenizer = copy.deepcopy(made.loaded.tokenizer)
    made.loaded.tokenizer.eos_token = None
    lines = parse(modelfile(made, "m-F16.gguf"))
    assert [text for name, text in lines if name == "PARAMETER stop"] == [made.loaded.template.terminator]
    assert dict(lines)["PARAMETER num_predict"] == "1234567"  # Ollama reads no 1.23457e+06


def test_greedy_decoding_is_a_temperature_of_zero() -> None:
    lines = dict(parse(modelfile(trained("qwen3", max_new_tokens=9, do_sample=False), "m-F16.gguf")))
    assert lines["PARAMETER temperature"] == "0"


def test_the_command_that_creates_the_model_stands_in_the_file() -> None:
    assert "# Create the model: ollama create mine-v1 -f Modelfile" in modelfile(
        trained("s1"), "Mine-v1-Q4_K_M.gguf"
    )


@pytest.mark.skipif(shutil.which("go") is None, reason="Go is not installed (apt-get install golang-go)")
def test_gos_own_renderer_gives_the_prompts_of_training(tmp_path: Path) -> None:
    cases, wanted = [], []
    for family, system in SYSTEMS:
        made = trained(family, system)
        text = dict(parse(modelfile(made, "m-F16.gguf")))["TEMPLATE"]
        for conversation, prompt in rendered(made.loaded.template):
            said = [one["content"] for one in conversation if one["role"] == "system"]
            cases.append({"Template": text, "System": "\n\n".join(said), "Messages": conversation})
            wanted.append(prompt)
    (tmp_path / "main.go").write_text(GO)
    done = subprocess.run(
        ["go", "run", "main.go"],
        input=json.dumps(cases), capture_output=True, text=True, timeout=300, cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin:/usr/local/go/bin", "HOME": str(Path.home()), "GOFLAGS": "-mod=mod", "GO111MODULE": "off"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-1500:]
    assert [json.loads(line) for line in done.stdout.splitlines()] == wanted


def test_a_message_that_is_continued_shows_ollama_how_the_reasoning_is_marked() -> None:
    text = dict(parse(modelfile(trained("r1-llama"), "m-F16.gguf")))["TEMPLATE"]
    assert re.search(
        r"\{\{ if and \$last \.Thinking \}\}<think>\n\{\{ \.Thinking \}\}\n</think>\n\n\{\{ end \}\}", text
    )
