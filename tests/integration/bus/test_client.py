"""The client against a small fake service on a real broker."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from aico_sched.client import (
    Conflict,
    EventsLost,
    ExecutionNotFound,
    InvalidMessage,
    RequestTimeout,
    SchedulerClient,
    ServiceUnreachable,
    SyncSchedulerClient,
    TaskExists,
    WaitTimeout,
)
from aico_sched.client import requests as requests_module
from aico_sched.topics import names
from aico_sched.topics.envelope import encode
from aico_sched.topics.errors import CommandError, ErrorCode
from aico_sched.topics.views import ExecutionView

STARTED = {"execution_id": "e1", "task_id": "user.a"}
FINISHED = names.EXECUTION_SUCCEEDED


def execution(status: str) -> dict[str, Any]:
    return {
        **dict.fromkeys(ExecutionView.model_fields),
        "execution_id": "e1",
        "task_id": "user.a",
        "trigger": "manual",
        "status": status,
        "scheduled_for": "now",
        "attempt": 1,
        "retry_count": 0,
    }


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests_module, "RETRY_SECONDS", (0.03, 0.05))


async def test_a_command_and_its_answer(bus: Any, service: Any) -> None:
    service.handlers[names.TASK_TRIGGER] = lambda payload: {**STARTED, "task_id": payload["task_id"]}
    async with bus.client() as client:
        started = await client.trigger("user.a")
    assert (started.execution_id, started.task_id) == ("e1", "user.a")
    ((topic, request),) = service.requests
    assert (topic, request.source, request.message_type) == (names.TASK_TRIGGER, "admin", names.TASK_TRIGGER)
    assert request.attributes["reply_to"].startswith("scheduler.reply.admin.")
    assert len(request.attributes["reply_to"].rpartition(".")[2]) == 32
    assert request.attributes["correlation_id"] == request.message_id


async def test_a_lost_answer_is_asked_for_with_the_same_id(bus: Any, service: Any) -> None:
    calls: list[dict[str, Any]] = []
    service.handlers[names.TASK_TRIGGER] = lambda payload: calls.append(payload) or STARTED
    service.drop = 3
    async with bus.client() as client:
        assert (await client.trigger("user.a")).execution_id == "e1"
    assert len(calls) == 1, "carried out once"
    assert len(service.requests) == 4
    assert len({(request.message_id, request.timestamp) for _, request in service.requests}) == 1
    assert len({request.attributes["correlation_id"] for _, request in service.requests}) == 1


async def test_a_late_second_answer_is_ignored(bus: Any, service: Any) -> None:
    service.handlers[names.TASK_TRIGGER] = lambda _: STARTED
    async with bus.client() as client:
        await client.trigger("user.a")
        request = service.requests[0][1]
        service.reply(request, {"ok": True, "result": {"execution_id": "other", "task_id": "x"}})
        assert (await client.trigger("user.a")).execution_id == "e1"


async def test_no_answer_is_a_timeout_that_can_be_taken_up_again(bus: Any, service: Any) -> None:
    service.handlers[names.TASK_TRIGGER] = lambda _: STARTED
    service.silent = True
    async with bus.client(timeout=0.2) as client:
        with pytest.raises(RequestTimeout, match="may have been carried out") as caught:
            await client.trigger("user.a")
        assert caught.value.retryable
        assert isinstance(caught.value, TimeoutError)
        service.silent = False
        message_id = caught.value.message_id
        assert await client.request(names.TASK_TRIGGER, {"task_id": "user.a"}, 5.0, message_id=message_id) == STARTED
    assert {request.message_id for _, request in service.requests} == {message_id}


async def test_an_error_answer_is_its_own_exception(bus: Any, service: Any) -> None:
    def exists(payload: dict[str, Any]) -> dict[str, Any]:
        raise CommandError(ErrorCode.TASK_EXISTS, "there is one", field="task_id")

    service.handlers[names.TASK_CREATE] = exists
    async with bus.client() as client:
        with pytest.raises(TaskExists) as caught:
            await client.create("user.a", "interval:60")
    error = caught.value
    assert (error.code, error.message, error.details) == (ErrorCode.TASK_EXISTS, "there is one", {"field": "task_id"})
    assert not error.retryable
    assert isinstance(error, CommandError)


async def test_bad_arguments_are_refused_before_they_are_sent(bus: Any, service: Any) -> None:
    async with bus.client() as client:
        with pytest.raises(InvalidMessage) as caught:
            await client.create("not a name", "interval:60", priority=1_000)
        assert caught.value.details["field"] == "priority"
        with pytest.raises(InvalidMessage):
            await client.request("scheduler.task.creat", {})
    assert service.requests == []


async def test_only_what_was_given_is_sent(bus: Any, service: Any) -> None:
    service.handlers[names.TASK_UPDATE] = lambda payload: STARTED
    async with bus.client() as client:
        await client.request(names.TASK_UPDATE, {"task_id": "user.a", "timezone": None, "priority": 3})
    assert service.requests[0][1].payload == {"task_id": "user.a", "timezone": None, "priority": 3}


async def test_many_at_once_within_a_window(bus: Any, service: Any) -> None:
    highest = 0

    def answer(payload: dict[str, Any]) -> dict[str, Any]:
        nonlocal highest
        highest = max(highest, len(client._requests))
        return {**STARTED, "task_id": payload["task_id"]}

    service.handlers[names.TASK_TRIGGER] = answer
    async with bus.client(window=50) as client:
        answers = await asyncio.gather(*(client.trigger(f"user.a{number}") for number in range(1_000)))
    assert [each.task_id for each in answers] == [f"user.a{number}" for number in range(1_000)]
    assert 1 < highest <= 50


async def test_it_goes_on_after_everybody_was_disconnected(bus: Any, service: Any) -> None:
    service.handlers[names.TASK_TRIGGER] = lambda _: STARTED
    await bus.ready("bob")
    async with bus.client() as client:
        tasks = [asyncio.create_task(client.trigger("user.a")) for _ in range(100)]
        await asyncio.sleep(0)
        bus.ring.revoke("bob")
        assert await bus.broker.reload_keys()
        tasks += [asyncio.create_task(client.trigger("user.a")) for _ in range(100)]
        answers = await asyncio.gather(*tasks)
    assert {each.execution_id for each in answers} == {"e1"}
    assert len(service.answers) == 200


async def test_closing_fails_what_waits(bus: Any, service: Any) -> None:
    service.silent = True
    client = bus.client()
    await client.connect()
    events = client.events()
    reading = asyncio.create_task(anext(events, None))
    waiting = asyncio.create_task(client.health())
    await bus.eventually(lambda: service.requests)
    await client.close()
    await client.close()
    with pytest.raises(ServiceUnreachable, match="closed"):
        await waiting
    assert await reading is None
    with pytest.raises(ServiceUnreachable):
        await client.health()
    with pytest.raises(ServiceUnreachable):
        client.events()


async def test_no_broker_is_unreachable(bus: Any) -> None:
    await bus.broker.stop()
    with pytest.raises(ServiceUnreachable, match="nothing listens there"):
        async with bus.client(timeout=0.2):
            pass


async def test_no_broker_any_more_is_unreachable(bus: Any, service: Any) -> None:
    async with bus.client(timeout=0.3) as client:
        await bus.broker.stop()
        await bus.eventually(lambda: not client._endpoint.linked)
        with pytest.raises(ServiceUnreachable, match="no connection"):
            await client.health()


# Events.


async def test_several_readers_get_what_they_asked_for(bus: Any, service: Any) -> None:
    async with bus.client() as client, bus.client("bob") as other:
        service.handlers[names.TASK_TRIGGER] = lambda _: STARTED
        everything, tasks, theirs = client.events(), client.events(names.TASK_EVENTS), other.events()
        await client.trigger("user.a")
        await other._prove(5)
        for number in range(3):
            service.event(FINISHED, number=number)
            service.event(names.TASK_CREATED, number=number)
        async with asyncio.timeout(10):
            seen = [await anext(everything) for _ in range(6)]
            assert [(event.topic, event.seq, event.payload["number"]) for event in seen[::2]] == [
                (FINISHED, number + 1, number) for number in range(3)
            ]
            assert [(await anext(tasks)).topic for _ in range(3)] == 3 * [names.TASK_CREATED]
            assert [(await anext(theirs)).seq for _ in range(6)] == [1, 1, 2, 2, 3, 3]
        await tasks.aclose()
        assert [event async for event in tasks] == []


async def test_a_request_after_events_cannot_outrun_the_subscription(bus: Any, service: Any) -> None:
    def trigger(payload: dict[str, Any]) -> dict[str, Any]:
        service.event(FINISHED)
        return STARTED

    service.handlers[names.TASK_TRIGGER] = trigger
    for _ in range(20):
        async with bus.client() as client:
            events = client.events(names.EXECUTION_EVENTS)
            await client.trigger("user.a")
            async with asyncio.timeout(5):
                await anext(events)


async def test_other_peoples_requests_for_events_are_not_events(bus: Any, service: Any) -> None:
    async with bus.client() as client, bus.client("bob") as other:
        events = client.events()
        await client.event_list(FINISHED)
        await other.event_list(FINISHED)
        service.event(FINISHED)
        async with asyncio.timeout(5):
            assert (await anext(events)).topic == FINISHED


async def test_a_reader_that_falls_behind_is_told(bus: Any, service: Any) -> None:
    async with bus.client() as client:
        slow, quick = client.events(buffer=5), client.events()
        await client.event_list(FINISHED)
        for _ in range(10):
            service.event(FINISHED)
        async with asyncio.timeout(5):
            assert [(await anext(quick)).seq for _ in range(10)] == list(range(1, 11))
            assert [(await anext(slow)).seq for _ in range(5)] == list(range(1, 6))
            with pytest.raises(EventsLost, match="too slow") as caught:
                await anext(slow)
        assert caught.value.last_seq == {FINISHED: 5}
        assert [event async for event in slow] == []
        async with asyncio.timeout(5):
            again = client.events(resume=True, after=caught.value.last_seq)
            assert [(await anext(again)).seq for _ in range(5)] == list(range(6, 11))


async def test_resume_fills_gaps_and_gives_each_event_once(bus: Any, service: Any) -> None:
    async with bus.client() as client:
        events = client.events(FINISHED, resume=True)
        await client.event_list(FINISHED)
        service.event(FINISHED, number=1)
        for number in range(2, 2_500):
            service.event(FINISHED, lost=True, number=number)
        service.event(FINISHED, number=2_500)
        assert service.endpoint.send(FINISHED, encode(service.events[FINISHED][9]))
        service.event(FINISHED, number=2_501)
        async with asyncio.timeout(10):
            seen = [await anext(events) for _ in range(2_501)]
        assert [event.seq for event in seen] == [event.payload["number"] for event in seen] == list(range(1, 2_502))


async def test_resume_sees_a_lost_last_event_by_the_heartbeat(bus: Any, service: Any) -> None:
    async with bus.client() as client:
        events = client.events(FINISHED, resume=True)
        await client.event_list(FINISHED)
        service.event(FINISHED)
        service.event(FINISHED, lost=True)
        service.heartbeat()
        async with asyncio.timeout(5):
            assert [(await anext(events)).seq for _ in range(2)] == [1, 2]
        quiet = client.events(names.TASK_CREATED, resume=True)
        service.events[names.TASK_CREATED] = []
        await client.event_list(FINISHED)
        service.event(names.TASK_CREATED, lost=True)
        service.heartbeat()
        service.event(names.TASK_CREATED)
        async with asyncio.timeout(5):
            assert (await anext(quiet)).seq == 2, "what came before its first heartbeat is not asked for"


async def test_resume_survives_falling_behind(bus: Any, service: Any) -> None:
    async with bus.client() as client:
        events = client.events(FINISHED, resume=True, buffer=5)
        await client.event_list(FINISHED)
        for _ in range(50):
            service.event(FINISHED)
        await client.event_list(FINISHED)
        async with asyncio.timeout(5):
            assert [(await anext(events)).seq for _ in range(50)] == list(range(1, 51))


async def test_what_the_history_no_longer_holds_is_told(bus: Any, service: Any) -> None:
    async with bus.client() as client:
        events = client.events(FINISHED, resume=True)
        await client.event_list(FINISHED)
        service.event(FINISHED)
        for _ in range(8):
            service.event(FINISHED, lost=True)
        history = service.events[FINISHED]
        service.event(FINISHED)
        service.events[FINISHED] = history[6:]
        async with asyncio.timeout(5):
            assert (await anext(events)).seq == 1
            with pytest.raises(EventsLost, match="2 to 6 are no longer in the history"):
                await anext(events)
            assert [(await anext(events)).seq for _ in range(4)] == [7, 8, 9, 10], "and it can go on"


# Waiting for an execution.


async def test_wait_returns_the_final_state(bus: Any, service: Any) -> None:
    states = ["queued", "running", "succeeded"]
    service.handlers[names.EXECUTION_LIST] = lambda _: {"executions": [execution(states[0])], "next_cursor": None}
    async with bus.client() as client:
        waiting = [asyncio.create_task(client.wait("e1", 10)) for _ in range(3)]
        while states[1:]:
            asked = len(service.requests)
            await bus.eventually(lambda asked=asked: len(service.requests) > asked - 1 and len(service.requests) >= 3)
            states.pop(0)
            service.event(names.EXECUTION_STARTED if states[1:] else FINISHED, execution_id="e1")
        assert {(await each).status for each in waiting} == {"succeeded"}
        assert client._watches == {}


async def test_wait_looks_again_by_itself(bus: Any, service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aico_sched.client.client._POLL_SECONDS", 0.02)
    states = ["running", "running", "dead"]
    service.handlers[names.EXECUTION_LIST] = lambda _: {"executions": [execution(states.pop(0))], "next_cursor": None}
    async with bus.client() as client:
        assert (await client.wait("e1", 10)).status == "dead"


async def test_wait_for_nothing_and_for_too_long(bus: Any, service: Any) -> None:
    pages: list[list[dict[str, Any]]] = [[]]
    service.handlers[names.EXECUTION_LIST] = lambda _: {"executions": pages[0], "next_cursor": None}
    async with bus.client() as client:
        with pytest.raises(ExecutionNotFound):
            await client.wait("e1", 10)
        pages[0] = [execution("running")]
        with pytest.raises(WaitTimeout, match=r"not over within 0\.1 s"):
            await client.wait("e1", 0.1)


# Finding the service, and the blocking client.


def announce(bus: Any, folder: Path) -> None:
    content = {
        "version": 1,
        "pid": os.getpid(),
        "publish": bus.address.publish,
        "subscribe": bus.address.subscribe,
        "server_public_key": bus.ring.server().public,
    }
    (folder / "service.json").write_text(json.dumps(content), encoding="utf-8")


async def test_discover(bus: Any, service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    service.handlers[names.TASK_TRIGGER] = lambda _: STARTED
    folder = bus.ring.folder.parent
    announce(bus, folder)
    async with SchedulerClient.discover(folder) as client:
        assert (await client.trigger("user.a")).execution_id == "e1"
    monkeypatch.setenv("AICO_SCHED_DATA_DIR", str(folder))
    async with SchedulerClient.discover(name="opal", bus=str(bus.address)) as client:
        assert client.name == "opal"
        assert (await client.trigger("user.a")).execution_id == "e1"


def in_thread(bus: Any) -> SyncSchedulerClient:
    return SyncSchedulerClient(bus.address, bus.ring.client("admin"), bus.ring.server().public, timeout=5)


async def test_the_blocking_client(bus: Any, service: Any) -> None:
    service.handlers[names.TASK_TRIGGER] = lambda payload: {**STARTED, "task_id": payload["task_id"]}
    service.handlers[names.EXECUTION_LIST] = lambda _: {"executions": [execution("succeeded")], "next_cursor": None}

    def conflict(payload: dict[str, Any]) -> dict[str, Any]:
        service.event(FINISHED, number=1)
        raise CommandError(ErrorCode.CONFLICT, "changed")

    service.handlers[names.TASK_PAUSE] = conflict

    def script() -> list[Any]:
        with in_thread(bus) as client:
            results: list[Any] = [client.trigger("user.a").task_id, client.wait("e1", 5).status]
            with client.events() as events:
                with pytest.raises(Conflict):
                    client.pause("user.a")
                results.append(next(events).payload)
            results.append(list(events))
            results.append(client.request(names.TASK_TRIGGER, {"task_id": "user.b"})["task_id"])
        client.close()
        with pytest.raises(ServiceUnreachable):
            client.health()
        return results

    assert await asyncio.to_thread(script) == ["user.a", "succeeded", {"number": 1}, [], "user.b"]


async def test_a_blocking_client_that_cannot_connect_leaves_no_thread(bus: Any) -> None:
    import threading

    await bus.broker.stop()

    def script() -> None:
        client = SyncSchedulerClient(bus.address, bus.ring.client("admin"), bus.ring.server().public, timeout=0.1)
        with pytest.raises(ServiceUnreachable):
            client.connect()

    await asyncio.to_thread(script)
    assert "aico-sched-client" not in [thread.name for thread in threading.enumerate()]
