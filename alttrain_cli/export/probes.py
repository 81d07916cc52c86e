"""What the trained model writes for a few prompts: the measure of every export."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from alttrain_cli.engine.generate import GeneratedText, complete
from alttrain_cli.engine.load import LoadedModel
from alttrain_cli.errors import ModelError
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.structure.probing import WireMessage, assistant, user
from alttrain_cli.structure.sections import THOUGHTS, Order
from alttrain_cli.structure.template import Template
from alttrain_cli.structure.trace import parse

NEW_TOKENS = 256  # enough for the sections and the first words of an answer
BASE_TOKENS = 64  # a model that differs from its base has differed by then


@dataclass(frozen=True)
class Probes:
    """The prompts, and what the trained model and its base write for them, greedily.

    Attributes:
        conversations: those whose token ids are compared; the first ones are the prompts.
        prompt_ids: the token ids of the conversations, as in training.
        tuned: one per prompt. Likewise `base`, which is empty where every weight was trained.
    """

    template: Template
    conversations: tuple[list[WireMessage], ...]
    prompt_ids: tuple[list[int], ...]
    rendered: tuple[str, ...]
    tuned: tuple[GeneratedText, ...]
    base: tuple[GeneratedText, ...]
    limit: int
    order: Order = THOUGHTS  # of the sections that were trained

    @classmethod
    def of(
        cls, loaded: LoadedModel, prompts: Sequence[str], longest: int, order: Order = THOUGHTS
    ) -> "Probes":
        """Let the trained model and its base write; `longest` is the recipe's max_new_tokens."""
        template, limit = loaded.template, min(NEW_TOKENS, longest)
        found: list[tuple[list[WireMessage], str]] = []
        for conversation in _conversations(prompts):
            try:
                found.append((conversation, template.prompt(conversation)))
            except ModelError:  # a family without system messages; its prompts were rendered in training
                continue
        rendered = tuple(text for _, text in found)
        has_base = hasattr(loaded.model, "disable_adapter")
        return cls(
            template=template,
            conversations=tuple(conversation for conversation, _ in found),
            prompt_ids=tuple(template.encode_text(text) for text in rendered),
            rendered=rendered,
            tuned=write(loaded, rendered[: len(prompts)], limit),
            base=write(loaded, rendered[: len(prompts)], min(BASE_TOKENS, limit), adapter=False)
            if has_base
            else (),
            limit=limit,
            order=order,
        )

    @property
    def prompts(self) -> list[str]:
        """The rendered prompts for which models write."""
        return list(self.rendered[: len(self.tuned)])

    def is_structured(self, written: GeneratedText) -> bool:
        """Whether a completion has all required sections."""
        template = self.template
        text = template.strip(written.text)
        return parse(text, template.markers, prefilled=template.prefilled, order=self.order).structured


def write(
    loaded: LoadedModel, rendered: Sequence[str], limit: int, *, adapter: bool = True
) -> tuple[GeneratedText, ...]:
    """Return greedy completions of rendered prompts, in their order."""
    sampling = Sampling(max_new_tokens=limit, do_sample=False)
    with closing(complete(loaded, rendered, sampling, adapter=adapter)) as written:
        found = dict(written)
    return tuple(found[number] for number in range(len(rendered)))


def _conversations(prompts: Sequence[str]) -> list[list[WireMessage]]:
    """Return each prompt alone, then one conversation with a history and one with a system message."""
    first, last = prompts[0], prompts[-1]
    history = [user(first), assistant("I am listening."), user(last)]
    system = [{"role": "system", "content": f"Answer {last!r} briefly."}, user(first)]
    return [*([user(prompt)] for prompt in prompts), history, system]
