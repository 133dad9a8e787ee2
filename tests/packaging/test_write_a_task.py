"""docs/write-a-task.md: its classes are what it says, its tests pass, its commands exist."""

import inspect
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from aico_sched.cli.app import app

PAGE = (Path(__file__).parents[2] / "docs" / "write-a-task.md").read_text()
BLOCKS = re.findall(r"```python[^\n]*\n(.*?)```", PAGE, re.DOTALL)
SPACE: dict[str, Any] = {}
for block in BLOCKS:
    exec(compile(block, "docs/write-a-task.md", "exec"), SPACE)
TESTS = {name: value for name, value in SPACE.items() if name.startswith("test_") and inspect.isfunction(value)}


@pytest.mark.parametrize("name", TESTS)
async def test_the_pages_own_tests_pass(name: str, tmp_path: Path) -> None:
    test: Callable[[Path], Awaitable[None]] = TESTS[name]
    await test(tmp_path)


def test_there_are_examples() -> None:
    assert len(BLOCKS) == 3 and len(TESTS) == 3


def test_the_page_s_class_runs_and_is_listed_from_the_command_line(tmp_path: Path) -> None:
    folder, notes = tmp_path / "tasks", tmp_path / "notes"
    folder.mkdir(mode=0o700)
    notes.mkdir()
    (folder / "count_words.py").write_text(BLOCKS[0])
    (notes / "a.txt").write_text("one two")

    def aico(*arguments: str) -> str:
        result = CliRunner().invoke(app, list(arguments), env={"AICO_SCHED_DATA_DIR": str(tmp_path)})
        assert result.exit_code == 0, result.output
        return result.output

    assert "would count 1 files" in aico("run-task", "user.count_words", "--config", f"folder={notes}", "--dry-run")
    assert "2 words" in aico("run-task", "user.count_words", "--config", f"folder={notes}")
    assert "user.count_words" in aico("tasks")


def test_every_command_on_the_page_is_one() -> None:
    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    known |= {group.name for group in app.registered_groups if group.name}
    assert set(re.findall(r"^\$ aico-sched ([a-z-]+)", PAGE, re.MULTILINE)) <= known
