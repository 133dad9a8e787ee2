"""A vacuum in small steps keeps each commit short: it moves the log into the database before that is long."""

from pathlib import Path

from aico_sched.maintained import INCREMENT_CHECKPOINT
from aico_sched.store.maintenance.swap import sides
from aico_sched.store.opening import CHECKPOINT
from aico_sched.topics import names
from aico_sched.wiring import database_keys, open_database
from tests.integration.conftest import Start
from tests.integration.store.test_maintenance import fill
from tests.integration.support.running import Running, settings_for

PAGE = 4_096 + 24
"""Bytes of a page in the write-ahead log."""

FREE = 2_000
"""Rows with a page each; of a far future, so that the service does not remove them by itself."""
HOLES = """INSERT INTO scheduler_seen_messages
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
SELECT 'filler/' || i, 4000000000000000, randomblob(3500) FROM n"""


def log_pages(run: Running) -> int:
    """The longest that the log has been since it was begun: it is written over, never made shorter."""
    log = next(side for side in sides(run.settings.database_path) if side.name.endswith("-wal"))
    return log.stat().st_size // PAGE


async def test_the_log_stays_short_meanwhile_and_may_be_long_again(start: Start, tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "data")
    settings.data_dir.mkdir()
    database = open_database(settings, database_keys(settings))
    # Every other row, so that those that stay have to be moved.
    database.run_text(HOLES, (2 * FREE,))
    database.run_text("DELETE FROM scheduler_seen_messages WHERE message_id GLOB '*[13579]'", ())
    database.close()
    run = await start()
    result = await run.client.request(names.STORE_VACUUM, {"mode": "incremental"})
    assert result["mode"] == "incremental" and result["bytes_freed"] > 4_096 * FREE * 0.9
    assert log_pages(run) < 3 * INCREMENT_CHECKPOINT < CHECKPOINT
    await fill(run, 500)
    assert log_pages(run) > 3 * INCREMENT_CHECKPOINT
