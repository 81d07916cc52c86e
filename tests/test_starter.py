"""The starter sets: enough of each, balanced, and not to be told apart without meaning."""

from collections import Counter
from typing import Any, get_args

import numpy
import pytest

from alttrain_cli.data.audit import contradictions
from alttrain_cli.data.starter import FILES, FULL, LABELS, STARTER, Split, starter_pairs, starter_rows
from alttrain_cli.data.styles import check_row
from alttrain_cli.text import overlap
from tests.later import later

sklearn = later("sklearn")
ALL = starter_pairs(FULL)
EVERYDAY = [pair for pair in ALL if pair["kind"] == "everyday"]
DANGEROUS_LOOKING = {
    *("homonym", "figure-of-speech", "safe-target", "fiction", "history", "definition", "medicine"),
    *("defence", "public-facts"),
}


def prompts(pairs: list[dict[str, Any]]) -> list[str]:
    return [pair[label]["prompt"] for pair in pairs for label in LABELS]


def told_apart(classifier: object, features: object, scoring: str) -> float:
    """Return how well the label is told, on pairs that the classifier has not seen."""
    count = len(features)  # type: ignore[arg-type]
    is_harmful = numpy.arange(count) % 2 == 0
    pair = numpy.arange(count) // 2
    folds = sklearn().model_selection.GroupKFold(10)
    found = sklearn().model_selection.cross_val_score(
        classifier, features, is_harmful, groups=pair, cv=folds, scoring=scoring
    )
    return float(found.mean())


def of_words(classifier: object) -> object:
    """Return a classifier that counts words."""
    return sklearn().pipeline.make_pipeline(sklearn().feature_extraction.text.CountVectorizer(), classifier)


@pytest.fixture(params=FILES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def contrasts(name: str) -> list[dict[str, Any]]:
    return [pair for pair in starter_pairs(name) if pair["kind"] != "everyday"]


def test_it_is_large_enough_and_half_harmful(name: str, contrasts: list[dict[str, Any]]) -> None:
    assert len(contrasts) >= 120
    assert len(starter_pairs(name)) > len(contrasts)
    assert len({pair["category"] for pair in contrasts}) >= 12
    assert sum(pair["kind"] in DANGEROUS_LOOKING for pair in contrasts) >= 80
    assert {pair["kind"] for pair in contrasts} >= DANGEROUS_LOOKING


def test_the_pairs_of_the_demo_are_a_part_of_the_full_set() -> None:
    assert starter_pairs(FULL)[: len(starter_pairs())] == starter_pairs()
    assert len({pair["pair"] for pair in ALL}) == len(ALL)


def test_the_two_splits_share_no_pair_and_no_prompt(name: str) -> None:
    train, heldout = starter_rows("train", name), starter_rows("heldout", name)
    assert len(train) + len(heldout) == 2 * len(starter_pairs(name))
    assert len(heldout) >= 80
    assert Counter(row.label for row in heldout) == {"harmful": len(heldout) / 2, "benign": len(heldout) / 2}
    assert not {row.prompt for row in train} & {row.prompt for row in heldout}
    names = [{row.id.split("-")[1] for row in rows} for rows in (train, heldout)]
    assert not names[0] & names[1]


def test_no_held_out_prompt_is_like_a_training_prompt() -> None:
    """Held out means held out by the rules of the contamination check too."""
    train, heldout = ([row.prompt for row in starter_rows(split, FULL)] for split in get_args(Split))
    assert [(train[hit.row], heldout[hit.item], hit.shared) for hit in overlap(train, heldout)] == []


def test_every_row_is_told_apart_again_and_its_verdict_is_its_label() -> None:
    for split in ("train", "heldout"):
        for row in starter_rows(split, FULL):  # type: ignore[arg-type]
            assert check_row(row) == row
            assert contradictions(row) == []


def test_prompts_and_answers_stand_only_once() -> None:
    for text in ("prompt", "answer"):
        texts = [pair[label][text].lower() for pair in ALL for label in LABELS]
        assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("kind", ["bayes", "logistic"])
def test_a_bag_of_words_cannot_tell_the_labels(name: str, contrasts: list[dict[str, Any]], kind: str) -> None:
    """From thousands of pairs it learns which words name a harm, and not only how we write."""
    classifier = (
        sklearn().naive_bayes.MultinomialNB()
        if kind == "bayes"
        else sklearn().linear_model.LogisticRegression(
            solver="liblinear"
        )  # the quick one for counts of words
    )
    most = 0.70 if name == STARTER else 0.78
    assert told_apart(of_words(classifier), prompts(contrasts), "accuracy") < most


def test_neither_length_nor_punctuation_can_tell_the_labels(name: str) -> None:
    texts = prompts(starter_pairs(name))
    surface = [
        [len(text), len(text.split()), text[0].islower(), *map(text.count, "?!.,:;")] for text in texts
    ]
    features = numpy.array(surface, dtype=float)
    features /= 1 + features.max(axis=0)
    assert told_apart(sklearn().linear_model.LogisticRegression(max_iter=1000), features, "roc_auc") <= 0.60


def test_the_first_word_cannot_tell_the_labels(name: str) -> None:
    first = [text.split()[0] for text in prompts(starter_pairs(name))]
    assert told_apart(of_words(sklearn().linear_model.LogisticRegression()), first, "roc_auc") <= 0.60


def test_both_sides_of_a_pair_are_as_long() -> None:
    lengths = [[len(pair[label]["prompt"].split()) for label in LABELS] for pair in EVERYDAY]
    harmful, benign = numpy.array(lengths).T
    assert (abs(harmful - benign) <= 2 + numpy.maximum(harmful, benign) // 10).all()
