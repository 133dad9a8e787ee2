"""The demo's two other processes: started, listened to, and ended by their own process id, whatever happens."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aico_sched.demo.lines import spoken

END_WITHIN = 1.0
LONGEST_LINE = 16 * 1024 * 1024

Heard = Callable[[dict[str, Any]], None]


class ChildFailed(Exception):
    """A process of the demo ended too early; it has said why on standard error."""


class Child:
    """A running process. Each thing it says goes to `hear`, and may be waited for by its kind."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, hear: Heard) -> None:
        self.name, self._process, self._hear = name, process, hear
        self._said: dict[str, dict[str, Any]] = {}
        self._changed = asyncio.Event()
        self._over = False
        self._listening = asyncio.create_task(self._listen())

    def tell(self, **message: Any) -> None:
        """Send it a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")

    async def said(self, kind: str) -> dict[str, Any]:
        """The first thing of that kind it says. Raises `ChildFailed` when it ends without."""
        while kind not in self._said:
            if self._over:
                await self._process.wait()
                raise ChildFailed(f"the {self.name} process ended too early (exit code {self._process.returncode})")
            self._changed.clear()
            await self._changed.wait()
        return self._said[kind]

    async def end(self) -> None:
        """Close its input, which ends it; one that does not obey is terminated, then killed."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        for force in (self._process.terminate, self._process.kill):
            try:
                async with asyncio.timeout(END_WITHIN):
                    await self._process.wait()
                    break
            except TimeoutError:
                force()
        await self._process.wait()
        await asyncio.gather(self._listening, return_exceptions=True)

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        try:
            async for message in spoken(self._process.stdout):
                self._said.setdefault(message["kind"], message)
                self._changed.set()
                self._hear(message)
        finally:
            self._over = True
            self._changed.set()


@asynccontextmanager
async def child(name: str, module: str, arguments: list[str], hear: Heard) -> AsyncIterator[Child]:
    """The process `python -m module arguments`, ended when the block is left."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LONGEST_LINE,
        # Ctrl-C in a terminal is for the demo, which then ends them.
        process_group=0,
    )
    started = Child(name, process, hear)
    try:
        yield started
    finally:
        await asyncio.shield(started.end())
