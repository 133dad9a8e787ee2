"""The composition root: the only place that knows every concrete class, and wires them into a running service."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import structlog
import zmq

from aico_sched import __version__
from aico_sched.actors.bridge import BridgeActor, Endpoint
from aico_sched.actors.executor import ExecutorActor
from aico_sched.actors.health import HealthActor
from aico_sched.actors.scheduler import SchedulerActor
from aico_sched.actors.store import StoreActor
from aico_sched.announcement import announce, withdraw
from aico_sched.bus.access import AccessRules
from aico_sched.bus.address import BusAddress
from aico_sched.bus.broker import Broker
from aico_sched.bus.endpoint import BusEndpoint
from aico_sched.bus.key_watch import KeyWatch
from aico_sched.bus.local import LocalEndpoint
from aico_sched.clock import Clock, SystemClock
from aico_sched.data.source import DataSource
from aico_sched.execution.environments import Environments
from aico_sched.health import Thresholds
from aico_sched.host import HostSampler, PsutilSampler
from aico_sched.runtime.cell import Fault
from aico_sched.runtime.router import Router
from aico_sched.runtime.supervisor import Plan, Policy, Supervisor
from aico_sched.schedule import configure_caches
from aico_sched.security.keys import KeyRing, UnknownKey
from aico_sched.settings import Settings
from aico_sched.store.connection import Database
from aico_sched.store.errors import AlreadyInUse, LeaseLost
from aico_sched.store.lock import DatabaseLock
from aico_sched.tasks.catalogue import Catalogue
from aico_sched.tasks.registry import TaskRegistry
from aico_sched.topics import names
from aico_sched.topics.internal import Empty
from aico_sched.wiring import (
    Arrangements,
    Classes,
    defaults,
    make_broker,
    make_environments,
    make_registry,
    open_data,
    open_database,
)

log = structlog.get_logger(__name__)


class PrivateBus(Protocol):
    """A bus in place of the hosted or the joined one (`aico_sched.testing.MemoryBus`). It answers for who is who."""

    def endpoint(self, name: str) -> Endpoint:
        """A place on it for the service, whose name there is `name`."""

    def role_of(self, name: str) -> str:
        """What a sender may do."""


JOINED_ROLE = "module"
"""The role of every sender on a joined bus: nobody is authenticated there (facts.md), so nobody is more than a
module."""


STANDBY_LOOK = 0.5
"""Seconds between two looks of a standby whether the database is free."""

NO_ROLE = "none"
"""May do nothing."""

STOP_ORDER = ("scheduler", "executor", "health", "bridge", "store")


class SchedulerService:
    """A scheduler inside the running event loop.

    >>> async with SchedulerService(Settings.load()) as service:
    ...     await service.wait()

    `start` raises what is wrong (a typed error that says what to do) and leaves nothing running. `wait` returns when
    `stop` was asked for, and raises when the service cannot go on. With `scheduler.enabled: false` it starts nothing.
    `data` opens AICO's data for the tasks that work on it, instead of the database the settings name.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        sampler: HostSampler | None = None,
        bus: PrivateBus | None = None,
        fault: Fault | None = None,
        open_store: Callable[[], Database] | None = None,
        data: Callable[[], AbstractAsyncContextManager[DataSource]] | None = None,
    ) -> None:
        self.settings = settings
        self._lock: DatabaseLock | None = None
        self._own_store = open_store is None
        self._open_store = open_store or (lambda: open_database(settings, self._lock))
        self._open_data = data or (lambda: open_data(settings))
        self._bus = bus
        self._clock = clock or SystemClock()
        self._sampler = sampler
        self._fault = fault
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._broker: Broker | None = None
        self._local: LocalEndpoint | None = None
        self._key_watch: KeyWatch | None = None
        self._announced = False
        self._router: Router | None = None
        self._supervisor: Supervisor | None = None
        self._environments: Environments | None = None
        self._stop_asked = asyncio.Event()
        self._rules = AccessRules.load()
        self.address: BusAddress | None = None
        self.server_public_key: str | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def running(self) -> bool:
        """Whether the actors are up."""
        return self._supervisor is not None and not self._supervisor.failed.is_set()

    @property
    def under_way(self) -> int:
        """Messages between the actors that are not handled yet; 0 when all is at rest."""
        return 0 if self._router is None else self._router.under_way

    async def start(self) -> None:
        """Open the bus and the database and start the actors. Does nothing if it runs already."""
        if self._supervisor is not None:
            return
        self._stop_asked.clear()
        if not self.settings.scheduler.enabled:
            log.info("scheduler_disabled", hint="scheduler.enabled is false: nothing was started")
            return
        configure_caches(self.settings.scheduler.cache_size)
        self._context = zmq.Context()
        try:
            if self._own_store:
                self._lock = await self._lock_database()
            keys = await self._open_bus()
            await self._start_actors(keys)
        except BaseException:
            await self.stop()
            raise
        self._announce()
        log.info("service_started", bus=str(self.address), data_dir=str(self.settings.data_dir), version=__version__)

    async def stop(self) -> None:
        """Stop in order: no more commands, running tasks may finish for `scheduler.shutdown_grace` seconds, then are
        interrupted; everything is recorded and published before the bus closes. Safe to call twice."""
        self._stop_asked.set()
        if self._supervisor is not None:
            supervisor, self._supervisor = self._supervisor, None
            supervisor.tell("bridge", names.QUIESCE, Empty())
            await supervisor.stop(STOP_ORDER)
        if self._environments is not None:
            environments, self._environments = self._environments, None
            await environments.close()
        if self._router is not None:
            self._router.close()
            self._router = None
        if self._key_watch is not None:
            await self._key_watch.stop()
            self._key_watch = None
        if self._broker is not None:
            await self._broker.stop()
            self._broker = self._local = None
        if self._context is not None:
            if self._announced:
                withdraw(self.settings)
                self._announced = False
            self._context.destroy(linger=0)
            self._context = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def ask_to_stop(self) -> None:
        """Let `wait` return; for signal handlers."""
        self._stop_asked.set()

    async def wait(self) -> None:
        """Until somebody asks for the end. Raises the error of an actor that is past saving."""
        if self._supervisor is None:
            return
        waits = [asyncio.create_task(event.wait()) for event in (self._stop_asked, self._supervisor.failed)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        if self._supervisor is not None and self._supervisor.failure is not None:
            raise self._supervisor.failure

    async def _lock_database(self) -> DatabaseLock:
        """Be the only service on this database; with `scheduler.standby`, wait until that is so."""
        path, told = self.settings.database_path, False
        while True:
            try:
                return DatabaseLock.take(path)
            except AlreadyInUse as error:
                if not self.settings.scheduler.standby:
                    raise
                if not told:
                    log.info("standing_by", database=str(path), holder=error.holder)
                    told = True
            await self._clock.sleep(STANDBY_LOOK)

    # The bus.

    async def _open_bus(self) -> KeyRing | None:
        """Host a bus, or find the one to join. Returns the keys of those on it, None where there are none."""
        bus = self.settings.bus
        if self._bus is not None:
            return None
        if bus.joined is not None:
            self.address = BusAddress.of(*bus.joined)
            return None if bus.keys is None else self._join(bus.keys)
        keys = KeyRing(self.settings.data_dir / "keys")
        keys.ensure(bus.name)
        assert self._context is not None
        self._broker = make_broker(self._context, keys, self._rules, self.settings)
        self._local = self._broker.local_endpoint()
        self.address = await self._broker.start()
        self.server_public_key = keys.server().public
        self._watch_keys(keys, self._broker.reload_keys)
        return keys

    def _join(self, folder: Path) -> KeyRing:
        """The keys of a bus that another aico-sched process hosts."""
        keys = KeyRing(folder)
        keys.reload()
        self.server_public_key = keys.server().public

        async def reload() -> None:
            keys.reload()

        self._watch_keys(keys, reload)
        return keys

    def _watch_keys(self, keys: KeyRing, reload: Callable[[], Awaitable[object]]) -> None:
        self._key_watch = KeyWatch(keys.watched(), reload, SystemClock())
        self._key_watch.start()

    def _announce(self) -> None:
        """Write where the bus is, for clients on this machine."""
        if self.address is not None:
            announce(self.settings, self.address, self.server_public_key)
            self._announced = True

    # The actors.

    async def _start_actors(self, keys: KeyRing | None) -> None:
        assert self._context is not None
        scheduler = self.settings.scheduler
        self._router = Router(self._context, scheduler.mailbox_limit, secrets.token_hex(8))
        policy = Policy(
            batch_size=scheduler.batch_size,
            turn_budget=scheduler.turn_budget,
            restart_budget=scheduler.restart_budget,
            restart_window=scheduler.restart_window,
            stop_timeout=scheduler.shutdown_grace + 30.0,
            fatal=(LeaseLost, AlreadyInUse),
            fault=self._fault,
        )
        supervisor = Supervisor(self._router, self._clock, policy)
        await supervisor.start(self._plans(keys))
        self._supervisor = supervisor

    def _plans(self, keys: KeyRing | None) -> list[Plan]:
        """The actors in the order in which they start; each gets what it needs and nothing else."""
        settings, clock = self.settings, self._clock
        scheduler = settings.scheduler
        boot_id = f"{clock.now_us():014x}{secrets.token_hex(3)}"
        arrangements = Arrangements(settings)
        environments = self._environments = make_environments(settings)
        claim_ids = iter(range(0, 2**62, 2**32))

        def registry() -> TaskRegistry:
            return make_registry(settings)

        def store() -> StoreActor:
            return StoreActor(
                clock,
                self._open_store,
                Catalogue(registry(), arrangements.of),
                defaults(settings),
                boot_id,
                cache_size=scheduler.cache_size,
                event_retention=scheduler.event_retention,
                audit_retention=scheduler.audit_retention,
                message_id_retention=scheduler.message_id_retention,
                heartbeat_interval=scheduler.heartbeat_interval,
            )

        def health() -> HealthActor:
            return HealthActor(
                clock,
                self._sampler or PsutilSampler(),
                Thresholds(
                    scheduler.max_cpu_percent,
                    scheduler.max_memory_percent,
                    scheduler.idle_threshold_cpu,
                    scheduler.idle_threshold_memory,
                ),
                actors=STOP_ORDER,
                check_interval=scheduler.resource_check_interval,
                window=scheduler.health_window,
                version=__version__,
            )

        def executor() -> ExecutorActor:
            return ExecutorActor(
                clock,
                Classes(registry()),
                environments,
                settings.data_dir / "task_data",
                self._rules.may_publish,
                max_concurrent=scheduler.max_concurrent_tasks,
                shutdown_grace=scheduler.shutdown_grace,
                cancel_grace=settings.execution.cancel_grace,
                open_data=self._open_data,
            )

        def scheduling() -> SchedulerActor:
            return SchedulerActor(
                clock,
                timezone=settings.timezone,
                cache_size=scheduler.cache_size,
                longest_sleep=scheduler.scheduler_interval,
                priority_aging=scheduler.priority_aging,
                first_claim_id=next(claim_ids),
            )

        return [
            (StoreActor, store),
            (HealthActor, health),
            (ExecutorActor, executor),
            (SchedulerActor, scheduling),
            (BridgeActor, self._bridge(keys)),
        ]

    def _bridge(self, keys: KeyRing | None) -> Callable[[], BridgeActor]:
        name, rules = self.settings.bus.name, self._rules

        def role_of(source: str) -> str:
            if self._bus is not None:
                return self._bus.role_of(source)
            try:
                return JOINED_ROLE if keys is None else keys.role_of(source)
            except UnknownKey:
                # Revoked a moment ago, after the broker had let the message through.
                return NO_ROLE

        def endpoint() -> Endpoint:
            if self._bus is not None:
                return self._bus.endpoint(name)
            if self._local is not None:
                return self._local
            assert self._context is not None and self.address is not None
            identity = None if keys is None else keys.client(name)
            return BusEndpoint(self._context, self.address, name, identity, self.server_public_key)

        def make() -> BridgeActor:
            return BridgeActor(
                self._clock,
                endpoint,
                name,
                role_of,
                rules.may_publish,
                heartbeat_interval=self.settings.scheduler.heartbeat_interval,
                private_replies=keys is not None,
                take_refusals=tuple if self._local is None else self._local.take_refusals,
            )

        return make
