"""What a person may choose of a build, in words that the help reads without loading the rest."""

from typing import Literal

Trust = Literal["label", "annotator"]  # which one counts where the two disagree
Served = Literal["endpoint", "model"]  # where a model is: on a server, or the base model of a recipe
