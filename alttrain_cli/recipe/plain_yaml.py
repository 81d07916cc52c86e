"""The part of YAML that a recipe needs: sections, lists, texts, numbers. Nothing that expands or constructs.

Anchors, aliases, merge keys and tags are refused: a few lines of aliases can expand to gigabytes.
"""

import re
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from alttrain_cli.text import escape_hidden, quoted

DEEPEST = 16  # levels of sections and lists
LARGEST = 64 * 1024  # characters; the reader needs about a second for so many
_LONGEST_NUMBER = 40  # characters

_INT = re.compile(r"[-+]?(?:[0-9][0-9_]*|0x[0-9a-fA-F]+)$")
_FLOAT = re.compile(
    r"[-+]?(?:[0-9]+\.[0-9]*(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.[0-9]+(?:[eE][-+]?[0-9]+)?"
    r"|\.(?:inf|Inf|INF))$|\.(?:nan|NaN|NAN)$"
)
_LEFT_OUT = ("int", "float", "timestamp", "value", "yaml")


class YamlProblem(ValueError):
    """A text is not YAML, or YAML that is not read here. `line` counts from 1; 0 if it is not known."""

    def __init__(self, problem: str, line: int = 0) -> None:
        super().__init__(problem)
        self.line = line

    def at(self, path: Path) -> str:
        return f"{path}{f':{self.line}' if self.line else ''}: not valid YAML: {self}"


def parse_yaml(text: str) -> Any:
    """Return the value of a YAML text.

    Numbers are as people write them: 1e-8 needs no point, 010 and 1:30 are no numbers, dates are texts.

    Raises:
        YamlProblem: saying what is wrong, and in which line.
    """
    if len(text) > LARGEST:
        raise YamlProblem(f"it is longer than {LARGEST:,} characters")
    return deepcopy(_parsed(text))


@lru_cache(maxsize=64)  # a list of all recipes reads the files that many share again and again
def _parsed(text: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlProblem(f"it holds the character U+{_code(error.character):04X}", line) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = escape_hidden(" ".join(filter(None, (error.context, error.problem))))
        raise YamlProblem(problem[:200], mark.line + 1 if mark else 0) from None
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        raise YamlProblem(escape_hidden(str(error))[:200]) from None


def dump_yaml(value: Any) -> str:
    """Return a value as YAML that `parse_yaml` reads back; hidden characters are escaped."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return "".join(_escaped(character) for character in text) if escape_hidden(text) != text else text


def _code(character: Any) -> int:
    return character if isinstance(character, int) else ord(str(character)[:1] or "\0")


def _escaped(character: str) -> str:
    if escape_hidden(character) == character:
        return character
    code = ord(character)
    return f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"


class _Loader(yaml.SafeLoader):
    """Refuses what expands, constructs or nests without end, before it is built."""

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            _refuse(
                "anchors and aliases (& and *) are not supported; write the value out, or in quotes", event
            )
        if getattr(event, "tag", None) not in (None, "!"):
            _refuse("tags (!) are not supported; write the plain value", event)
        if self._depth >= DEEPEST:
            _refuse(f"it is nested deeper than {DEEPEST} levels", event)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_scalar(self, node: Any) -> Any:
        value = super().construct_scalar(node)
        if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            _refuse("text holds half a character (a lone surrogate)", node)
        return value

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        found: set[str] = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                _refuse("merge keys (<<) are not supported; write the keys out", key)
            if key.tag != "tag:yaml.org,2002:str":
                name = quoted(key.value) if isinstance(key, yaml.ScalarNode) else "a list or a section"
                _refuse(f"a key must be text, not {name}; put it in quotes", key)
            if key.value in found:
                _refuse(f"the key {quoted(key.value)} is given twice", key)
            found.add(key.value)
        return super().construct_mapping(node, deep)


def _refuse(problem: str, at: Any) -> None:
    raise yaml.constructor.ConstructorError(None, None, problem, at.start_mark)


def _number(loader: _Loader, node: Any) -> int | float:
    text = str(node.value)
    if len(text) > _LONGEST_NUMBER:
        _refuse(f"a number of {len(text):,} characters", node)
    try:
        if node.tag.endswith("int"):
            return int(text.replace("_", ""), 0)
        return float(re.sub(r"\.(?=inf|nan)", "", text.lower()))
    except ValueError:
        _refuse(f"{quoted(text)} is not a number; put text in quotes", node)
        raise


class _Dumper(yaml.SafeDumper):
    """Writes no aliases, and quotes every text that the loader would take for a number."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> Any:
    hidden = escape_hidden(text) != text
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if hidden else None)


_Dumper.add_representer(str, _text)
for _Reader in (_Loader, _Dumper):
    _Reader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in found if tag.rpartition(":")[2] not in _LEFT_OUT]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    _Reader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
    _Reader.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))
for _kind in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _number)
