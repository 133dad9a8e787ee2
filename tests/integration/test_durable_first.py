"""What is said is on the disk by then: an answer, an event, and the first line of a run come after their commit.

Another connection sees only what is committed, so each of them is compared with what that one sees.
"""

import asyncio
from datetime import datetime
from typing import Any

import pytest

from aico_sched.store.connection import Database, Row
from aico_sched.store.errors import StoreBusy
from aico_sched.topics import names
from tests.integration.durable_tasks import Looks
from tests.integration.support.running import Running

FAR = "interval:86400"
COUNT = 20


async def test_an_acknowledged_command_is_committed(run: Running) -> None:
    async def one(number: int) -> None:
        task_id = f"user.t{number}"

        def seen(column: str) -> Any:
            ((value,),) = run.query(f"SELECT {column} FROM scheduled_tasks WHERE task_id = ?", task_id)
            return value

        await run.client.create(task_id, FAR, task_class="demo.echo")
        assert seen("deleted_at") is None
        await run.client.update(task_id, schedule="interval:43200")
        assert seen("schedule") == "interval:43200"
        await run.client.pause(task_id)
        assert seen("paused") == 1
        await run.client.resume(task_id)
        assert seen("paused") == 0
        execution = (await run.client.trigger(task_id)).execution_id
        assert run.query("SELECT 1 FROM task_executions WHERE execution_id = ?", execution) == [(1,)]
        await run.client.delete(task_id)
        assert seen("deleted_at") is not None

    # One after the other, each in a turn of its own, and many in the same turns.
    for number in range(COUNT):
        await one(number)
    await asyncio.gather(*(one(number) for number in range(COUNT, 2 * COUNT)))


async def test_an_event_that_is_heard_is_committed(run: Running) -> None:
    missing: list[str] = []
    async with run.client.events(names.EVENTS) as events:
        await run.client.health()
        creating = asyncio.gather(
            *(run.client.create(f"user.t{number}", FAR, task_class="demo.echo") for number in range(COUNT))
        )
        heard = 0
        async for event in events:
            if event.topic != names.TASK_CREATED:
                continue
            if not run.query("SELECT 1 FROM scheduler_events WHERE message_id = ?", event.message_id):
                missing.append(str(event.payload["task_id"]))
            heard += 1
            if heard == COUNT:
                break
        await creating
    assert missing == []


async def test_the_first_line_of_a_run_comes_after_its_claim(start: Any) -> None:
    run = await start(scheduler__task_modules=["tests.integration.durable_tasks"])
    Looks.look = run.query
    for number in range(COUNT):
        delivery = "at_most_once" if number % 2 else "at_least_once"
        task_id = f"maintenance.t{number}"
        # Alone, and later together with all others.
        await run.client.create(task_id, "interval:1", task_class=Looks.name, delivery=delivery, max_runs=2)
    for number in range(COUNT):
        task_id = f"maintenance.t{number}"
        await run.events.several(2, names.EXECUTION_SUCCEEDED, task_id=task_id)
        for done in (await run.client.executions(task_id=task_id, status="succeeded")).executions:
            seen = done.result["data"]
            assert seen["rows"] == [["running", 1]]
            # The task has moved on in the same transaction.
            assert seen["next_run"] is None or datetime.fromisoformat(seen["next_run"]) > datetime.fromisoformat(
                seen["slot"]
            )


async def test_a_commit_that_fails_says_nothing(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every third commit fails; the turn is taken back and done again, and until then nobody has heard of it."""
    statement = Database._raw
    commits = failed = 0

    def failing(self: Database, sql: str, parameters: Row = ()) -> list[Row]:
        nonlocal commits, failed
        if sql == "COMMIT":
            commits += 1
            if commits % 3 == 0:
                failed += 1
                raise StoreBusy("as the test wants it")
        return statement(self, sql, parameters)

    run = await start(scheduler__task_modules=["tests.integration.durable_tasks"], scheduler__restart_budget=1_000)
    Looks.look, Looks.begun = run.query, 0
    await run.client.create(Looks.name, FAR, delivery="at_most_once")
    monkeypatch.setattr(Database, "_raw", failing)
    for number in range(8):
        done = await run.ran(Looks.name)
        assert (done.status, done.result["data"]["rows"]) == ("succeeded", [["running", 1]])
        assert Looks.begun == number + 1, "it began although its claim was taken back"
    assert failed > 4
