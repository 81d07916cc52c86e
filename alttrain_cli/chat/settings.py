"""How a chat generates: the recipe's settings, a thinking budget and a seed, changed by name."""

from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from alttrain_cli.errors import RecipeError
from alttrain_cli.recipe.model import LARGEST_SEED, Sampling, did_you_mean
from alttrain_cli.recipe.plain_yaml import parse_yaml
from alttrain_cli.storage.problems import in_words
from alttrain_cli.text import shown

DEFAULT_SEED = 1995
_ANSWER_SHARE = 4  # a quarter of max_new_tokens is kept for the answer


@dataclass(frozen=True)
class Settings:
    """A recipe's generation settings with what only a chat has."""

    generation: Sampling
    seed: int = DEFAULT_SEED
    think: int | None = None  # thinking tokens; None: three quarters of max_new_tokens

    @property
    def budget(self) -> int:
        """How many tokens the model may think before its answer is forced."""
        room = self.generation.max_new_tokens
        return min(room, room - room // _ANSWER_SHARE if self.think is None else self.think)

    @property
    def sent_seed(self) -> int | None:
        """The seed, where it matters."""
        return self.seed if self.generation.do_sample else None

    def set(self, change: str) -> "Settings":
        """Return the settings after `key=value`. A temperature of 0 is greedy, any other samples.

        Raises:
            RecipeError: naming the key, with the nearest one that exists.
        """
        key, equals, text = change.partition("=")
        key = key.strip()
        if not equals or not key:
            raise RecipeError("give key=value, as in /set temperature=0.6")
        if key not in self.values():
            hint = did_you_mean(key, list(self.values())) or f"There are {', '.join(self.values())}."
            raise RecipeError(f"no setting is called {shown(key)}. {hint}")
        try:
            return self._with(key, parse_yaml(text))
        except ValidationError as error:
            raise RecipeError(
                f"{key} cannot be {shown(text.strip())}: {in_words(error.errors()[0])}."
            ) from None
        except (ValueError, TypeError) as error:
            raise RecipeError(f"{key} cannot be {shown(text.strip())}: {error}.") from None

    def values(self) -> dict[str, Any]:
        """Return every setting by its name."""
        return {**self.generation.model_dump(), "think": self.budget, "seed": self.seed}

    def _with(self, key: str, value: Any) -> "Settings":
        if key == "seed":
            return replace(self, seed=_whole(value, least=0))
        if key == "think":
            return replace(self, think=_whole(value, least=1))
        changes = {key: value}
        if key == "temperature" and not isinstance(value, bool):
            greedy = value in (0, None)
            changes = {"temperature": None if greedy else value, "do_sample": not greedy}
        return replace(self, generation=Sampling.model_validate(self.generation.model_dump() | changes))


def _whole(value: Any, *, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= LARGEST_SEED:
        raise ValueError(f"it must be a whole number from {least} to {LARGEST_SEED:,}")
    return value
