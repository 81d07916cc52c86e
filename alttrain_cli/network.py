"""Whether the network may be used: set by environment variables, also for libraries and child processes."""

import os

HUB = "HF_HUB_OFFLINE"  # the hub's own: no models and data from there
ALL = "ALTTRAIN_OFFLINE"  # ours: nothing outside this machine
_YES = ("1", "true", "yes", "on")  # as the hub's library reads it


def is_offline() -> bool:
    """Whether the hub, and other places with models and data, may not be reached."""
    return _says(HUB) or _says(ALL)


def is_isolated() -> bool:
    """Whether nothing beyond this machine may be reached, servers included."""
    return _says(ALL)


def leave_hub() -> None:
    """Do not reach the hub from now on. Libraries read this when they are imported: call it before."""
    os.environ[HUB] = "1"


def go_offline() -> None:
    """Reach nothing beyond this machine from now on; loss trackers keep their files here."""
    leave_hub()
    os.environ[ALL] = "1"
    os.environ.setdefault("WANDB_MODE", "offline")


def apply_hub_setting() -> None:
    """Let the hub's own switch in the environment mean what --offline means. Call it before `leave_hub`."""
    if _says(HUB):
        go_offline()


def _says(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in _YES
