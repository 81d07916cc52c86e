"""What a person may choose of an evaluation, in words that the help reads without loading the rest."""

from typing import Literal

Mode = Literal["normal", "zero", "less", "more"]  # of thinking
JudgedPart = Literal["answer", "reasoning", "full"]  # what a judge sees of a completion

RULE = "rule"  # the judge in the loop of an attack, if no model is
BASE = "base"  # the target's own base model, as attacker or judge
ATTACKER_TOKENS = 1024  # per message of an attacker
