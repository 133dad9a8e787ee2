"""What a broker carries: ours with CURVE and access checks, against libzmq's own proxy with CURVE and nothing else.

Each is a process of its own, between one publisher and one subscriber that are processes too. Run as a program it is
the bare proxy: `python proxy.py`, which prints its two ports and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import multiprocessing as mp
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import zmq
from bench_broker import Hosted, arrival, count, figures, ping_broker, ping_direct, pong_broker, pong_direct, publish

from aico_sched.bus.address import BusAddress
from aico_sched.security.keys import CurveIdentity, CurveKeys, KeyRing

OFFERED = 1e6
WARM = 1.0
NAMES = ("counter", "ping", "echo", "pub0x")
Result = dict[str, Any]


def bare_proxy(public: str, secret: str) -> None:
    """Until standard input ends."""
    context: zmq.Context[Any] = zmq.Context()
    ports, sockets = [], []
    for kind in (zmq.XSUB, zmq.XPUB):
        socket = context.socket(kind)
        socket.curve_server = True
        socket.curve_publickey, socket.curve_secretkey = public.encode(), secret.encode()
        socket.sndhwm = socket.rcvhwm = 10_000
        ports.append(socket.bind_to_random_port("tcp://127.0.0.1"))
        sockets.append(socket)
    print(*ports, flush=True)
    threading.Thread(target=zmq.proxy, args=sockets, daemon=True).start()
    sys.stdin.read()


def hosted_broker(folder: str) -> None:
    """Ours, until standard input ends."""

    async def run() -> None:
        hosted = Hosted(Path(folder), 1)
        address = await hosted.broker.start()
        print(address.publish.rpartition(":")[2], address.subscribe.rpartition(":")[2], flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await hosted.broker.stop()

    asyncio.run(run())


def measured(place: Path, seconds: float, bare: bool) -> Result:
    """Messages a second carried, and what is added to a round trip over a direct connection."""
    if bare:
        keys = KeyRing(place / "keys")
        keys.ensure()
        for name in NAMES:
            keys.create(name, "module")
        pair = keys.server()
    command = ["bare", pair.public, pair.secret] if bare else ["hosted", str(place)]
    process = subprocess.Popen(
        [sys.executable, __file__, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        ports = process.stdout.readline().split()
        address = BusAddress(*(f"tcp://127.0.0.1:{port}" for port in ports))
        ring = KeyRing(place / "keys")
        ring.ensure()
        server = ring.server()
        identities = {name: ring.client(name) for name in NAMES}
        direct, through = asyncio.run(_trips(address, identities, server, bare))
        rate = asyncio.run(_carried(address, identities, server.public, seconds))
    finally:
        process.kill()
        process.communicate()
    return {"rate": rate, "added": (through - direct) / 1e3, "round_trip": through / 1e3, "direct": direct / 1e3}


async def _carried(address: BusAddress, identities: dict[str, CurveIdentity], server: str, seconds: float) -> float:
    context, (here, there) = mp.get_context("spawn"), mp.Pipe()
    counter = context.Process(target=count, args=(address, identities["counter"], server, seconds, there), daemon=True)
    counter.start()
    await arrival(here)
    sent = (address, identities["pub0x"], server, 200, seconds + 2 * WARM, OFFERED)
    publisher = context.Process(target=publish, args=sent, daemon=True)
    publisher.start()
    async with asyncio.timeout(seconds + 30):
        rate: float = await arrival(here)
    for process in (publisher, counter):
        process.kill()
        await asyncio.to_thread(process.join, 10)
    return rate


async def _trips(
    address: BusAddress, identities: dict[str, CurveIdentity], server: CurveKeys, joined: bool
) -> tuple[float, float]:
    """Milliseconds, p50: direct, and through the broker."""
    context, (here, there) = mp.get_context("spawn"), mp.Pipe()
    direct_echo = context.Process(target=pong_direct, args=(there, server.public, server.secret), daemon=True)
    direct_echo.start()
    port = await arrival(here)
    direct = context.Process(target=ping_direct, args=(port, server.public, there), daemon=True)
    direct.start()
    floor = figures(await arrival(here))
    echo = context.Process(target=pong_broker, args=(address, identities["echo"], server.public, joined), daemon=True)
    ping = context.Process(
        target=ping_broker, args=(address, identities["ping"], server.public, there, joined), daemon=True
    )
    echo.start()
    ping.start()
    try:
        async with asyncio.timeout(60):
            through = figures(await arrival(here))
    finally:
        echo.terminate()
        for process in (echo, ping, direct, direct_echo):
            process.kill()
            await asyncio.to_thread(process.join, 10)
    return floor["p50_ms"], through["p50_ms"]


if __name__ == "__main__":
    if sys.argv[1] == "bare":
        bare_proxy(*sys.argv[2:])
    else:
        hosted_broker(sys.argv[2])
