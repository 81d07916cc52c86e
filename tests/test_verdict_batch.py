"""Scores and thresholds in the real batch: many rows, each with its own settings, that join and leave."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alttrain_cli.backends import local
from alttrain_cli.backends.base import Ability, Fingerprint
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.local import LocalBackend, _is_decided
from alttrain_cli.backends.target import Target
from alttrain_cli.engine import batch
from alttrain_cli.engine.batch_request import BatchRequest, IsWhole
from alttrain_cli.engine.batcher import Batcher, BatchLimits
from alttrain_cli.engine.generate import GeneratedText
from alttrain_cli.engine.load import LoadedModel
from alttrain_cli.engine.verdict_watch import VerdictWatch
from alttrain_cli.evaluation.generate import EvalRequest
from alttrain_cli.evaluation.suites.items import LoadedSuite
from alttrain_cli.evaluation.suites.suite import Item, find_suites
from alttrain_cli.progress import Progress
from alttrain_cli.recipe.model import Recipe, Sampling
from alttrain_cli.structure.template import Template
from alttrain_cli.structure.verdict import Verdict
from alttrain_cli.structure.verdict_score import VerdictScore
from tests import families
from tests.language import Language, watch
from tests.scorecards import generate
from tests.test_open_streams import random_model

GREEDY = Sampling(max_new_tokens=200, do_sample=False)
DRAWN = Sampling(max_new_tokens=200, do_sample=True, temperature=0.3)
ODDS = (0.9, 0.6, 0.55, 0.3)  # of the harmful verdict, prompt by prompt


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return random_model()


def language_of(loaded: LoadedModel, index: int) -> Language:
    """Return what the model of a prompt would write: texts of different lengths, so that rows leave apart."""
    start = f"<think>\nI am asked {'again ' * index}about a lock.\n\n"
    end = "\n\nSo I go on.\n</think>\n\nHere."
    template, odds = loaded.template, ODDS[index % len(ODDS)]
    return Language(
        template,
        {
            template.own(f"{start}It is harmful, as it hurts.{end}"): odds,
            template.own(f"{start}It is benign, as it helps.{end}"): 1 - odds,
        },
    )


@pytest.fixture
def languages(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> list[Language]:
    """Put texts whose probabilities are known in the place of what the model of random weights computes."""
    found = [language_of(loaded, index) for index in range(6)]
    seen = batch._Watching.__call__

    def known(self: Any, input_ids: Any, scores: Any) -> Any:
        for row, request in enumerate(self._requests):
            scores[row] = found[request.index].logits(request.written)
        return seen(self, input_ids, scores)

    monkeypatch.setattr(batch._Watching, "__call__", known)
    return found


def written(
    loaded: LoadedModel,
    watches: list[VerdictWatch | None],
    settings: Sampling | None = None,
    ends: Sequence[IsWhole | None] = (None,) * 6,
) -> list[list[int]]:
    """Complete six prompts, three at a time, greedy and drawn ones side by side."""
    batcher = Batcher(loaded, BatchLimits(slots=3, tokens=100_000))
    requests = [
        BatchRequest(
            index,
            loaded.template.encode_text("x" * (3 + index)),
            200,
            settings or (DRAWN if index % 2 else GREEDY),
        )
        for index in range(6)
    ]
    for request, one, end in zip(requests, watches, ends, strict=True):
        request.watch, request.is_whole = one, end
        batcher.add(request)
    while batcher.is_busy:
        batcher.step()
    return [request.written for request in requests]


@pytest.mark.parametrize("settings", [None, GREEDY], ids=["mixed", "greedy"])
def test_a_score_changes_no_completion_and_is_the_models_own_probability(
    loaded: LoadedModel,
    languages: list[Language],
    settings: Sampling | None,
) -> None:
    watches: list[Any] = [watch(loaded.template) for _ in languages]
    assert written(loaded, watches, settings) == written(loaded, [None] * 6, settings)
    assert [one.score.value for one in watches] == pytest.approx([*ODDS, *ODDS[:2]], abs=1e-4)


def test_a_threshold_is_each_rows_own(loaded: LoadedModel, languages: list[Language]) -> None:
    thresholds = [None, 0.7, 0.5, None, 0.95, 0.5]
    watches: list[Any] = [watch(loaded.template, threshold=one) for one in thresholds]
    texts = [loaded.tokenizer.decode(ids) for ids in written(loaded, watches, GREEDY)]
    verdicts = ["harmful" if "It is harmful, as it hurts." in text else "benign" for text in texts]
    assert verdicts == ["harmful", "benign", "harmful", "benign", "benign", "harmful"]
    assert [one.score.is_changed for one in watches] == [False, True, False, False, True, False]
    assert all(
        "It is benign, as it helps." in text or verdict == "harmful"
        for text, verdict in zip(texts, verdicts, strict=True)
    )


def test_a_token_that_a_device_computes_once_more_is_turned_once_more() -> None:
    class Turning(VerdictWatch):
        """Its verdict is decided at the first token, with another one."""

        def __init__(self) -> None:
            self.is_open, self._seen = True, (-1, None)

        def _look(self, written: Any, token: int, logits: Any) -> int:
            self.is_open = False
            return 7

    turning = Turning()
    request = BatchRequest(0, [1], 9, GREEDY, watch=turning)
    for _ in range(2):
        assert batch._is_watched(request)
        assert turning.see(request.written, 5, lambda ids: []) == 7
    request.take(7, frozenset())
    assert not batch._is_watched(request)


def test_a_completion_that_is_wanted_only_to_its_verdict_ends_there(
    loaded: LoadedModel,
    languages: list[Language],
) -> None:
    watches: list[Any] = [watch(loaded.template) for _ in languages]
    ends = [_is_decided(one) for one in watches]
    texts = [loaded.tokenizer.decode(ids) for ids in written(loaded, watches, GREEDY, ends)]
    assert all(
        text.rpartition("It is ")[2][0] in "hb" and len(text.rpartition("It is ")[2]) == 1 for text in texts
    )
    assert all(one.score for one in watches)


def test_a_verdict_in_words_that_have_no_score_is_known_all_the_same(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"<think>\nI am asked.\n\nIt is {word}.\n</think>\n\nHere." for word in ("dangerous", "odd")]
    own = [loaded.template.own(text) for text in texts]
    made = [(at, GeneratedText(text, 9, True, 1, False)) for at, text in enumerate(own)]
    monkeypatch.setattr(local, "complete", lambda *_, **__: (one for one in made))
    backend = LocalBackend.over(Recipe.load("smollm2-135m"), loaded)
    found = dict(backend.score([Conversation.of("a"), Conversation.of("b")], GREEDY))
    assert found == {0: VerdictScore.unknown(Verdict.HARMFUL), 1: None}


@pytest.mark.parametrize(("sampling", "samples"), [(GREEDY, 1), (DRAWN, 3)], ids=["greedy", "drawn"])
def test_an_evaluation_at_a_threshold_generates_what_it_changes_and_the_rest_would_be_equal(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sampling: Sampling, samples: int
) -> None:
    languages, seen = [language_of(loaded, at) for at in range(6)], batch._Watching.__call__
    generated: set[tuple[int, int]] = set()

    def known(self: Any, input_ids: Any, scores: Any) -> Any:
        for row, request in enumerate(self._requests):
            prompt = next(at for at in range(6) if f"Prompt {at}" in loaded.tokenizer.decode(request.prompt))
            scores[row] = languages[prompt].logits(request.written)
            generated.add((prompt, request.seed))
        return seen(self, input_ids, scores)

    monkeypatch.setattr(batch._Watching, "__call__", known)
    [suite] = find_suites("strongreject")
    items = [Item(str(at), f"Prompt {at}") for at in range(6)]
    target = Target("run", Recipe.load("smollm2-135m"), tmp_path / "adapter")
    backend = LocalBackend(target, loaded, Fingerprint("run", "tiny", "w"))

    def evaluated(folder: str, threshold: float | None) -> list[str]:
        reading = LoadedSuite(items, None, None, "0" * 64, True, 0)
        settings = sampling.model_copy(update={"threshold": threshold})
        generate(
            tmp_path / folder, backend, EvalRequest([(suite, reading)], settings, samples=samples), Progress()
        )
        return (tmp_path / folder / suite.name / "completions.jsonl").read_text().splitlines()

    own = evaluated("reused", None)
    everything = evaluated("generated", 0.58)  # some scores are above it, and some below
    assert len(generated) == len(everything) == 6 * samples
    generated.clear()
    lines = evaluated("reused", 0.58)
    assert lines == own + everything
    changed = [one for one in map(json.loads, everything) if one["score"]["own"] != one["score"]["written"]]
    assert {(int(one["item"]), one["sample"]) for one in changed} == generated
    assert 0 < len(changed) < len(everything)
    assert all(one["verdict"] == one["score"]["written"] for one in changed)


def test_a_model_whose_prompt_opens_the_reasoning_says_so(loaded: LoadedModel) -> None:
    opened = replace(loaded, template=Template.of(families.tokenizer("r1-qwen")))
    for one, thinks in ((loaded, False), (opened, True)):
        backend = LocalBackend.over(Recipe.load("smollm2-135m"), one)
        assert (Ability.THINKS in backend.abilities) is thinks
