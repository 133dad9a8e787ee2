"""The parent's side: starts the child, calls its object, and sees to it that no child outlives its use."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from typing import Any, Self

from aico_sched.outside import waiting
from aico_sched.worker.frames import LENGTH, length_of, pack, unpack

_END_GRACE = 2.0


class WorkerFailed(Exception):
    """A call raised in the child. `kind` is the name of the exception's class there."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message or kind)
        self.kind = kind


class WorkerDied(Exception):
    """The child ended in the middle of a call: it was killed, or ran out of memory."""

    def __init__(self, returncode: int | None) -> None:
        super().__init__(f"the worker process ended unexpectedly (exit code {returncode})")
        self.returncode = returncode


class Worker:
    """One child process with one object. For one caller at a time.

    The child is started with `open` and gone when its block is left, however it is left. A call that is cancelled
    leaves the child of no use, so it is killed: the object must bear that at any moment. `cpu_seconds` is what the
    child's calls have used so far.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.cpu_seconds = 0.0

    @classmethod
    @asynccontextmanager
    async def open(cls, factory: str, nice: int = 10, /, **arguments: Any) -> AsyncIterator[Self]:
        """A child in which `factory` ("module:callable") was called with `arguments`, plain data that may hold
        secrets: they go through the pipe, not through the command line. Raises `WorkerFailed` with what it raised.
        """
        with waiting():
            worker = cls(await _started())
        try:
            await worker._exchange({"factory": factory, "arguments": arguments, "nice": nice})
            yield worker
        finally:
            await worker._end()

    async def call(self, method: str, /, **arguments: Any) -> Any:
        """Call a method of the child's object with plain data and return what it returns. Raises `WorkerFailed` with
        what the method raised, `WorkerDied` when the child is gone."""
        return await self._exchange({"method": method, "arguments": arguments})

    async def _exchange(self, request: dict[str, Any]) -> Any:
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        whole = False
        try:
            with waiting():
                process.stdin.write(pack(request))
                await process.stdin.drain()
                head = await process.stdout.readexactly(LENGTH.size)
                answer = unpack(await process.stdout.readexactly(length_of(head)))
            whole = True
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise WorkerDied(await process.wait()) from error
        finally:
            if not whole:
                self._kill()
        self.cpu_seconds += answer["cpu"]
        if "error" in answer:
            raise WorkerFailed(answer["error"], answer["message"])
        return answer["result"]

    def _kill(self) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()

    async def _end(self) -> None:
        """Close the pipe, which ends an idle child; kill one that does not go. Also when the caller is cancelled."""
        process = self._process
        assert process.stdin is not None
        process.stdin.close()
        try:
            with waiting():
                async with asyncio.timeout(_END_GRACE):
                    await process.wait()
        except TimeoutError:
            pass
        finally:
            self._kill()
            await _to_the_end(process.wait())


async def _started() -> asyncio.subprocess.Process:
    """A new child. One whose start is cancelled is waited for and killed, for asyncio would forget it."""
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "aico_sched.worker.serve",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # Ctrl-C is for whoever started it, who then ends it.
            process_group=0,
        )
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await _to_the_end(_end_unused(starting))
        raise


async def _end_unused(starting: "asyncio.Future[asyncio.subprocess.Process]") -> None:
    process = await starting
    process.kill()
    await process.communicate()


async def _to_the_end(awaitable: Awaitable[object]) -> None:
    """See something short to its end, in a task that may be cancelled again and again."""
    done = asyncio.ensure_future(awaitable)
    while not done.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(done)
    done.result()
