"""The rules as flake8 knows them (entry point `flake8.extension`, prefix ACS), so that editors and CI show them too."""

import ast
from collections.abc import Iterator
from typing import Any, ClassVar

from aico_sched import __version__
from aico_sched.lint.rules import check


class Plugin:
    """A flake8 checker of a module's syntax tree."""

    name: ClassVar[str] = "aico-sched"
    version: ClassVar[str] = __version__

    def __init__(self, tree: ast.AST) -> None:
        self._tree = tree

    def run(self) -> Iterator[tuple[int, int, str, type[Any]]]:
        """(line, column, "CODE message", checker) of each finding, as flake8 asks for it."""
        for line, column, code, message in check(self._tree):
            yield line, column, f"{code} {message}", type(self)
