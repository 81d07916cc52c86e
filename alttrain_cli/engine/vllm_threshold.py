"""The threshold of the verdict inside a vLLM server: a logits processor that each request may switch on.

    vllm serve MODEL --logits-processors alttrain_cli.engine.vllm_threshold:VerdictThreshold

MODEL is an export to merged. A request with {"vllm_xargs": {"threshold": 0.7}} gets the verdict that this
threshold gives, and the model goes on from it by itself. The folder's own file names its verdict words. vLLM
imports this module in its own environment. There it needs torch, transformers and pydantic, which vLLM has,
and sentencex.
"""

from functools import cache, partial
from pathlib import Path
from typing import Any

from alttrain_cli.engine.verdict_watch import VerdictTokens, VerdictWatch, chances_of
from alttrain_cli.errors import ModelError
from alttrain_cli.structure.template import Template
from alttrain_cli.structure.verdict_form import VerdictForm
from alttrain_cli.structure.verdict_score import LEAST_MASS

FIELD = "threshold"  # in vllm_xargs


def threshold_of(params: Any) -> float | None:
    """Return the threshold in a request's SamplingParams, or None. A wrong one is a ValueError."""
    given = (params.extra_args or {}).get(FIELD)
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 <= given <= 1:
        raise ValueError(f"vllm_xargs.{FIELD}: must be a number from 0 to 1, not {given!r}")
    return float(given)


def form_of(model: str) -> VerdictForm:
    """Return how the model that vLLM loads writes its verdicts; an error if they have no score."""
    form = VerdictForm.in_folder(Path(model))
    if form.problem:
        raise ModelError(
            f"{model}: its verdicts have no score: {form.problem}. Start vLLM without --logits-processors."
        )
    return form


class WatchedRequest:
    """The logits processor of one request: it leaves a verdict only the tokens that the threshold chooses.

    The verdict is found where its word is the likeliest token. There it is decided by the threshold alone,
    and not drawn, also with a temperature. Where it has no known score, the draw stays as it is.
    """

    def __init__(self, tokens: VerdictTokens, threshold: float) -> None:
        self._watch = VerdictWatch(tokens, "", threshold)

    def __call__(self, output_ids: list[int], logits: Any) -> Any:
        """Return the logits of the next token, (vocabulary,): the same tensor if nothing is decided here."""
        watch = self._watch
        if not watch.is_due(output_ids):
            return logits
        token = int(logits.argmax())
        chances = partial(chances_of, logits)
        if (first := watch.awaited) is not None and (token not in first or sum(chances(first)) < LEAST_MASS):
            return logits  # no verdict, or an unknown score
        other = watch.see(output_ids, token, chances)
        score = watch.score
        has_none = watch.awaited is not None if score is None else score.value is None
        if other is None and has_none:
            return logits  # a word that is no verdict, or an unknown score
        decided = logits.new_full(logits.shape, float("-inf"))
        decided[token if other is None else other] = 0.0
        return decided


@cache
def _processor_class() -> Any:
    """Return the class for vLLM; defined here because only vLLM's environment has vLLM."""
    from transformers import AutoTokenizer
    from vllm.v1.sample.logits_processor import AdapterLogitsProcessor

    class VerdictThreshold(AdapterLogitsProcessor):  # type: ignore[misc]
        def __init__(self, vllm_config: Any, device: Any, is_pin_memory: bool) -> None:
            super().__init__(vllm_config, device, is_pin_memory)
            model = vllm_config.model_config
            form = form_of(model.model)
            tokenizer = AutoTokenizer.from_pretrained(model.tokenizer, revision=model.tokenizer_revision)
            self._tokens = VerdictTokens(Template.of(tokenizer), form.words, form.order)

        @classmethod
        def validate_params(cls, sampling_params: Any) -> None:
            threshold_of(sampling_params)

        def is_argmax_invariant(self) -> bool:
            return False

        def new_req_logits_processor(self, params: Any) -> WatchedRequest | None:
            threshold = threshold_of(params)
            return None if threshold is None else WatchedRequest(self._tokens, threshold)

    return VerdictThreshold


def __getattr__(name: str) -> Any:
    if name == "VerdictThreshold":
        return _processor_class()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
