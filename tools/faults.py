"""Small faults in the source of a module, each a change of one place."""

import ast
import copy
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

Change = Callable[[Any], Any]
TURNED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
    ast.Break: ast.Continue, ast.Continue: ast.Break,
}  # fmt: skip


class Mutant(NamedTuple):
    """A changed module: where and how it was changed."""

    line: int
    deed: str
    code: str
    source: str
    number: int  # of the changes with the same deed and code

    def name(self, module: str) -> str:
        """Return a name that stays if other lines of the module change."""
        return hashlib.sha256(f"{module}\n{self.deed}\n{self.code}\n{self.number}".encode()).hexdigest()[:12]


class Place(NamedTuple):
    """One possible fault: the number of its node, the line, what is done and how."""

    node: int
    line: int
    deed: str
    change: Change
    number: int  # of the changes with the same deed and code


def places(source: str) -> list[Place]:
    """Return every place at which a module can be changed."""
    tree = ast.parse(source)
    silent = {id(one) for node in ast.walk(tree) for one in _left_alone(node)}
    found: list[Place] = []
    alike: Counter[tuple[str, str]] = Counter()
    for number, node in enumerate(ast.walk(tree)):
        for line, deed, change in _changes(node) if id(node) not in silent else ():
            code = deed, source.splitlines()[line - 1].strip()
            found.append(Place(number, line, deed, change, alike[code]))
            alike[code] += 1
    return found


def mutant(source: str, place: Place) -> Mutant:
    """Return the module with one change."""
    tree = copy.deepcopy(ast.parse(source))
    place.change(list(ast.walk(tree))[place.node])
    changed = ast.unparse(ast.fix_missing_locations(tree))
    return Mutant(place.line, place.deed, source.splitlines()[place.line - 1].strip(), changed, place.number)


class Function(NamedTuple):
    """The outermost function or method around a line. What a cached one returned once, all tests use."""

    name: str
    first_line: int
    is_cached: bool


def function_of(source: str, line: int) -> Function | None:
    """Return the function whose body holds a line; None if the line runs on import."""
    return _function_in(ast.parse(source).body, line, "")


def _function_in(body: list[ast.stmt], line: int, names: str) -> Function | None:
    for node in body:
        if not node.lineno <= line <= (node.end_lineno or 0):
            continue
        if isinstance(node, ast.ClassDef):
            return _function_in(node.body, line, f"{names}{node.name}.")
        if isinstance(node, ast.FunctionDef) and line >= node.body[0].lineno > node.lineno:
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            cached = any("cache" in ast.unparse(one) for one in node.decorator_list)
            return Function(names + node.name, first, cached)
    return None


def _left_alone(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what has no effect, or an effect on nothing but words."""
    parts: list[Any] = [getattr(node, "annotation", None), getattr(node, "returns", None)]
    parts += [one for one in getattr(node, "keywords", []) if one.arg == "frozen"]  # no mistake to find
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        parts.append(node)
    if isinstance(node, ast.Raise | ast.JoinedStr | ast.ImportFrom | ast.Import):
        parts += list(ast.iter_child_nodes(node))
    for part in filter(None, parts):
        yield from ast.walk(part)


def _line(node: ast.AST) -> int:
    return next((one.lineno for one in ast.walk(node) if hasattr(one, "lineno")), 1)


def _changes(node: ast.AST) -> Iterator[tuple[int, str, Change]]:
    here = _line(node)
    for name in ("op", "ops"):
        found = getattr(node, name, None)
        for at, op in enumerate(found if isinstance(found, list) else [found]):
            if type(op) in TURNED and not isinstance(getattr(node, "left", None), ast.JoinedStr):
                yield here, f"{type(op).__name__} turned", partial(_turn, at=at)
    match node:
        case ast.If() | ast.IfExp() | ast.While():
            yield here, "condition negated", lambda it: setattr(it, "test", _not(it.test))
        case ast.UnaryOp(op=ast.Not()):
            yield here, "not dropped", _drop_not
        case ast.Constant(value=bool()):
            yield here, "truth turned", lambda it: setattr(it, "value", not it.value)
        case ast.Constant(value=int() | float()):
            yield here, "number moved", lambda it: setattr(it, "value", it.value + 1)
        case ast.Return(value=ast.expr()) if not isinstance(node.value, ast.Constant):
            yield here, "returns None", lambda it: setattr(it, "value", ast.Constant(None))
    for name in ("elts", "keywords", "values"):
        parts = getattr(node, name, None) or []
        if len(parts) > 1 and not isinstance(node, ast.BoolOp | ast.JoinedStr):
            yield _line(parts[-1]), f"last of {name} dropped", partial(_drop, name=name)
    for name in ("body", "orelse", "finalbody"):
        lines = getattr(node, name, None)
        for at, line in enumerate(lines if isinstance(lines, list) else ()):
            if isinstance(line, ast.Raise | ast.AugAssign) or _is_call(line):
                yield line.lineno, "line skipped", partial(_skip, name=name, at=at)


def _turn(node: Any, at: int) -> None:
    if hasattr(node, "ops"):
        node.ops[at] = TURNED[type(node.ops[at])]()
    else:
        node.op = TURNED[type(node.op)]()


def _not(test: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.Not(), test)


def _drop_not(node: Any) -> None:
    node.op = ast.UAdd()
    node.operand = ast.Call(ast.Name("bool", ast.Load()), [node.operand], [])


def _drop(node: Any, name: str) -> None:
    getattr(node, name).pop()
    if isinstance(node, ast.Dict):
        node.keys.pop()


def _skip(node: Any, name: str, at: int) -> None:
    getattr(node, name)[at] = ast.Pass()


def _is_call(line: ast.AST) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Call | ast.YieldFrom)
