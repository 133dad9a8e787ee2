"""Damaged and hostile messages by the ten thousand: no crash, no hang, no growth; the next good command is answered.

20,000 frames by default; `AICO_SCHED_LONG=1` makes it a million.
"""

import asyncio
import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from aico_sched.client import SchedulerClient
from aico_sched.security.keys import KeyRing
from aico_sched.service import SchedulerService
from aico_sched.testing.bus import MemoryBus
from tests.integration.support.running import settings_for
from tests.integration.support.wire import Wire
from tests.torture.fuzz import Fuzzer

FRAMES = 1_000_000 if os.environ.get("AICO_SCHED_LONG") else 20_000
ON_THE_WIRE = FRAMES // 10
PACK = 250
SEED = 20_261_124
ROOM = 48 * 1024 * 1024
"""What a process may hold more at the end than at the half: the allocator's own habits, far below a leak of a frame."""


def memory() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def crashes(service: SchedulerService) -> list[str]:
    """The actors that have crashed lately."""
    assert service._supervisor is not None
    return [name for name, times in service._supervisor._crashes.items() if times]


@pytest.mark.timeout(60 + FRAMES // 100)
async def test_the_service_survives_whatever_comes(tmp_path: Path) -> None:
    """Straight into the service, past the broker, so that all of it reaches the decoder and the commands."""
    bus, fuzzer, half = MemoryBus(), Fuzzer(SEED, "fuzz"), 0
    settings = settings_for(tmp_path / "data")
    async with SchedulerService(settings, bus=bus) as service:
        async with SchedulerClient(bus.endpoint("good"), timeout=20) as client:
            listener = bus.endpoint("fuzz")
            listener.connect()
            listener.subscribe(fuzzer.reply_to())
            answered = 0
            for sent in range(0, FRAMES, PACK):
                for _ in range(PACK):
                    bus.carry(*fuzzer.frame())
                assert (await client.health()).live
                while answers := listener.receive():
                    answered += len(answers)
                if sent == FRAMES // 2 - FRAMES // 2 % PACK:
                    half = memory()
            stats = await client.stats()
            assert answered > FRAMES // 20, "most of what could be read was answered"
            assert set(stats.actors) == {"scheduler", "executor", "store", "health", "bridge"}
            assert not crashes(service)
            grown = memory() - half
            assert grown < ROOM, f"{grown / 2**20:.0f} MB more after {FRAMES // 2} further frames"
        assert service.running


@pytest.mark.timeout(60 + ON_THE_WIRE // 50)
async def test_the_broker_survives_whatever_comes(tmp_path: Path) -> None:
    """Through the sockets, with a good key: both ports, and any number of frames in a message."""
    settings = settings_for(tmp_path / "data")
    KeyRing(settings.data_dir / "keys").ensure()
    async with SchedulerService(settings) as service:
        KeyRing(settings.data_dir / "keys").create("fuzz", "admin")
        assert service._bus._watch is not None
        await service._bus._watch.look()
        address = service.address
        assert address is not None
        fuzzer = Fuzzer(SEED + 1, "fuzz")
        async with (
            Wire(address.publish, address.subscribe, settings.data_dir / "keys", "fuzz") as wire,
            SchedulerClient.discover(settings.data_dir, timeout=20) as client,
        ):
            await flood(wire, fuzzer, client.health)
            stats = await client.stats()
            assert stats.actors["bridge"]["refused"] > 0
            assert not crashes(service)
        assert service.running


async def flood(wire: Wire, fuzzer: Fuzzer, good: Callable[[], Any]) -> None:
    draw = fuzzer._draw
    for _ in range(0, ON_THE_WIRE, PACK):
        for _ in range(PACK):
            topic, body = fuzzer.frame()
            frames = [topic.encode(), body]
            if draw.random() < 0.05:
                frames = [draw.randbytes(20) for _ in range(draw.randrange(1, 5))]
            await asyncio.wait_for(wire._pub.send_multipart(frames), 20)
        async with asyncio.timeout(20):
            assert (await good()).live
