"""What `maintenance.log_cleanup` takes care of: files that may be in use, clocks of others, and trouble on the way."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from aico_sched.data.source import SourceError, Table
from aico_sched.tasks.configuration import bind_config
from aico_sched.tasks.errors import InvalidTaskConfig
from aico_sched.tasks.maintenance.log_cleanup import MEGABYTE, LogCleanup, log_files
from aico_sched.testing import MemorySource, run_task
from tests.unit.tasks.test_log_cleanup import NOW, clean, data, put


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


async def test_a_file_with_its_date_in_its_name_may_be_written_to_until_the_day_is_over(
    outside: Any, logs: Path
) -> None:
    today, yesterday = put(logs / "a-2027-01-15.log", 0.5, MEGABYTE), put(logs / "a-2027-01-14.log", 1.1, MEGABYTE)
    rotated = put(logs / "a.log.1", 0.5, MEGABYTE)
    await clean(outside, logs, retention_days=0, max_size_mb=0)
    assert [path.exists() for path in (today, yesterday, rotated)] == [True, False, False]


async def test_a_name_that_another_file_has_by_now_is_not_taken_from_it(
    outside: Any, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody rotates the logs between our look and our removal: `a.log` is `a.log.1` now."""
    old, live = put(logs / "a.log.1", 40), put(logs / "a.log", 0, 20)
    lstat = Path.lstat

    def rotates(path: Path) -> os.stat_result:
        if live.exists():
            live.replace(old)
        return lstat(path)

    monkeypatch.setattr(Path, "lstat", rotates)
    run = await clean(outside, logs)
    assert old.read_bytes() == b"\0" * 20
    assert run.result is not None and run.result.success and data(run)["files_removed"] == 0


async def test_a_folder_that_cannot_be_read_is_told_and_the_others_are_cleaned(
    outside: Any, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, loose = put(logs / "closed" / "a.log.1", 40), put(logs / "b.log.1", 40)
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if str(path) == str(closed.parent):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    run = await clean(outside, logs)
    assert run.result is not None and not run.result.success
    assert data(run)["problems"] == [f"{closed.parent}: Permission denied"]
    assert not loose.exists() and data(run)["files_removed"] == 1


def test_a_folder_that_goes_while_it_is_looked_at_is_no_problem(logs: Path) -> None:
    problems: list[str] = []
    put(logs / "gone" / "a.log", 1)
    found = log_files(logs / "nowhere", problems)
    assert list(found) == problems == []


class Broken(MemorySource):
    """A database whose key does not fit."""

    async def page(self, table: Table, after: int, limit: int, *, measured: bool = False) -> Any:
        raise SourceError("file is not a database")

    async def delete(self, table: Table, ids: Sequence[int]) -> int:
        raise AssertionError("nothing can be deleted there")


async def test_a_database_that_does_not_answer_keeps_no_file_and_is_told(outside: Any, logs: Path) -> None:
    old = put(logs / "a.log.1", 40)
    outside.clock.time = NOW
    run = await run_task(LogCleanup, {"log_folder": str(logs)}, clock=outside.clock, data=Broken())
    assert not old.exists()
    assert run.result is not None and not run.result.success
    assert "table logs: file is not a database" in run.result.message


async def test_stamps_in_other_forms_and_zones_are_read_for_what_they_say(outside: Any, tmp_path: Path) -> None:
    """NOW is 2027-01-15T08:00:00Z; what is older than a day goes."""
    stays = ["2027-01-14T09:00:00Z", "2027-01-14 08:00:01", "2027-01-14T05:00:00-04:00", "", "yesterday", None, 7]
    goes = ["2027-01-14T07:59:59.9Z", "2027-01-14T09:59:59+02:00", "2027-01-14 07:59:00", "2026-12-31"]
    source = MemorySource(logs=[{"timestamp": stamp} for stamp in [*goes, *stays]])
    outside.clock.time = NOW
    config = {"log_folder": str(tmp_path / "none"), "retention_days": 1}
    run = await run_task(LogCleanup, config, clock=outside.clock, data=source)
    assert data(run)["rows_removed"] == len(goes)
    assert [row["timestamp"] for row in source.tables["logs"]] == stays


async def test_one_file_larger_than_all_may_be_goes_unless_it_is_in_use(outside: Any, logs: Path) -> None:
    large, live = put(logs / "a.log.1", 2, 3 * MEGABYTE), put(logs / "a.log", 2, 3 * MEGABYTE)
    run = await clean(outside, logs, max_size_mb=1)
    assert (large.exists(), live.exists(), data(run)["over_limit"]) == (False, True, True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"log_folder": "/"},
        {"log_folder": "logs"},
        {"table": "logs; DROP TABLE logs"},
        {"retention_days": -1},
        {"max_size_mb": -1},
        {"retention": 3},
    ],
)
def test_a_configuration_that_would_reach_too_far_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidTaskConfig):
        bind_config(LogCleanup, wrong)


def test_the_home_folder_may_be_said_shortly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert bind_config(LogCleanup, {"log_folder": "~/logs"}).model_dump()["log_folder"] == Path("/home/ada/logs")
