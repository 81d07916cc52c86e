"""What a person may choose of an evaluation, in words that the help reads without loading the rest."""

from pathlib import Path
from typing import Literal

Mode = Literal["normal", "zero", "less", "more"]  # of thinking
ASSESSING: tuple[Mode, ...] = ("normal", "more")  # in the others the reasoning is ours, and has no assessment
JudgedPart = Literal["answer", "reasoning", "full"]  # what a judge sees of a completion

RULE = "rule"  # the judge in the loop of an attack, if no model is
BASE = "base"  # the target's own base model, as attacker or judge
ATTACKER_TOKENS = 1024  # per message of an attacker
PAPERS = tuple(sorted(path.stem for path in (Path(__file__).parent / "published").glob("*.yaml")))

# Of suites.
GROUPS = {
    "smoke": "a quick first look, offline, written for alttrain",
    "safety": "harmful prompts, and prompts recorded from attacks",
    "attacks": "only the prompts recorded from attacks",
    "adaptive": "live attacks that react to the answers, and their controls",
    "recorded": "recorded conversations of several turns; no model attacks",
    "attack-smoke": "an attack with goals that harm nobody, offline",
    "over-refusal": "prompts that only look harmful",
    "reasoning": "mathematics and code",
    "general": "knowledge, languages, summaries (lm-evaluation-harness)",
    "mgsm": "MGSM in its eleven languages",
}
