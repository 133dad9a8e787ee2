"""The seeds' lifespan example: AICO's configuration manager, its bus and its database connection."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import libsql_experimental as libsql
import pytest
import zmq

from aico_sched.bus.address import BusAddress
from aico_sched.client import SchedulerClient
from aico_sched.embedding import InvalidBusHost, TaskScheduler, bus_address


class Configuration:
    """As much of AICO's configuration manager as is used."""

    def __init__(self, **values: Any) -> None:
        self._values = values

    def get(self, key: str, default: Any = None) -> Any:
        return self._values.get(key, default)


@pytest.fixture
async def bus() -> AsyncIterator[BusAddress]:
    """A bare XSUB/XPUB proxy as AICO runs it, without keys."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    xsub, xpub = context.socket(zmq.XSUB), context.socket(zmq.XPUB)
    ports = [socket.bind_to_random_port("tcp://127.0.0.1") for socket in (xsub, xpub)]
    control, end = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
    control.bind("inproc://control")
    end.connect("inproc://control")
    running = asyncio.create_task(asyncio.to_thread(zmq.proxy_steerable, xsub, xpub, None, control))
    yield BusAddress.of(*(f"tcp://127.0.0.1:{port}" for port in ports))
    end.send(b"TERMINATE")
    await running
    for socket in (xsub, xpub, control, end):
        socket.close(linger=0)
    context.term()


async def test_it_joins_the_bus_and_borrows_the_database(tmp_path: Path, bus: BusAddress) -> None:
    connection = libsql.connect(str(tmp_path / "aico.db"), encryption_key="k" * 32)
    connection.execute("CREATE TABLE events (id TEXT, topic TEXT)")
    connection.execute("INSERT INTO events VALUES ('1', 'mine')")
    connection.commit()
    configuration = Configuration(
        scheduler={"max_cpu_percent": 100, "max_memory_percent": 100},
        paths={"data_dir": str(tmp_path / "data")},
        bus={"unsigned_role": "module"},
    )
    scheduler = TaskScheduler(configuration, str(bus), connection)
    async with asyncio.timeout(60):
        await scheduler.start()
        try:
            async with SchedulerClient(bus, name="conversation-engine", codec="aico") as client:
                view = await client.create("user.hello", "@daily", task_class="demo.echo")
                started = await client.trigger("user.hello")
                ended = await client.wait(started.execution_id)
        finally:
            await scheduler.stop()
    assert (view.created_by, ended.status) == ("conversation-engine", "succeeded")
    # The connection is still AICO's own, and so is what was in it.
    assert connection.execute("SELECT topic FROM events").fetchall() == [("mine",)]
    assert connection.execute("SELECT status FROM task_executions").fetchall() == [("succeeded",)]
    connection.close()


async def test_a_disabled_scheduler_starts_nothing(tmp_path: Path) -> None:
    configuration = Configuration(
        **{"core.scheduler": {"enabled": False}, "paths": {"data_dir": str(tmp_path / "data")}}
    )
    scheduler = TaskScheduler(configuration)
    await scheduler.start()
    assert not scheduler.service.running
    await scheduler.stop()
    assert not (tmp_path / "data").exists()


class Host:
    pub_port, sub_port = 5555, 5556


@pytest.mark.parametrize(
    ("given", "address"),
    [
        (None, None),
        ("tcp://*:5555", "tcp://127.0.0.1:5555,5556"),
        ("tcp://127.0.0.1:7000,7100", "tcp://127.0.0.1:7000,7100"),
        ("localhost", "tcp://localhost:5555,5556"),
        (Host(), "tcp://127.0.0.1:5555,5556"),
    ],
)
def test_every_way_to_say_where_the_bus_is(given: Any, address: str | None) -> None:
    assert bus_address(given) == address


@pytest.mark.parametrize("given", [5555, object(), "http://x:1/y"])
def test_what_does_not_say_where_the_bus_is_is_refused(given: Any) -> None:
    with pytest.raises(InvalidBusHost, match="message_bus_host"):
        bus_address(given)
