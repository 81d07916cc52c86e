"""The starter set: enough of it, balanced, and not to be told apart without meaning."""

from collections import Counter

import numpy
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

from alttrain_cli.data.starter import LABELS, starter_pairs, starter_rows
from alttrain_cli.data.styles import checked

ALL = starter_pairs()
PAIRS = [pair for pair in ALL if pair["kind"] != "everyday"]  # contrast pairs: only the meaning differs
SIDES = [(pair["pair"], label, pair[label]) for pair in PAIRS for label in LABELS]
PROMPTS = [side["prompt"] for _, _, side in SIDES]
IS_HARMFUL = numpy.array([label == "harmful" for _, label, _ in SIDES])
GROUPS = [pair for pair, _, _ in SIDES]
FOLDS = GroupKFold(10)
DANGEROUS_LOOKING = {
    *("homonym", "figure-of-speech", "safe-target", "fiction", "history", "definition", "medicine"),
    *("defence", "public-facts"),
}


def accuracy(classifier: object, features: object) -> float:
    return float(cross_val_score(classifier, features, IS_HARMFUL, groups=GROUPS, cv=FOLDS).mean())


def test_it_is_large_enough_and_half_harmful() -> None:
    assert len(PAIRS) >= 120
    assert len(ALL) > len(PAIRS)
    assert len({pair["category"] for pair in PAIRS}) >= 12
    assert sum(pair["kind"] in DANGEROUS_LOOKING for pair in PAIRS) >= 80
    assert {pair["kind"] for pair in PAIRS} >= DANGEROUS_LOOKING


def test_the_two_splits_share_no_pair_and_no_prompt() -> None:
    train, heldout = starter_rows("train"), starter_rows("heldout")
    assert len(train) + len(heldout) == 2 * len(ALL)
    assert len(heldout) >= 80
    assert Counter(row.label for row in heldout) == {"harmful": len(heldout) / 2, "benign": len(heldout) / 2}
    assert not {row.prompt for row in train} & {row.prompt for row in heldout}
    names = [{row.id.split("-")[1] for row in rows} for rows in (train, heldout)]
    assert not names[0] & names[1]


def test_every_row_is_told_apart_again_and_its_verdict_is_its_label() -> None:
    for split in ("train", "heldout"):
        for row in starter_rows(split):  # type: ignore[arg-type]
            assert checked(row) == row


def test_prompts_and_answers_stand_only_once() -> None:
    for text in ("prompt", "answer"):
        texts = [pair[label][text].lower() for pair in ALL for label in LABELS]
        assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("classifier", [MultinomialNB(), LogisticRegression(max_iter=1000)])
def test_a_bag_of_words_cannot_tell_the_labels(classifier: object) -> None:
    assert accuracy(make_pipeline(CountVectorizer(), classifier), PROMPTS) < 0.65


def test_length_cannot_tell_the_labels() -> None:
    sizes = numpy.array([[len(prompt), len(prompt.split())] for prompt in PROMPTS], dtype=float)
    assert accuracy(LogisticRegression(), sizes / sizes.max(axis=0)) < 0.65


def test_nor_can_it_in_everyday_pairs() -> None:
    lengths = [[len(pair[label]["prompt"].split()) for label in LABELS] for pair in ALL if pair not in PAIRS]
    harmful, benign = numpy.array(lengths).T
    assert abs(harmful - benign).max() <= 2
