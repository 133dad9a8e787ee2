"""Reads task classes out of Python source without running it."""

import ast
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

_BASES = ("BaseTask", "BlockingTask")
# No class without an indented assignment to `name` can be a task: saves parsing the files that have none.
_MAY_HOLD_TASK = re.compile(r"^[ \t]+name\b[^\n]*=", re.MULTILINE)


class ParsedClass(NamedTuple):
    """A task class as its source shows it. `schedule_known` is false when `default_schedule` is not a literal, so
    that only importing tells; so is `default_options` empty then. `plain`: nothing is said of a configuration.
    `environment` is where its runs go by themselves: what it declares, else a thread for what blocks."""

    name: str
    attribute: str
    description: str
    default_schedule: str | None
    schedule_known: bool
    default_options: Mapping[str, Any] = MappingProxyType({})
    plain: bool = False
    environment: str = "auto"


def parse_classes(source: str, filename: str) -> list[ParsedClass]:
    """The task classes at the top level of `source`, in order: those with a literal `name` whose bases include
    BaseTask, or a class whose name ends in `Task`. Raises SyntaxError or ValueError for what is not Python."""
    if not _MAY_HOLD_TASK.search(source):
        return []
    try:
        tree = ast.parse(source, filename)
    except (RecursionError, MemoryError) as error:
        raise SyntaxError(f"nested too deeply to be parsed ({type(error).__name__})") from error
    statements = list(_top_level(tree.body))
    aliases = _base_task_aliases(statements)
    classes = (node for node in statements if isinstance(node, ast.ClassDef) and _is_task(node, aliases))
    return [parsed for node in classes if (parsed := _parsed(node)) is not None]


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run on import, those inside `if` and `try` (optional dependencies) included."""
    for node in body:
        yield node
        if isinstance(node, ast.If):
            yield from _top_level(node.body + node.orelse)
        elif isinstance(node, ast.Try):
            handlers = [statement for handler in node.handlers for statement in handler.body]
            yield from _top_level(node.body + handlers + node.orelse + node.finalbody)


def _base_task_aliases(statements: list[ast.stmt]) -> set[str]:
    imported = (alias for node in statements if isinstance(node, ast.ImportFrom) for alias in node.names)
    return {alias.asname for alias in imported if alias.name.endswith("Task") and alias.asname}


def _is_task(node: ast.ClassDef, aliases: set[str]) -> bool:
    return any(_base_name(base).endswith("Task") or _base_name(base) in aliases for base in node.bases)


def _base_name(base: ast.expr) -> str:
    """The last part of what a class derives from; empty for what has no name."""
    plain = base.value if isinstance(base, ast.Subscript) else base
    if isinstance(plain, ast.Attribute):
        return plain.attr
    return plain.id if isinstance(plain, ast.Name) else ""


def _parsed(node: ast.ClassDef) -> ParsedClass | None:
    values = _assignments(node)
    name = _literal(values.get("name"))
    if name is None:
        return None
    description = _literal(values.get("description")) or first_line(ast.get_docstring(node))
    schedule = values.get("default_schedule")
    known = schedule is None or isinstance(schedule, ast.Constant)
    options = _literal_map(values.get("default_options"))
    place = _literal(values.get("environment")) or "auto"
    if place == "auto" and any(_base_name(base) == "BlockingTask" for base in node.bases):
        place = "thread"
    plain = _is_plain(node, values)
    return ParsedClass(name, node.name, description, _literal(schedule), known, options, plain, place)


def _is_plain(node: ast.ClassDef, values: Mapping[str, ast.expr]) -> bool:
    nested = any(isinstance(each, ast.ClassDef) and each.name == "Config" for each in node.body)
    bases = all(isinstance(base, ast.Name) and base.id in _BASES for base in node.bases)
    return bases and not (nested or "Config" in values or node.decorator_list or node.keywords)


def _assignments(node: ast.ClassDef) -> dict[str, ast.expr]:
    values: dict[str, ast.expr] = {}
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            values[statement.target.id] = statement.value
        elif isinstance(statement, ast.Assign):
            for target in statement.targets:
                if isinstance(target, ast.Name):
                    values[target.id] = statement.value
    return values


def _literal(value: ast.expr | None) -> str | None:
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else None


def _literal_map(value: ast.expr | None) -> Mapping[str, Any]:
    """A literal map with plain keys; empty for anything else."""
    try:
        found = ast.literal_eval(value) if value is not None else {}
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return {}
    return found if isinstance(found, dict) and all(isinstance(key, str) for key in found) else {}


def first_line(docstring: str | None) -> str:
    """The first line of a docstring, empty if there is none."""
    return docstring.strip().partition("\n")[0].strip() if docstring else ""
