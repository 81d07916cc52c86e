"""The models of an attack, and its budget."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from alttrain_cli.backends.base import Backend
from alttrain_cli.backends.open import find, open_later
from alttrain_cli.backends.remembering import Remembering
from alttrain_cli.backends.target import Target
from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.attacks.attack import Attack, Role
from alttrain_cli.evaluation.attacks.attack_record import AttackRecord
from alttrain_cli.evaluation.attacks.catalogue import Budget, attack_of, spec_of
from alttrain_cli.evaluation.attacks.roles import (
    AttackerCaller,
    Caller,
    JudgeCaller,
    RuleCaller,
    TargetCaller,
)
from alttrain_cli.evaluation.choices import ATTACKER_TOKENS, BASE, RULE
from alttrain_cli.evaluation.suites.suite import Suite
from alttrain_cli.progress import Progress
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.storage.journal import Journal

JUDGE_TOKENS = 1024


@dataclass(frozen=True)
class AttackSetup:
    """The attacker, the judge in the loop (None: a rule), and the budget."""

    attacker: Backend | None = None
    judge: Backend | None = None
    budget: Budget = field(default_factory=Budget)
    attacker_tokens: int = ATTACKER_TOKENS

    def attack(self, suite: Suite) -> Attack:
        return attack_of(suite, self.budget)

    def facts(self, suite: Suite) -> AttackRecord:
        """Return the facts of the attack for plan.json."""
        attack, spec = self.attack(suite), spec_of(suite)
        who = self.attacker if attack.needs_attacker else None
        judge = identity(self.judge) if self.judge else f"{RULE} {RuleCaller.version}"
        shaping = [asdict(attack), who and identity(who), judge]  # type: ignore[call-overload]
        if who:
            shaping.append(self._sampling(suite).record())
        return AttackRecord(
            name=attack.name,
            settings=hashed(shaping),
            target_calls=attack.target_calls,
            attacker=who.name if who else None,
            judge=self.judge.name if self.judge else RULE,
            flow=spec.flow,
            recorded=spec.recorded,
        )

    def callers(
        self, suite: Suite, target: Backend, sampling: Sampling, journal: Journal
    ) -> dict[Role, Caller]:
        """Return the four roles, which share one journal."""
        callers: dict[Role, Caller] = {Role.TARGET: TargetCaller(_remembering(target, journal), sampling)}
        if self.attacker:
            attacker = _remembering(self.attacker, journal)
            callers[Role.ATTACKER] = AttackerCaller(attacker, self._sampling(suite))
        if self.judge is None:
            return {**callers, Role.REFUSAL: RuleCaller(), Role.JUDGE: RuleCaller()}
        judge = _remembering(self.judge, journal)
        greedy = Sampling(max_new_tokens=JUDGE_TOKENS, do_sample=False)
        callers[Role.REFUSAL] = JudgeCaller.of_refusals(judge, greedy)
        callers[Role.JUDGE] = JudgeCaller.of_scores(judge, greedy)
        return callers

    def _sampling(self, suite: Suite) -> Sampling:
        temperature = spec_of(suite).temperature
        return Sampling(max_new_tokens=self.attacker_tokens, do_sample=True, temperature=temperature)


@dataclass(frozen=True)
class AttackChoice:
    """The models of an attack by the words of a command line. Nothing is open yet."""

    attacker: str | None = None
    judge: str = RULE
    budget: Budget = field(default_factory=Budget)
    attacker_tokens: int = ATTACKER_TOKENS

    @contextmanager
    def opened(self, progress: Progress) -> Iterator[Callable[[Backend], AttackSetup]]:
        """Open the models, close them at the end, and give each target its setup.

        `base` is the target's own base. It is not opened, because the target holds it.
        """
        with ExitStack() as stack:
            words = {self.attacker, self.judge} - {None, RULE, BASE}
            found = {
                word: stack.enter_context(closing(open_later(find(str(word)), progress))) for word in words
            }

            def setup(target: Backend) -> AttackSetup:
                known = {**found, BASE: target.base or target}
                attacker, judge = known.get(self.attacker or ""), known.get(self.judge)
                return AttackSetup(attacker, judge, self.budget, self.attacker_tokens)

            yield setup

    def check(self, suites: Sequence[Suite]) -> None:
        """Make sure that there is an attacker for every suite that needs one.

        Raises:
            DataError: if there is none.
        """
        for suite in suites:
            if suite.attack and suite.attack.needs_attacker and self.attacker is None:
                raise DataError(
                    f"--suite {suite.name}: this attack needs a model that attacks. Add --attacker base, "
                    'or a server: --attacker "http://localhost:8000/v1 MODEL"'
                )

    def check_base(self, target: Target) -> None:
        """Make sure that the base attacks or judges where it is named, and not the trained model itself.

        Raises:
            DataError: if the target does not hold its base.
        """
        given = {"--attacker": self.attacker, "--attack-judge": self.judge}
        option = next((name for name, word in given.items() if word == BASE), None)
        if option and not target.holds_base:
            raise DataError(
                f"{option} base: {target.name} does not contain its base, because all its weights were "
                f"trained. Name another model: {option} MODEL"
            )


def identity(backend: Backend) -> str:
    """Return the model with a hash of all that shapes what it writes; what a person calls it does not."""
    facts = {name: value for name, value in backend.fingerprint.record().items() if name != "name"}
    return f"{backend.fingerprint.model} {hashed(facts)}"


def hashed(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:32]


def _remembering(backend: Backend, journal: Journal) -> Remembering:
    return Remembering(backend, journal, identity(backend))
