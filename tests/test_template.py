"""Rendering, masking and parsing, for every model family that the recipes name."""

import copy
import hashlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alttrain_cli.errors import ModelError
from alttrain_cli.structure.markers import S1, THINK
from alttrain_cli.structure.template import IGNORED, RenderError, Template
from alttrain_cli.structure.trace import Trace, TraceState, parse
from tests import families
from tests.golden_files import check_golden

TRACE = Trace(
    understanding="Okay, so the user asks how to stop a process that hangs.",
    assessment="Ending a program hurts nobody, so the request is benign.",
    reasoning="The kill command takes the process id.\n\n1. Find it with ps.\n2. Send TERM, then KILL.",
    answer="Run `ps aux`, then `kill PID`; if that fails, `kill -9 PID`.",
)
PROMPT = "How do I kill a stuck process?"

everywhere = pytest.mark.parametrize("name", families.NAMES)
KEEP_SYSTEM = [name for name in families.NAMES if name != "phi4-reasoning"]
# No "<" so that no marker of a model can appear by chance; that case has its own test.
texts = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="<"), min_size=1).filter(
    lambda text: text == text.strip()
)


def template(name: str, system: str | None = None) -> Template:
    return Template.of(families.tokenizer(name), system)


def read(made: Template, text: str) -> Trace:
    """Return the sections of what a model wrote after the prompt."""
    return parse(made.strip(text), made.markers, prefilled=made.prefilled)


@everywhere
def test_a_rendered_row_is_the_golden_one(name: str) -> None:
    made = template(name)
    rendered = made.prompt(PROMPT) + "⟦learned from here⟧" + made.completion(TRACE)
    check_golden(f"{name}.txt", rendered)


@everywhere
def test_a_special_token_in_a_message_reaches_the_model_as_that_token(name: str) -> None:
    """As with vLLM and transformers: docs/how-it-works.md says why, and a row of training refuses it."""
    made = template(name)
    inside, outside = (made.encode_text(made.prompt(text)) for text in (f"a {made.terminator} b", "a b"))
    assert inside.count(made.terminator_id) == outside.count(made.terminator_id) + 1
    with pytest.raises(RenderError, match="the model's own marker"):
        made.encode(f"a {made.terminator} b", TRACE)


@pytest.mark.parametrize(
    ("name", "prefilled"),
    [
        ("r1-qwen", True),
        ("r1-llama", True),
        ("r1-0528-qwen3", False),
        ("qwen3", False),
        ("qwen3-thinking-2507", True),
        ("s1", False),
        ("phi4-reasoning", False),
        ("smollm2", False),
    ],
)
def test_rendering_tells_whether_the_prompt_already_opens_the_reasoning(name: str, prefilled: bool) -> None:
    assert template(name).prefilled is prefilled


@everywhere
def test_only_s1_writes_its_own_markers(name: str) -> None:
    assert template(name).markers == (S1 if name == "s1" else THINK)


@everywhere
def test_the_labels_are_the_response_and_nothing_but_the_response(name: str) -> None:
    made = template(name)
    encoded = made.encode(PROMPT, TRACE)
    learned = [label for label in encoded.labels if label != IGNORED]
    text = families.tokenizer(name).decode(learned, skip_special_tokens=False)
    assert text == made.completion(TRACE)
    for part in (TRACE.understanding, TRACE.assessment, TRACE.reasoning, TRACE.answer, made.terminator):
        assert part in text
    assert PROMPT not in text
    border = encoded.labels.count(IGNORED)
    assert encoded.labels[:border] == [IGNORED] * border
    assert encoded.labels[border:] == encoded.input_ids[border:]
    assert encoded.trained == len(encoded.input_ids) - border


@everywhere
def test_a_row_begins_with_at_most_one_bos(name: str) -> None:
    tokenizer = families.tokenizer(name)
    encoded = template(name).encode(PROMPT, TRACE)
    if name.startswith("r1"):
        assert encoded.input_ids.count(tokenizer.bos_token_id) == 1
        assert encoded.input_ids[0] == tokenizer.bos_token_id
    else:
        assert encoded.input_ids[1] != encoded.input_ids[0]


@everywhere
def test_a_row_ends_in_exactly_one_terminator(name: str) -> None:
    made = template(name)
    learned = [label for label in made.encode(PROMPT, TRACE).labels if label != IGNORED]
    assert learned[-1] == made.terminator_id
    assert learned.count(made.terminator_id) == 1


@everywhere
@settings(max_examples=40, deadline=None)
@given(understanding=texts, reasoning=st.one_of(st.just(""), texts), answer=texts)
def test_composing_and_parsing_are_inverse(
    name: str, understanding: str, reasoning: str, answer: str
) -> None:
    trace = replace(TRACE, understanding=understanding, reasoning=reasoning, answer=answer)
    made = template(name)
    try:
        made.encode(PROMPT, trace)
    except RenderError as error:  # random text that happens to judge, or spans the window
        assert "separated again" in str(error)  # noqa: PT017
        return
    assert read(made, made.completion(trace)) == trace


def test_the_original_templates_are_those_that_were_read() -> None:
    for name, original in families.ORIGINALS.items():
        if original.sha256:
            text = str(families.tokenizer(name).chat_template)
            found = hashlib.sha256(text.encode()).hexdigest()
            assert found == original.sha256, f"{original.place} changed: read it, then renew the hash"


SYSTEM = {"role": "system", "content": "Be brief, my friend."}


@pytest.mark.parametrize("name", KEEP_SYSTEM)
def test_a_system_text_of_the_recipe_or_of_a_conversation_reaches_the_prompt(name: str) -> None:
    assert SYSTEM["content"] in template(name, SYSTEM["content"]).prompt(PROMPT)
    assert SYSTEM["content"] in template(name).prompt([SYSTEM, {"role": "user", "content": PROMPT}])


def test_a_family_that_ignores_system_texts_says_so_instead() -> None:
    with pytest.raises(ModelError, match=r"drops the system prompt\. Use --set model\.system=null"):
        template("phi4-reasoning", SYSTEM["content"])
    made = template("phi4-reasoning")
    with pytest.raises(ModelError, match=r"drops the system prompt\. Send no system message"):
        made.prompt([SYSTEM, {"role": "user", "content": PROMPT}])
    assert PROMPT in made.prompt(PROMPT)


@everywhere
def test_a_template_that_loses_the_question_or_an_answer_is_refused(name: str) -> None:
    for role, what in (("user", "the question"), ("assistant", "an earlier answer")):
        lost = f"{{%- set ns = namespace(kept=[]) -%}}{{%- for m in messages if m.role != '{role}' -%}}"
        lost += "{%- set ns.kept = ns.kept + [m] -%}{%- endfor -%}{%- set messages = ns.kept -%}"
        made = copy.deepcopy(families.tokenizer(name))
        made.chat_template = lost + str(made.chat_template)
        with pytest.raises(ModelError, match=f"drops {what}|chat template fails"):
            Template.of(made)


@pytest.mark.parametrize("name", [name for name in families.NAMES if families.TOKENS[name].bos])
def test_a_second_bos_is_refused(name: str) -> None:
    made = copy.deepcopy(families.tokenizer(name))
    made.chat_template = "{{- bos_token -}}" + str(made.chat_template)
    with pytest.raises(RenderError, match=r"the prompt begins with .* twice"):
        Template.of(made).encode(PROMPT, TRACE)


@everywhere
def test_a_template_without_a_terminator_needs_an_eos_token(name: str) -> None:
    terminator = template(name).terminator
    made = copy.deepcopy(families.tokenizer(name))
    made.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    assert Template.of(made).terminator == made.eos_token == terminator
    made.eos_token = None
    with pytest.raises(ModelError, match="does not end an assistant's turn with a single token"):
        Template.of(made)


@everywhere
def test_what_a_model_writes_is_read_alike_whether_or_not_it_repeats_the_opening_marker(name: str) -> None:
    made = template(name)
    written = made.completion(TRACE)
    assert written.startswith(made.markers.open) is not made.prefilled
    bare = written.removeprefix(made.markers.open)
    assert read(made, made.markers.open + bare) == TRACE
    assert made.plain(written) == made.plain(made.markers.open + bare)
    assert made.plain(written).startswith("<think>\n")
    assert made.plain(written).count("</think>") == 1
    assert read(made, bare) == TRACE  # a closing marker alone shows that it was reasoning


@everywhere
@pytest.mark.parametrize("section", ["understanding", "assessment", "reasoning", "answer"])
def test_a_row_that_holds_a_marker_is_refused_and_the_section_named(name: str, section: str) -> None:
    made = template(name)
    for marker in (made.terminator, made.markers.close.strip()):
        trace = replace(TRACE, **{section: f"a {marker} b"})
        with pytest.raises(RenderError, match=section):
            made.encode(PROMPT, trace)


@everywhere
def test_a_prompt_that_holds_a_special_token_is_refused(name: str) -> None:
    made = template(name)
    with pytest.raises(RenderError, match="prompt"):
        made.encode(f"hello {made.terminator}", TRACE)


def test_fingerprints_tell_families_and_system_prompts_apart() -> None:
    prints = {template(name).fingerprint for name in families.NAMES}
    assert len(prints) == len(families.NAMES) - 1  # the two R1 distills share one template
    assert template("qwen3", "Hi.").fingerprint != template("qwen3").fingerprint
    assert template("qwen3").fingerprint == template("qwen3").fingerprint


class LosesSpaces:
    """A tokenizer with the fault of R1-Distill-Llama's under transformers 5."""

    def __init__(self, inner: object) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool) -> str:
        text = self._inner.decode(token_ids, skip_special_tokens=skip_special_tokens)  # type: ignore[attr-defined]
        return str(text).replace(" ", "")


def test_a_tokenizer_that_drops_spaces_is_caught() -> None:
    with pytest.raises(ModelError, match="loses text"):
        Template.of(LosesSpaces(families.tokenizer("r1-llama")))  # type: ignore[arg-type]


def test_a_model_without_a_chat_template_is_named() -> None:
    bare = copy.deepcopy(families.tokenizer("qwen3"))
    bare.chat_template = None
    with pytest.raises(ModelError, match="no chat template"):
        Template.of(bare)


class Tampered:
    """A tokenizer that passes every check at load, and changes a row."""

    def __init__(self, inner: object) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


class LosesHalves(Tampered):
    def decode(self, token_ids: list[int], *, skip_special_tokens: bool) -> str:
        text = self._inner.decode(token_ids, skip_special_tokens=skip_special_tokens)  # type: ignore[attr-defined]
        return str(text).replace("\u00bd", "1/2")


class EndsTwice(Tampered):
    """It writes the terminator twice where a response ends, and shows it once."""

    end = "<|im_end|>"

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        again = self.end if text.endswith(self.end) else ""
        return self._inner.encode(text + again, add_special_tokens=add_special_tokens)  # type: ignore[attr-defined,no-any-return]

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool) -> str:
        text = self._inner.decode(token_ids, skip_special_tokens=skip_special_tokens)  # type: ignore[attr-defined]
        return str(text).replace(self.end * 2, self.end)


def test_a_response_that_the_tokenizer_changes_is_refused_also_where_sections_are_missing() -> None:
    made = Template.of(LosesHalves(families.tokenizer("qwen3")))  # type: ignore[arg-type]
    row = replace(TRACE, understanding="", reasoning="Take \u00bd a cup.")
    with pytest.raises(RenderError, match="does not give the response back as it was"):
        made.encode(PROMPT, row)


@pytest.mark.parametrize(
    "trace",
    [
        Trace(answer="Boil them.", state=TraceState.ABSENT),  # the response always has a reasoning block
        replace(TRACE, understanding="This is benign."),  # which would be read as the assessment
    ],
    ids=["another state", "another section"],
)
def test_a_row_that_would_be_read_otherwise_is_refused(trace: Trace) -> None:
    with pytest.raises(RenderError, match="cannot be separated again"):
        template("qwen3").encode(PROMPT, trace)


@pytest.mark.parametrize("name", families.NAMES)
def test_a_stream_is_taken_apart_as_the_whole_text_is(name: str) -> None:
    made = template(name)
    text = made.strip(made.completion(TRACE))
    parser = made.stream_parser()
    for character in text:
        parser.feed(character)
    assert parser.finish() == read(made, text) == TRACE


def test_a_second_terminator_is_refused() -> None:
    made = Template.of(EndsTwice(families.tokenizer("qwen3")))  # type: ignore[arg-type]
    with pytest.raises(RenderError, match="must end in exactly one"):
        made.encode(PROMPT, TRACE)


@pytest.mark.parametrize(
    "changes",
    [
        {"prefilled": True},
        {"markers": replace(THINK, open="<thoughts>\n")},
        {"markers": replace(THINK, close="\n</thoughts>")},
        {"terminator": "<|endoftext|>"},
    ],
    ids=str,
)
def test_all_that_decides_how_a_row_is_rendered_is_in_the_fingerprint(changes: dict[str, Any]) -> None:
    made = template("qwen3")
    assert replace(made, **changes).fingerprint != made.fingerprint


def test_a_conversation_keeps_its_own_system_text() -> None:
    made = template("qwen3", "Be brief, my friend.")
    own = [{"role": "system", "content": "Be long."}, {"role": "user", "content": PROMPT}]
    assert "Be long." in made.prompt(own)
    assert "Be brief" not in made.prompt(own)
    assert own[0]["content"] == "Be long."
