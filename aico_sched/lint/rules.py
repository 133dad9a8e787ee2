"""The rules of our own: loops in a task's coroutines that never let others run. Pure: a syntax tree goes in.

flake8-async has rules of this kind (ASYNC91x), but they are for trio and anyio, where every `await` is a checkpoint by
contract; in asyncio an `await` may return without the loop having had its turn.
"""

import ast
from collections.abc import Iterator
from typing import Final, NamedTuple

ENDLESS: Final = "ACS100"
LONG: Final = "ACS101"
NO_CHECKPOINT: Final = "ACS102"

MESSAGES: Final = {
    ENDLESS: "this while loop never lets others run",
    LONG: "this for loop never lets others run",
    NO_CHECKPOINT: "what this loop awaits ({names}) does not let others run",
}

SMALL = 1_000
"""Passes up to which a `range` of numbers is taken for short."""

_NO_CHECKPOINTS: Final = frozenset({"progress", "publish"})
"""Methods of a task's context that return at once."""

_LOOPS = (ast.While, ast.For)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


class Finding(NamedTuple):
    """A place in the source: `line` from 1, `column` from 0."""

    line: int
    column: int
    code: str
    message: str


def check(tree: ast.AST) -> Iterator[Finding]:
    """Every finding in the coroutines of the task classes of a module, in the order of the source."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and _is_task(node):
            for method in node.body:
                if isinstance(method, ast.AsyncFunctionDef):
                    yield from _in_block(method.body, inside_yielding=False)


def _is_task(node: ast.ClassDef) -> bool:
    """As the registry tells a task: a base whose name ends in `Task`."""
    for base in node.bases:
        plain = base.value if isinstance(base, ast.Subscript) else base
        name = plain.attr if isinstance(plain, ast.Attribute) else plain.id if isinstance(plain, ast.Name) else ""
        if name.endswith("Task") and name != "BlockingTask":
            return True
    return False


def _in_block(body: list[ast.stmt], *, inside_yielding: bool) -> Iterator[Finding]:
    for statement in body:
        yield from _in_statement(statement, inside_yielding)


def _in_statement(node: ast.AST, inside_yielding: bool) -> Iterator[Finding]:
    """Findings in one statement. Within a loop that yields only endless loops are told: its items are a batch."""
    if isinstance(node, _SCOPES):
        if isinstance(node, ast.AsyncFunctionDef):
            yield from _in_block(node.body, inside_yielding=False)
        return
    yields = inside_yielding
    if isinstance(node, _LOOPS):
        finding = _loop(node)
        if finding is not None:
            if not (inside_yielding and finding.code == LONG):
                yield finding
            # One finding for a nest of loops: mending the outer one may mend them all.
            return
        yields = True
    elif isinstance(node, ast.AsyncFor):
        yields = True
    for child in ast.iter_child_nodes(node):
        yield from _in_statement(child, yields)


def _loop(node: ast.While | ast.For) -> Finding | None:
    """What is wrong with a loop; None if nothing."""
    awaited = list(_awaited(node))
    if not awaited:
        if isinstance(node, ast.For):
            return None if _is_short(node.iter) else _finding(node, LONG)
        return _finding(node, ENDLESS)
    if all(name in _NO_CHECKPOINTS for name in awaited):
        names = ", ".join(sorted({str(name) for name in awaited}))
        return _finding(node, NO_CHECKPOINT, names=names)
    return None


def _finding(node: ast.stmt, code: str, **values: str) -> Finding:
    return Finding(node.lineno, node.col_offset, code, MESSAGES[code].format(**values))


def _awaited(node: ast.While | ast.For) -> Iterator[str | None]:
    """What each pass of a loop awaits: the name of the method called, None for anything else."""
    parts: list[ast.AST] = [*node.body, *([node.test] if isinstance(node, ast.While) else [])]
    while parts:
        part = parts.pop()
        if isinstance(part, _SCOPES):
            continue
        if isinstance(part, ast.Await):
            yield _method(part.value)
        elif isinstance(part, ast.AsyncFor | ast.AsyncWith | ast.Yield | ast.YieldFrom) or (
            isinstance(part, ast.comprehension) and part.is_async
        ):
            yield None
        parts.extend(ast.iter_child_nodes(part))


def _method(value: ast.expr) -> str | None:
    return value.func.attr if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) else None


def _is_short(items: ast.expr) -> bool:
    """Whether a loop's items can be counted in the source and are few."""
    if not isinstance(items, ast.Call):
        return isinstance(items, ast.Tuple | ast.List | ast.Set | ast.Dict | ast.Constant)
    function = items.func
    if isinstance(function, ast.Attribute):
        return function.attr in ("items", "keys", "values") and _is_short(function.value)
    name = function.id if isinstance(function, ast.Name) else ""
    if name == "range":
        return all(isinstance(each, ast.Constant) for each in items.args) and _numbers(items.args) <= SMALL
    return name in ("enumerate", "sorted", "reversed", "zip") and any(_is_short(each) for each in items.args)


def _numbers(arguments: list[ast.expr]) -> int:
    try:
        return len(range(*(each.value for each in arguments if isinstance(each, ast.Constant))))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return SMALL + 1
