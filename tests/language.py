"""A language model over a few texts: what it would write next, and how likely, is known exactly."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from alttrain_cli.engine.verdict_watch import VerdictTokens, VerdictWatch
from alttrain_cli.structure.sections import THOUGHTS, Order
from alttrain_cli.structure.template import Template
from alttrain_cli.structure.verdict_words import VerdictWords


class Language:
    """Texts with their probabilities. What follows a beginning is what follows it in the texts."""

    def __init__(self, template: Template, texts: Mapping[str, float]) -> None:
        self.template = template
        self._texts = [(template.encode_text(text), odds) for text, odds in texts.items()]

    def odds(self, written: Sequence[int]) -> dict[int, float]:
        """Return the probability of each next token; none at the end of a text."""
        found: dict[int, float] = {}
        for ids, odds in self._texts:
            if ids[: len(written)] == list(written) and len(ids) > len(written):
                found[ids[len(written)]] = found.get(ids[len(written)], 0.0) + odds
        return {token: odds / sum(found.values()) for token, odds in found.items()}

    def logits(self, written: Sequence[int]) -> Any:
        """Return the same as logits over the vocabulary; a text ends with the turn's terminator."""
        import torch

        logits = torch.full((len(self.template.tokenizer),), -1e4)  # type: ignore[arg-type]
        for token, odds in (self.odds(written) or {self.template.terminator_id: 1.0}).items():
            logits[token] = math.log(odds) + 3  # logits are known up to a constant
        return logits

    def chances(self, written: Sequence[int], ids: Sequence[int]) -> list[float]:
        """Return how likely some tokens are to be next."""
        return [float(one) for one in self.logits(written).softmax(-1)[list(ids)]]

    def write(self, watch: VerdictWatch, *, twice: bool = False) -> str:
        """Decode greedily. With `twice` each place is looked at two times, as on some devices."""
        written: list[int] = []
        while odds := self.odds(written):
            token = max(odds, key=lambda one: odds[one])
            seen = [
                watch.see(written, token, lambda ids: self.chances(written, ids))
                for _ in range(1 + twice)
                if watch.is_open
            ]
            written.append(token if not seen or seen[0] is None else seen[0])
            assert len(set(seen)) < 2
        return self.template.tokenizer.decode(written, skip_special_tokens=False)


def watch(
    template: Template,
    words: VerdictWords | None = None,
    threshold: float | None = None,
    *,
    order: Order = THOUGHTS,
    started: str = "",
) -> VerdictWatch:
    """Return a watch for the words of a run."""
    return VerdictWatch(VerdictTokens(template, words or VerdictWords(), order), started, threshold)
