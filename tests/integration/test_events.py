"""What the service says: only what is durable, numbered without gaps, and to anybody who listens."""

import ast
import asyncio
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest

from aico_sched.bus.local import LocalEndpoint
from aico_sched.topics import names
from tests.integration.support import wire as wire_module
from tests.integration.support.running import Running
from tests.integration.support.tasks import Gate
from tests.integration.support.wire import Wire

FAR = "interval:86400"
README = Path(__file__).parents[2] / "README.md"


async def test_nothing_is_published_or_acknowledged_before_it_is_durable(run: Running, gate: Gate) -> None:
    """At the moment at which a message leaves for the bus, another connection to the database sees what it tells of."""
    local = run.service._bus._local
    assert local is not None
    send, checked, early = local.send, [], []

    def watched(topic: str, body: bytes) -> bool:
        message = msgpack.unpackb(body)
        if topic.startswith(names.EVENTS) and topic != names.AVAILABILITY:
            known = run.query("SELECT message_id FROM scheduler_events WHERE topic = ? AND seq = ?", topic,
                              int(message["attributes"]["seq"]))  # fmt: skip
            checked.append(topic)
            if known != [(message["message_id"],)]:
                early.append(topic)
        elif topic.startswith(names.REPLY) and message["payload"]["ok"] and "revision" in message["payload"]["result"]:
            task = message["payload"]["result"]
            checked.append("reply")
            if (
                run.query("SELECT revision FROM scheduled_tasks WHERE task_id = ?", task["task_id"])[0][0]
                < (task["revision"])
            ):
                early.append("reply")
        return send(topic, body)

    local.send = watched  # type: ignore[method-assign]
    await run.client.create("user.a", FAR, task_class="demo.echo")
    await run.client.update("user.a", tags=["x"])
    await run.client.create("user.p", FAR, task_class="user.progresses")
    await run.ran("user.p")
    await run.client.delete("user.a")
    await run.events.first(names.TASK_DELETED)

    assert early == []
    assert {"reply", names.TASK_CREATED, names.TASK_UPDATED, names.EXECUTION_PROGRESS, names.TASK_DELETED} <= {*checked}


async def test_each_topic_is_numbered_by_itself_and_goes_on_after_a_restart(start: Any) -> None:
    first = await start()
    for name in ("user.a", "user.b"):
        await first.client.create(name, FAR, task_class="demo.echo")
    await first.client.pause("user.a")
    await first.events.first(names.TASK_PAUSED)
    created = [event.seq for event in first.events.of(names.TASK_CREATED)]
    assert created[1] == created[0] + 1
    assert [event.seq for event in first.events.of(names.TASK_PAUSED)] == [1]
    await first.service.stop()

    second = await start()
    await second.client.create("user.c", FAR, task_class="demo.echo")
    event = await second.events.first(names.TASK_CREATED, task_id="user.c")
    assert event.seq == created[1] + 1


async def test_events_not_known_to_be_published_go_out_again_after_a_restart(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await start()
    await first.client.create("user.a", FAR, task_class="demo.echo")
    event = await first.events.first(names.TASK_CREATED, task_id="user.a")
    await first.service.stop()
    # As a crash leaves it that came between the commit and the note of what is published.
    first.query("UPDATE scheduler_meta SET value = '0' WHERE key = 'published_event'")
    first.close()

    sent: list[tuple[str, str, str]] = []
    send = LocalEndpoint.send

    def watched(self: LocalEndpoint, topic: str, body: bytes) -> bool:
        message = msgpack.unpackb(body)
        sent.append((topic, message["attributes"].get("seq", ""), message["message_id"]))
        return send(self, topic, body)

    monkeypatch.setattr(LocalEndpoint, "send", watched)
    second = await start()
    await second.barrier()
    again = [(topic, seq, message_id) for topic, seq, message_id in sent if topic == names.TASK_CREATED]
    assert (names.TASK_CREATED, str(event.seq), event.message_id) in again
    assert [seq for _, seq, _ in again] == [str(seq) for seq in range(1, len(again) + 1)]


async def test_the_heartbeat_says_how_long_it_holds_and_which_numbers_are_out(start: Any) -> None:
    run = await start(scheduler__heartbeat_interval=0.05)
    await run.client.create("user.a", FAR, task_class="demo.echo")
    created = await run.events.first(names.TASK_CREATED, task_id="user.a")
    await run.events.until(
        lambda: any(
            beat.payload["seq"].get(names.TASK_CREATED, 0) >= created.seq for beat in run.events.of(names.AVAILABILITY)
        ),
        "a heartbeat with the number of the last event",
    )
    beats = run.events.of(names.AVAILABILITY)
    assert {(beat.seq, beat.payload["status"], beat.payload["instance"]) for beat in beats} == {
        (0, "ready", "aico-sched")
    }
    assert beats[-1].payload["expires_in"] == 3 * 0.05
    await run.service.stop()
    last = await run.events.first(names.AVAILABILITY, status="stopping")
    assert run.events.seen[-1] == last


async def test_a_program_with_nothing_but_pyzmq_and_msgpack_creates_a_task_and_sees_it_run(
    run: Running, wire: Wire
) -> None:
    await wire.subscribe(names.EVENTS)
    answer = await wire.ask(
        "scheduler.task.create",
        {"task_id": "user.hello", "schedule": "interval:0.1", "task_class": "demo.echo", "config": {"hello": "world"},
         "max_runs": 2},
    )  # fmt: skip
    assert answer["ok"] is True
    assert answer["result"]["task_id"] == "user.hello"
    for _ in range(2):
        ended = await wire.hear("scheduler.event.execution.succeeded")
        assert ended["payload"]["result"]["data"] == {"hello": "world"}
        assert ended["source"] == "aico-sched"
    said = [(topic, int(body["attributes"]["seq"])) for topic, body in wire.heard if "seq" in body["attributes"]]
    order = [topic.removeprefix("scheduler.event.") for topic, _ in said if "health" not in topic]
    assert order[:3] == ["task.created", "execution.started", "execution.succeeded"]
    numbers = [seq for topic, seq in said if topic == "scheduler.event.execution.succeeded"]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_the_bare_client_uses_nothing_of_ours() -> None:
    tree = ast.parse(Path(wire_module.__file__).read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} - sys.stdlib_module_names == {"zmq", "msgpack"}


async def test_the_program_in_the_readme_works_as_it_stands(run: Running, tmp_path: Path) -> None:
    """Run as another process; only the folder and the ports are this service's."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    code = next(block for block in blocks if "import msgpack, zmq" in block)
    address = run.service.address
    assert address is not None
    for usual, here in (
        ('Path.home() / ".local/share/aico/scheduler/keys"', f"Path({str(run.settings.data_dir / 'keys')!r})"),
        ("5565", address.publish.rpartition(":")[2]),
        ("5566", address.subscribe.rpartition(":")[2]),
    ):
        assert usual in code
        code = code.replace(usual, here)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-c", code, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(20):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors.decode()
    assert ast.literal_eval(output.decode())["result"]["task_id"] == "user.hello"
    assert (await run.client.status("user.hello")).task.config == {"hello": "world"}


async def test_two_clients_hear_the_same(run: Running, wire_to: Callable[..., Awaitable[Wire]]) -> None:
    first, second = await wire_to(run), await wire_to(run)
    for wire in (first, second):
        await wire.subscribe(names.TASK_EVENTS)
    for number in range(20):
        await run.client.create(f"user.t{number}", FAR, task_class="demo.echo")
    heard = []
    for wire in (first, second):
        await wire.barrier()
        heard.append([body["message_id"] for topic, body in wire.heard if topic == names.TASK_CREATED])
    assert len(heard[0]) == 20
    assert heard[0] == heard[1]
