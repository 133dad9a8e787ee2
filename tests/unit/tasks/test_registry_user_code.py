import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aico_sched.tasks.errors import (
    CodeNotRemovable,
    TaskClassUnavailable,
    UnknownTaskClass,
)
from aico_sched.tasks.registry import RegistryChanges, TaskRegistry
from aico_sched.topics.views import RegistryReloadView

Put = Callable[[Path, str], Path]
Source = Callable[..., str]


def registry(*modules: str, **how: Any) -> TaskRegistry:
    made = TaskRegistry(modules, use_entry_points=False, **how)
    made.discover()
    return made


def test_broken_code_is_not_tried_again_before_the_next_search(user_folder: Path, put: Put, source: Source) -> None:
    count = user_folder / "count.txt"
    before = f"with open({str(count)!r}, 'a') as file: file.write('x')\nraise RuntimeError('broken')"
    file = put(user_folder / "late.py", source("user.late", before=before))
    made = registry(user_folder=user_folder)
    for _ in range(3):
        with pytest.raises(TaskClassUnavailable, match="broken"):
            made.load("user.late")
    assert count.read_text() == "x"
    put(file, source("user.late"))
    assert made.discover().changed == ["user.late"]
    assert made.load("user.late").name == "user.late"


def test_a_user_class_loads_from_its_folder(user_folder: Path, put: Put, source: Source) -> None:
    put(user_folder / "hello.py", source("user.hello"))
    made = registry(user_folder=user_folder)
    task_class = made.load("user.hello")
    assert task_class.__module__ == "aico_sched_user.hello"
    assert asyncio.run(task_class().execute(None)) == {"by": "ATask"}  # type: ignore[arg-type]
    assert not (user_folder / "__pycache__").exists()


def test_user_classes_may_use_postponed_annotations_and_dataclasses(
    user_folder: Path, put: Put, source: Source
) -> None:
    before = """
from dataclasses import dataclass, KW_ONLY
from pydantic import BaseModel
@dataclass
class Row:
    a: int
    _: KW_ONLY
    b: int = 2
class Settings(BaseModel):
    row: "Row"
"""
    text = "from __future__ import annotations\n" + source("user.rows", before=before, body="Config = Settings")
    put(user_folder / "rows.py", text)
    made = registry(user_folder=user_folder)
    assert made.validate_config("user.rows", {"row": {"a": 1}}) == {"row": {"a": 1}}


def test_a_changed_user_file_is_imported_afresh_and_what_runs_keeps_its_class(
    user_folder: Path, put: Put, source: Source
) -> None:
    file = put(user_folder / "hello.py", source("user.hello", before="VALUE = 1", body="value = VALUE"))
    made = registry(user_folder=user_folder)
    old = made.load("user.hello")
    # Same length, same second: neither size nor time of change tells the two apart.
    put(file, source("user.hello", before="VALUE = 2", body="value = VALUE"))
    assert made.discover() == RegistryChanges([], [], ["user.hello"], {})
    new = made.load("user.hello")
    assert (old.value, new.value) == (1, 2)  # type: ignore[attr-defined]
    assert old().value == 1  # type: ignore[attr-defined]
    assert made.discover() == RegistryChanges([], [], [], {})
    assert made.load("user.hello") is new


def test_what_comes_and_goes_is_reported(user_folder: Path, put: Put, source: Source) -> None:
    made = registry(user_folder=user_folder)
    file = put(user_folder / "hello.py", source("user.hello"))
    assert made.discover().added == ["user.hello"]
    made.load("user.hello")
    file.unlink()
    changes = made.discover()
    assert changes == RegistryChanges([], ["user.hello"], [], {})
    assert RegistryReloadView.model_validate(changes._asdict())
    with pytest.raises(UnknownTaskClass):
        made.load("user.hello")


def test_a_file_that_became_writable_by_others_is_not_run(user_folder: Path, put: Put, source: Source) -> None:
    file = put(user_folder / "hello.py", source("user.hello"))
    made = registry(user_folder=user_folder)
    file.chmod(0o666)
    with pytest.raises(TaskClassUnavailable, match="others can write"):
        made.load("user.hello")


def test_a_file_exchanged_for_a_link_is_not_run(user_folder: Path, put: Put, source: Source, tmp_path: Path) -> None:
    file = put(user_folder / "hello.py", source("user.hello"))
    made = registry(user_folder=user_folder)
    file.unlink()
    file.symlink_to(put(tmp_path / "evil.py", source("user.hello")))
    with pytest.raises(TaskClassUnavailable, match="symbolic links"):
        made.load("user.hello")


def test_user_code_cannot_take_a_built_in_name(library: Path, put: Put, source: Source, user_folder: Path) -> None:
    put(library / "theirs.py", source("user.x"))
    put(user_folder / "mine.py", source("user.x", "Mine"))
    made = TaskRegistry(["theirs"], False, user_folder)
    assert "taken by theirs.ATask" in made.discover().problems["aico_sched_user.mine.Mine"]
    assert made.load("user.x").__module__ == "theirs"


def test_only_user_code_has_a_file_that_can_go(user_folder: Path, put: Put, source: Source) -> None:
    file = put(user_folder / "hello.py", source("user.hello"))
    made = registry("aico_sched.tasks", user_folder=user_folder)
    made.load("user.hello")
    assert made.code_file("user.hello") == file
    assert made.code_file("demo.echo") is None
    with pytest.raises(CodeNotRemovable, match="only the code of user tasks"):
        made.remove_code("demo.echo")
    assert made.remove_code("user.hello") == file
    assert not file.exists()
    assert "user.hello" not in made.names()
    with pytest.raises(UnknownTaskClass):
        made.remove_code("user.hello")


def test_a_file_with_other_classes_stays(user_folder: Path, put: Put, source: Source) -> None:
    file = put(user_folder / "two.py", source("user.a", "A") + source("user.b", "B"))
    with pytest.raises(CodeNotRemovable, match=r"also holds user\.b"):
        registry(user_folder=user_folder).remove_code("user.a")
    assert file.exists()


def test_removing_follows_no_link(user_folder: Path, put: Put, source: Source, tmp_path: Path) -> None:
    file = put(user_folder / "hello.py", source("user.hello"))
    precious = put(tmp_path / "precious.py", "keep")
    made = registry(user_folder=user_folder)
    file.unlink()
    file.symlink_to(precious)
    with pytest.raises(CodeNotRemovable, match="not a regular file"):
        made.remove_code("user.hello")
    assert precious.exists() and file.is_symlink()


def test_removing_leaves_a_folder_alone_that_took_the_place_of_ours(
    user_folder: Path, put: Put, source: Source, tmp_path: Path
) -> None:
    put(user_folder / "hello.py", source("user.hello"))
    made = registry(user_folder=user_folder)
    precious = put(tmp_path / "other" / "hello.py", "keep")
    user_folder.rename(tmp_path / "moved")
    user_folder.symlink_to(precious.parent)
    with pytest.raises(CodeNotRemovable, match="cannot be opened"):
        made.remove_code("user.hello")
    assert precious.exists()
    with pytest.raises(TaskClassUnavailable, match="is not a folder"):
        made.load("user.hello")
