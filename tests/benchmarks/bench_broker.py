"""What the hosted broker carries, and what it adds to a round trip.

    python tests/benchmarks/bench_broker.py [--seconds 5] [--size 200] [--publishers 2] [--steady 60] [--json]

The broker runs in this process, everything else in processes of their own: publishers that send as fast as the broker's
rate limit lets them, one subscriber that counts, and for the round trip two ends that ping-pong, once over a direct
CURVE connection (the floor) and once through the broker, in one run on one machine.
"""

import argparse
import asyncio
import json
import multiprocessing as mp
import os
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import zmq

from aico_sched.bus.access import AccessRules
from aico_sched.bus.address import BusAddress
from aico_sched.bus.broker import Broker
from aico_sched.bus.endpoint import BusEndpoint
from aico_sched.bus.sockets import make_client, open_socket
from aico_sched.security.keys import CurveIdentity, KeyRing
from aico_sched.topics.envelope import encode, new_envelope

TOPIC = "bench.load"
WARM_UP = 1.0
TRIPS = 5_000
STEADY = 1_000.0
# Of its own: what earlier measurements left in queues is not to be counted.
STEADY_TOPIC = "bench.steady"
QUIET = 3.0


def body(name: str, size: int) -> bytes:
    """An envelope of `size` bytes in all."""
    empty = len(encode(new_envelope(TOPIC, name, {"p": b"\0" * 64})))
    return encode(new_envelope(TOPIC, name, {"p": b"\0" * max(32, 64 + size - empty)}))


def socket_of(kind: int, endpoint: str, identity: CurveIdentity, server: str) -> "zmq.Socket[bytes]":
    context: zmq.Context[Any] = zmq.Context()
    socket = open_socket(context, kind)
    make_client(socket, server, identity)
    socket.connect(endpoint)
    return socket


def publish(address: BusAddress, identity: CurveIdentity, server: str, size: int, seconds: float, rate: float) -> None:
    """Sends `rate` messages a second in small bursts."""
    socket = socket_of(zmq.XPUB, address.publish, identity, server)
    socket.recv()
    socket.setsockopt(zmq.XPUB_NODROP, 1)
    content, topic = body(identity.name, size), TOPIC.encode()
    start, sent = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < seconds:
        while sent < passed * rate:
            try:
                socket.send_multipart((topic, content), zmq.NOBLOCK)
            except zmq.Again:
                break
            sent += 1
        time.sleep(0.001)
    time.sleep(0.5)


def count(address: BusAddress, identity: CurveIdentity, server: str, seconds: float, pipe: Connection) -> None:
    """Counts what arrives, from a second after the first message on."""
    socket = socket_of(zmq.SUB, address.subscribe, identity, server)
    socket.setsockopt(zmq.SUBSCRIBE, TOPIC.encode())
    pipe.send("subscribed")
    socket.recv_multipart()
    start = time.perf_counter()
    received = 0
    while (now := time.perf_counter()) < start + WARM_UP + seconds:
        if socket.poll(20):
            try:
                for _ in range(500):
                    socket.recv_multipart(zmq.NOBLOCK)
                    received += now >= start + WARM_UP
            except zmq.Again:
                pass
    pipe.send(received / seconds)


def publish_exactly(address: BusAddress, identity: CurveIdentity, server: str, size: int, total: int) -> None:
    """Sends `total` messages, `STEADY` a second."""
    socket = socket_of(zmq.XPUB, address.publish, identity, server)
    socket.recv()
    content, topic = body(identity.name, size), STEADY_TOPIC.encode()
    start = time.perf_counter()
    for number in range(total):
        while time.perf_counter() - start < number / STEADY:
            time.sleep(0.0005)
        socket.send_multipart((topic, content))
    time.sleep(QUIET)


def count_until_quiet(address: BusAddress, identity: CurveIdentity, server: str, pipe: Connection) -> None:
    """Counts what arrives until nothing comes any more."""
    socket = socket_of(zmq.SUB, address.subscribe, identity, server)
    socket.setsockopt(zmq.SUBSCRIBE, STEADY_TOPIC.encode())
    pipe.send("subscribed")
    received = 0
    while socket.poll(int(1_000 * (QUIET if received else 10 * QUIET))):
        socket.recv_multipart()
        received += 1
    pipe.send(received)


async def steady(bus: "Hosted", size: int, seconds: float) -> dict[str, int]:
    """Whether anything is lost at `STEADY` messages a second."""
    here, there = mp.Pipe()
    server, context, total = bus.ring.server().public, mp.get_context("spawn"), round(STEADY * seconds)
    counter = context.Process(target=count_until_quiet, args=(bus.address, bus.ring.client("counter"), server, there))
    counter.start()
    await arrival(here)
    while not bus.broker.stats().subscriptions:
        await asyncio.sleep(0.01)
    sender = context.Process(target=publish_exactly, args=(bus.address, bus.ring.client("pub0x"), server, size, total))
    sender.start()
    received = await arrival(here)
    for process in (sender, counter):
        await asyncio.to_thread(process.join)
    return {"sent": total, "received": received, "lost": total - received}


async def carried(bus: "Hosted", size: int, seconds: float, publishers: int, offered: float) -> dict[str, Any]:
    """Messages a second that reach the subscriber, at `offered` messages a second in all."""
    names = [f"pub{number}x" for number in range(publishers)]
    here, there = mp.Pipe()
    server, before = bus.ring.server().public, bus.broker.stats()
    context = mp.get_context("spawn")
    counter = context.Process(target=count, args=(bus.address, bus.ring.client("counter"), server, seconds, there))
    counter.start()
    await arrival(here)
    while not bus.broker.stats().subscriptions:
        await asyncio.sleep(0.01)
    workers = [
        context.Process(
            target=publish,
            args=(bus.address, bus.ring.client(name), server, size, seconds + 2 * WARM_UP, offered / publishers),
        )
        for name in names
    ]
    for worker in workers:
        worker.start()
    busy = time.process_time()
    started = time.perf_counter()
    rate = await arrival(here)
    cpu = (time.process_time() - busy) / (time.perf_counter() - started)
    for worker in (*workers, counter):
        await asyncio.to_thread(worker.join)
    stats = bus.broker.stats()
    passed, taken = stats.messages_out - before.messages_out, stats.messages_in - before.messages_in
    return {
        "offered_per_s": offered,
        "delivered_per_s": round(rate),
        "broker_cpu": round(cpu, 2),
        "refused": taken - passed,
    }


async def arrival(pipe: Connection) -> Any:
    while not pipe.poll():
        await asyncio.sleep(0.01)
    return pipe.recv()


class Hosted:
    """A broker in this process."""

    def __init__(self, folder: Path, publishers: int) -> None:
        self.ring = KeyRing(folder / "keys")
        self.ring.ensure()
        for name in ("counter", "ping", "echo", *(f"pub{number}x" for number in range(publishers))):
            self.ring.create(name, "module")
        self.context: zmq.Context[Any] = zmq.Context()
        self.broker = Broker(self.context, self.ring, AccessRules.load(), rate_limit=1e6)
        self.address = BusAddress("", "")


def pong_direct(port_pipe: Connection, server_public: str, server_secret: str) -> None:
    """The floor: one CURVE connection, the same two frames back."""
    context: zmq.Context[Any] = zmq.Context()
    socket = context.socket(zmq.PAIR)
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.CURVE_SECRETKEY, server_secret.encode())
    port_pipe.send(socket.bind_to_random_port("tcp://127.0.0.1"))
    while (frames := socket.recv_multipart())[0]:
        socket.send_multipart(frames)


def pong_broker(address: BusAddress, identity: CurveIdentity, server: str, joined: bool = False) -> None:
    """Sends back what comes on bench.ping, until the process is ended. `joined`: the broker checks nothing."""

    async def run() -> None:
        end = BusEndpoint(zmq.Context(), address, identity.name, None if joined else identity, server)
        end.connect()
        end.subscribe("bench.ping")
        await end.ready()
        content = encode(new_envelope("bench.pong", identity.name, {"p": b"\0" * 64}))
        while True:
            await end.wait_readable()
            for _ in end.receive():
                end.send("bench.pong", content)

    asyncio.run(run())


def ping_broker(
    address: BusAddress, identity: CurveIdentity, server: str, pipe: Connection, joined: bool = False
) -> None:
    async def run() -> list[float]:
        end = BusEndpoint(zmq.Context(), address, identity.name, None if joined else identity, server)
        end.connect()
        end.subscribe("bench.pong")
        await end.ready()
        content = encode(new_envelope("bench.ping", identity.name, {"p": b"\0" * 64}))
        while True:
            end.send("bench.ping", content)
            try:
                async with asyncio.timeout(0.2):
                    await end.wait_readable()
                break
            except TimeoutError:
                continue
        end.receive()
        times = []
        for _ in range(TRIPS):
            start = time.perf_counter()
            end.send("bench.ping", content)
            await end.wait_readable()
            end.receive()
            times.append(time.perf_counter() - start)
        return times

    pipe.send(asyncio.run(run()))


def ping_direct(port: int, server: str, pipe: Connection) -> None:
    context: zmq.Context[Any] = zmq.Context()
    socket = open_socket(context, zmq.PAIR)
    make_client(socket, server, None)
    socket.connect(f"tcp://127.0.0.1:{port}")
    content = encode(new_envelope("bench.ping", "ping", {"p": b"\0" * 64}))

    async def run() -> list[float]:
        # The same asyncio readiness as an endpoint has, so that the difference is the broker's.
        from aico_sched.bus.signal import Signal
        from aico_sched.runtime.readiness import Readiness, drain

        signal = Signal()
        watch = Readiness(socket, signal.notify)
        times = []
        for _ in range(TRIPS + 100):
            start = time.perf_counter()
            socket.send_multipart((b"bench.ping", content))
            while not watch.has_input():
                await signal.wait()
            drain(socket, 10)
            times.append(time.perf_counter() - start)
        watch.close()
        return times[100:]

    times = asyncio.run(run())
    socket.send_multipart((b"", b""))
    pipe.send(times)
    context.destroy(linger=200)


def figures(times: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(times, n=100)
    return {"p50_ms": round(cuts[49] * 1e3, 3), "p99_ms": round(cuts[98] * 1e3, 3)}


async def round_trips(bus: Hosted) -> dict[str, Any]:
    context = mp.get_context("spawn")
    here, there = mp.Pipe()
    server = bus.ring.server()
    direct_echo = context.Process(target=pong_direct, args=(there, server.public, server.secret))
    direct_echo.start()
    port = await arrival(here)
    direct = context.Process(target=ping_direct, args=(port, server.public, there))
    direct.start()
    floor = figures(await arrival(here))
    for process in (direct, direct_echo):
        await asyncio.to_thread(process.join)
    echo = context.Process(target=pong_broker, args=(bus.address, bus.ring.client("echo"), server.public), daemon=True)
    ping = context.Process(target=ping_broker, args=(bus.address, bus.ring.client("ping"), server.public, there))
    echo.start()
    ping.start()
    through = figures(await arrival(here))
    echo.terminate()
    for process in (ping, echo):
        await asyncio.to_thread(process.join)
    added = {key: round(through[key] - floor[key], 3) for key in floor}
    return {"direct": floor, "through_broker": through, "added": added}


async def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        bus = Hosted(Path(folder), arguments.publishers)
        bus.address = await bus.broker.start()
        result: dict[str, Any] = {"cores": os.cpu_count(), "size_bytes": arguments.size}
        result["round_trip"] = await round_trips(bus)
        result["throughput"] = [
            await carried(bus, arguments.size, arguments.seconds, arguments.publishers, offered)
            for offered in (1_000.0, 30_000.0, 200_000.0)
        ]
        if arguments.steady:
            result["steady"] = await steady(bus, arguments.size, arguments.steady)
        await bus.broker.stop()
        bus.context.term()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--size", type=int, default=200)
    parser.add_argument("--publishers", type=int, default=2)
    parser.add_argument("--steady", type=float, default=0.0, help="seconds of 1,000 messages a second")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    result = asyncio.run(measure(arguments))
    if arguments.json:
        print(json.dumps(result, indent=2))
        return
    for name, values in result["round_trip"].items():
        print(f"{name:>16}  p50 {values['p50_ms']:.3f} ms  p99 {values['p99_ms']:.3f} ms")
    for row in result["throughput"]:
        print(
            f"offered {row['offered_per_s']:>9,.0f}/s  delivered {row['delivered_per_s']:>9,}/s  "
            f"broker CPU {row['broker_cpu']:.0%}  refused {row['refused']}"
        )
    if "steady" in result:
        print("steady: {sent:,} sent, {received:,} received, {lost} lost".format(**result["steady"]))


if __name__ == "__main__":
    main()
