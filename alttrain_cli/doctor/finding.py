"""What a check found."""

from enum import StrEnum
from typing import NamedTuple


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    NOTE = "note"  # good to know; nothing fails because of it
    PROBLEM = "problem"


class Finding(NamedTuple):
    """One thing that was examined. `cure` is empty where nothing is to be done."""

    check: str
    level: Level
    found: str
    cure: str = ""


def ok(check: str, found: str) -> Finding:
    return Finding(check, Level.OK, found)


def note(check: str, found: str, cure: str = "") -> Finding:
    """Return a finding that is good to know."""
    return Finding(check, Level.NOTE, found, cure)


def problem(check: str, found: str, cure: str = "") -> Finding:
    """Return a finding that makes a command fail."""
    return Finding(check, Level.PROBLEM, found, cure)
