"""A library that is slow to import, imported once: what uses it is a process forked from one that has it."""

import asyncio
import fcntl
import importlib
import os
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from aico_sched.worker.frames import LENGTH, length_of, pack, unpack

ROOT = Path(__file__).parents[3]
HIGH = 500
"""A file descriptor that is closed after all others when a process ends."""


class Forked:
    """An object in a process of its own, which is gone when the block of `Stem.open` is left."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def call(self, method: str, /, **arguments: Any) -> Any:
        """What the method returned; plain data both ways."""
        return await self.exchange({"method": method, "arguments": arguments})

    async def exchange(self, request: dict[str, Any]) -> Any:
        async with asyncio.timeout(120):
            self._writer.write(pack(request))
            head = await self._reader.readexactly(LENGTH.size)
            answer = unpack(await self._reader.readexactly(length_of(head)))
        assert "error" not in answer, answer["error"]
        return answer["result"]

    async def close(self) -> None:
        """Until the process has let go of everything."""
        self._writer.write_eof()
        async with asyncio.timeout(30):
            assert await self._reader.read() == b""
        self._writer.close()
        await self._writer.wait_closed()


class Stem:
    """A process that has imported `module` and forks."""

    def __init__(self, module: str) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._address = str(Path(self._folder.name) / "stem")
        with socket.socket(socket.AF_UNIX) as listen:
            listen.bind(self._address)
            listen.listen()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.integration.support.forked", module, str(listen.fileno())],
                cwd=ROOT, stdin=subprocess.PIPE, pass_fds=[listen.fileno()],
            )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=30)
        self._folder.cleanup()

    @asynccontextmanager
    async def open(self, factory: str, **arguments: Any) -> AsyncIterator[Forked]:
        """A process in which `factory` ("module:callable") was called with `arguments`."""
        forked = Forked(*await asyncio.open_unix_connection(self._address))
        try:
            await forked.exchange({"factory": factory, "arguments": arguments})
            yield forked
        finally:
            await forked.close()


def main(module: str, listening: int) -> None:
    """Fork for each connection, until whoever started it is gone."""
    listen = socket.socket(fileno=listening)
    importlib.import_module(module)
    children = 0
    while sys.stdin not in (ready := select.select([listen, sys.stdin], [], [])[0]):
        assert listen in ready
        connection, _ = listen.accept()
        child = os.fork()
        if child == 0:
            try:
                _serve(connection)
            finally:
                os._exit(0)
        connection.close()
        children += 1
        while children and os.waitpid(-1, os.WNOHANG)[0]:
            children -= 1


def _serve(connection: socket.socket) -> None:
    pipe = os.fdopen(fcntl.fcntl(connection, fcntl.F_DUPFD, HIGH), "r+b", buffering=0)
    connection.close()
    target: Any = None
    while head := pipe.read(LENGTH.size):
        body = b""
        while len(body) < length_of(head):
            body += pipe.read(length_of(head) - len(body))
        request = unpack(body)
        try:
            if "factory" in request:
                name, _, made = request["factory"].partition(":")
                target = getattr(importlib.import_module(name), made)(**request["arguments"])
                answer: dict[str, Any] = {"result": None}
            else:
                answer = {"result": getattr(target, request["method"])(**request["arguments"])}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        frame = memoryview(pack(answer))
        while frame:
            frame = frame[pipe.write(frame) :]


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
