"""The end of a process in which code of tasks has run: a coroutine can swallow every cancellation, and a thread that it
has started cannot be ended, but neither keeps the process from ending."""

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import structlog

log = structlog.get_logger(__name__)

Value = TypeVar("Value")

INTERRUPTED = 130
"""The exit code after Ctrl-C."""

LINGER = 2.0
"""Seconds that tasks, and then threads, have once the service has stopped."""


def to_the_end(work: Coroutine[Any, Any, int]) -> int:
    """As `asyncio.run`, which waits for everything that is left; this ends the process with the exit code that `work`
    returns if something is left after a while, and says what."""
    with asyncio.Runner() as runner:
        code = runner.run(work)
        left = runner.run(_left())
        if left:
            log.error("left_behind", what=left)
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return code


def interruptible(work: Coroutine[Any, Any, Value]) -> Value:
    """As `asyncio.run`, with a first Ctrl-C that cancels `work` (KeyboardInterrupt is raised once it has ended) and a
    second that ends the process at once, whatever runs in it."""

    async def main() -> Value:
        loop, task, asked = asyncio.get_running_loop(), asyncio.current_task(), False

        def interrupted(*_: Any) -> None:
            nonlocal asked
            if asked:
                os._exit(INTERRUPTED)
            asked = True
            sys.stderr.write("it was told to end; Ctrl-C again ends it at once\n")
            assert task is not None
            loop.call_soon_threadsafe(task.cancel)

        before = signal.getsignal(signal.SIGINT)
        with suppress(NotImplementedError):
            # Has the loop woken by a signal that comes just before it waits, or to another thread: until it runs
            # again nothing calls what is set below. Windows has no such thing and wakes by itself.
            loop.add_signal_handler(signal.SIGINT, lambda: None)
        signal.signal(signal.SIGINT, interrupted)
        try:
            return await work
        finally:
            with suppress(NotImplementedError):
                loop.remove_signal_handler(signal.SIGINT)
            signal.signal(signal.SIGINT, before)

    try:
        return asyncio.run(main())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def _left() -> list[str]:
    """The names of tasks that do not end, and of threads for which the interpreter would wait."""
    deaf: set[asyncio.Task[Any]] = set()
    if tasks := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in tasks:
            task.cancel()
        _, deaf = await asyncio.wait(tasks, timeout=LINGER)
    # Not cancelled when it takes too long: then it would wait in the loop's own thread.
    emptied = asyncio.create_task(asyncio.get_running_loop().shutdown_default_executor())
    await asyncio.wait({emptied}, timeout=LINGER)
    threads = {each for each in threading.enumerate() if not each.daemon} - {threading.current_thread()}
    return sorted([*(task.get_name() for task in deaf), *(thread.name for thread in threads)])
