"""A recipe as text: complete with its comments, or with the file that each value comes from."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

import yaml

from alttrain_cli.recipe.layers import KeyPath, Layer
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.recipe.plain_yaml import dump_yaml

COLUMN = 44  # where the sources start
_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # YAML's


class KeyText(NamedTuple):
    """How a file writes one key: its value in one line, and the comments around it."""

    above: tuple[str, ...] = ()
    value: str = ""  # empty for a section, and for a value of several lines
    beside: str = ""


def with_sources(recipe: Recipe, sources: Mapping[KeyPath, str]) -> str:
    """Return the resolved recipe as YAML, with the source of each value as a comment."""
    lines: list[str] = []
    for key, value in recipe.nodes():
        indent = "  " * (len(key) - 1)
        if _is_section(value):
            lines.append(f"{indent}{key[-1]}:")
            continue
        source = _source(sources, key) or "default"
        first, *rest = _dumped(key, value)
        if rest and not isinstance(value, list):  # a comment may not be inside a text of several lines
            lines += [f"{indent}# {source}", first, *rest]
        else:
            lines += [f"{first:<{COLUMN}} # {source}", *rest]
    return "\n".join(lines) + "\n"


def without_base(recipe: Recipe, sources: Mapping[KeyPath, str], layers: Sequence[Layer]) -> str:
    """Return a recipe as one file, with the values and comments of all its files."""
    written = [_written(layer.text) for layer in layers]
    lines = _header(layers[0].text)
    for key, value in recipe.nodes():
        is_section = _is_section(value)
        if not is_section and _source(sources, key) is None:
            continue
        here = [one[key] for one in written if key in one]
        found = next((one for one in here if not is_section or one.beside), KeyText())
        indent = "  " * (len(key) - 1)
        lines += [""] * (len(key) == 1) + [indent + line for line in found.above]
        first, *rest = [f"{indent}{key[-1]}:"] if is_section else _dumped(key, value)
        if found.value:
            first, rest = f"{indent}{key[-1]}: {found.value}", []
        lines += [f"{first} {found.beside}".rstrip(), *rest]
    return "\n".join(lines) + "\n"


def _is_section(value: object) -> bool:
    return isinstance(value, dict) and bool(value)


def _source(sources: Mapping[KeyPath, str], key: KeyPath) -> str | None:
    return next((sources[key[:end]] for end in range(len(key), 0, -1) if key[:end] in sources), None)


def _dumped(key: KeyPath, value: Any) -> list[str]:
    indent = "  " * (len(key) - 1)
    return [indent + line for line in dump_yaml({key[-1]: value}).splitlines()]


def _header(text: str) -> list[str]:
    """Return the comment that a file starts with."""
    return list(takewhile(lambda line: line.startswith("#"), _LINE_END.split(text)))


def _written(text: str) -> dict[KeyPath, KeyText]:
    """Return how a recipe's file writes its keys. The text was parsed before."""
    return dict(_texts(_LINE_END.split(text), yaml.compose(text), ()))


def _texts(lines: Sequence[str], node: Any, at: KeyPath) -> Iterator[tuple[KeyPath, KeyText]]:
    for name, value in node.value if isinstance(node, yaml.MappingNode) else ():
        key = (*at, str(name.value))
        yield key, _around(lines, name, value)
        inner = _texts(lines, value, key)
        # keys in braces share a line, so they have no text of their own
        yield from ((one, KeyText()) for one, _ in inner) if _is_in_braces(value) else inner


def _is_in_braces(value: Any) -> bool:
    return isinstance(value, yaml.MappingNode) and bool(value.flow_style)


def _around(lines: Sequence[str], name: Any, value: Any) -> KeyText:
    line, start, end = name.start_mark.line, value.start_mark, value.end_mark
    first = line
    while first and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    above = tuple(one.strip() for one in lines[first:line]) if first else ()  # at 0 it is the header
    if isinstance(value, yaml.ScalarNode) or value.flow_style:
        if not start.line == end.line == line:
            return KeyText(above)
        written = "" if _is_in_braces(value) else lines[line][start.column : end.column]
        return KeyText(above, written, lines[line][end.column :].strip())
    return KeyText(above, "", lines[line][name.end_mark.column :].lstrip(" :").strip())
