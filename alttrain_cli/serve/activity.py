"""The counts of a server's requests."""

from dataclasses import dataclass


@dataclass
class Activity:
    """Counts since the start of a server. `in_flight` and `waiting` are of now."""

    in_flight: int = 0
    waiting: int = 0
    completed: int = 0
    refused: int = 0  # answered with an error
    left: int = 0  # whose client went away
    tokens: int = 0
