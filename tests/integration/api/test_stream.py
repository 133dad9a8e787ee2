"""Events over HTTP come as they happen, and a reader that was away misses none."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest

from aico_sched.actors import store as store_actor
from aico_sched.api import stream
from aico_sched.api.event_ids import event_id, parse_event_id
from aico_sched.client import InvalidMessage
from aico_sched.topics import names

FAR = "interval:86400"
BEAT = 0.05


class Frame(NamedTuple):
    event: str
    data: Any
    id: str | None


class Reader:
    def __init__(self, lines: AsyncIterator[str]) -> None:
        self.lines = lines
        self.seen: list[Frame] = []

    async def next(self) -> Frame:
        fields: dict[str, str] = {}
        async with asyncio.timeout(20):
            async for line in self.lines:
                if not line and "event" in fields:
                    self.seen.append(Frame(fields["event"], json.loads(fields["data"]), fields.get("id")))
                    return self.seen[-1]
                name, _, value = line.partition(": ")
                fields[name] = value
        raise EOFError

    async def until(self, event: str, **payload: Any) -> Frame:
        try:
            async with asyncio.timeout(20):
                while True:
                    frame = await self.next()
                    if frame.event == event and payload.items() <= frame.data.get("payload", {}).items():
                        return frame
        except TimeoutError:
            told = [(each.event, each.data) for each in self.seen if each.event != "availability"]
            raise AssertionError(f"{event} {payload} did not come; what came: {told}") from None


@asynccontextmanager
async def reading(web: Any, last: str | None = None, **query: str) -> AsyncIterator[Reader]:
    headers = {} if last is None else {"Last-Event-ID": last}
    async with web.http.stream("GET", "events/stream", headers=headers, params=query, timeout=30) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        yield Reader(answer.aiter_lines())


async def test_what_happens_is_told_at_once_in_order(serve: Any) -> None:
    web = await serve(scheduler__heartbeat_interval=BEAT)
    async with reading(web) as reader:
        assert (await reader.next())[:2] == ("hello", {"resumed": False})
        await reader.until("availability")
        await web.http.post("tasks", json={"task_id": "user.a", "schedule": FAR, "task_class": "demo.echo"})
        run = (await web.http.post("tasks/user.a/trigger")).json()["execution_id"]
        end = await reader.until("execution.succeeded", execution_id=run)
        about = [frame.event for frame in reader.seen if frame.event != "availability"]
        assert about == ["hello", "task.created", "execution.started", "execution.succeeded"]
        assert end.data["topic"] == names.EXECUTION_SUCCEEDED
        assert end.data["seq"] >= 1
        assert end.id is not None
        assert parse_event_id(end.id)[names.EXECUTION_SUCCEEDED] == end.data["seq"]


async def test_a_reader_that_comes_back_gets_what_it_missed_once_each(serve: Any) -> None:
    web = await serve(scheduler__heartbeat_interval=BEAT)
    await web.http.post("tasks", json={"task_id": "user.a", "schedule": FAR, "task_class": "demo.echo"})
    async with reading(web, prefix=names.EXECUTION_EVENTS) as reader:
        await reader.next()
        await web.run.ran("user.a")
        last = await reader.until("execution.succeeded")
        # An id comes once a heartbeat has told where every topic stands.
        while last.id is None:
            await web.run.events.several(1, names.AVAILABILITY)
            await web.run.ran("user.a")
            last = await reader.until("execution.succeeded")
    missed = [(await web.run.ran("user.a")).execution_id for _ in range(3)]
    async with reading(web, last.id, prefix=names.EXECUTION_EVENTS) as reader:
        assert (await reader.next()).data == {"resumed": True}
        ended = [await reader.until("execution.succeeded") for _ in missed]
        assert [frame.data["payload"]["execution_id"] for frame in ended] == missed
        now = (await web.run.ran("user.a")).execution_id
        assert (await reader.until("execution.succeeded")).data["payload"]["execution_id"] == now
    started = [frame.data["seq"] for frame in reader.seen if frame.event == "execution.started"]
    assert started == sorted(set(started))


async def test_what_the_history_no_longer_holds_is_said_to_be_lost(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_actor, "HOUSEKEEPING_INTERVAL", 0.02)
    web = await serve(scheduler__event_retention=100, scheduler__heartbeat_interval=BEAT)
    run = web.run
    await asyncio.gather(*(run.client.create(f"user.t{n}", FAR, task_class="demo.echo") for n in range(150)))
    async with asyncio.timeout(20):
        while run.query("SELECT count(*) FROM scheduler_events")[0][0] > 100:
            # What is published is noted with the next change; only that may go.
            await run.client.update("user.t0", priority=1)
    async with reading(web, event_id({names.TASK_CREATED: 2})) as reader:
        # The updates that made room are lost to this reader too; they may be told of first.
        while names.TASK_CREATED not in (await reader.until("lost")).data["message"]:
            pass
        await run.client.pause("user.t1")
        await reader.until("task.paused", task_id="user.t1")


@pytest.mark.parametrize(
    "last", ["x", "execution.started", "execution.started=-1", "no.such=1", "=1", ";", "a=1" * 3_000]
)
def test_an_id_that_is_none_is_refused(last: str) -> None:
    with pytest.raises(InvalidMessage):
        parse_event_id(last)


def test_an_id_says_how_far_every_topic_is() -> None:
    seq = {names.EXECUTION_STARTED: 12, names.TASK_CREATED: 3}
    assert event_id(seq) == "execution.started=12;task.created=3"
    found = parse_event_id(event_id(seq))
    assert {topic: number for topic, number in found.items() if number} == seq
    assert found[names.ALERT] == 0


async def test_wrong_questions_and_too_many_readers_are_refused(web: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MAX_STREAMS", 1)
    refused = [
        ({"prefix": "scheduler.task."}, {}, 422),
        ({}, {"Last-Event-ID": "nonsense"}, 422),
    ]
    for query, headers, status in refused:
        answer = await web.http.get("events/stream", params=query, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (status, "invalid_message")
    async with reading(web) as reader:
        await reader.next()
        assert (await web.http.get("events/stream")).json()["code"] == "unavailable"
    async with asyncio.timeout(20):
        while (await web.http.get("stats")).status_code == 200:
            async with web.http.stream("GET", "events/stream") as answer:
                if answer.status_code == 200:
                    break


async def test_silence_is_told_too(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "KEEP_ALIVE_SECONDS", 0.05)
    web = await serve(scheduler__heartbeat_interval=3600)
    async with reading(web, prefix=names.ALERT) as reader, asyncio.timeout(20):
        await reader.next()
        assert await anext(reader.lines) == ": still here"
