"""The files that come with the package's code: recipes, studies, the tested versions."""

from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).parent.parent


def shipped(name: str) -> Path:
    """Return a file or folder of the package: inside the wheel, or next to the package in a checkout."""
    inside = _PACKAGE / name
    return inside if inside.exists() else _PACKAGE.parent / name


def shipped_yaml(path: Path) -> Any:
    """Return the values of a YAML file of the package. libyaml, if PyYAML has it, reads it 8 times faster."""
    import yaml  # not for a command's help

    return yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def shipped_studies() -> list[Path]:
    return sorted(shipped("studies").glob("*.yaml"))
