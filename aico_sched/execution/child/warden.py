"""Ends what the children of this process have started, should this process be killed.

The kernel ends the children themselves then (`die_with_parent`), but not theirs, and nobody is left who could do it:
so a small process waits for our end. One serves all children.
"""

import asyncio
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import structlog

from aico_sched.execution.child import warden_process
from aico_sched.execution.child.process import ChildProcess
from aico_sched.logs import described

log = structlog.get_logger(__name__)


class Warden:
    """Watches over the process groups of children. It is started with the first, and anew if somebody ends it. What
    has left its child's group, by `setsid`, is not found."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._groups: set[int] = set()

    @property
    def pid(self) -> int | None:
        """Its process, if there is one."""
        return None if self._process is None else self._process.pid

    def watch_over(self, child: ChildProcess) -> None:
        """From now on, until the child has ended."""
        group = child.pid
        self._groups.add(group)
        if not self._say(f"+{group}\n"):
            self._start()
        child.ended.add_done_callback(lambda _: self._forget(group))

    def _forget(self, group: int) -> None:
        self._groups.discard(group)
        if self._process is not None:
            self._say(f"-{group}\n")

    def _say(self, line: str) -> bool:
        """False if nobody hears it. A line is far shorter than what a pipe takes in one piece."""
        if self._process is None or self._process.stdin is None:
            return False
        try:
            os.write(self._process.stdin.fileno(), line.encode())
        except OSError:
            return False
        return True

    def _start(self) -> None:
        self._end()
        try:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-I", "-S", str(Path(warden_process.__file__))],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # Neither Ctrl-C nor a signal to our group is for it.
                start_new_session=True,
            )
        except OSError as error:
            # The run goes on: only what it starts would outlive a kill of this process.
            log.warning("warden_not_started", **described(error))
            return
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdin.fileno(), False)
        for group in self._groups:
            self._say(f"+{group}\n")

    def _end(self) -> subprocess.Popen[bytes] | None:
        """Close its input; it kills what it still has."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
            process.poll()
        return process

    async def close(self) -> None:
        """End it; all children are gone."""
        process = self._end()
        if process is None:
            return
        try:
            await asyncio.to_thread(process.wait, 2.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
