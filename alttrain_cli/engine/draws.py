"""Sampling that depends only on a prompt, its settings and its seed, not on the rest of the batch."""

import hashlib
from collections.abc import Sequence
from typing import Any

from alttrain_cli.recipe.model import Sampling


def uniforms(seed: int, prompt: Sequence[int], count: int) -> Any:
    """Return the numbers that decide a prompt's tokens, one each: (count,) float64 in [0, 1)."""
    import torch

    generator = torch.Generator().manual_seed(number_of(f"{seed} {list(prompt)}"))
    return torch.rand(count, generator=generator, dtype=torch.float64)


def number_of(text: str) -> int:
    """Return a number that depends on a text alone, for a seed or a comparison."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


class Draws:
    """A logits processor that leaves each row one token: the one its number falls on.

    Greedy decoding after it is sampling with `temperature` and `top_p`.
    """

    def __init__(self, numbers: Sequence[Any], width: int, sampling: Sampling) -> None:
        """Take each row's numbers, (rows, tokens), for the tokens from column `width` on."""
        import torch
        from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

        self._numbers = torch.stack(list(numbers))
        self._width = width
        self._warpers: list[Any] = []
        if sampling.temperature not in (None, 1.0):
            self._warpers.append(TemperatureLogitsWarper(sampling.temperature))
        if sampling.top_k is not None:
            self._warpers.append(TopKLogitsWarper(sampling.top_k))
        if sampling.top_p is not None and sampling.top_p < 1.0:
            self._warpers.append(TopPLogitsWarper(sampling.top_p))

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Return `scores`, (rows, vocabulary), with all but each row's drawn token at minus infinity."""
        import torch

        for warp in self._warpers:
            scores = warp(input_ids, scores)
        summed = scores.double().softmax(-1).cumsum(-1)
        numbers = self._numbers[:, input_ids.shape[1] - self._width].to(scores.device)
        target = (numbers * summed[:, -1])[:, None]
        chosen = torch.searchsorted(summed, target, right=True).clamp(max=scores.shape[-1] - 1)
        return torch.full_like(scores, -torch.inf).scatter(1, chosen, 0.0)


class Decoding:
    """A logits processor that decodes each row by its own settings; greedy decoding follows it."""

    def __init__(self, rows: Sequence[tuple[Sampling, Any]], width: int) -> None:
        """Take each row's settings and numbers (None: greedy), for the tokens from column `width` on."""
        groups: dict[Sampling, list[int]] = {}
        for at, (sampling, _) in enumerate(rows):
            alike = sampling.model_copy(update={"max_new_tokens": 1, "threshold": None})
            groups.setdefault(alike, []).append(at)
        self._groups = [
            (members, _processors(sampling, [rows[at][1] for at in members], width))
            for sampling, members in groups.items()
        ]

    @property
    def is_in_place(self) -> bool:
        """Whether a call changes the scores that it is given."""
        return len(self._groups) > 1

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Return `scores`, (rows, vocabulary)."""
        if len(self._groups) == 1:
            return _applied(self._groups[0][1], input_ids, scores)
        for members, processors in self._groups:
            if processors:
                scores[members] = _applied(processors, input_ids[members], scores[members])
        return scores


def _processors(sampling: Sampling, numbers: Sequence[Any], width: int) -> list[Any]:
    from transformers import RepetitionPenaltyLogitsProcessor

    penalty = sampling.repetition_penalty
    processors = [] if penalty in (None, 1.0) else [RepetitionPenaltyLogitsProcessor(penalty)]
    return [*processors, Draws(numbers, width, sampling)] if sampling.do_sample else processors


def _applied(processors: Sequence[Any], input_ids: Any, scores: Any) -> Any:
    for process in processors:
        scores = process(input_ids, scores)
    return scores
