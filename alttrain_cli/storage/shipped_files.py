"""The files that come with the package's code: recipes, studies, the tested versions."""

from pathlib import Path

_PACKAGE = Path(__file__).parent.parent


def shipped(name: str) -> Path:
    """Return a file or folder of the package: inside the wheel, or next to the package in a checkout."""
    inside = _PACKAGE / name
    return inside if inside.exists() else _PACKAGE.parent / name


def shipped_studies() -> list[Path]:
    return sorted(shipped("studies").glob("*.yaml"))
