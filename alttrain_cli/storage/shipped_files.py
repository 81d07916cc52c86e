"""The files that come with the package's code: recipes and studies."""

from importlib import resources
from pathlib import Path


def shipped_folder(name: str) -> Path:
    """Return a folder of the package: inside the wheel, or next to the package in a checkout."""
    inside = Path(str(resources.files("alttrain_cli"))) / name
    return inside if inside.is_dir() else inside.parent.parent / name
