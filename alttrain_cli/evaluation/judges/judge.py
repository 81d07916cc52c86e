"""What all judges have in common."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.evaluation.judgement import Judgement
from alttrain_cli.evaluation.suites.suite import Item, Kind

# A conversation for a chat template, rendered text, or the fields of the prompt in a model's card.
JudgePrompt = Conversation | str | Mapping[str, str]


@dataclass(frozen=True)
class Judge:
    """A judge that is a model: `ask` makes its prompt, `parse` reads its answer."""

    name: str  # part of the file name of its judgements
    title: str
    kinds: tuple[Kind, ...]  # suites that it can judge
    measures: tuple[str, ...]  # of behaviour, harmful, score
    ask: Callable[[str, str], JudgePrompt]  # from prompt and response
    parse: Callable[[str], Judgement]
    max_new_tokens: int
    licence: str  # of the model, or of the rubric
    version: str = "1"  # changes whenever its prompt or its reading does
    model: str | None = None  # local classifiers have their own; None: a server's
    billions: float = 0.0  # parameters of that model
    gated: bool = False  # its terms have to be accepted on the hub first
    card_fields: tuple[str, ...] = ()  # of the prompt in the model's card, where `ask` returns its fields

    @property
    def size(self) -> str:
        return f"{self.billions:.0f} B" if self.billions else ""

    def record(self) -> dict[str, Any]:
        facts = {"model": self.model, "parameters": self.size, "licence": self.licence, "gated": self.gated}
        return {**_shared(self), **facts}


@dataclass(frozen=True)
class InstantJudge:
    """A judge that needs no model: a rule, or the comparison with the right answer."""

    name: str
    title: str
    judge: Callable[[str, Item], Judgement]  # the text to judge, and the item
    version: str
    kinds: tuple[Kind, ...] = ("ability",)
    measures: tuple[str, ...] = ("correct",)
    triage: bool = False  # good for a first look only
    runs_code: bool = False  # that a model wrote
    version_known: bool = True  # False: it is that of a package which is not installed

    def record(self) -> dict[str, Any]:
        return {**_shared(self), "model": None, "first_look_only": self.triage}


def _shared(judge: "Judge | InstantJudge") -> dict[str, Any]:
    return {"name": judge.name, "title": judge.title, "kinds": judge.kinds, "measures": judge.measures}
