"""The formats and the types of GGUF files by the names that are typed. Help needs the names alone."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from alttrain_cli.errors import AlttrainError
from alttrain_cli.text import suggest

if TYPE_CHECKING:
    from alttrain_cli.export.format import Format


def _adapter(types: Sequence[str]) -> "Format":
    from alttrain_cli.export.adapter import AdapterFormat

    return AdapterFormat()


def _merged(types: Sequence[str]) -> "Format":
    from alttrain_cli.export.merged import MergedFormat

    return MergedFormat()


def _gguf(types: Sequence[str]) -> "Format":
    from alttrain_cli.export.gguf import GgufFormat

    return GgufFormat(types, for_ollama=False)


def _ollama(types: Sequence[str]) -> "Format":
    from alttrain_cli.export.gguf import GgufFormat

    return GgufFormat(types, for_ollama=True)


# Per format: how it is made from the types of the GGUF files.
FORMATS: dict[str, Callable[[Sequence[str]], "Format"]] = {
    "adapter": _adapter,
    "merged": _merged,
    "gguf": _gguf,
    "ollama": _ollama,
}


def choose_formats(words: Sequence[str], kinds: Sequence[str]) -> "list[Format]":
    """Return the formats that are named, one or several per word, each once.

    `kinds` are the types of the GGUF files. An Ollama export is a GGUF export with a Modelfile.
    """
    from alttrain_cli.export.gguf import DEFAULT, PLAIN, QUANTISED

    names = _names(words, list(FORMATS), "--format", "format")
    types = _names(kinds, (*PLAIN, *QUANTISED), "--quantize", "type") or [DEFAULT]
    if "ollama" in names:
        names = [name for name in names if name != "gguf"]
    return [make(types) for name, make in FORMATS.items() if name in names]


def _names(words: Sequence[str], known: Sequence[str], option: str, what: str) -> list[str]:
    names = list(dict.fromkeys(name.strip().lower() for word in words for name in word.split(",")))
    for name in names:
        if name not in known:
            longer = [one for one in known if name and one.startswith(name)]  # q4: the best of its types
            hint = f"Did you mean {longer[0]!r}?" if longer else suggest(name, known)
            raise AlttrainError(f"{option} {name!r}: no such {what}. {hint}")
    return names
