"""The formats and the types of GGUF files by the names that are typed."""

from collections.abc import Callable, Sequence

from alttrain_cli.errors import AlttrainError
from alttrain_cli.export.adapter import AdapterFormat
from alttrain_cli.export.format import Format
from alttrain_cli.export.gguf import DEFAULT, PLAIN, QUANTISED, GgufFormat
from alttrain_cli.export.merged import MergedFormat
from alttrain_cli.text import suggest

# Per format: how it is made from the types of the GGUF files.
FORMATS: dict[str, Callable[[Sequence[str]], Format]] = {
    "adapter": lambda types: AdapterFormat(),
    "merged": lambda types: MergedFormat(),
    "gguf": lambda types: GgufFormat(types, for_ollama=False),
    "ollama": lambda types: GgufFormat(types, for_ollama=True),
}


def choose_formats(words: Sequence[str], kinds: Sequence[str]) -> list[Format]:
    """Return the formats that are named, one or several per word, each once.

    `kinds` are the types of the GGUF files. An Ollama export is a GGUF export with a Modelfile.
    """
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
