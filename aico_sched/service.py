"""The composition root: the only place that knows every concrete class, and wires them into a running service."""

import asyncio
import secrets
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Self

import structlog
import zmq

from aico_sched import __version__
from aico_sched.actor_wiring import Crew
from aico_sched.announcement import announce, withdraw
from aico_sched.bus.access import AccessRules
from aico_sched.bus.address import BusAddress
from aico_sched.bus_wiring import BusSide, PrivateBus
from aico_sched.clock import Clock, SystemClock
from aico_sched.data.source import DataSource
from aico_sched.execution.environments import Environments
from aico_sched.host import HostSampler
from aico_sched.log_topic import LogTopic
from aico_sched.process_wiring import PowerSource
from aico_sched.runtime.cell import Fault
from aico_sched.runtime.router import Router
from aico_sched.runtime.supervisor import Policy, Supervisor
from aico_sched.schedule import configure_caches
from aico_sched.security.key_sources import GivenKey
from aico_sched.settings import Settings
from aico_sched.store.connection import Database
from aico_sched.store.errors import (
    AlreadyInUse,
    Damaged,
    DatabaseLost,
    LeaseLost,
    SchemaTooNew,
    StoreCorrupt,
    WrongKey,
)
from aico_sched.store.lock import DatabaseLock
from aico_sched.topics import names
from aico_sched.topics.internal import Empty
from aico_sched.tracing import NO_TRACING, configured
from aico_sched.wiring import (
    database_keys,
    make_environments,
    make_guard,
    open_data,
    open_database,
)

log = structlog.get_logger(__name__)


STANDBY_LOOK = 0.5
"""Seconds between two looks of a standby whether the database is free."""

STOP_ORDER = ("scheduler", "executor", "health", "bridge", "store")


class SchedulerService:
    """A scheduler inside the running event loop.

    >>> async with SchedulerService(Settings.load()) as service:
    ...     await service.wait()

    `start` raises what is wrong (a typed error that says what to do) and leaves nothing running. `wait` returns when
    `stop` was asked for, and raises when the service cannot go on. With `scheduler.enabled: false` it starts nothing.
    `database_key` hands in the database's key, instead of the place the settings name.
    `data` opens AICO's data for the tasks that work on it, instead of the database the settings name.
    `tracer_provider` is OpenTelemetry's to trace by, instead of the one the program has configured it with.
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
        database_key: GivenKey | None = None,
        data: Callable[[], AbstractAsyncContextManager[DataSource]] | None = None,
        tracer_provider: Any = None,
    ) -> None:
        self.settings = settings
        self._lock: DatabaseLock | None = None
        self._own_store = open_store is None
        self._database_keys = database_keys(settings, database_key)
        self._open_store = open_store or (lambda: open_database(settings, self._database_keys, self._lock))
        self._open_data = data or (lambda: open_data(settings, self._database_keys))
        self._clock = clock or SystemClock()
        self._sampler = sampler
        self._fault = fault
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._announced = False
        self._log_topic: LogTopic | None = None
        self._tracer_provider, self._tracing = tracer_provider, NO_TRACING
        self._router: Router | None = None
        self._supervisor: Supervisor | None = None
        self._environments: Environments | None = None
        self._powers: PowerSource | None = None
        self._stop_asked = asyncio.Event()
        self._rules = AccessRules.load()
        self._bus = BusSide(settings, self._rules, self._clock, bus)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def address(self) -> BusAddress | None:
        """Where the bus is, once it is open."""
        return self._bus.address

    @property
    def server_public_key(self) -> str | None:
        """The key of the bus's broker, where it has one."""
        return self._bus.server_public_key

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
        self._tracing = configured(self._tracer_provider)
        if self.settings.scheduler.log_topic is not None:
            self._log_topic = LogTopic(self.settings.scheduler.log_topic, self._clock)
            self._log_topic.install()
        self._context = zmq.Context()
        try:
            if self._own_store:
                self._lock = await self._lock_database()
            await self._bus.open(self._context)
            await self._start_actors()
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
        if self._log_topic is not None:
            self._log_topic.remove()
        if self._environments is not None:
            environments, self._environments = self._environments, None
            await environments.close()
        if self._powers is not None:
            powers, self._powers = self._powers, None
            await powers.close()
        if self._router is not None:
            self._router.close()
            self._router = None
        await self._bus.close()
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

    def _announce(self) -> None:
        """Write where the bus is, for clients on this machine."""
        if self.address is not None:
            announce(self.settings, self.address, self.server_public_key, self._bus.signing_folder)
            self._announced = True

    # The actors.

    async def _start_actors(self) -> None:
        assert self._context is not None
        scheduler = self.settings.scheduler
        self._router = Router(self._context, scheduler.mailbox_limit, secrets.token_hex(8))
        policy = Policy(
            batch_size=scheduler.batch_size,
            turn_budget=scheduler.turn_budget,
            restart_budget=scheduler.restart_budget,
            restart_window=scheduler.restart_window,
            stop_timeout=scheduler.shutdown_grace + 30.0,
            fatal=(LeaseLost, AlreadyInUse, StoreCorrupt, Damaged, DatabaseLost, SchemaTooNew, WrongKey),
            fault=self._fault,
        )
        supervisor = Supervisor(self._router, self._clock, policy)
        await supervisor.start(self._crew().plans())
        self._supervisor = supervisor

    def _crew(self) -> Crew:
        """What the actors are made of."""
        settings = self.settings
        guard = make_guard(settings, STOP_ORDER, real_time=isinstance(self._clock, SystemClock))
        environments = self._environments = make_environments(settings, guard.watch)
        powers = self._powers = PowerSource(
            settings, self._clock, environments.runner("process"), own_database=self._own_store
        )
        return Crew(
            settings=settings,
            clock=self._clock,
            sampler=self._sampler,
            names=STOP_ORDER,
            rules=self._rules,
            bus=self._bus,
            open_store=self._open_store,
            open_data=self._open_data,
            database_keys=self._database_keys,
            log_topic=self._log_topic,
            tracing=self._tracing,
            guard=guard,
            environments=environments,
            powers=powers,
        )
