"""`maintenance.log_cleanup` on the rows of a real encrypted database, 1,000,000 of them with AICO_SCHED_LONG=1."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aico_sched.data.database import open_database
from aico_sched.tasks.maintenance.log_cleanup import LogCleanup
from aico_sched.testing import MemorySource, VirtualClock, run_task
from tests.integration.data.conftest import KEY

LONG = os.environ.get("AICO_SCHED_LONG") == "1"
COUNT = 1_000_000 if LONG else 8_000
NOW = datetime(2026, 6, 1, tzinfo=UTC)
Sql = Callable[..., list[Any]]


def fill(sql: Sql, count: int) -> None:
    """Rows of AICO's own columns, spread over 60 days, the newest last."""
    sql(
        "CREATE TABLE logs (id INTEGER PRIMARY KEY, timestamp TEXT NOT NULL, level TEXT, subsystem TEXT, module TEXT, "
        "function_name TEXT, file_path TEXT, line_number INTEGER, topic TEXT, message TEXT, user_uuid TEXT, "
        "session_id TEXT, trace_id TEXT, extra TEXT, created_at TEXT DEFAULT CURRENT_TIMESTAMP)"
    )
    sql(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?) INSERT INTO logs (timestamp, "
        "level, subsystem, module, message) SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 1780272000 - (? - i) * 5184000.0 / ?,"
        " 'unixepoch'), 'INFO', 'core', 'chat', 'message ' || i || ' ' || hex(zeroblob(40)) FROM n",
        (count, count, count),
    )


@asynccontextmanager
async def lags() -> AsyncIterator[list[float]]:
    """How late the loop comes round while the block lasts; seconds."""
    found: list[float] = []

    async def watch() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.002)
            found.append(time.perf_counter() - before - 0.002)

    watching = asyncio.create_task(watch())
    yield found
    watching.cancel()


async def clean(database: Path, folder: Path, **config: Any) -> dict[str, Any]:
    async with open_database(database, lambda: KEY) as data:
        run = await run_task(
            LogCleanup, {"log_folder": str(folder), **config}, VirtualClock(NOW), data=data, deadline=1_200
        )
    assert run.result is not None, run.error
    return run.result.data


async def test_old_rows_go_in_batches_and_the_loop_stays_free(database: Path, tmp_path: Path, sql: Sql) -> None:
    fill(sql, COUNT)
    dry = await clean(database, tmp_path, retention_days=30, dry_run=True)
    assert sql("SELECT count(*) FROM logs") == [(COUNT,)]
    started = time.perf_counter()
    async with lags() as late:
        done = await clean(database, tmp_path, retention_days=30)
    # A short run on a machine that others use has too few looks for a high percentile.
    share = 100 if LONG else 5
    lag = sorted(late)[-max(1, len(late) // share)]
    print(
        f"{COUNT} rows in {time.perf_counter() - started:.1f} s; {100 - 100 // share} % of loop lags under {lag:.4f} s"
    )
    assert done["rows_removed"] == dry["rows_removed"] == COUNT // 2
    assert sql("SELECT count(*), min(timestamp) >= '2026-05-02' FROM logs") == [(COUNT // 2, 1)]
    assert lag < 0.02
    again = await clean(database, tmp_path, retention_days=30)
    assert again["rows_removed"] == 0 and again["rows_seen"] == COUNT // 2


async def test_then_the_oldest_of_rows_and_files_go_until_all_fit(tmp_path: Path) -> None:
    row = {"message": "x" * 100_000}
    stamps = [(NOW - timedelta(days=day)).isoformat().replace("+00:00", "Z") for day in range(25, -1, -1)]
    source = MemorySource(logs=[{"timestamp": stamp, **row} for stamp in stamps])
    for days in (3, 10, 20):
        path = tmp_path / f"a.log.{days}"
        path.write_bytes(b"x" * 500_000)
        os.utime(path, (NOW.timestamp() - days * 86_400,) * 2)
    config = {"log_folder": str(tmp_path), "max_size_mb": 2}
    for dry in (True, False):
        run = await run_task(LogCleanup, {**config, "dry_run": dry}, VirtualClock(NOW), data=source)
        assert run.result is not None, run.error
        data = run.result.data
        # All older than a moment are gone, rows and files alike.
        assert (data["files_removed"], data["over_limit"]) == (2, False)
        assert data["rows_removed"] == 15
        assert len(source.tables["logs"]) == (26 if dry else 11)
    assert [path.name for path in tmp_path.iterdir()] == ["a.log.3"]


async def test_cancelled_anywhere_no_row_is_half_gone(database: Path, tmp_path: Path, sql: Sql) -> None:
    fill(sql, 4_000)
    for pause in (0.3, 0.4, 0.5):
        running = asyncio.create_task(clean(database, tmp_path, retention_days=30))
        await asyncio.wait([running], timeout=pause)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert sql("PRAGMA integrity_check") == [("ok",)]
    assert sql("SELECT count(*) FROM logs WHERE timestamp >= '2026-05-02'") == [(2_000,)]
    assert (await clean(database, tmp_path, retention_days=30))["row_bytes_left"] > 0
    assert sql("SELECT count(*) FROM logs") == [(2_000,)]
