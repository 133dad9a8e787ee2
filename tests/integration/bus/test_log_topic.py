"""`scheduler.log_topic`: the service's log and that of its tasks on a topic of the bus: bounded, never in a circle."""

import asyncio
import threading
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from aico_sched.log_topic import LIMIT, LogTopic
from aico_sched.settings.errors import ConfigurationError
from aico_sched.topics import names
from aico_sched.topics.internal import BusPublish
from tests.integration.support.running import settings_for
from tests.integration.support.wire import Wire
from tests.support.clock import FakeClock

TOPIC = "logs/scheduler"
FAR = "interval:86400"


async def said(wire: Wire, message: str) -> dict[str, Any]:
    """The next such line on the topic."""
    while (row := (await wire.hear(TOPIC))["payload"])["message"] != message:
        pass
    return row


async def test_lines_of_tasks_and_of_the_service_are_published(start: Any, wire_to: Any) -> None:
    run = await start(scheduler__log_topic=TOPIC)
    heard = await wire_to(run)
    await heard.subscribe(TOPIC)
    await run.client.create("user.says", FAR, config={"lines": 3, "text": "hello"})
    execution = await run.ran("user.says")
    rows = [await said(heard, "hello") for _ in range(3)]
    assert [row["extra"]["n"] for row in rows] == [0, 1, 2]
    row = rows[1]
    assert (row["level"], row["subsystem"], row["function_name"]) == ("WARNING", "scheduler", "execute")
    assert row["module"] == "tests.integration.support.tasks"
    assert row["extra"]["execution_id"] == execution.execution_id
    assert row["extra"]["task_id"] == "user.says"
    assert row["timestamp"].endswith("Z") and row["line_number"] > 0 and row["topic"] == TOPIC
    # None of the program around it.
    structlog.get_logger().info("of the host program")
    config = {"lines": 1, "text": "the last"}
    await run.client.create("user.g", FAR, config=config, task_class="user.says", environment="process")
    await run.ran("user.g")
    last = await said(heard, "the last")
    assert last["module"].startswith("aico_sched.execution.child"), "its child's word, written by the service"
    assert last["extra"]["task_id"] == "user.g"
    messages = [body["payload"].get("message") for topic, body in heard.heard if topic == TOPIC]
    assert "of the host program" not in messages
    bridge = (await run.client.stats()).actors["bridge"]
    assert bridge["log_lines_published"] >= 4
    assert bridge["log_lines_dropped"] == 0
    assert (await run.client.health()).checks["log_topic"]["ok"]


async def test_a_line_about_publishing_is_not_published(start: Any) -> None:
    """The bridge logs that it refused to publish: such a line stands in the service's own log only."""
    run = await start(scheduler__log_topic=TOPIC)
    before = (await run.client.stats()).actors["bridge"]["log_lines_published"]
    with capture_logs() as written:
        # Behind the tap, which is the first of all processors.
        structlog.get_config()["processors"].insert(0, run.service._log_topic)
        supervisor = run.service._supervisor
        assert supervisor is not None
        supervisor.tell("bridge", names.BUS_PUBLISH, BusPublish("logs/x", {}, "nobody", "none", {}))
        await run.barrier()
    assert [entry["event"] for entry in written] == ["publish_refused"]
    assert (await run.client.stats()).actors["bridge"]["log_lines_published"] == before


async def test_without_the_setting_nothing_is_taken(start: Any) -> None:
    before = list(structlog.get_config()["processors"])
    run = await start()
    assert structlog.get_config()["processors"] == before
    assert "log_lines_published" not in (await run.client.stats()).actors["bridge"]


async def test_the_end_of_a_service_leaves_the_log_as_it_was(start: Any) -> None:
    before = list(structlog.get_config()["processors"])
    run = await start(scheduler__log_topic=TOPIC)
    assert structlog.get_config()["processors"] != before
    await run.service.stop()
    assert structlog.get_config()["processors"] == before


async def test_more_lines_than_the_bus_takes_are_dropped_and_counted() -> None:
    topic = LogTopic(TOPIC, FakeClock())
    woken: list[int] = []
    topic.on_line(lambda: woken.append(threading.get_ident()))
    topic.install()
    try:
        log = structlog.get_logger().bind(execution_id="e1", api_key="secret")
        for number in range(LIMIT + 7):
            log.info("line", n=number)
        assert len(woken) == 1, "one is enough until the lines are taken"
        taken = topic.take(10)
        assert [row["extra"]["n"] for row in taken] == list(range(10))
        assert taken[0]["extra"]["api_key"] == "********"
        figures = topic.figures()
        assert figures == {"log_lines_published": 10, "log_lines_waiting": LIMIT - 10, "log_lines_dropped": 7}
        topic.take(LIMIT)
        await asyncio.to_thread(log.info, "from a thread")
        await asyncio.sleep(0)
        assert woken == [threading.get_ident()] * 2
    finally:
        topic.remove()
        topic.remove()
    log.info("after")
    assert topic.figures()["log_lines_waiting"] == 1


@pytest.mark.parametrize("topic", ["scheduler", "scheduler.event.x", "", "a b", "x" * 300])
def test_a_topic_that_cannot_be_is_refused(tmp_path: Any, topic: str) -> None:
    with pytest.raises(ConfigurationError, match="log_topic"):
        settings_for(tmp_path, scheduler__log_topic=topic)
