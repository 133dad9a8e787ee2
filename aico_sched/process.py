"""The service, or only its bus, as a process: logging, signals, exit code."""

import asyncio
import errno
import gc
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

import structlog
import zmq

from aico_sched.announcement import announce, withdraw
from aico_sched.bus.access import AccessRules
from aico_sched.bus.key_watch import KeyWatch
from aico_sched.bus_wiring import make_broker
from aico_sched.clock import SystemClock
from aico_sched.leftovers import to_the_end
from aico_sched.logs import configure_logging, described
from aico_sched.security.database_key import InvalidDatabaseKey
from aico_sched.security.key_names import KeyRingError
from aico_sched.security.keys import KeyRing
from aico_sched.service import SchedulerService
from aico_sched.settings import Settings
from aico_sched.store.errors import StoreError

_EXPECTED = (StoreError, InvalidDatabaseKey, KeyRingError)
"""Errors whose message tells a person what to do."""

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

log = structlog.get_logger(__name__)

COLLECT_AFTER = (10_000, 20, 50)
"""Thresholds of Python's garbage collector. With its own (700, 10, 10) a burst of 10,000 runs, whose objects are all in
use, was looked through again and again: two fifths of the service's processor time, in pauses of 0.1 s and more."""

Beside = Callable[[], AbstractAsyncContextManager[Any]]
"""Something that is entered once the service runs, and left before it stops."""


def run(settings: Settings, beside: Beside = nullcontext) -> int:
    """Run the service in a loop of its own until SIGTERM or SIGINT, with what is `beside` it. Returns the exit code: 0
    after an orderly stop, 1 when it could not go on."""
    configure_logging(settings.scheduler.log_level, settings.scheduler.log_format)
    return to_the_end(_serve(settings, beside))


async def _serve(settings: Settings, beside: Beside) -> int:
    service = SchedulerService(settings)
    loop = asyncio.get_running_loop()
    signalled = asyncio.Event()

    def stop() -> None:
        signalled.set()
        service.ask_to_stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        starting = asyncio.create_task(service.start())
        asked = asyncio.create_task(signalled.wait())
        await asyncio.wait({starting, asked}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            # Asked to stop before it was up; a start that is cancelled leaves nothing running.
            starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        if not starting.cancelled():
            starting.result()
            spare_the_collector()
            async with beside():
                await service.wait()
    except Exception as error:
        log.critical("service_failed", **_why(error))
        return 1
    finally:
        asked.cancel()
        await service.stop()
    return 0


def spare_the_collector() -> None:
    """What a started service consists of stays until it ends: a full collection need not look at it again, which takes
    it 60 ms each time; and what a burst of runs makes need not be looked at often. Not inside another program, whose
    objects are not ours to judge."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def _why(error: Exception) -> dict[str, str]:
    """An error that says itself what to do, in its own words; any other with its traceback."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, _EXPECTED):
            return {"reason": str(cause)}
        if isinstance(cause, OSError) and cause.errno in _NO_ROOM:
            return {"reason": f"{cause.strerror}: {cause.filename or 'a file'}. Make room on the disk and start again"}
        cause = cause.__cause__
    return described(error)


def run_broker(settings: Settings) -> int:
    """Run only the bus until SIGTERM or SIGINT, for services in other processes to join."""
    configure_logging(settings.scheduler.log_level, settings.scheduler.log_format)
    return asyncio.run(_serve_broker(settings))


def _log_refusal(name: str, action: str, topic: str, reason: str) -> None:
    """A bus without a service has no audit trail; its log is what there is."""
    log.warning("bus_refused", client=name, action=action, topic=topic, reason=reason)


async def _serve_broker(settings: Settings) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    keys = KeyRing(settings.data_dir / "keys")
    keys.ensure(settings.bus.name)
    broker = make_broker(context, keys, AccessRules.load(), settings, _log_refusal)
    watch = KeyWatch(keys.watched(), broker.reload_keys, SystemClock(), keys.expired)
    try:
        address = await broker.start()
        watch.start()
        announce(settings, address, keys.server().public)
        log.info("bus_started", bus=str(address))
        await stop.wait()
    finally:
        withdraw(settings)
        await watch.stop()
        await broker.stop()
        context.destroy(linger=0)
    return 0
