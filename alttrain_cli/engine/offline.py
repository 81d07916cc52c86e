"""Whether the network may be used. The hub's own variable says it, so every library obeys it too."""

import os

VARIABLE = "HF_HUB_OFFLINE"
_YES = ("1", "true", "yes", "on")  # as the hub's library reads it


def is_offline() -> bool:
    """Whether nothing beyond this machine may be reached."""
    return os.environ.get(VARIABLE, "").lower() in _YES


def go_offline() -> None:
    """Reach nothing from now on. Libraries read it when they are imported, so call it before."""
    os.environ[VARIABLE] = "1"
