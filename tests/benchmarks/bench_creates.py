"""Creating tasks from another process over the CURVE bus, every acknowledgement durable (synchronous=FULL).

Run `python tests/benchmarks/bench_creates.py [--quick] [--json] [--rounds N]`.

- paced: 1,000 creates a second, sent at their times whether or not the earlier ones are answered (open loop); latency
  counts from the time a create should have been sent, so that a stall is not hidden by a sender that waits.
- pipelined: 1,000 in flight, through our client, and as packed messages through bare pyzmq (what the service can do).
- one by one: the next is sent when the last is answered.
- fan-out: while the creates are paced, and during one more pipelined round, a third process subscribes to all events,
  reads on, and its gaps in `seq` are counted. The other rounds are without it: it takes a core from the two that the
  service and its client need.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

import msgpack
import zmq
from harness import Listener, Measure, Service, folder, gaps, medians, options, percentile, publish, spread

from aico_sched.client import SchedulerClient, locate
from aico_sched.topics import names
from aico_sched.topics.envelope import encode, new_envelope

RATE = 1_000
WINDOW = 1_000
EACH_WITHIN = 30.0
Make = Callable[[int], dict[str, Any]]


def payloads(prefix: str) -> Make:
    """The payload of create n of a series."""
    # Different moments, all far away.
    return lambda number: {
        "task_id": f"user.{prefix}.{number}",
        "schedule": f"interval:{86_400 + number}",
        "task_class": "demo.echo",
        "config": {"number": number},
    }


async def paced(client: SchedulerClient, make: Make, seconds: float) -> list[float]:
    """Seconds from when each create should have been sent to its acknowledgement."""
    loop = asyncio.get_running_loop()
    first, latencies = loop.time() + 0.1, []

    async def one(number: int, intended: float) -> None:
        await client.request(names.TASK_CREATE, make(number), EACH_WITHIN)
        latencies.append(loop.time() - intended)

    async with asyncio.TaskGroup() as group:
        for number in range(int(RATE * seconds)):
            intended = first + number / RATE
            if (pause := intended - loop.time()) > 0:
                await asyncio.sleep(pause)
            group.create_task(one(number, intended))
    return latencies


async def pipelined(client: SchedulerClient, make: Make, count: int) -> float:
    """Creates a second, by `WINDOW` senders, each of which sends its next one when the last is answered."""
    numbers = iter(range(count))

    async def send() -> None:
        for number in numbers:
            await client.request(names.TASK_CREATE, make(number), EACH_WITHIN)

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(WINDOW):
            group.create_task(send())
    return count / (time.perf_counter() - started)


async def one_by_one(client: SchedulerClient, make: Make, count: int) -> list[float]:
    """Seconds of each round trip."""
    took = []
    for number in range(count):
        started = time.perf_counter()
        await client.request(names.TASK_CREATE, make(number), EACH_WITHIN)
        took.append(time.perf_counter() - started)
    return took


def bare(service: Service, make: Make, count: int) -> float:
    """Creates a second, of messages packed beforehand; `WINDOW` are in flight."""
    location = locate(service.data_dir)
    assert location.identity is not None and location.server_public_key is not None
    reply_to = f"{names.REPLY}admin.{uuid.uuid4().hex}"
    bodies = [
        encode(new_envelope(names.TASK_CREATE, "admin", make(number), attributes={"reply_to": reply_to}))
        for number in range(count)
    ]
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    out, back = context.socket(zmq.XPUB), context.socket(zmq.SUB)
    for socket, endpoint in ((out, location.address.publish), (back, location.address.subscribe)):
        socket.linger, socket.sndhwm, socket.rcvhwm = 0, 0, 0
        socket.curve_serverkey = location.server_public_key.encode()
        socket.curve_publickey = location.identity.public.encode()
        socket.curve_secretkey = location.identity.secret.encode()
        socket.connect(endpoint)
    back.subscribe(reply_to)
    try:
        _connected(out, back, reply_to)
        return _flood(out, back, bodies)
    finally:
        context.destroy(linger=0)


def _connected(out: zmq.Socket[bytes], back: zmq.Socket[bytes], reply_to: str) -> None:
    """Ask until an answer comes."""
    deadline = time.monotonic() + EACH_WITHIN
    body = encode(new_envelope(names.HEALTH, "admin", {}, attributes={"reply_to": reply_to}))
    while not back.poll(200):
        out.send_multipart([names.HEALTH.encode(), body])
        if time.monotonic() > deadline:
            raise TimeoutError("no answer over bare pyzmq")
    while back.poll(200):
        back.recv_multipart()


def _flood(out: zmq.Socket[bytes], back: zmq.Socket[bytes], bodies: list[bytes]) -> float:
    topic, sent, answered = names.TASK_CREATE.encode(), 0, 0
    started = time.perf_counter()
    while answered < len(bodies):
        while sent < len(bodies) and sent - answered < WINDOW:
            out.send_multipart([topic, bodies[sent]])
            sent += 1
        if not back.poll(int(EACH_WITHIN * 1_000)):
            raise TimeoutError(f"{sent - answered} creates were not answered")
        while back.poll(0):
            if not msgpack.unpackb(back.recv_multipart()[1])["payload"]["ok"]:
                raise RuntimeError("a create was refused")
            answered += 1
    return len(bodies) / (time.perf_counter() - started)


async def with_listener(service: Service, client: SchedulerClient, seconds: float, burst: int) -> list[Measure]:
    """Paced creates, then pipelined ones, and whether a process that listens gets all their events."""
    with Listener(service.data_dir, names.TASK_EVENTS) as listener:
        cpu = service.cpu_seconds
        latencies = await paced(client, payloads("paced"), seconds)
        busy = (service.cpu_seconds - cpu) / seconds
        rate = await pipelined(client, payloads("heard"), burst)
        count = int(RATE * seconds) + burst
        events = listener.collect(names.TASK_CREATED, count, EACH_WITHIN)
    return [
        Measure(f"paced at {RATE}/s for {seconds:g} s, acknowledged", len(latencies), "", RATE * seconds, ">"),
        *spread("paced, create to acknowledgement", latencies, {"p99": 20.0}),
        Measure("paced, processor time of the service per second", busy, "s"),
        Measure("fan-out, pipelined creates beside a listener, our client", rate, "/s"),
        Measure("fan-out, events of created tasks received", len(events), "", count, ">"),
        Measure("fan-out, events lost (gaps in seq)", gaps(events), "", 0),
    ]


async def measure(chosen: argparse.Namespace) -> list[Measure]:
    """All measures, of one service and one database that grows."""
    seconds, burst, single = (5.0, 3_000, 300) if chosen.quick else (30.0, 10_000, 1_000)
    with folder() as data_dir, Service(data_dir) as service:
        async with SchedulerClient.discover(data_dir, timeout=EACH_WITHIN) as client:
            await one_by_one(client, payloads("warm"), 200)
            gc.freeze()
            heard = await with_listener(service, client, seconds, burst)
            rounds = []
            for number in range(chosen.rounds):
                rate = await pipelined(client, payloads(f"client{number}"), burst)
                bare_rate = bare(service, payloads(f"bare{number}"), burst)
                took = await one_by_one(client, payloads(f"single{number}"), single)
                rounds.append(
                    [
                        Measure("pipelined, durable creates, our client", rate, "/s", 8_000, ">"),
                        Measure("pipelined, durable creates, bare pyzmq", bare_rate, "/s", 11_000, ">"),
                        Measure("one by one, p50", percentile(took, 0.5) * 1_000, "ms", 1.0),
                        Measure("one by one, p99", percentile(took, 0.99) * 1_000, "ms"),
                    ]
                )
    return [*heard, *medians(rounds)]


if __name__ == "__main__":
    OPTIONS = options(__doc__)
    sys.exit(publish("Durable creates over the bus", asyncio.run(measure(OPTIONS)), OPTIONS))
