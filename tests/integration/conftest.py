"""Real services for the integration tests, and what observes them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from aico_sched.client import SchedulerClient
from aico_sched.clock import Clock
from aico_sched.host import HostSampler
from aico_sched.runtime.cell import Fault
from aico_sched.security.keys import KeyRing
from aico_sched.service import SchedulerService
from tests.integration.support.forked import Stem
from tests.integration.support.running import Recorder, Running, settings_for
from tests.integration.support.tasks import Gate, new_gate
from tests.integration.support.wire import Wire

Start = Callable[..., Awaitable[Running]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts services, each in the folder of its name; what still runs at the end of the test is stopped. Options:
    `roles` (name of a further key → its role), those of `SchedulerService`, and settings as `scheduler__batch_size`."""
    async with AsyncExitStack() as stack:

        async def begin(
            folder: str = "data",
            *,
            sampler: HostSampler | None = None,
            clock: Clock | None = None,
            fault: Fault | None = None,
            roles: dict[str, str] | None = None,
            **settings: Any,
        ) -> Running:
            loaded = settings_for(tmp_path / folder, **settings)
            if roles:
                ring = KeyRing(loaded.data_dir / "keys")
                ring.ensure(loaded.bus.name)
                for name, role in roles.items():
                    ring.create(name, role)
            service = await stack.enter_async_context(
                SchedulerService(loaded, clock=clock, sampler=sampler, fault=fault)
            )
            client = await stack.enter_async_context(SchedulerClient.discover(loaded.data_dir))
            recorder = Recorder(client)
            stack.push_async_callback(recorder.close)
            run = Running(service, client, recorder)
            stack.callback(run.close)
            # The first request proves that the recorder listens.
            await client.health()
            return run

        yield begin


@pytest.fixture
async def run(start: Start) -> Running:
    """A service with nothing special about it."""
    return await start()


@pytest.fixture
async def wire_to() -> AsyncIterator[Callable[..., Awaitable[Wire]]]:
    """Connects bare clients to a service, as `admin` unless another key is named."""
    async with AsyncExitStack() as stack:

        async def connect(run: Running, name: str = "admin") -> Wire:
            address = run.service.address
            assert address is not None
            wire = Wire(address.publish, address.subscribe, run.settings.data_dir / "keys", name)
            return await stack.enter_async_context(wire)

        yield connect


@pytest.fixture
async def wire(run: Running, wire_to: Callable[..., Awaitable[Wire]]) -> Wire:
    """A bare client of `run`."""
    return await wire_to(run)


@pytest.fixture
def gate() -> Iterator[Gate]:
    """What holds `user.gated` tasks that are configured with its name."""
    with new_gate() as made:
        yield made


@pytest.fixture(scope="session")
def chroma() -> Iterator[Stem]:
    """Makes processes that have imported ChromaDB (1.5 s) already."""
    with Stem("chromadb") as stem:
        yield stem
