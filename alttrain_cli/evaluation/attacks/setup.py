"""The models of an attack, and its budget."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field

from alttrain_cli.backends.base import Backend
from alttrain_cli.backends.open import Address, check_found, find, open_later
from alttrain_cli.backends.remembering import Remembering
from alttrain_cli.backends.target import Target
from alttrain_cli.errors import AlttrainError, DataError
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
from alttrain_cli.evaluation.plan_keys import hashed
from alttrain_cli.evaluation.suites.suite import Suite
from alttrain_cli.progress import Progress
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.storage.journal import Journal

JUDGE_TOKENS = 1024


@dataclass(frozen=True)
class AttackSetup:
    """The models of an attack, and its budget. A judge that is None is a rule."""

    attacker: Backend | None = None
    judge: Backend | None = None
    refusal_judge: Backend | None = None
    budget: Budget = field(default_factory=Budget)
    attacker_tokens: int = ATTACKER_TOKENS

    def attack(self, suite: Suite) -> Attack:
        return attack_of(suite, self.budget)

    def facts(self, suite: Suite) -> AttackRecord:
        """Return the facts of the attack for plan.json."""
        attack, spec = self.attack(suite), spec_of(suite)
        who = self.attacker if attack.needs_attacker else None
        judge, refusals = _judge_identity(self.judge), _judge_identity(self.refusal_judge)
        shaping = [asdict(attack), who and identity(who), judge]  # type: ignore[call-overload]
        if who:
            shaping.append(self._sampling(suite).record())
        # Earlier versions had one judge for both roles, and their hash has it once.
        apart = spec.sees_refusals and refusals != judge
        if apart:
            shaping.append({"refusal_judge": refusals})
        return AttackRecord(
            name=attack.name,
            settings=hashed(shaping),
            target_calls=attack.target_calls,
            attacker=who.name if who else None,
            judge=_name(self.judge),
            flow=spec.flow,
            recorded=spec.recorded,
            refusal_judge=_name(self.refusal_judge) if apart else None,
        )

    def callers(
        self, suite: Suite, target: Backend, sampling: Sampling, journal: Journal
    ) -> dict[Role, Caller]:
        """Return the four roles, which share one journal."""
        callers: dict[Role, Caller] = {Role.TARGET: TargetCaller(_remembering(target, journal), sampling)}
        if self.attacker:
            attacker = _remembering(self.attacker, journal)
            callers[Role.ATTACKER] = AttackerCaller(attacker, self._sampling(suite))
        greedy = Sampling(max_new_tokens=JUDGE_TOKENS, do_sample=False)
        for role, judge, of_model in (
            (Role.REFUSAL, self.refusal_judge, JudgeCaller.of_refusals),
            (Role.JUDGE, self.judge, JudgeCaller.of_scores),
        ):
            callers[role] = of_model(_remembering(judge, journal), greedy) if judge else RuleCaller()
        return callers

    def _sampling(self, suite: Suite) -> Sampling:
        temperature = spec_of(suite).temperature
        return Sampling(max_new_tokens=self.attacker_tokens, do_sample=True, temperature=temperature)


SetupOf = Callable[[Backend], AttackSetup]  # of a target
Named = str | Address  # a model by a word, or by its server


@dataclass(frozen=True)
class AttackChoice:
    """The models of an attack by the words of a command line, or on servers. Nothing is open yet."""

    attacker: Named | None = None
    judge: Named = RULE
    refusal_judge: Named | None = None  # None: the judge
    budget: Budget = field(default_factory=Budget)
    attacker_tokens: int = ATTACKER_TOKENS

    @contextmanager
    def opened(self, progress: Progress) -> Iterator[SetupOf]:
        """Open the models, close them at the end, and give each target its setup.

        `base` is the target's own base. It is not opened, because the target holds it.

        Raises:
            DataError: naming the option whose model cannot be used.
        """
        with ExitStack() as stack:
            found: dict[Named | None, Backend] = {}
            for option, word in self._words.items():
                by_rule = word == RULE and option != "--attacker"
                if word is not None and not by_rule and word not in (BASE, *found):
                    found[word] = stack.enter_context(closing(_open(option, word, progress)))

            def setup(target: Backend) -> AttackSetup:
                known = {**found, BASE: target.base or target}
                attacker, *judges = self._words.values()
                judge, refusal_judge = (None if word == RULE else known.get(word) for word in judges)
                return AttackSetup(
                    known.get(attacker), judge, refusal_judge, self.budget, self.attacker_tokens
                )

            yield setup

    @property
    def _words(self) -> dict[str, Named | None]:
        """The model of each option."""
        refusals = self.judge if self.refusal_judge is None else self.refusal_judge
        return {"--attacker": self.attacker, "--attack-judge": self.judge, "--attack-refusal-judge": refusals}

    def check(self, suites: Sequence[Suite]) -> None:
        """Make sure that there is an attacker for every suite that needs one.

        Raises:
            DataError: if there is none.
        """
        for suite in suites:
            if suite.attack and suite.attack.needs_attacker and self.attacker is None:
                raise DataError(
                    f"{suite.name}: this attack needs a model that attacks. Add a server, --attacker-url "
                    "http://localhost:8000/v1 --attacker-model MODEL, or --attacker base: the base of a "
                    "target on this machine."
                )

    def check_base(self, target: Target) -> None:
        """Make sure that the base attacks or judges where it is named, and not the trained model itself.

        Raises:
            DataError: if the target does not hold its base.
        """
        option = next((name for name, word in self._words.items() if word == BASE), None)
        if option and not target.holds_base:
            raise DataError(
                f"{option} base: {target.name} does not contain its base, because all its weights were "
                f"trained. Name another model: {option} MODEL"
            )


def _open(option: str, named: Named, progress: Progress) -> Backend:
    by_url = isinstance(named, Address)
    also = (BASE,) if option == "--attacker" else (RULE, BASE)
    try:
        found = named if isinstance(named, Address) else find(named, also=also)
        check_found(found, progress)
        return open_later(found, progress)
    except AlttrainError as error:
        raise DataError(f"{option}{'-url' * by_url}: {error}") from None


def _name(judge: Backend | None) -> str:
    return judge.name if judge else RULE


def _judge_identity(judge: Backend | None) -> str:
    return identity(judge) if judge else f"{RULE} {RuleCaller.version}"


def identity(backend: Backend) -> str:
    """Return the model with a hash of all that shapes what it writes; what a person calls it does not."""
    facts = {name: value for name, value in backend.fingerprint.record().items() if name != "name"}
    return f"{backend.fingerprint.model} {hashed(facts)}"


def _remembering(backend: Backend, journal: Journal) -> Remembering:
    return Remembering(backend, journal, identity(backend))
