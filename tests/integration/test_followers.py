"""Tasks that run because of how another task's run ended."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from aico_sched.client import SchedulerClient
from aico_sched.client.errors import InvalidSchedule, PermissionDenied
from aico_sched.tasks.notify import NotifyWebhook
from aico_sched.testing import Simulation, run_task
from aico_sched.topics import names
from tests.integration.support.running import Running
from tests.integration.support.tasks import Gate

FAR = "interval:86400"
BROKEN = {"task_class": "user.raises", "config": {"kind": "ValueError"}}


async def states(client: SchedulerClient, task_id: str) -> list[str]:
    """How the executions of a task ended, the oldest first."""
    page = await client.executions(task_id=task_id)
    return [run.status for run in page.executions[::-1]]


async def test_a_task_follows_each_success_of_another_and_is_told_of_it(run: Running) -> None:
    await run.client.create("user.first", FAR, task_class="demo.echo", config={"n": 1})
    second = await run.client.create("user.second", "after:user.first", task_class="demo.echo")
    assert (second.next_run, second.state) == (None, "active")
    done = await run.ran("user.first")
    event = await run.events.first(names.EXECUTION_SUCCEEDED, task_id="user.second")
    followed = await run.finished(event.payload["execution_id"])
    assert followed.trigger == "event"
    assert followed.cause is not None
    assert followed.cause["execution_id"] == done.execution_id
    assert followed.cause["result"] == {"message": "", "data": {"n": 1}}


async def test_a_failure_is_followed_by_who_watches_the_task_its_namespace_or_all(run: Running) -> None:
    await run.client.create("user.d", FAR, **BROKEN)
    patterns = {"user.one": "failure:user.d", "user.space": "failure:user.*", "user.all": "failure:*"}
    for task_id, schedule in (patterns | {"user.other": "failure:agency.*", "user.ok": "after:user.d"}).items():
        await run.client.create(task_id, schedule, task_class="demo.echo")
    dead = await run.ran("user.d")
    for task_id in patterns:
        event = await run.events.first(names.EXECUTION_SUCCEEDED, task_id=task_id)
        followed = await run.finished(event.payload["execution_id"])
        assert followed.cause is not None
        assert (followed.cause["execution_id"], followed.cause["status"]) == (dead.execution_id, "dead")
        assert "ValueError" in str(followed.cause["reason"]) or followed.cause["reason"]
    await run.barrier()
    assert await states(run.client, "user.other") == []
    assert await states(run.client, "user.ok") == []


async def test_a_watcher_that_fails_does_not_watch_itself(run: Running) -> None:
    await run.client.create("user.d", FAR, **BROKEN)
    await run.client.create("user.watch", "failure:*", **BROKEN)
    await run.ran("user.d")
    await run.events.first(names.EXECUTION_DEAD, task_id="user.watch")
    await run.barrier()
    assert await states(run.client, "user.watch") == ["dead"]


async def test_what_is_paused_disabled_or_moved_follows_no_more(run: Running) -> None:
    await run.client.create("user.first", FAR, task_class="demo.echo")
    for task_id in ("user.paused", "user.moved", "user.gone", "user.stays"):
        await run.client.create(task_id, "after:user.first", task_class="demo.echo")
    await run.client.pause("user.paused")
    await run.client.update("user.moved", schedule=FAR)
    await run.client.delete("user.gone")
    await run.ran("user.first")
    await run.events.first(names.EXECUTION_SUCCEEDED, task_id="user.stays")
    for task_id in ("user.paused", "user.moved"):
        assert await states(run.client, task_id) == []
    await run.client.resume("user.paused")
    await run.ran("user.first")
    await run.events.first(names.EXECUTION_SUCCEEDED, task_id="user.paused")


@pytest.mark.parametrize(("overlap", "expected"), [("skip", ["succeeded", "skipped"]), ("queue", ["succeeded"] * 2)])
async def test_the_overlap_rule_counts(run: Running, gate: Gate, overlap: Any, expected: list[str]) -> None:
    await run.client.create("user.first", FAR, task_class="demo.echo")
    gated = {"task_class": "user.gated", "config": {"gate": gate.name}}
    await run.client.create("user.next", "after:user.first", overlap=overlap, **gated)
    await run.ran("user.first")
    await gate.has_entered()
    await run.ran("user.first")
    gate.open()
    ended = names.EXECUTION_SKIPPED if overlap == "skip" else names.EXECUTION_SUCCEEDED
    await run.events.several(expected.count(expected[-1]), ended, task_id="user.next")
    await run.events.first(names.EXECUTION_SUCCEEDED, task_id="user.next")
    await run.barrier()
    assert sorted(await states(run.client, "user.next")) == sorted(expected)


async def test_circles_and_options_of_time_are_refused(run: Running) -> None:
    with pytest.raises(InvalidSchedule, match=r"user\.a cannot run after user\.a"):
        await run.client.create("user.a", "after:user.a", task_class="demo.echo")
    await run.client.create("user.b", "after:user.a", task_class="demo.echo")
    await run.client.create("user.c", "after:user.b", task_class="demo.echo")
    with pytest.raises(InvalidSchedule, match="which itself runs after"):
        await run.client.create("user.a", "after:user.c", task_class="demo.echo")
    await run.client.create("user.a", FAR, task_class="demo.echo")
    with pytest.raises(InvalidSchedule, match="which itself runs after"):
        await run.client.update("user.a", schedule="after:user.c")
    with pytest.raises(InvalidSchedule, match="jitter is for schedules that go by time"):
        await run.client.create("user.j", "after:user.a", task_class="demo.echo", jitter=5.0)
    with pytest.raises(InvalidSchedule, match="not the id of a task"):
        await run.client.create("user.k", "after:user..a", task_class="demo.echo")


async def test_a_follower_that_was_due_when_the_service_ended_runs_after_it(
    scheduler_simulation: Callable[..., Simulation],
) -> None:
    async with scheduler_simulation(scheduler__max_concurrent_tasks=1) as simulation:
        client = simulation.client
        await client.create("user.first", "0 6 * * *", task_class="demo.echo")
        await client.create("user.second", "after:user.first", task_class="demo.echo")
        await simulation.clock.advance(86_400)
        await simulation.restart(down=3_600)
        assert await states(simulation.client, "user.second") == ["succeeded"]
        await simulation.clock.advance(86_400)
        assert await states(simulation.client, "user.second") == ["succeeded", "succeeded"]


@asynccontextmanager
async def receiver(status: int) -> AsyncIterator[tuple[str, list[dict[str, Any]], list[bytes]]]:
    """A web server that answers every request with `status`: its URL, the bodies and the heads it was sent."""
    bodies: list[dict[str, Any]] = []
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        heads.append(head)
        size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        bodies.append(json.loads(await reader.readexactly(size)))
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody".encode())
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/hook", bodies, heads


async def test_a_failure_is_told_to_a_webhook(run: Running) -> None:
    async with receiver(200) as (url, bodies, heads):
        await run.client.create("user.d", FAR, **BROKEN)
        config = {"url": url, "token": "s3cret"}
        await run.client.create("notify.ops", "failure:*", task_class="notify.webhook", config=config)
        await run.ran("user.d")
        await run.events.first(names.EXECUTION_SUCCEEDED, task_id="notify.ops")
    (body,) = bodies
    assert body["text"].startswith("user.d failed for good: ")
    assert body["cause"]["task_id"] == "user.d"
    assert b"Authorization: Bearer s3cret" in heads[0]


@pytest.mark.parametrize(
    ("status", "kind"), [(400, "PermanentError"), (429, "TransientError"), (500, "TransientError")]
)
async def test_a_webhook_that_refuses_is_final_one_that_is_ill_is_not(status: int, kind: str) -> None:
    async with receiver(status) as (url, _, _):
        ended = await run_task(NotifyWebhook, {"url": url})
    assert type(ended.error).__name__ == kind
    assert f"answered {status}: body" in str(ended.error)


async def test_nobody_there_is_worth_another_try() -> None:
    ended = await run_task(NotifyWebhook, {"url": "http://127.0.0.1:9/hook", "timeout": 5.0})
    assert type(ended.error).__name__ == "TransientError"


async def test_a_module_may_not_send_requests_out(
    start: Callable[..., Any], wire_to: Callable[..., Any], run: Running
) -> None:
    other = await start("other", roles={"mod": "module"})
    async with SchedulerClient.discover(other.settings.data_dir, "mod") as client:
        with pytest.raises(PermissionDenied, match=r"notify\.\*"):
            await client.create("user.x", "failure:*", task_class="notify.webhook", config={"url": "http://127.0.0.1/"})
