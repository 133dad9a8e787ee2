"""Commands of one sender about one task are carried out in order, also while a class is asked about a configuration."""

import asyncio
from typing import Any

import pytest

from aico_sched.client.errors import TaskNotFound
from aico_sched.topics import names
from tests.integration.execution.test_config_judged import FAR, begun, patient

__all__ = ["patient"]


async def test_what_follows_a_create_that_is_judged_waits_for_it(start: Any) -> None:
    run = await begun(start)
    client = run.client
    sent = [
        asyncio.create_task(client.create("user.strict", FAR, config={"count": 1})),
        asyncio.create_task(client.trigger("user.strict")),
        asyncio.create_task(client.pause("user.strict", note="later")),
        asyncio.create_task(client.update("user.strict", config={"count": 7})),
        asyncio.create_task(client.resume("user.strict")),
    ]
    created, triggered, paused, updated, resumed = await asyncio.gather(*sent)
    assert created.config["count"] == 1
    assert (paused.state, updated.config["count"], resumed.state) == ("paused", 7, "active")
    revisions = [created.revision, paused.revision, updated.revision, resumed.revision]
    assert revisions == sorted(set(revisions))
    assert (await run.finished(triggered.execution_id)).task_id == "user.strict"
    # The other way round too: deleted while the update was asked about.
    asked = asyncio.create_task(client.update("user.strict", config={"count": 8}))
    gone = asyncio.create_task(client.delete("user.strict"))
    again = asyncio.create_task(client.create("user.strict", FAR, config={"count": 9}))
    assert (await asked).config["count"] == 8
    await gone
    assert (await again).config["count"] == 9


async def test_what_follows_a_create_that_is_refused_is_answered(start: Any) -> None:
    run = await begun(start)
    create = asyncio.create_task(run.client.create("user.strict", FAR, config={"count": 0}))
    trigger = asyncio.create_task(run.client.trigger("user.strict"))
    await asyncio.wait({create, trigger})
    assert create.exception() is not None
    with pytest.raises(TaskNotFound):
        await trigger


async def test_a_repeat_of_what_waits_is_done_once(start: Any) -> None:
    run = await begun(start)
    create = asyncio.create_task(run.client.create("user.strict", FAR, config={"count": 1}))
    trigger = asyncio.create_task(
        run.client.request(names.TASK_TRIGGER, {"task_id": "user.strict"}, message_id="the-same")
    )
    await create
    first = await trigger
    second = await run.client.request(names.TASK_TRIGGER, {"task_id": "user.strict"}, message_id="the-same")
    assert first == second
    await run.finished(first["execution_id"])
    page = await run.client.executions(task_id="user.strict")
    assert [each.execution_id for each in page.executions] == [first["execution_id"]]
