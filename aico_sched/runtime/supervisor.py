"""Starts the actors in order, restarts one that crashes, and stops them in an order that loses nothing."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from aico_sched.clock import Clock
from aico_sched.logs import described
from aico_sched.runtime.actor import Actor
from aico_sched.runtime.cell import Cell, stop_message
from aico_sched.runtime.effects import Fault
from aico_sched.runtime.parcels import Parcel, pack
from aico_sched.runtime.router import Router
from aico_sched.runtime.suspects import PoisonDropped

log = structlog.get_logger(__name__)

FIRST_BACKOFF = 0.05
LONGEST_BACKOFF = 5.0
CANCEL_TIMEOUT = 30.0
"""Seconds for cancelled actors to end; longer than a cell waits for its own child tasks and its actor."""


class RestartBudgetSpent(RuntimeError):
    """An actor crashed more often than its budget allows; the service cannot go on without it."""

    def __init__(self, actor: str, crashes: int, window: float) -> None:
        super().__init__(
            f"the {actor} actor crashed {crashes} times in {window:g} s, more than scheduler.restart_budget allows; "
            "the log entries `actor_crashed` before this one say why"
        )
        self.actor, self.crashes, self.window = actor, crashes, window


class StartFailed(RuntimeError):
    """An actor could not start; `__cause__` says why."""

    def __init__(self, actor: str) -> None:
        super().__init__(f"the {actor} actor could not start")
        self.actor = actor


@dataclass(frozen=True, slots=True)
class Policy:
    """How the runtime treats its actors. Times in seconds."""

    batch_size: int = 100
    turn_budget: float = 0.005
    restart_budget: int = 5
    restart_window: float = 60.0
    start_timeout: float = 30.0
    stop_timeout: float = 30.0
    fatal: tuple[type[BaseException], ...] = ()
    """Errors after which no restart may be tried: the service ends."""
    fault: Fault | None = None


Plan = tuple[type[Actor], Callable[[], Actor]]


class Supervisor:
    """The cells of a service. `failed` is set once an actor is past saving; `failure` then says why."""

    def __init__(self, router: Router, clock: Clock, policy: Policy) -> None:
        self._router, self._clock, self._policy = router, clock, policy
        self._cells: dict[str, Cell] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._crashes: dict[str, deque[float]] = {}
        self.failed = asyncio.Event()
        self.failure: BaseException | None = None
        self._failed_actor = ""
        self._starting = True

    async def start(self, plans: Sequence[Plan]) -> None:
        """Open every mailbox, then start the actors one after the other; each is ready before the next begins.
        Raises `StartFailed` from the first error and leaves nothing running."""
        try:
            for kind, make in plans:
                self._add(kind, make)
            for cell in self._cells.values():
                await self._start_one(cell)
        except BaseException:
            await self._abandon()
            raise
        self._starting = False

    def _add(self, kind: type[Actor], make: Callable[[], Actor]) -> None:
        cell = Cell(
            kind,
            make,
            self._router,
            self._clock,
            self._on_crash,
            batch_size=self._policy.batch_size,
            turn_budget=self._policy.turn_budget,
            start_timeout=self._policy.start_timeout,
            fault=self._policy.fault,
        )
        self._cells[cell.name] = cell
        self._crashes[cell.name] = deque()

    async def _start_one(self, cell: Cell) -> None:
        task = asyncio.create_task(cell.run(), name=cell.name)
        self._tasks[cell.name] = task
        task.add_done_callback(self._cell_ended)
        waits = [asyncio.create_task(event.wait()) for event in (cell.ready, self.failed)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        if self.failed.is_set():
            raise StartFailed(self._failed_actor) from self.failure

    async def stop(self, order: Sequence[str]) -> None:
        """Stop the actors named in `order`, waiting between them until no message is under way. One that does not
        obey in time is cancelled and reported. Safe to call twice. After an error that is `fatal` everything is cut
        short: what ends could not be recorded any more, and another process may be at the same work already."""
        if isinstance(self.failure, self._policy.fatal):
            await self._abandon()
            return
        for cell in self._cells.values():
            cell.hasten()
        for name in order:
            await self._settle()
            await self._stop_one(name)
        await self._abandon()

    def tell(self, name: str, topic: str, message: tuple[Any, ...]) -> None:
        """Put a message into the mailbox of one actor, if it has room; for news that everybody can do without."""
        self._router.count(1)
        if not self._router.push(name, Parcel(topic.encode(), pack(message))):
            self._router.settle(1)

    async def _settle(self) -> None:
        try:
            async with asyncio.timeout(self._policy.stop_timeout):
                await self._router.quiet()
        except TimeoutError:
            log.error("messages_still_under_way", count=self._router.under_way)

    async def _stop_one(self, name: str) -> None:
        task = self._tasks.get(name)
        if task is None or task.done():
            return
        topic, message = stop_message()
        parcel = Parcel(topic.encode(), pack(message))
        try:
            async with asyncio.timeout(self._policy.stop_timeout):
                await self._deliver(name, parcel)
                await asyncio.wait({task})
        except TimeoutError:
            log.error("actor_did_not_stop", actor=name, timeout=self._policy.stop_timeout)
            await self._cancel([task])

    async def _deliver(self, name: str, parcel: Parcel) -> None:
        """Push a message, waiting for room in the mailbox."""
        self._router.count(1)
        try:
            while not self._router.push(name, parcel):
                room = asyncio.Event()
                self._router.when_room(name, room.set)
                await room.wait()
        except asyncio.CancelledError:
            self._router.settle(1)
            raise

    async def _abandon(self) -> None:
        """Cancel whatever still runs and free every mailbox, also of what never ran."""
        await self._cancel(self._tasks.values())
        for cell in self._cells.values():
            cell.close()

    async def _cancel(self, tasks: Iterable["asyncio.Task[None]"]) -> None:
        tasks = [task for task in tasks if not task.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            _, deaf = await asyncio.wait(tasks, timeout=CANCEL_TIMEOUT)
            for task in deaf:
                log.critical("actor_left_behind", actor=task.get_name(), timeout=CANCEL_TIMEOUT)

    async def _on_crash(self, cell: Cell, error: BaseException) -> None:
        """Wait the back-off, or give up by raising when the budget is spent or the service is only starting."""
        now = self._clock.monotonic()
        crashes = self._crashes[cell.name]
        if isinstance(error, PoisonDropped):
            # Their cause is gone: senders of bad messages must not be able to spend the budget.
            crashes.clear()
        crashes.append(now)
        while crashes and crashes[0] < now - self._policy.restart_window:
            crashes.popleft()
        if self._starting:
            # Who starts the service is told, once.
            raise error
        if isinstance(error, self._policy.fatal):
            # As at the start: whoever waits for the service is told, once.
            raise error
        log.error("actor_crashed", actor=cell.name, crashes=len(crashes), **described(error))
        if len(crashes) > self._policy.restart_budget:
            raise RestartBudgetSpent(cell.name, len(crashes), self._policy.restart_window) from error
        await self._clock.sleep(min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** (len(crashes) - 1)))

    def _cell_ended(self, task: "asyncio.Task[None]") -> None:
        if task.cancelled() or (error := task.exception()) is None:
            return
        if self.failure is None:
            self.failure, self._failed_actor = error, task.get_name()
        self.failed.set()
