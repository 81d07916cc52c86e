"""The proof of an export: it writes what base and adapter write, and not what the base writes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any

from alttrain_cli.engine.generate import GeneratedText
from alttrain_cli.export.format import ExportedModel
from alttrain_cli.export.probes import Probes

# Rounding weights to 16 bits moves logits by a few hundredths; a merge that is wrong moves them by more
# than one. So a first difference that leads by less is two tokens that were almost equal.
NEAR_TIE = 0.5  # nats
# Q4_K_M leads by 0.1 to 0.2 where it differs first. Most leads above this mean broken weights.
QUANTISED_LEAD = 3.0  # nats
KEPT_STRUCTURE = 0.75  # of the structured completions, where weights were quantised
NOT_COMPARED = "structure not compared: base and adapter wrote no completion with all sections"


@dataclass(frozen=True)
class FirstDifference:
    """The first token in which an export leaves what base and adapter write.

    Attributes:
        prompt: its number, from 1.
        after: tokens of the completion that are the same.
        wanted, written: the two tokens as text.
        lead: by how many nats the exported model prefers its own token.
        cause: what explains the difference, in words.
    """

    prompt: int
    after: int
    wanted: str
    written: str
    lead: float
    cause: str


@dataclass(frozen=True)
class Proof:
    """What was compared, and what was found.

    Attributes:
        export: the format and its type.
        prompts: how many completions were compared; `tokens` is their length together.
        same: prompts with the same greedy tokens.
        unlike_base: prompts whose completion differs from the base's; None where there is no base.
        tuned_unlike_base: the same of base and adapter.
        structured: completions with all sections; `tuned_structured` is that of base and adapter.
        conversations: how many were rendered and tokenised; `wrong_ids` is how many gave other token ids.
    """

    export: str
    quantised: bool
    prompts: int
    tokens: int
    same: int
    differences: tuple[FirstDifference, ...]
    unlike_base: int | None
    tuned_unlike_base: int | None
    structured: int
    tuned_structured: int
    conversations: int
    wrong_ids: int

    @property
    def structure_compared(self) -> bool:
        """Whether base and adapter wrote all sections at least once, so that an export could lose them."""
        return self.tuned_structured > 0

    @property
    def problems(self) -> list[str]:
        found = []
        if self.wrong_ids:
            found.append(
                f"{self.wrong_ids} of {self.conversations} prompts have other token ids than in training"
            )
        if self.unlike_base == 0 and self.tuned_unlike_base:
            found.append("it writes what the base model writes, so the adapter is missing")
        clear = sum(one.lead > NEAR_TIE for one in self.differences)
        if clear and not self.quantised:
            found.append(
                f"{clear} of {self.prompts} completions differ from those of base and adapter by more than "
                "rounding explains"
            )
        broken = sum(one.lead > QUANTISED_LEAD for one in self.differences)
        if self.quantised and 2 * broken > len(self.differences):
            found.append(
                f"{broken} of {len(self.differences)} first differences are above {QUANTISED_LEAD:g} nats, "
                "more than quantised weights explain"
            )
        if self.structured < self._least_structured(len(self.differences) - clear):
            found.append(
                f"{self.structured} of {self.prompts} completions have all sections, "
                f"those of base and adapter {self.tuned_structured}"
            )
        return found

    def _least_structured(self, near_ties: int) -> float:
        """Return how many completions must have all sections; after a near tie the rest may be another."""
        if self.quantised:
            return KEPT_STRUCTURE * self.tuned_structured
        return self.tuned_structured - near_ties

    def in_words(self) -> list[str]:
        ids = self.conversations - self.wrong_ids
        found = [
            f"{self.export}: {ids} of {self.conversations} prompts have the token ids of training",
            f"{self.same} of {self.prompts} greedy completions equal base and adapter",
        ]
        if self.unlike_base is not None:
            found.append(f"{self.unlike_base} of {self.prompts} differ from the base model's")
        sections = f"{self.structured} of {self.prompts} have all sections"
        structure = f"{sections}; of base and adapter {self.tuned_structured}"
        return [*found, structure if self.structure_compared else NOT_COMPARED]

    def record(self) -> dict[str, Any]:
        return asdict(self) | {"structure_compared": self.structure_compared, "problems": self.problems}


def prove(probes: Probes, model: ExportedModel) -> Proof:
    """Let an exported model write for the probes, and compare."""
    wrong = sum(
        model.prompt_ids(conversation) != ids
        for conversation, ids in zip(probes.conversations, probes.prompt_ids, strict=True)
    )
    written = model.write(probes.prompts, probes.limit)
    pairs = zip(probes.tuned, written, strict=True)
    found = [_difference(probes, model, number, *pair) for number, pair in enumerate(pairs)]
    differences = tuple(one for one in found if one is not None)
    return Proof(
        export=model.name,
        quantised=model.quantised,
        prompts=len(written),
        tokens=sum(len(one.ids) for one in probes.tuned),
        same=len(written) - len(differences),
        differences=differences,
        unlike_base=_unlike(written, probes.base),
        tuned_unlike_base=_unlike(probes.tuned, probes.base),
        structured=sum(map(probes.is_structured, written)),
        tuned_structured=sum(map(probes.is_structured, probes.tuned)),
        conversations=len(probes.conversations),
        wrong_ids=wrong,
    )


def _difference(
    probes: Probes, model: ExportedModel, number: int, wanted: GeneratedText, written: GeneratedText
) -> FirstDifference | None:
    stop = probes.template.terminator_id
    pairs = zip_longest(_ended(wanted, stop), _ended(written, stop), fillvalue=None)
    for after, (one, other) in enumerate(pairs):
        if one == other:
            continue
        if one is None or other is None:  # a limit came first in one of them
            return None
        ids = [*probes.prompt_ids[number], *wanted.ids[:after]]
        lead = model.lead(ids, other, one)
        words = model.decode(one), model.decode(other)
        cause = _cause(lead, quantised=model.quantised)
        return FirstDifference(number + 1, after, *words, round(lead, 3), cause)
    return None


def _cause(lead: float, *, quantised: bool) -> str:
    if quantised:
        return "quantised weights" if lead <= QUANTISED_LEAD else "more than quantised weights explain"
    if lead <= NEAR_TIE:
        return f"rounding of 16 bits: a near tie of less than {NEAR_TIE:g} nats"
    return "not explained by rounding: the weights or the template differ"


def _ended(written: GeneratedText, stop: int) -> list[int]:
    """Return the tokens of a completion with the one that ended it."""
    return [*written.ids, *([stop] if written.finished else [])]


def _unlike(written: Sequence[GeneratedText], base: Sequence[GeneratedText]) -> int | None:
    """Return how many completions differ from the base's, as far as the base wrote."""
    if not base:
        return None
    return sum(
        one.ids[: len(other.ids)] != other.ids or (other.finished and len(one.ids) != len(other.ids))
        for one, other in zip(written, base, strict=True)
    )
