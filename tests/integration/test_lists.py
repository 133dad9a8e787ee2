"""Lists: every page of them once and in order, what the filters leave out, dead letters, and past events."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from aico_sched.client.errors import ExecutionNotFound, InvalidMessage
from aico_sched.topics import names
from tests.integration.support.running import Running
from tests.integration.support.tasks import Gate

FAR = "interval:86400"


async def pages(ask: Any, part: str, **filters: Any) -> list[list[Any]]:
    """All pages of a list."""
    found, cursor = [], None
    while True:
        page = await ask(cursor=cursor, **filters)
        found.append(getattr(page, part))
        cursor = page.next_cursor
        if cursor is None:
            return found
        assert len(found) < 100, "the list never ends"


async def test_tasks_come_page_by_page_each_once(run: Running) -> None:
    ids = [f"user.t{number:02}" for number in range(25)]
    for task_id in reversed(ids):
        await run.client.create(task_id, FAR, task_class="demo.echo")
    found = await pages(run.client.list, "tasks", prefix="user.", limit=10)
    assert [len(page) for page in found] == [10, 10, 5]
    assert [task.task_id for page in found for task in page] == ids
    exact = await pages(run.client.list, "tasks", prefix="user.", limit=25)
    assert [len(page) for page in exact] == [25]


async def test_a_page_of_long_rows_ends_where_one_message_ends(run: Running) -> None:
    for number in range(12):
        await run.client.create(f"user.t{number:02}", FAR, task_class="demo.echo", config={"x": "y" * 60_000})
    found = await pages(run.client.list, "tasks", prefix="user.")
    assert len(found) > 1
    assert [task.task_id for page in found for task in page] == [f"user.t{number:02}" for number in range(12)]


async def test_tasks_are_found_by_prefix_state_tag_and_owner(run: Running) -> None:
    client = run.client
    await client.create("user.a", FAR, task_class="demo.echo", tags=["red", "blue"], owner="anna")
    await client.create("user.ab", FAR, task_class="demo.echo", tags=["red"], owner="bert")
    await client.create("user.b", FAR, task_class="demo.echo", tags=["reddish"])
    await client.pause("user.ab")
    await client.disable("user.b")

    async def ids(**filters: Any) -> list[str]:
        found = [task.task_id for task in (await client.list(**filters)).tasks]
        return [task_id for task_id in found if task_id.startswith("user.")]

    assert await ids(prefix="user.a") == ["user.a", "user.ab"]
    assert await ids(prefix="user._") == []
    assert await ids(state="active") == ["user.a"]
    assert await ids(state="paused") == ["user.ab"]
    assert await ids(state="disabled") == ["user.b"]
    assert await ids(state="unavailable") == await ids(state="finished") == []
    assert await ids(tag="red") == ["user.a", "user.ab"]
    assert await ids(tag="re") == []
    assert await ids(owner="anna") == ["user.a"]
    assert await ids(tag="red", owner="bert", state="paused") == ["user.ab"]
    with pytest.raises(InvalidMessage):
        await client.request(names.TASK_LIST, {"state": "asleep"})


async def test_executions_are_found_by_task_state_and_time(run: Running) -> None:
    client = run.client
    await client.create("user.a", FAR, task_class="demo.echo")
    await client.create("user.b", FAR, task_class="user.raises", config={"kind": "ValueError"})
    a1, b1, a2 = await run.ran("user.a"), await run.ran("user.b"), await run.ran("user.a")

    async def ids(**filters: Any) -> list[str]:
        return [row.execution_id for row in (await client.executions(**filters)).executions]

    assert await ids() == [a2.execution_id, b1.execution_id, a1.execution_id]
    assert await ids(task_id="user.a") == [a2.execution_id, a1.execution_id]
    assert await ids(execution_id=b1.execution_id) == [b1.execution_id]
    assert await ids(status="dead") == [b1.execution_id]
    assert await ids(status="running") == []
    assert await ids(since=b1.started_at) == [a2.execution_id, b1.execution_id]
    assert await ids(until=b1.started_at) == [b1.execution_id, a1.execution_id]
    assert await ids(since=b1.started_at, until=b1.started_at) == [b1.execution_id]
    # The same instant, said in another zone.
    moment = datetime.fromisoformat(str(a2.started_at))
    elsewhere = (moment.replace(tzinfo=None) + timedelta(hours=5)).isoformat() + "+05:00"
    assert await ids(since=elsewhere) == [a2.execution_id]
    found = await pages(client.executions, "executions", limit=2)
    assert [row.execution_id for page in found for row in page] == [a2.execution_id, b1.execution_id, a1.execution_id]


async def test_attempts_are_listed_when_asked_for(run: Running) -> None:
    await run.client.create("user.f", FAR, task_class="demo.fail", config={"times": 2}, retry={"delay": 0.01})
    execution = await run.ran("user.f")
    assert (execution.status, execution.attempt, execution.retry_count, execution.attempts) == ("succeeded", 3, 2, None)
    page = await run.client.executions(execution_id=execution.execution_id, attempts=True)
    attempts = page.executions[0].attempts
    assert attempts is not None
    assert [(each.attempt, each.outcome) for each in attempts] == [(1, "failed"), (2, "failed"), (3, "succeeded")]
    assert attempts[0].error_type == "aico_sched.tasks.base.TransientError"
    assert "attempt 1 fails" in str(attempts[0].error_message)
    assert "Traceback" in str(attempts[0].traceback)
    assert attempts[2].error_message is None
    times = [moment for each in attempts for moment in (each.started_at, each.completed_at)]
    assert times == sorted(times)


async def test_dead_letters_are_listed_requeued_and_discarded(run: Running, gate: Gate) -> None:
    client = run.client
    for name in ("x", "y", "z"):
        await client.create(f"user.{name}", FAR, task_class="demo.fail", config={"times": 1, "kind": "permanent"})
    dead = [await run.ran(f"user.{name}") for name in ("x", "y", "z")]
    found = await pages(client.dead_list, "dead", limit=2)
    assert [[letter.task_id for letter in page] for page in found] == [["user.z", "user.y"], ["user.x"]]
    letter = (await client.dead_list(task_id="user.x")).dead[0]
    assert letter.execution_id == dead[0].execution_id
    assert letter.config == {"times": 1, "kind": "permanent"}
    assert [(each.attempt, each.outcome) for each in letter.attempts] == [(1, "failed")]
    assert "attempt 1 fails" in letter.reason

    requeued = await client.dead_requeue(dead[0].execution_id)
    assert requeued.execution_id == dead[0].execution_id
    again = await run.finished(requeued.execution_id)
    assert (again.status, again.attempt) == ("succeeded", 2)
    await client.dead_discard(dead[1].execution_id)
    assert [letter.task_id for letter in (await client.dead_list()).dead] == ["user.z"]
    history = await client.executions(task_id="user.y")
    assert [row.status for row in history.executions] == ["dead"]
    for call in (client.dead_requeue, client.dead_discard):
        with pytest.raises(ExecutionNotFound):
            await call(dead[1].execution_id)


async def test_past_events_are_listed_after_any_number(run: Running) -> None:
    for number in range(5):
        await run.client.create(f"user.t{number}", FAR, task_class="demo.echo")
    heard = (await run.events.several(5, names.TASK_CREATED))[-5:]
    last = heard[-1].seq
    page = await run.client.event_list(names.TASK_CREATED, after_seq=last - 3)
    assert [row.seq for row in page.events] == [last - 2, last - 1, last]
    for row, event in zip(page.events, heard[-3:], strict=True):
        assert (row.message_id, row.timestamp, row.payload) == (event.message_id, event.timestamp, event.payload)
    first = await run.client.event_list(names.TASK_CREATED, limit=2)
    assert [row.seq for row in first.events] == [1, 2]
    assert (await run.client.event_list(names.TASK_CREATED, after_seq=last)).events == []
    assert (await run.client.event_list("scheduler.event.nothing")).events == []


async def test_tasks_come_in_the_order_of_their_next_run(run: Running) -> None:
    schedules = {"user.c": "interval:3000", "user.a": "interval:9000", "user.b": "interval:3000", "user.z": "@reboot"}
    for task_id, schedule in schedules.items():
        await run.client.create(task_id, schedule, task_class="demo.echo", start_at="2100-01-01T00:00:00Z")
    found = await pages(run.client.list, "tasks", prefix="user.", sort="next_run", limit=2)
    times = [(task.next_run, task.task_id) for page in found for task in page]
    assert times == sorted(times)
    assert {task_id for _, task_id in times} == {"user.a", "user.b", "user.c"}
    assert len(found) == 2


async def test_tasks_are_listed_with_how_their_newest_runs_went(run: Running) -> None:
    await run.client.create("user.a", FAR, task_class="demo.echo")
    await run.client.create("user.d", FAR, task_class="user.raises", config={"kind": "ValueError"})
    await run.client.create("user.n", FAR, task_class="demo.echo")
    for task_id in ("user.a", "user.a", "user.a", "user.d"):
        await run.ran(task_id)
    tasks = (await run.client.list(prefix="user.", history=2)).tasks
    assert {task.task_id: task.recent for task in tasks} == {
        "user.a": ["succeeded", "succeeded"],
        "user.d": ["dead"],
        "user.n": [],
    }
    assert (await run.client.list(prefix="user.n")).tasks[0].recent is None
