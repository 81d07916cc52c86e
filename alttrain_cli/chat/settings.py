"""The settings of a chat: how it samples, its thinking budget and its seed; changed by name."""

from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from pydantic import ValidationError

from alttrain_cli.errors import RecipeError
from alttrain_cli.problems import in_words
from alttrain_cli.recipe.model import LARGEST_SEED, Sampling
from alttrain_cli.recipe.plain_yaml import parse_yaml
from alttrain_cli.text import quoted, suggest

DEFAULT_SEED = 1995
_ANSWER_SHARE = 4  # a quarter of max_new_tokens is kept for the answer
_ROOM = 1024  # tokens of a context that are left for messages
SETTINGS = (*Sampling.model_fields, "thinking_budget", "seed")
_OF_SAMPLING = ("temperature", "top_p", "top_k", "seed")
_NOT_SET = {  # what holds where a setting has no value
    "temperature": "not set: 1",
    "top_p": "not set: all tokens",
    "top_k": "not set: all tokens",
    "repetition_penalty": "not set: no penalty",
    "threshold": "not set: the model's own verdict",
}
_OFF = ("off", "none", "null", "")  # what people type to take a value away
_OLD_NAMES = {"think": "thinking_budget"}  # accepted for one more version


@dataclass(frozen=True)
class Settings:
    """A recipe's sampling, a seed, and a thinking budget in tokens.

    A budget of None is three quarters of max_new_tokens.
    """

    sampling: Sampling
    seed: int = DEFAULT_SEED
    thinking_budget: int | None = None

    @property
    def budget(self) -> int:
        """The thinking tokens after which an answer is forced."""
        room = self.sampling.max_new_tokens
        return min(room, self.thinking_budget or room - room // _ANSWER_SHARE)

    @property
    def sent_seed(self) -> int | None:
        """The seed; None for greedy decoding, which needs none."""
        return self.seed if self.sampling.do_sample else None

    def fitting(self, context: int | None) -> "Settings":
        """Return the settings with room for a message in a context that max_new_tokens would fill alone."""
        if context is None or self.sampling.max_new_tokens < context:
            return self
        most = max(context - _ROOM, context // 2, 1)
        return replace(self, sampling=self.sampling.limited(most))

    def set(self, *changes: str) -> "Settings":
        """Return the settings after each `key=value`. Temperature 0 is greedy decoding, any other samples."""
        return reduce(Settings._set, changes, self)

    def _set(self, change: str) -> "Settings":
        typed, equals, text = change.partition("=")
        if not equals:  # "threshold 0.7"
            typed, equals, text = change.strip().partition(" ")
        typed = typed.strip()
        if not equals or not typed:
            raise RecipeError("give key=value, for example temperature=0.6")
        key = _OLD_NAMES.get(typed, typed)
        if key not in self.values():
            raise RecipeError(f"no setting is called {quoted(key)}. {suggest(key, self.values())}")
        try:
            is_off = key in _NOT_SET and text.strip().lower() in _OFF
            return self._with(key, None if is_off else parse_yaml(text))
        except ValidationError as error:
            problem = in_words(error.errors()[0])
        except (ValueError, TypeError) as error:
            problem = str(error)
        raise RecipeError(f"{typed} cannot be {quoted(text.strip())}: {problem}.")

    def values(self) -> dict[str, float | int | bool | None]:
        return {**self.sampling.model_dump(), "thinking_budget": self.budget, "seed": self.seed}

    def in_words(self) -> list[tuple[str, object]]:
        """Return each setting as a person reads it: without None, True and False."""
        return [(name, self._in_words(name, value)) for name, value in self.values().items()]

    def _in_words(self, name: str, value: Any) -> object:
        if name == "do_sample":
            return "yes" if value else "no: decoding is greedy"
        if name in _OF_SAMPLING and not self.sampling.do_sample:
            return "not used: decoding is greedy"
        if name == "threshold" and value is not None:
            return f"{value:g}: above this score the verdict is harmful, else benign"
        return _NOT_SET[name] if value is None else value

    def _with(self, key: str, value: Any) -> "Settings":
        if key == "seed":
            return replace(self, seed=_whole(value, least=0))
        if key == "thinking_budget":
            return replace(self, thinking_budget=_whole(value, least=1))
        changes = {key: value}
        if key == "temperature" and not isinstance(value, bool):
            greedy = value in (0, None)
            changes = {"temperature": None if greedy else value, "do_sample": not greedy}
        return replace(self, sampling=Sampling.model_validate(self.sampling.model_dump() | changes))


def _whole(value: Any, *, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= LARGEST_SEED:
        raise ValueError(f"it must be a whole number from {least} to {LARGEST_SEED:,}")
    return value
