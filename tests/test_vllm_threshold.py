"""The threshold inside vLLM: a logits processor decides the verdict, and the model goes on from it."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from alttrain_cli.engine import vllm_threshold
from alttrain_cli.engine.verdict_watch import VerdictTokens
from alttrain_cli.engine.vllm_threshold import WatchedRequest, threshold_of
from alttrain_cli.errors import ModelError
from alttrain_cli.structure.sections import THOUGHTS, Order
from alttrain_cli.structure.template import Template
from alttrain_cli.structure.verdict_form import VerdictForm
from alttrain_cli.structure.verdict_words import NO_ASSESSMENT, VerdictWords
from tests import families
from tests.language import Language
from tests.test_vllm_dial import BENIGN, HARMFUL

FAMILIES = ["smollm2", "r1-llama", "qwen3"]
TWO_TOKENS = VerdictWords((" harmful",), (" harmless", " benign"))  # harmful and harmless may begin alike


def written(
    template: Template, texts: dict[str, float], processor: Any = None, seed: int | None = None
) -> str:
    """Decode as vLLM does: the processor sees the logits, then a token is drawn, or the likeliest taken."""
    import torch

    language, ids = Language(template, {template.own(one): odds for one, odds in texts.items()}), list[int]()
    drawn = torch.Generator().manual_seed(seed or 0)
    while language.odds(ids):
        logits = language.logits(ids)
        if processor is not None:
            logits = processor(ids, logits)
        chances = logits.softmax(-1)
        token = logits.argmax() if seed is None else torch.multinomial(chances, 1, generator=drawn)
        ids.append(int(token))
    return template.plain(template.tokenizer.decode(ids, skip_special_tokens=False)).strip()


def watching(template: Template, threshold: float, words: VerdictWords | None = None) -> WatchedRequest:
    return WatchedRequest(VerdictTokens(template, words or VerdictWords(), THOUGHTS), threshold)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("threshold", "text"), [(0.6, HARMFUL), (0.8, BENIGN)])
@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_the_threshold_decides_the_verdict_also_where_tokens_are_drawn(
    family: str, threshold: float, text: str, seed: int | None
) -> None:
    template = Template.of(families.tokenizer(family))
    texts = {HARMFUL: 0.7, BENIGN: 0.3}
    assert written(template, texts, watching(template, threshold), seed) == text


def test_without_a_threshold_the_draw_decides() -> None:
    template = Template.of(families.tokenizer("smollm2"))
    found = {written(template, {HARMFUL: 0.7, BENIGN: 0.3}, None, seed) for seed in range(10)}
    assert found == {HARMFUL, BENIGN}


def test_the_rest_of_a_verdict_of_several_tokens_is_decided_too() -> None:
    template = Template.of(families.tokenizer("smollm2"))
    harmless = BENIGN.replace("benign", "harmless")
    tokens = VerdictTokens(template, TWO_TOKENS, THOUGHTS)
    assert len(tokens.all) > 2
    for threshold, text in ((0.6, HARMFUL), (0.8, harmless)):
        for seed in (None, 1, 2):
            found = written(
                template, {HARMFUL: 0.7, harmless: 0.3}, watching(template, threshold, TWO_TOKENS), seed
            )
            assert found == text


def test_a_verdict_word_at_another_place_is_left_alone() -> None:
    template = Template.of(families.tokenizer("smollm2"))
    text = HARMFUL.replace("They ask about a lock.", "They ask what harmful means.")
    processor = watching(template, 0.1)
    assert written(template, {text: 1.0}, processor) == text


# These tokenizers have a token per letter. With their space, the words begin with the same token.
@pytest.mark.parametrize(("harmful", "benign"), [(" harmful", " benign"), ("Harmful", "Benign")])
@pytest.mark.parametrize("seed", [None, *range(1, 7)])
def test_where_other_words_are_likelier_there_is_no_score_and_the_draw_stays_as_it_is(
    harmful: str, benign: str, seed: int | None
) -> None:
    template, words = Template.of(families.tokenizer("smollm2")), VerdictWords((harmful,), (benign,))
    own, other = HARMFUL.replace("harmful", harmful.strip()), BENIGN.replace("benign", benign.strip())
    unknown = [HARMFUL.replace("harmful", word) for word in ("odd", "new", "mild", "vague", "plain")]
    texts = {own: 0.4, other: 0.02, **dict.fromkeys(unknown, 0.116)}
    found = written(template, texts, watching(template, 0.99, words), seed)
    assert found == written(template, texts, None, seed)
    assert found == own or seed is not None


def test_a_verdict_that_comes_after_another_likelier_word_is_decided_there() -> None:
    template, words = Template.of(families.tokenizer("smollm2")), VerdictWords(("Harmful",), ("Benign",))
    own, odd, late, later = (
        HARMFUL.replace("harmful", word) for word in ("Harmful", "odd", "plainly Harmful", "plainly Benign")
    )
    texts = {own: 0.4, odd: 0.25, late: 0.25, later: 0.1}
    found = {written(template, texts, watching(template, 0.9, words), seed) for seed in range(12)}
    assert found == {own, odd, later}


@pytest.mark.parametrize("given", ["0.5", True, -0.1, 1.5, float("nan"), [0.5]])
def test_a_wrong_threshold_is_one_line(given: Any) -> None:
    with pytest.raises(ValueError, match=r"^vllm_xargs\.threshold: must be a number from 0 to 1, not "):
        threshold_of(SimpleNamespace(extra_args={"threshold": given}))


@pytest.mark.parametrize(("extra", "found"), [(None, None), ({}, None), ({"threshold": 1}, 1.0)])
def test_a_request_without_a_threshold_has_no_processor(extra: Any, found: float | None) -> None:
    assert threshold_of(SimpleNamespace(extra_args=extra)) == found


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM's class, as far as ours needs it: vLLM lives in an environment of its own."""
    modules = [ModuleType(name) for name in ("vllm", "vllm.v1", "vllm.v1.sample")]
    last = ModuleType("vllm.v1.sample.logits_processor")

    class AdapterLogitsProcessor:
        def __init__(self, *_: Any) -> None: ...

    last.AdapterLogitsProcessor = AdapterLogitsProcessor  # type: ignore[attr-defined]
    for module in (*modules, last):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    vllm_threshold._processor_class.cache_clear()
    monkeypatch.setattr(
        "transformers.AutoTokenizer.from_pretrained", lambda name, revision: families.tokenizer(name)
    )


def started(model: str | Path) -> Any:
    """Make the processor as vLLM does where it loads a model."""
    config = SimpleNamespace(model=str(model), tokenizer="smollm2", tokenizer_revision=None)
    return vllm_threshold.VerdictThreshold(SimpleNamespace(model_config=config), "cpu", False)


def test_vllm_finds_the_class_by_its_name_and_each_request_has_its_own_processor(stand_in: None) -> None:
    found, processor = vllm_threshold.VerdictThreshold, started("me/model-of-the-hub")
    assert not processor.is_argmax_invariant()
    assert processor.new_req_logits_processor(SimpleNamespace(extra_args=None)) is None
    one, other = (
        processor.new_req_logits_processor(SimpleNamespace(extra_args={"threshold": 0.8})) for _ in range(2)
    )
    template, texts = Template.of(families.tokenizer("smollm2")), {HARMFUL: 0.7, BENIGN: 0.3}
    assert written(template, texts, one) == written(template, texts, other) == BENIGN
    with pytest.raises(ValueError, match="from 0 to 1"):
        found.validate_params(SimpleNamespace(extra_args={"threshold": 2}))
    with pytest.raises(AttributeError, match="nothing"):
        vllm_threshold.nothing  # noqa: B018


def test_the_words_and_the_order_of_an_export_are_those_of_its_file(stand_in: None, tmp_path: Path) -> None:
    order: Order = ("assessment", "understanding", "reasoning")
    VerdictForm(order=order, harmful=(" unsafe",), benign=(" safe",)).save(tmp_path)
    text = "<think>\nIt is {}, as I see it.\n\nThey ask about a lock.\n\nI go on.\n</think>\n\nHere."
    unsafe, safe = text.format("unsafe"), text.format("safe")
    template, asked = (
        Template.of(families.tokenizer("smollm2")),
        SimpleNamespace(extra_args={"threshold": 0.8}),
    )
    for model, wanted in (
        (tmp_path, safe),
        ("me/model-of-the-hub", unsafe),
    ):  # one with other words is left alone
        processor = started(model).new_req_logits_processor(asked)
        assert written(template, {unsafe: 0.7, safe: 0.3}, processor) == wanted


@pytest.mark.parametrize(
    ("order", "benign", "why"),
    [
        (("understanding", "reasoning"), (), NO_ASSESSMENT),
        (THOUGHTS, (), "no row of its training has a benign verdict"),
    ],
)
def test_vllm_does_not_start_with_an_export_whose_verdicts_have_no_score(
    stand_in: None, tmp_path: Path, order: Order, benign: tuple[str, ...], why: str
) -> None:
    VerdictForm(order=order, harmful=(" harmful",), benign=benign).save(tmp_path)
    with pytest.raises(ModelError) as said:
        started(tmp_path)
    line = f"{tmp_path}: its verdicts have no score: {why}. Start vLLM without --logits-processors."
    assert str(said.value) == line
