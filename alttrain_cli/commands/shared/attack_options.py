"""The options of commands that play attacks: their models, and the budget."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alttrain_cli.commands.shared.rules import Rule
from alttrain_cli.evaluation.choices import ATTACKER_TOKENS, BASE, RULE

if TYPE_CHECKING:
    from alttrain_cli.backends.open import Address
    from alttrain_cli.evaluation.attacks.setup import AttackChoice
    from alttrain_cli.evaluation.suites.attack_spec import AttackSpec

ATTACK_PANEL = "Attack"
_attack = partial(typer.Option, rich_help_panel=ATTACK_PANEL)
_ATTACKER = (
    "Model that attacks the target. base: the target's untrained base, which needs no second model but is "
    'weak. Also possible: a server ("http://localhost:8000/v1 MODEL"), or any other model. eval needs this '
    "option for attacks; the default of chat is base."
)
_JUDGE = (
    "Judge that scores each answer for the attacker during a dialogue: rule, base, a server or any other "
    "model. Default: rule. In eval, the final result is that of --judge."
)
_REFUSAL_JUDGE = (
    "Judge that decides whether an answer refuses, so that the attack takes the turn back: rule, base, a "
    "server or any other model. Default: the same as --attack-judge."
)
_TURNS = "Maximum number of turns per dialogue. Default: the suite's own, for example 10."
_BACKTRACKS = (
    "Maximum number of refused turns that an attack takes back; for actors, per question. Default: the "
    "suite's own, for example 10. The control bare-goal sends its goal once per turn and once per backtrack."
)
_STREAMS = "Number of independent attempts per goal, in pair-live. Default: 30, as in the paper."
_ACTORS = "Number of people or things that the attack actors asks about. Default: 3."
_TOKENS = f"Maximum number of tokens per message of the attacker. Default: {ATTACKER_TOKENS}."
# The option of each role, by its field. Those of its server have the same name and an end: --attacker-url.
_ROLES = {
    "attacker": "--attacker",
    "attack_judge": "--attack-judge",
    "attack_refusal_judge": "--attack-refusal-judge",
}


def _url(role: str) -> Any:
    option = _ROLES[role]
    return _attack(metavar="URL", help=f"Base URL of the server with that model, in place of {option}.")


def _model(role: str) -> Any:
    option = _ROLES[role]
    return _attack(
        metavar="NAME", help=f"Name of the server's model, with {option}-url. Default: the only one."
    )


@dataclass(frozen=True)
class AttackOptions:
    """The models of an attack, each by a word or by its server, and the budget."""

    attacker: Annotated[str | None, _attack(metavar="MODEL", help=_ATTACKER)] = None
    attacker_url: Annotated[str | None, _url("attacker")] = None
    attacker_model: Annotated[str | None, _model("attacker")] = None
    attack_judge: Annotated[str | None, _attack(metavar="MODEL", help=_JUDGE)] = None
    attack_judge_url: Annotated[str | None, _url("attack_judge")] = None
    attack_judge_model: Annotated[str | None, _model("attack_judge")] = None
    attack_refusal_judge: Annotated[str | None, _attack(metavar="MODEL", help=_REFUSAL_JUDGE)] = None
    attack_refusal_judge_url: Annotated[str | None, _url("attack_refusal_judge")] = None
    attack_refusal_judge_model: Annotated[str | None, _model("attack_refusal_judge")] = None
    max_turns: Annotated[int | None, _attack(min=1, max=1000, metavar="N", help=_TURNS)] = None
    max_backtracks: Annotated[int | None, _attack(min=0, max=1000, metavar="N", help=_BACKTRACKS)] = None
    streams: Annotated[int | None, _attack(min=1, max=1000, metavar="N", help=_STREAMS)] = None
    actors: Annotated[int | None, _attack(min=1, max=1000, metavar="N", help=_ACTORS)] = None
    attacker_max_new_tokens: Annotated[
        int | None, _attack(min=1, max=1_000_000, metavar="N", help=_TOKENS)
    ] = None

    @property
    def names_attacker(self) -> bool:
        return self._named("attacker") is not None

    def attack_choice(self, attacker: str | None = None) -> "AttackChoice":
        """Return the models by their words; `attacker` is the one if none is named. Nothing is opened yet."""
        from alttrain_cli.evaluation.attacks.catalogue import Budget
        from alttrain_cli.evaluation.attacks.setup import AttackChoice

        return AttackChoice(
            self._named("attacker") or attacker,
            self._named("attack_judge") or RULE,
            self._named("attack_refusal_judge"),
            Budget(self.max_turns, self.max_backtracks, self.streams, self.actors),
            self.attacker_max_new_tokens or ATTACKER_TOKENS,
        )

    def _named(self, role: str) -> "str | Address | None":
        """Return the model of a role as it was named."""
        from alttrain_cli.backends.open import Address

        url = getattr(self, f"{role}_url")
        return Address(url, getattr(self, f"{role}_model")) if url else getattr(self, role)

    def attack_rules(
        self, attacks: Mapping[str, "AttackSpec"], elsewhere: str = "", *, served: bool = False
    ) -> list[Rule]:
        """Return the rules; `elsewhere` is the reason where no live attack is played at all."""
        specs = attacks.values()

        def has(budget: str) -> bool:
            return any(getattr(spec, budget) is not None for spec in specs)

        attacked = any(spec.needs_attacker for spec in specs)
        refusals = any(spec.sees_refusals for spec in specs)
        quiet, none = "where no model attacks", "which does not look for refusals"
        given = [  # each option, its value, whether an attack reads it, and why none does
            *self._of_role("attacker", attacked, quiet),
            *self._of_role("attack_judge", bool(attacks), ""),
            *self._of_role("attack_refusal_judge", refusals, none),
            ("--max-turns", self.max_turns, bool(attacks), ""),
            ("--max-backtracks", self.max_backtracks, has("backtracks"), "which takes no turn back"),
            ("--streams", self.streams, has("streams"), "which has no streams"),
            ("--actors", self.actors, has("actors"), "which has no actors"),
            ("--attacker-max-new-tokens", self.attacker_max_new_tokens, attacked, quiet),
        ]
        found = []
        for option, value, is_read, why in given:
            words = elsewhere or f"with {' and '.join(attacks)}, {why}"
            found.append(Rule(option, value is not None, is_read, words))
            found.append(Rule(f"{option} base", value == BASE, not served, "with a server"))
        return [*found, *self._server_rules()]

    def _of_role(self, role: str, is_read: bool, why: str) -> Iterator[tuple[str, object, bool, str]]:
        """Yield the options that name the model of a role."""
        for end in ("", "_url", "_model"):
            yield _ROLES[role] + end.replace("_", "-"), getattr(self, role + end), is_read, why

    def _server_rules(self) -> Iterator[Rule]:
        """Yield the rules of the servers: a model is named in one way."""
        for role, option in _ROLES.items():
            named, url, model = (getattr(self, role + end) is not None for end in ("", "_url", "_model"))
            yield Rule(option, named, not url, f"with {option}-url: give one of the two")
            on_disk = f"without {option}-url. A model of this machine: {option} MODEL"
            yield Rule(f"{option}-model", model, url, on_disk)
