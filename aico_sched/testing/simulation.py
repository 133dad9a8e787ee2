"""A whole service in virtual time, for tests of schedules: nothing sleeps, no port is opened."""

from collections.abc import Mapping
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aico_sched.client import SchedulerClient
from aico_sched.data.source import DataSource
from aico_sched.host import HostSample
from aico_sched.service import SchedulerService
from aico_sched.settings import Settings
from aico_sched.settings.layers import defaults
from aico_sched.testing.bus import MemoryBus
from aico_sched.testing.clock import START, VirtualClock
from aico_sched.testing.source import MemorySource

REST_AT_END = 3_600.0
"""Seconds of virtual time that a stop may take; running tasks have their grace in it."""


class CalmHost:
    """A machine that has nothing else to do. Set `sample_now` to something else to simulate load."""

    def __init__(self) -> None:
        self.sample_now = HostSample(0.0, 0.0, False)

    def sample(self) -> HostSample:
        """The load as the test wants it."""
        return self.sample_now


def _system_tasks() -> list[str]:
    """The settings that switch the tasks which come with the service on and off."""
    tasks = defaults()["tasks"]
    return [f"tasks__{category}__{name}__enabled" for category, named in tasks.items() for name in named]


def _mentions(settings: Mapping[str, Any], key: str) -> bool:
    """Whether the task of that switch is arranged by `settings`."""
    _, category, name, _ = key.split("__")
    nested = settings.get("tasks", {}).get(category, {})
    return name in nested or any(given.startswith(f"tasks__{category}__{name}") for given in settings)


class Simulation:
    """The real service with its real database, on a `VirtualClock` and a `MemoryBus`.

    >>> async with Simulation(tmp_path) as simulation:
    ...     await simulation.client.create("user.report", "0 7 * * MON-FRI", task_class="user.report")
    ...     await simulation.clock.advance(7 * 86_400)
    ...     page = await simulation.client.executions(task_id="user.report")
    ...     assert len(page.executions) == 5

    User tasks run without a sandbox: a process has no virtual time.

    `folder` keeps database and keys, so that `restart` finds what was there. `settings` are those of `Settings.load`,
    such as `scheduler__task_modules=["my_tasks"]`. The client may do all (`role`). `play` is `VirtualClock`'s. Without
    `system_tasks` those that come with the service are disabled, unless `settings` arrange them: some work in
    processes, whose real seconds would be most of a simulated week.
    `data` is what `context.data()` opens in tasks that may see AICO's data; without it there is none.
    """

    def __init__(
        self,
        folder: Path,
        *,
        start: datetime = START,
        play: float = 3_600.0,
        role: str = "admin",
        data: DataSource | None = None,
        system_tasks: bool = False,
        **settings: Any,
    ) -> None:
        self.clock = VirtualClock(start, play=play)
        self.host = CalmHost()
        self.bus = MemoryBus(role)
        source = MemorySource() if data is None else data
        self._open_data = lambda: nullcontext(source)
        values = {"store__synchronous": "normal", "scheduler__timezone": "UTC", "sandbox__enabled": False, **settings}
        if not system_tasks:
            values |= {key: False for key in _system_tasks() if not _mentions(settings, key)}
        self.settings = Settings.load(environ={"AICO_SCHED_DATA_DIR": str(folder)}, **values)
        self.service = self._service()
        self.client = self._client()

    def _service(self) -> SchedulerService:
        return SchedulerService(self.settings, clock=self.clock, sampler=self.host, bus=self.bus, data=self._open_data)

    def _client(self) -> SchedulerClient:
        return SchedulerClient(self.bus.endpoint("admin"), timeout=30.0)

    def _busy(self) -> bool:
        return self.service.under_way > 0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start the service and connect the client."""
        self.clock.watch(self._busy)
        await self.service.start()
        await self.client.connect()
        await self.clock.settle()

    async def stop(self) -> None:
        """Stop as the service does; running tasks have their grace, in virtual time."""
        await self.client.close()
        await self.clock.until(self.service.stop(), REST_AT_END)
        self.clock.unwatch(self._busy)

    async def restart(self, down: float = 0.0) -> None:
        """Stop the service in order, let `down` seconds pass, and start it again on the same folder."""
        await self.stop()
        await self.clock.advance(down)
        self.service, self.client = self._service(), self._client()
        await self.start()
