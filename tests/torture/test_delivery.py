"""PUB/SUB loses messages; commands do not. Whatever happens on the way, each command has one effect and one answer, and
who reads events with `resume` gets each once."""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq

from aico_sched.bus.access import AccessRules
from aico_sched.bus.broker import Broker
from aico_sched.bus.sockets import make_client, open_socket
from aico_sched.client import SchedulerClient
from aico_sched.client.errors import RequestTimeout
from aico_sched.client.events import EventStream
from aico_sched.security.keys import KeyRing
from aico_sched.service import SchedulerService
from aico_sched.topics import names
from tests.integration.support.aico import AicoBroker
from tests.integration.support.running import settings_for

COUNT = 2_000 if os.environ.get("AICO_SCHED_LONG") else 150
RESTARTS = 20 if os.environ.get("AICO_SCHED_LONG") else 3
PATIENCE = COUNT / 10 + 45
"""Seconds for an answer. A client waits the longer before it repeats itself the slower the answers are, and with
thousands under way on a busy machine they are slow: of 2,000 some need more repetitions than fit into a minute."""

FAR = "interval:86400"


async def create_all(client: SchedulerClient, label: str, count: int = COUNT) -> set[str]:
    """Many at once; each answered with its own task."""
    wanted = [f"user.{label}{number}" for number in range(count)]
    answers = await asyncio.gather(*(client.create(task_id, FAR, task_class="demo.echo") for task_id in wanted))
    assert [answer.task_id for answer in answers] == wanted
    assert {answer.revision for answer in answers} == {1}
    return set(wanted)


async def each_once(stream: EventStream, wanted: set[str]) -> None:
    """Until every task's creation was heard; none twice, the numbers without gaps."""
    heard: Counter[str] = Counter()
    last = 0
    async with asyncio.timeout(PATIENCE):
        async for event in stream:
            if event.topic == names.TASK_CREATED:
                assert last in (0, event.seq - 1)
                last = event.seq
                heard[event.payload["task_id"]] += 1
                if wanted <= heard.keys():
                    break
    assert {task_id: times for task_id, times in heard.items() if times != 1} == {}


async def in_the_store(client: SchedulerClient) -> set[str]:
    found: set[str] = set()
    cursor = None
    while True:
        page = await client.list(prefix="user.", limit=1_000, cursor=cursor)
        found |= {task.task_id for task in page.tasks}
        cursor = page.next_cursor
        if cursor is None:
            return found


@pytest.mark.timeout(3 * PATIENCE)
async def test_one_message_in_twenty_is_lost(tmp_path: Path) -> None:
    with AicoBroker(drop=0.05) as broker:
        settings = settings_for(
            tmp_path / "data",
            bus__connect=broker.address,
            bus__server_key=broker.public,
            scheduler__heartbeat_interval=0.2,
        )
        async with SchedulerService(settings), SchedulerClient.discover(tmp_path / "data", timeout=PATIENCE) as client:
            stream = client.events(resume=True)
            # Which number is the next is known from the first heartbeat on.
            async for event in stream:
                if event.topic == names.AVAILABILITY:
                    break
            wanted = await create_all(client, "lossy")
            await each_once(stream, wanted)
            assert await in_the_store(client) == wanted
            assert client._requests.resent > 0
            assert broker.lost > COUNT // 20


async def test_a_subscriber_that_does_not_read_harms_nobody(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "data")
    async with SchedulerService(settings) as service, SchedulerClient.discover(tmp_path / "data", timeout=60) as client:
        context: zmq.Context[Any] = zmq.Context()
        stalled = open_socket(context, zmq.SUB, high_water=5)
        ring = KeyRing(tmp_path / "data" / "keys")
        ring.reload()
        make_client(stalled, ring.server().public, ring.client("admin"))
        assert service.address is not None
        stalled.connect(service.address.subscribe)
        stalled.setsockopt(zmq.SUBSCRIBE, names.EVENTS.encode())
        async with asyncio.timeout(20):
            while not stalled.poll(0):
                await client.health()
                await client.create("user.seen", FAR, task_class="demo.echo")
                await client.delete("user.seen")
        stream = client.events(resume=True)
        wanted = await create_all(client, "stalled")
        await each_once(stream, wanted)
        stalled.close()
        context.term()


@asynccontextmanager
async def hosted(folder: Path, ports: tuple[int, int] = (0, 0)) -> AsyncIterator[tuple[KeyRing, Any]]:
    """A broker apart from the service."""
    ring = KeyRing(folder / "keys")
    ring.ensure()
    context: zmq.Context[Any] = zmq.Context()
    broker = Broker(context, ring, AccessRules.load(), publish_port=ports[0], subscribe_port=ports[1])
    try:
        yield ring, await broker.start()
    finally:
        await broker.stop()
        context.term()


async def test_the_broker_is_restarted_again_and_again_while_commands_are_under_way(tmp_path: Path) -> None:
    asked: list[str] = []
    made: list[str] = []
    enough = asyncio.Event()
    hub = hosted(tmp_path / "hub")
    ring, address = await hub.__aenter__()
    ports = int(address.publish.rpartition(":")[2]), int(address.subscribe.rpartition(":")[2])
    settings = settings_for(
        tmp_path / "data", bus__connect=f"tcp://127.0.0.1:{ports[0]},{ports[1]}",
        bus__keys=str(tmp_path / "hub" / "keys"), scheduler__heartbeat_interval=0.2,
    )  # fmt: skip
    client = SchedulerClient(address, ring.client("admin"), ring.server().public, timeout=60)
    async with SchedulerService(settings), client:
        stream = client.events(resume=True)
        await client.health()

        async def create() -> None:
            while not enough.is_set():
                asked.append(f"user.hub{len(asked)}")
                made.append((await client.create(asked[-1], FAR, task_class="demo.echo")).task_id)

        creating = [asyncio.create_task(create()) for _ in range(4)]
        for restart in range(RESTARTS):
            async with asyncio.timeout(30):
                while len(made) < 10 * restart + 10:
                    await client.health()
            await hub.__aexit__(None, None, None)
            hub = hosted(tmp_path / "hub", ports)
            await hub.__aenter__()
        enough.set()
        await asyncio.gather(*creating)
        assert sorted(made) == sorted(asked)
        await each_once(stream, set(asked))
        assert await in_the_store(client) == set(asked)
    await hub.__aexit__(None, None, None)


async def test_a_service_whose_bus_is_gone_stops_soon_and_tells_its_events_when_it_is_back(tmp_path: Path) -> None:
    hub = hosted(tmp_path / "hub")
    ring, address = await hub.__aenter__()
    ports = int(address.publish.rpartition(":")[2]), int(address.subscribe.rpartition(":")[2])
    settings = settings_for(
        tmp_path / "data", bus__connect=f"tcp://127.0.0.1:{ports[0]},{ports[1]}",
        bus__keys=str(tmp_path / "hub" / "keys"),
    )  # fmt: skip
    service = SchedulerService(settings)
    await service.start()
    async with SchedulerClient(address, ring.client("admin"), ring.server().public, timeout=60) as client:
        await client.create("user.a", "interval:0.05", task_class="demo.echo", max_runs=3)
        await hub.__aexit__(None, None, None)
        async with asyncio.timeout(15):
            await service.stop()
        hub = hosted(tmp_path / "hub", ports)
        await hub.__aenter__()
        async with SchedulerService(settings):
            stream = client.events(names.TASK_EVENTS, resume=True, after={names.TASK_FINISHED: 0})
            async with asyncio.timeout(30):
                async for event in stream:
                    if event.topic == names.TASK_FINISHED:
                        break
    await hub.__aexit__(None, None, None)


async def test_a_client_that_is_there_before_the_service_is_answered_when_it_comes(tmp_path: Path) -> None:
    """The slow joiner: what is published before anybody listens is lost, and asked again."""
    async with hosted(tmp_path / "hub") as (ring, address):
        connect = ",".join((address.publish, address.subscribe.rpartition(":")[2]))
        async with SchedulerClient(address, ring.client("admin"), ring.server().public, timeout=60) as client:
            early = asyncio.create_task(create_all(client, "early", 20))
            with pytest.raises(RequestTimeout):
                await client.request(names.HEALTH, timeout=0.2)
            settings = settings_for(tmp_path / "data", bus__connect=connect, bus__keys=str(tmp_path / "hub" / "keys"))
            async with SchedulerService(settings):
                assert await early == await in_the_store(client)


KILLED = """
import asyncio, sys
from pathlib import Path
from aico_sched.client import SchedulerClient

async def main():
    async with SchedulerClient.discover(Path(sys.argv[1]), timeout=60) as client:
        async def one(number):
            await client.request("scheduler.task.create", {"task_id": f"user.k{number}", "schedule": "interval:86400",
                                 "task_class": "demo.echo"}, message_id=f"killed-{number}")
            print(number, flush=True)
        await asyncio.gather(*(one(number) for number in range(int(sys.argv[2]))))
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_a_client_is_killed_and_another_takes_up_its_commands(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "data")
    async with SchedulerService(settings), SchedulerClient.discover(tmp_path / "data", timeout=60) as client:
        stream = client.events(resume=True)
        await client.health()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", KILLED, str(tmp_path / "data"), str(COUNT), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        async with asyncio.timeout(60):
            assert await process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        await process.communicate()

        async def again(number: int) -> dict[str, Any]:
            payload = {"task_id": f"user.k{number}", "schedule": FAR, "task_class": "demo.echo"}
            return await client.request(names.TASK_CREATE, payload, message_id=f"killed-{number}")

        answers = await asyncio.gather(*(again(number) for number in range(COUNT)))
        assert {answer["revision"] for answer in answers} == {1}
        wanted = {f"user.k{number}" for number in range(COUNT)}
        await each_once(stream, wanted)
        assert await in_the_store(client) == wanted
