"""On the embedding program's connection there is no exclusive maintenance: it is refused, and says who must do it."""

import asyncio
from pathlib import Path

import libsql_experimental as libsql
import pytest

from aico_sched.client import SchedulerClient
from aico_sched.client.errors import SchedulerError
from aico_sched.service import SchedulerService
from aico_sched.store.connection import Database
from aico_sched.topics import names
from tests.integration.support.running import settings_for


async def test_it_is_refused_and_small_steps_still_work(tmp_path: Path) -> None:
    connection = libsql.connect(str(tmp_path / "aico.db"), encryption_key="k" * 32, isolation_level=None)
    connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
    connection.execute("CREATE TABLE theirs (a TEXT)")
    connection.execute("INSERT INTO theirs VALUES ('kept')")
    settings = settings_for(tmp_path / "data")
    wanted = {
        names.STORE_VACUUM: {"mode": "full"},
        names.STORE_CHECK: {},
        names.STORE_REKEY: {},
        names.STORE_BACKUP: {"file": str(tmp_path / "x.backup")},
    }
    async with (
        asyncio.timeout(30),
        SchedulerService(settings, open_store=lambda: Database.borrow(connection)) as service,
        SchedulerClient.discover(settings.data_dir) as client,
    ):
        for topic, payload in wanted.items():
            with pytest.raises(SchedulerError, match="belongs to the embedding program, which must do this") as refused:
                await client.request(topic, payload)
            assert refused.value.code == "conflict"
        assert (await client.request(names.STORE_VACUUM, {}))["mode"] == "incremental"
        await client.create("user.after", "@yearly", task_class="demo.echo")
        assert (await client.health()).checks["database"]["ok"]
        assert service.running
    assert connection.execute("SELECT a FROM theirs").fetchall() == [("kept",)]
    assert not list(tmp_path.glob("x.backup*")) and not list(tmp_path.glob("aico.db.made"))
    connection.close()
