"""The formats and the types of GGUF files by the names that are typed."""

from collections.abc import Sequence

from alttrain_cli.errors import AlttrainError
from alttrain_cli.export.adapter import Adapter
from alttrain_cli.export.format import Format
from alttrain_cli.export.gguf import DEFAULT, PLAIN, QUANTISED, Gguf
from alttrain_cli.export.merged import Merged
from alttrain_cli.text import suggest

FORMATS = ("adapter", "merged", "gguf", "ollama")


def choose_formats(words: Sequence[str], kinds: Sequence[str]) -> list[Format]:
    """Return the formats that are named, one or several per word, each once.

    `kinds` are the types of the GGUF files. An Ollama export is a GGUF export with a Modelfile.
    """
    names = _names(words, FORMATS, "--format", "format")
    types = _names(kinds, (*PLAIN, *QUANTISED), "--quantize", "type")
    formats: list[Format] = []
    if "adapter" in names:
        formats.append(Adapter())
    if "merged" in names:
        formats.append(Merged())
    if "gguf" in names or "ollama" in names:
        formats.append(Gguf(types or [DEFAULT], for_ollama="ollama" in names))
    return formats


def _names(words: Sequence[str], known: Sequence[str], option: str, what: str) -> list[str]:
    names = list(dict.fromkeys(name.strip().lower() for word in words for name in word.split(",")))
    for name in names:
        if name not in known:
            raise AlttrainError(f"{option} {name!r}: no such {what}. {suggest(name, known)}")
    return names
