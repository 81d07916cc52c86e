"""Generation settings of published evaluations, so that rates can be compared; each with its caveats."""

from collections.abc import Iterable
from dataclasses import dataclass

from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.choices import JudgedPart
from alttrain_cli.evaluation.suites.suite import Suite
from alttrain_cli.recipe.model import Model, Sampling
from alttrain_cli.text import listed, suggest

QWEN = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
LLAMA = "You are Llama, created by Meta AI. You are a helpful assistant."


@dataclass(frozen=True)
class Preset:
    """Settings of one repository, with what a reader must know of them."""

    name: str
    generation: Sampling
    caveats: tuple[str, ...]
    names_the_model: bool = False  # puts "You are Qwen ..." or "You are Llama ..." in front
    load_in_4bit: bool | None = None
    judge_part: JudgedPart | None = None  # None: any

    @property
    def changes_model(self) -> bool:
        """Whether it needs a model that is loaded here: a server's system prompt and weights are its own."""
        return self.names_the_model or self.load_in_4bit is not None

    def system(self, model: str) -> str | None:
        """Return the system prompt that it gives a model; None: the model's own."""
        if not self.names_the_model:
            return None
        return LLAMA if "llama" in model.lower() else QWEN

    def kept_of(self, model: Model) -> list[str]:
        """Return what stays as the recipe has it, and which the paper does not name, in words."""
        kept = []
        if model.system and not self.names_the_model:
            kept.append("the recipe's system prompt stays, and the paper names none")
        if model.load_in_4bit and self.load_in_4bit is None:
            kept.append("the recipe's 4-bit weights stay (on a GPU), and the paper names none")
        return kept

    def check_suites(self, suites: Iterable[Suite]) -> None:
        """Refuse suites that need more tokens than it gives: they would be evaluated with other settings."""
        most = self.generation.max_new_tokens
        if above := [one for one in suites if (one.max_new_tokens or 0) > most]:
            needed = max(one.max_new_tokens or 0 for one in above)
            names = listed([one.name for one in above], 4)
            raise DataError(
                f"--preset {self.name}: gives {most:,} new tokens. {names}: up to {needed:,} are needed. "
                "Evaluate this without the preset, or choose a number: --max-new-tokens"
            )


def find_preset(name: str) -> Preset:
    presets = {preset.name: preset for preset in _PRESETS}
    if name not in presets:
        raise DataError(f"--preset {name}: no such preset. {suggest(name, presets)}")
    return presets[name]


def preset_names() -> list[str]:
    return [preset.name for preset in _PRESETS]


def general_presets() -> list[str]:
    """Return the presets that change no weights and no system prompt."""
    return [preset.name for preset in _PRESETS if not preset.changes_model]


def _greedy(max_new_tokens: int, repetition_penalty: float | None = None) -> Sampling:
    return Sampling(max_new_tokens=max_new_tokens, do_sample=False, repetition_penalty=repetition_penalty)


_PRESETS = (
    Preset(
        "r1-act",
        _greedy(1024),
        (
            "1,024 new tokens: an untrained reasoning model is often cut; see how many are unfinished",
            "a system prompt that DeepSeek advises against, and 4-bit weights: both change the rates",
            "R1-Act publishes no judge; compare only rates of one judge here",
        ),
        names_the_model=True,
        load_in_4bit=True,
    ),
    Preset(
        "star-1",
        _greedy(8000, repetition_penalty=1.2),
        (
            "STAR-1 decodes with a repetition penalty of 1.2, and so does this preset; it distorts safety "
            "and reasoning alike",
            "STAR-1 judges the whole text, reasoning included, and so does this preset",
        ),
        judge_part="full",
    ),
    Preset(
        "safechain",
        _greedy(16000),
        ("SafeChain's K = 5 figures: --num-samples 5 --do-sample --temperature 0.6 on the small sets",),
    ),
    Preset(
        "lrm-safety-study",
        _greedy(4096),
        (
            "its repository runs XSTest with 256 new tokens, which end before a reasoning model answers, "
            "and the paper's second version names 2,048; here it gets 4,096",
            "its training prompts hold most of HarmBench: do not score a model trained on them there",
            "its repository counts AIME by the best of 4 samples, the paper and alttrain by avg@4",
            "it judges the whole text, reasoning included, and so does this preset",
        ),
        judge_part="full",
    ),
)
