"""The recipe's own base model as an annotator: asked in batches, through the one engine."""

import pytest

from alttrain_cli.data.askers import engine_asker
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.structure.markers import S1, THINK, Markers
from alttrain_cli.structure.template import Template

pytestmark = pytest.mark.model


def test_the_base_model_answers_every_question_once() -> None:
    recipe = Recipe.load("smollm2-135m")
    settings = recipe.generation.model_copy(update={"max_new_tokens": 8})
    questions = [(str(n), [{"role": "user", "content": f"What is {n} plus {n}?"}]) for n in range(3)]
    replies = list(engine_asker(recipe).ask(questions, settings))
    assert sorted(key for key, _ in replies) == ["0", "1", "2"]
    for _, reply in replies:
        assert reply.text.strip()  # type: ignore[union-attr]
        assert 0 < reply.completion_tokens <= 8 < reply.prompt_tokens  # type: ignore[union-attr]


@pytest.mark.parametrize("markers", [THINK, S1])
@pytest.mark.parametrize("prefilled", [True, False])
def test_whatever_a_familys_markers_are_its_text_is_given_with_think(
    markers: Markers, prefilled: bool
) -> None:
    template = Template(
        tokenizer=None,  # type: ignore[arg-type]  # plain() needs none
        markers=markers, prefilled=prefilled, terminator="<end>", terminator_id=0, bos_id=None,
        special=frozenset(),
    )  # fmt: skip
    written = f"{'' if prefilled else markers.open}I see.{markers.close}Yes.<end>"
    assert template.plain(written).split() == ["<think>", "I", "see.", "</think>", "Yes."]
