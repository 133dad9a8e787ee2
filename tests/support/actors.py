"""Actors for tests of the runtime, on real inproc sockets."""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import zmq

from aico_sched.clock import Clock
from aico_sched.runtime.actor import Actor
from aico_sched.runtime.effects import Fault
from aico_sched.runtime.outgoing import Outgoing
from aico_sched.runtime.router import Router
from aico_sched.runtime.supervisor import Plan, Policy, Supervisor
from tests.support.clock import FakeClock, turns


class Note(NamedTuple):
    value: Any


class Bench:
    """A router and a supervisor with the actors of a test. `send` is a sender from outside."""

    def __init__(self, limit: int = 500, fault: Fault | None = None, clock: Clock | None = None, **policy: Any) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.router = Router(self.context, limit, "test")
        self.clock = clock or FakeClock(hurried=True)
        values: dict[str, Any] = {"start_timeout": 10.0, "stop_timeout": 10.0, "turn_budget": 1.0, "fault": fault}
        self.supervisor = Supervisor(self.router, self.clock, Policy(**(values | policy)))
        self._room = asyncio.Event()
        self._outside = Outgoing("outside", self.router, self._room.set)
        self.order: list[str] = []

    async def start(self, *plans: Plan | type[Actor]) -> None:
        full = [plan if isinstance(plan, tuple) else (plan, self._maker(plan)) for plan in plans]
        self.order = [kind.name for kind, _ in full]
        async with asyncio.timeout(20):
            await self.supervisor.start(full)

    def _maker(self, kind: type[Actor]) -> Callable[[], Actor]:
        return lambda: kind(self.clock)

    def send(self, topic: str, *values: Any) -> None:
        for value in values:
            self._outside.post(topic, Note(value))

    async def quiet(self) -> None:
        """Until every message has been handled, those of children that are through included."""
        async with asyncio.timeout(20):
            while self._outside:
                await self._room.wait()
                self._room.clear()
                self._outside.flush()
            await self.router.quiet()
            await turns()
            await self.router.quiet()

    async def stop(self) -> None:
        async with asyncio.timeout(60):
            await self.supervisor.stop(self.order)

    async def close(self) -> None:
        await self.stop()
        self.router.close()
        self.context.destroy(linger=0)

    def figures(self, name: str) -> dict[str, Any]:
        return self.supervisor._cells[name].figures

    @property
    def open_sockets(self) -> int:
        """Mailboxes that are still open."""
        return sum(not cell._mailbox.closed for cell in self.supervisor._cells.values())
