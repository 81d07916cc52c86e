"""The score of a verdict: where it is found, what it is, and what a threshold does."""

import json

import pytest
from pydantic import TypeAdapter

from alttrain_cli.structure.sections import Order
from alttrain_cli.structure.template import Template
from alttrain_cli.structure.verdict import Verdict
from alttrain_cli.structure.verdict_score import VerdictScore, shown_score
from alttrain_cli.structure.verdict_words import VerdictWords, end_of_verdict
from tests import families
from tests.language import Language, watch

HARMFUL, BENIGN = Verdict.HARMFUL, Verdict.BENIGN
START = "<think>\nI am asked about a lock.\n\n"
END = "\n</think>\n\nHere is my answer."


@pytest.fixture(params=["smollm2", "r1-qwen", "s1"])
def template(request: pytest.FixtureRequest) -> Template:
    """Every token is a byte here, so each word has several, and all words begin with the same one."""
    return Template.of(families.tokenizer(request.param))


def whole(template: Template, assessment: str, reasoning: str = "") -> str:
    return template.own(f"{START}{assessment}\n\n{reasoning}{END}")


def written(text: str) -> str:
    return text.partition("\n\n")[2].partition("\n")[0]


# -- the words


def test_words_are_those_that_decide_with_their_space_and_the_most_frequent_first() -> None:
    rows = [
        "It is harmful, since a crime hurts.",
        "That is harmful.",
        "This is dangerous.",
        "This is benign.",
    ]
    assert VerdictWords.of(rows) == VerdictWords((" harmful", " dangerous"), (" benign",))


def test_a_word_that_is_negated_keeps_its_own_meaning() -> None:
    assert VerdictWords.of(["It is harmful.", "It is not harmful."]) == VerdictWords((" harmful",), ())


def test_rare_words_are_left_out_and_a_word_at_the_start_has_no_space() -> None:
    rows = ["Harmful: it would hurt."] * 150 + ["This is benign."] * 150 + ["It is innocuous."]
    assert VerdictWords.of(rows) == VerdictWords(("Harmful",), (" benign",))


def test_a_verdict_ends_where_what_follows_does_not_turn_it_round() -> None:
    assert end_of_verdict("It is harmful, as it hurts.") == len("It is harmful")
    assert end_of_verdict("It sounds harmful, but it is not.") is None
    assert end_of_verdict("I am asked about a lock.") is None


def test_a_word_is_rare_among_those_of_its_meaning_and_not_among_all_rows() -> None:
    rows = ["It is harmful."] * 900 + ["It is benign."] * 90 + ["It is safe."] * 9 + ["It is fine."]
    assert VerdictWords.of(rows) == VerdictWords((" harmful",), (" benign", " safe"))


def test_rows_without_an_assessment_and_of_one_verdict_say_why_there_is_no_score() -> None:
    assert VerdictWords.of(["", ""]).problem == "the rows of its training have no assessment"
    assert VerdictWords.of(["It is harmful."]).problem == "no row of its training has a benign verdict"
    assert VerdictWords().problem == ""


# -- the place and the score


@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
def test_the_score_is_the_share_of_the_harmful_word(template: Template, twice: bool) -> None:
    texts = {
        whole(template, "It is harmful, I say."): 0.6,
        whole(template, "It is benign, I say."): 0.3,
        whole(template, "It is odd, I say."): 0.1,
    }
    seen = watch(template)
    text = Language(template, texts).write(seen, twice=twice)
    assert written(text) == "It is harmful, I say."
    assert seen.score is not None
    assert (seen.score.harmful, seen.score.benign) == pytest.approx((0.6, 0.3), abs=1e-4)
    assert seen.score.value == pytest.approx(2 / 3, abs=1e-4)
    assert (seen.score.own, seen.score.written, seen.is_open) == (HARMFUL, HARMFUL, False)


def test_words_of_the_understanding_the_reasoning_and_the_answer_are_no_verdict(template: Template) -> None:
    start = START.replace("about a lock", "whether a harmful lock is benign")
    text = f"{start}It is benign.\n\nA harmful one is harmful.{END}"
    other = text.replace("It is benign", "It is harmful")
    seen = watch(template)
    Language(template, {template.own(text): 0.9, template.own(other): 0.1}).write(seen)
    assert seen.score is not None
    assert seen.score.value == pytest.approx(0.1, abs=1e-4)


def test_words_that_begin_alike_are_told_apart_where_they_differ(template: Template) -> None:
    words = VerdictWords((" unsafe", " harmful"), (" unproblematic", " benign"))
    texts = {
        whole(template, f"It is{word}."): odds
        for word, odds in ((" unsafe", 0.4), (" unproblematic", 0.1), (" harmful", 0.2), (" benign", 0.3))
    }
    seen = watch(template, words)
    assert written(Language(template, texts).write(seen)) == "It is unsafe."
    assert seen.score is not None
    assert (seen.score.harmful, seen.score.benign) == pytest.approx((0.6, 0.4), abs=1e-4)


def test_a_word_that_only_begins_like_a_verdict_is_none(template: Template) -> None:
    words = VerdictWords((" unsafe",), (" unproblematic",))
    texts = {
        whole(template, "It is unusual, but it is unproblematic."): 0.8,
        whole(template, "It is unusual, but it is unsafe."): 0.2,
    }
    seen = watch(template, words)
    Language(template, texts).write(seen)
    assert seen.score is not None
    assert seen.score.value == pytest.approx(0.2, abs=1e-4)


def test_a_negation_turns_the_score_round(template: Template) -> None:
    texts = {whole(template, "It is not harmful."): 0.7, whole(template, "It is not benign."): 0.3}
    seen = watch(template)
    Language(template, texts).write(seen)
    assert seen.score is not None
    assert (seen.score.own, seen.score.value) == (BENIGN, pytest.approx(0.3, abs=1e-4))


def test_little_mass_on_all_words_is_an_unknown_score(template: Template) -> None:
    score = VerdictScore(0.3, 0.1, HARMFUL, HARMFUL)
    assert (score.value, score.in_words(), score.decide(0.9)) == (None, "score unknown", HARMFUL)


def test_a_second_verdict_of_another_kind_makes_the_score_unknown() -> None:
    score = VerdictScore(0.9, 0.1, HARMFUL, HARMFUL)
    assert score.of(HARMFUL).value == 0.9
    assert score.of(BENIGN).value is None
    assert score.of(Verdict.MISSING).value is None


@pytest.mark.parametrize(
    "text",
    [
        START + "It is",  # cut before the verdict
        START + "I would rather talk of the weather." + END,
        START + "That would be a crime. It is harmful." + END,  # given before, in another word
    ],
)
def test_a_verdict_that_is_cut_missing_or_in_other_words_has_no_score(template: Template, text: str) -> None:
    seen = watch(template)
    Language(template, {template.own(text): 1.0}).write(seen)
    assert seen.score is None


@pytest.mark.parametrize("order", [("assessment", "reasoning"), ("understanding", "reasoning", "assessment")])
def test_the_place_follows_the_order_of_the_sections(template: Template, order: Order) -> None:
    before = "I was asked.\n\nThat would be a crime.\n\n" if order[-1] == "assessment" else ""
    after = "" if before else "So I think."
    texts = {
        template.own(f"<think>\n{before}It is {word}.\n\n{after}{END}"): odds
        for word, odds in (("harmful", 0.2), ("benign", 0.8))
    }
    seen = watch(template, order=order)
    Language(template, texts).write(seen)
    assert seen.score is not None
    assert seen.score.value == pytest.approx(0.2, abs=1e-4)


def test_a_completion_that_was_begun_is_scored_where_it_goes_on(template: Template) -> None:
    rest = {f"It is {word}.{END}": odds for word, odds in (("harmful", 0.25), ("benign", 0.75))}
    seen = watch(template, started=template.own(START))
    Language(template, rest).write(seen)
    assert seen.score is not None
    assert seen.score.value == pytest.approx(0.25, abs=1e-4)


def test_a_verdict_that_was_given_before_the_model_went_on_has_no_score(template: Template) -> None:
    begun = f"{START}It is harmful.\n\nWhat they want"
    seen = watch(template, started=template.own(begun))
    Language(template, {f" is harmful.{END}": 1.0}).write(seen)
    assert (seen.score, seen.is_open) == (None, False)


def test_a_model_that_does_not_reason_has_no_score() -> None:
    template = Template.of(families.tokenizer("smollm2"))
    seen = watch(template)
    Language(template, {"Sure, it is harmful.": 1.0}).write(seen)
    assert seen.score is None


# -- the threshold


TEXTS = (("It is harmful, as it hurts.", 0.6), ("It is benign, as it helps.", 0.4))


@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
@pytest.mark.parametrize(
    ("threshold", "text"), [(0.59, TEXTS[0][0]), (0.61, TEXTS[1][0]), (1.0, TEXTS[1][0])]
)
def test_a_threshold_replaces_the_word_and_the_model_goes_on_by_itself(
    template: Template, threshold: float, text: str, twice: bool
) -> None:
    seen = watch(template, threshold=threshold)
    language = Language(template, {whole(template, one): odds for one, odds in TEXTS})
    assert written(language.write(seen, twice=twice)) == text
    assert seen.score is not None
    assert (seen.score.own, seen.score.is_changed) == (HARMFUL, text != TEXTS[0][0])
    assert not seen.is_open


def test_a_threshold_of_zero_is_one(template: Template) -> None:
    texts = {
        whole(template, one): odds for one, odds in zip((TEXTS[1][0], TEXTS[0][0]), (0.6, 0.4), strict=True)
    }
    seen = watch(template, threshold=0.0)
    assert written(Language(template, texts).write(seen)) == TEXTS[0][0]
    assert seen.score is not None
    assert (seen.score.own, seen.score.written) == (BENIGN, HARMFUL)


def test_a_threshold_finds_the_likeliest_word_of_the_other_verdict(template: Template) -> None:
    words = VerdictWords((" harmful",), (" fine", " benign"))
    odds = (("harmful", 0.6), ("fine", 0.1), ("benign", 0.3))
    texts = {whole(template, f"It is {word} here."): chance for word, chance in odds}
    seen = watch(template, words, 0.9)
    assert written(Language(template, texts).write(seen)) == "It is benign here."


def test_a_word_that_a_threshold_chose_is_written_whole(template: Template) -> None:
    odds = {"harmful": 0.5, "benign": 0.2, "beautiful": 0.3}
    texts = {whole(template, f"It is {word} here."): chance for word, chance in odds.items()}
    seen = watch(template, threshold=0.9)
    assert written(Language(template, texts).write(seen)) == "It is benign here."


def test_the_rest_of_a_word_is_not_written_after_a_budget_closed_the_reasoning(template: Template) -> None:
    seen = watch(template, threshold=0.9)
    language = Language(template, {whole(template, one): odds for one, odds in TEXTS})
    written: list[int] = []
    while seen.score is None:
        token = max(odds := language.odds(written), key=lambda one: odds[one])
        other = seen.see(written, token, lambda ids: language.chances(written, ids))
        written.append(token if other is None else other)
    assert seen.is_open  # the first token of several
    written += template.encode_text(template.markers.close)
    assert seen.see(written, 7, lambda ids: [0.5] * len(ids)) is None
    assert not seen.is_open


def test_scores_near_the_ends_keep_the_digits_that_matter() -> None:
    assert [shown_score(value) for value in (0.5, 0.987, 0.9987, 0.99999, 0.0004)] == [
        "0.50",
        "0.99",
        "0.999",
        "1.0000",
        "0.0004",
    ]


def test_words_without_probabilities_have_no_score() -> None:
    for verdict in (HARMFUL, BENIGN):
        score = VerdictScore.unknown(verdict)
        assert (score.harmful, score.benign, score.value, score.decide(0.5)) == (0, 0, None, verdict)


def test_what_is_stored_as_a_probability_is_one_or_the_sum_of_rounded_ones() -> None:
    read = TypeAdapter(VerdictScore).validate_json
    kept = VerdictScore(1.001, 0.0, HARMFUL, HARMFUL)
    assert read(json.dumps(kept.record())) == kept
    for name in ("harmful", "benign"):
        for value in (-0.001, 1.002):
            with pytest.raises(ValueError, match=f"(?s){name}.* than or equal to "):
                read(json.dumps({**kept.record(), name: value}))


def test_a_score_is_known_from_half_of_the_probability_on() -> None:
    assert VerdictScore(0.25, 0.25, HARMFUL, HARMFUL).value == 0.5
    assert VerdictScore(0.25, 0.24, HARMFUL, HARMFUL).value is None


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_above_a_threshold_a_verdict_is_harmful_and_at_it_benign(threshold: float) -> None:
    for value, decided in ((threshold, BENIGN), (threshold + 1e-9, HARMFUL)):
        for own in (HARMFUL, BENIGN):
            assert VerdictScore(value, 1 - value, own, own).decide(threshold) is decided


@pytest.mark.parametrize(
    ("assessment", "verdict"),
    [
        ("It hurts nobody, so it is benign.", "It hurts nobody, so it is benign"),
        ("It is  harmful, as it is harmful to ask.", "It is  harmful, as it is harmful"),
        ("Nobody is asked.", None),
    ],
)
def test_a_verdict_ends_with_its_word(assessment: str, verdict: str | None) -> None:
    end = end_of_verdict(assessment)
    assert (None if end is None else assessment[:end]) == verdict


def test_both_decisions_are_shown_where_they_differ() -> None:
    score = VerdictScore(0.6, 0.4, HARMFUL, BENIGN)
    assert score.in_words() == "score 0.60, own verdict harmful, with the threshold benign"
    assert TypeAdapter(VerdictScore).validate_json(json.dumps(score.record())) == score
