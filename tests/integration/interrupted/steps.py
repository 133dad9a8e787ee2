"""The steps of a run: the moments at which it waits for somebody. Whoever interrupts it says at which of them.

Run `python -m tests.integration.interrupted.steps NUMBER PAUSE SIGNAL ARGUMENT …` for `aico-sched ARGUMENT …` that gets
the signal `PAUSE` seconds after its step `NUMBER` has begun: as Ctrl-C comes from a terminal, to it and the processes
it has started; only to itself, if it is SIGKILL.
"""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aico_sched.session_keys import RingKeys
from aico_sched.tasks.context import TaskContext
from aico_sched.worker.worker import Worker

WAITS: tuple[tuple[type[Any], str], ...] = (
    (Worker, "call"),
    (RingKeys, "rotate"),
    *((TaskContext, name) for name in ("progress", "checkpoint", "maintain", "query", "execute")),
)


@contextmanager
def counted(begun: Callable[[int], None], held: int = 0) -> Iterator[None]:
    """Calls `begun` with the number of each step, from 1, of the runs in this process. The step `held` is begun and
    never comes back, so that it can only be cancelled."""
    before = [(owner, name, getattr(owner, name)) for owner, name in WAITS]
    count = 0

    def watched(real: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def step(*given: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            begun(count)
            if count == held:
                return await _held(real(*given, **named))
            return await real(*given, **named)

        return step

    for owner, name, real in before:
        setattr(owner, name, watched(real))
    try:
        yield
    finally:
        for owner, name, real in before:
            setattr(owner, name, real)


async def _held(work: Awaitable[Any]) -> None:
    working = asyncio.ensure_future(work)
    try:
        await asyncio.Event().wait()
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


def main(wanted: int, pause: float, number: signal.Signals) -> None:
    """See the module."""
    from aico_sched.cli.app import main as aico_sched

    def send() -> None:
        if number is signal.SIGKILL:
            os.kill(os.getpid(), number)
        else:
            os.killpg(os.getpgrp(), number)

    def begun(count: int) -> None:
        if count == wanted and not pause:
            send()
        elif count == wanted:
            timer = threading.Timer(pause, send)
            timer.daemon = True
            timer.start()

    with counted(begun):
        aico_sched()


if __name__ == "__main__":
    _, at, after, name, *sys.argv[1:] = sys.argv
    main(int(at), float(after), signal.Signals[name])
