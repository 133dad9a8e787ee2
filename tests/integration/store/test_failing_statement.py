"""A statement that fails is its own message's trouble: those beside it in the turn go through."""

import asyncio
from pathlib import Path
from typing import Literal

import pytest

from aico_sched.client.errors import SchedulerError
from aico_sched.store.connection import Database
from tests.integration.conftest import Start

NO_CREATE = """CREATE TRIGGER no_create BEFORE INSERT ON scheduled_tasks WHEN new.task_id = 'user.t5'
BEGIN SELECT RAISE(ABORT, 'no such luck'); END"""
NO_END = """CREATE TRIGGER no_end BEFORE INSERT ON task_attempts WHEN {when} AND new.execution_id IN
(SELECT execution_id FROM task_executions WHERE task_id = 'user.t5') BEGIN SELECT RAISE(ABORT, 'no such luck'); END"""


@pytest.mark.parametrize("synchronous", ["full", "normal"])
async def test_a_create_among_many(start: Start, synchronous: str) -> None:
    run = await start(store__synchronous=synchronous)
    run.query(NO_CREATE)
    run.close()
    before = (await run.client.stats()).actors["store"]["commits"]
    wanted = [run.client.create(f"user.t{i}", "@yearly", task_class="demo.echo") for i in range(100)]
    answers = await asyncio.gather(*wanted, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, SchedulerError)]
    assert [error.code for error in refused] == ["internal"]
    stats = await run.client.stats()
    assert stats.actors["store"]["restarts"] == 0
    assert stats.actors["store"]["commits"] - before < 90, "they share commits"
    assert run.query("SELECT count(*) FROM scheduled_tasks WHERE task_id LIKE 'user.t%'") == [(99,)]


@pytest.mark.parametrize(("when", "kept"), [("new.usage IS NOT NULL", True), ("1", False)])
async def test_an_end_among_many(start: Start, when: str, kept: bool) -> None:
    run = await start()
    names = [f"user.t{i}" for i in range(12)]
    await asyncio.gather(*(run.client.create(name, "@yearly", task_class="demo.echo") for name in names))
    run.query(NO_END.format(when=when))
    runs = await asyncio.gather(*(run.client.trigger(name) for name in names))
    over = [one.execution_id for one, name in zip(runs, names, strict=True) if kept or name != "user.t5"]
    assert {(await run.finished(execution_id)).status for execution_id in over} == {"succeeded"}
    stats = await run.client.stats()
    assert stats.actors["store"]["restarts"] == 0
    assert stats.actors["store"]["unrecorded"] == (0 if kept else 1)
    # The place of the run that has no end is free all the same.
    await run.client.create("user.next", "@yearly", task_class="demo.echo")
    assert (await run.ran("user.next")).status == "succeeded"


@pytest.mark.parametrize(("synchronous", "level"), [("full", 2), ("normal", 1)])
def test_what_the_setting_means(tmp_path: Path, synchronous: Literal["full", "normal"], level: int) -> None:
    database = Database.open(tmp_path / "s.db", "k" * 32, synchronous)
    assert database._raw("PRAGMA synchronous") == [(level,)]
    database.close()
