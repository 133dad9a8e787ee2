import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from aico_sched.tasks.maintenance.log_cleanup import MEGABYTE, LogCleanup, default_folder, log_files
from aico_sched.testing import TaskRun, run_task

NOW = 1_800_000_000.0
DAY = 86_400.0


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


def put(path: Path, days_old: float, size: int = 10) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)
    os.utime(path, (NOW - days_old * DAY,) * 2)
    return path


async def clean(outside: Any, folder: Path, **config: Any) -> TaskRun:
    outside.clock.time = NOW
    return await run_task(LogCleanup, {"log_folder": str(folder), **config}, clock=outside.clock)


def data(run: TaskRun) -> dict[str, Any]:
    assert run.result is not None, run.error
    return run.result.data


async def test_old_rotated_files_go_and_everything_else_stays(outside: Any, logs: Path) -> None:
    old = [put(logs / name, 31) for name in ("a.log.1", "sub/a.log.2.gz", "a-20200101.log", "b.jsonl.2020-01-01")]
    stays = [
        put(logs / "a.log", 400),
        put(logs / "a.log.3", 29),
        put(logs / "notes.txt", 400),
        put(logs / "worker-1.log", 400),
        put(logs / "a.log.lock", 400),
        put(logs / "catalog.1", 400),
    ]
    run = await clean(outside, logs)
    assert [path for path in old if path.exists()] == []
    assert [path for path in stays if not path.exists()] == []
    assert data(run)["files_removed"] == 4
    assert data(run)["bytes_removed"] == 40
    assert run.progress[-1] == {"fraction": 1.0, "message": "removed 4 files", "data": {}}


async def test_then_the_oldest_go_until_the_folder_fits(outside: Any, logs: Path) -> None:
    files = [put(logs / f"a.log.{number}", days_old=number, size=MEGABYTE) for number in range(1, 6)]
    put(logs / "a.log", 0, MEGABYTE)
    run = await clean(outside, logs, max_size_mb=4)
    assert [path.exists() for path in files] == [True, True, True, False, False]
    assert (data(run)["bytes_left"], data(run)["over_limit"]) == (4 * MEGABYTE, False)


async def test_what_may_be_in_use_stays_even_if_it_is_too_much(outside: Any, logs: Path) -> None:
    fresh = put(logs / "a-20270115.log", 0.01, 3 * MEGABYTE)
    run = await clean(outside, logs, max_size_mb=1, retention_days=0)
    assert fresh.exists()
    assert data(run)["over_limit"] is True


async def test_a_dry_run_removes_nothing_and_tells_what_would_go(outside: Any, logs: Path) -> None:
    file = put(logs / "a.log.1", 31)
    run = await clean(outside, logs, dry_run=True)
    assert file.exists()
    assert data(run)["dry_run"] is True
    assert (data(run)["files_removed"], data(run)["bytes_removed"], data(run)["bytes_left"]) == (1, 10, 0)
    assert run.result is not None and run.result.message == "would remove 1 of 1 log files"


async def test_running_it_again_finds_nothing_to_do(outside: Any, logs: Path) -> None:
    put(logs / "a.log.1", 31)
    await clean(outside, logs)
    assert data(await clean(outside, logs))["files_removed"] == 0


async def test_links_are_not_followed(outside: Any, logs: Path, tmp_path: Path) -> None:
    outer = put(tmp_path / "outer" / "a.log.1", 400)
    (logs / "link").symlink_to(outer.parent)
    (logs / "b.log.1").symlink_to(outer)
    run = await clean(outside, logs)
    assert outer.exists()
    assert data(run)["files_seen"] == 0


async def test_without_a_folder_there_is_nothing_to_do(outside: Any, tmp_path: Path) -> None:
    run = await clean(outside, tmp_path / "none")
    assert run.result is not None and run.result.skipped


async def test_a_file_that_cannot_be_removed_fails_the_run_and_spares_no_other(
    outside: Any, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, loose = put(logs / "a.log.1", 40), put(logs / "b.log.1", 39)
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path == stuck:
            raise PermissionError(1, "Operation not permitted")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    run = await clean(outside, logs)
    assert run.result is not None and not run.result.success
    assert data(run)["problems"] == [f"{stuck}: Operation not permitted"]
    assert not loose.exists()


async def test_cancelled_anywhere_it_can_be_run_again(outside: Any, logs: Path) -> None:
    files = [put(logs / f"a.log.{number}", 40) for number in range(200)]
    async with asyncio.timeout(10):
        running = asyncio.ensure_future(clean(outside, logs))
        while sum(path.exists() for path in files) == len(files):
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    left = sum(path.exists() for path in files)
    assert 0 < left < len(files)
    assert data(await clean(outside, logs))["files_removed"] == left


def test_the_default_folder_is_aicos(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AICO_LOGS_DIR", str(tmp_path))
    assert default_folder() == tmp_path
    monkeypatch.delenv("AICO_LOGS_DIR")
    monkeypatch.setenv("HOME", "/home/ada")
    assert default_folder() == Path("/home/ada/.local/share/aico/logs")


@pytest.mark.parametrize(
    ("name", "rotated"),
    [
        ("app.log", False),
        ("app.log.1", True),
        ("app.log.12.gz", True),
        ("app.log.gz", True),
        ("app.log.2026-01-31", True),
        ("app.log-20260131", True),
        ("app.log.2026-01-31_10-20-30.zst", True),
        ("app-2026-01-31.log", True),
        ("app_20260131.jsonl", True),
        ("app.jsonl", False),
        ("worker-12.log", False),
        ("app.log.bak", False),
    ],
)
def test_which_files_count_as_rotated(logs: Path, name: str, rotated: bool) -> None:
    put(logs / name, 0)
    assert [file.rotated for file in log_files(logs)] == [rotated]


@pytest.mark.parametrize("name", ["blog.txt", "log", "catalog.1", "app.logic", "app.log2"])
def test_which_files_are_no_logs(logs: Path, name: str) -> None:
    put(logs / name, 0)
    assert list(log_files(logs)) == []
