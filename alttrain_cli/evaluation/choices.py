"""What a person may choose of an evaluation, in words that the help reads without loading the rest."""

from typing import Literal

Mode = Literal["normal", "zero", "less", "more"]  # of thinking
Part = Literal["answer", "reasoning", "full"]  # what a judge sees of a completion
