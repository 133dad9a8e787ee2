"""The parent's part: one child process, from its start to the last byte it wrote."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import aico_sched
from aico_sched.execution.child.exits import Ended, peak_megabytes
from aico_sched.execution.child.output import Output

SECRETS = ("AICO_SCHED_DATABASE_KEY",)
"""Environment variables no child process gets."""

_PYTHON = {
    # Also where the package is not installed: `-P` keeps the working folder off the path.
    "PYTHONPATH": str(Path(aico_sched.__file__).parents[1]),
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
}
_KEPT = ("LANG", "LC_ALL", "LC_CTYPE", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "LD_LIBRARY_PATH")


def scrubbed(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a sandboxed child: language and time zone, nothing else."""
    kept = {name: environ[name] for name in _KEPT if name in environ}
    # Threads that only numerical libraries start, one a core, each with its own address space.
    return {**kept, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of any other child: ours without secrets."""
    return {name: value for name, value in environ.items() if name not in SECRETS}


class ChildProcess:
    """A started child that waits for its job. `ended` is done once it is gone and reaped.

    The kernel ends it when this process's loop thread ends. Nothing of ours is inherited but its end of the socket
    pair, /dev/null as its input, and a pipe for what it prints.
    """

    def __init__(self, popen: "subprocess.Popen[bytes]", ours: socket.socket, output: int) -> None:
        loop = asyncio.get_running_loop()
        self._popen, self._socket = popen, ours
        self.output = Output(output)
        self.ended: asyncio.Future[Ended] = loop.create_future()
        self._pidfd = os.pidfd_open(popen.pid)
        loop.add_reader(self._pidfd, self._exited)
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    @classmethod
    def start(cls, environment: Mapping[str, str]) -> "ChildProcess":
        """Start one; it takes a while until it can read its job, which may be sent at once. Raises OSError."""
        if not hasattr(os, "pidfd_open"):
            raise OSError("runs in processes of their own need Linux 5.3; set sandbox.enabled to false to do without")
        ours, theirs = socket.socketpair()
        try:
            readable, writable = os.pipe2(os.O_CLOEXEC)
        except OSError:
            ours.close()
            theirs.close()
            raise
        try:
            popen = subprocess.Popen(  # noqa: S603
                [
                    *(sys.executable, "-X", "utf8", "-P", "-m", "aico_sched.execution.child"),
                    *(str(theirs.fileno()), str(os.getpid())),
                ],
                stdin=subprocess.DEVNULL,
                stdout=writable,
                stderr=writable,
                pass_fds=(theirs.fileno(),),
                env={**environment, **_PYTHON},
                # A group of its own, so that Ctrl-C is not for it, and all it started can be ended with it.
                start_new_session=True,
            )
        except OSError:
            ours.close()
            os.close(readable)
            raise
        finally:
            theirs.close()
            os.close(writable)
        os.set_blocking(readable, False)
        return cls(popen, ours, readable)

    @property
    def pid(self) -> int:
        """Its process id, which is also its group's."""
        return self._popen.pid

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The streams to and from it."""
        if self.streams is None:
            self.streams = await asyncio.open_connection(sock=self._socket)
        return self.streams

    def signal(self, number: int) -> None:
        """Send a signal to it and to all it started; harmless when it is gone."""
        if not self.ended.done():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def _exited(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        # Until it is reaped nobody else gets its number: what it left running in its group ends with it.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        _, status, usage = os.wait4(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        self._popen.returncode = code
        self.output.drain()
        self.ended.set_result(Ended(code, usage.ru_utime + usage.ru_stime, peak_megabytes(usage.ru_maxrss)))

    async def end(self, patience: float, after_term: float) -> Ended:
        """Wait for its end: for `patience` seconds as it pleases, then by SIGTERM, `after_term` seconds later by
        SIGKILL."""
        for number, wait in ((signal.SIGTERM, patience), (signal.SIGKILL, after_term)):
            await asyncio.wait({self.ended}, timeout=wait)
            if not self.ended.done():
                self.signal(number)
        await asyncio.wait({self.ended})
        return self.ended.result()

    def close(self) -> None:
        """Let go of the pipes; the child sees its end."""
        if self.streams is None:
            self._socket.close()
        else:
            self.streams[1].close()
        self.output.close()
