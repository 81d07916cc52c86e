"""The list of commands, and the examples at the end of each command's help: examples.txt as values."""

from collections.abc import Iterable, Mapping
from pathlib import Path

Examples = tuple[tuple[str, str], ...]  # what an example does, and the line to type


def _read(lines: Iterable[str]) -> tuple[dict[str, str], dict[str, list[list[str]]]]:
    """Return the help of each command, and its examples."""
    commands: dict[str, str] = {}
    examples: dict[str, list[list[str]]] = {}
    name = ""
    for line in lines:
        if line.startswith("["):
            name, _, help = line[1:].partition("]")
            examples[name] = []
            if help:
                commands[name] = help.strip()
        elif line.startswith("    "):
            examples[name][-1].append(line[4:])
        elif line and not line.startswith("#"):
            examples[name].append([line])
    return commands, examples


_TEXT = Path(__file__).with_name("examples.txt").read_text(encoding="utf-8")
_COMMANDS, _EXAMPLES = _read(_TEXT.splitlines())
# The subcommands with their line in the list; each is a file or a folder in commands/.
COMMANDS: Mapping[str, str] = _COMMANDS
EXAMPLES: Mapping[str, Examples] = {
    name: tuple((what, "\n    ".join(line)) for what, *line in found) for name, found in _EXAMPLES.items()
}
