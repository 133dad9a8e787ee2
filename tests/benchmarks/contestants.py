"""Who is compared, what each guarantees, and how a measure is put to each of them.

Our side is `ours.Ours`; a peer's is its program in its own environment, on a folder or a server of its own. Both answer
with the same figures, in seconds, by the same names.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ours import Ours
from peers import servers
from peers.environments import PEERS, PROGRAMS, Missing, python_of

Result = dict[str, Any]

WITHIN = 420.0
"""Seconds after which a program is given up; they give up themselves before."""

AHEAD = 6.0
"""Seconds from the preparation of runs that are to be killed until they are due."""
SLOW_TO_PREPARE = {"arq": 0.01, "Procrastinate": 0.03, "APScheduler 3": 0.03, "APScheduler 4": 0.06, "huey": 0.02}
"""Seconds more for each run prepared, on a slow disk."""
DUE_WITHIN = 60.0
QUIET = 4.0
ARQ_QUIET = 18.0
BACK_WITHIN = 30.0
"""Seconds without another end after which it is over, and more until the first one after the restart. arq takes a run
up again 12 s after its worker died."""


class Contestant(NamedTuple):
    """A library in one of its forms. `durable`: what it has acknowledged survives a power cut."""

    name: str
    peer: str | None
    durable: bool
    guarantees: str
    store: str = ""
    server: str = ""


OURS = Contestant(
    "aico-sched", None, True, "durable (fsync), history, events, audit; encrypted; from another process over CURVE"
)
CONTESTANTS = {
    each.name: each
    for each in (
        OURS,
        Contestant("APS3 memory", "APScheduler 3", False, "in memory, lost with the process; in process", "memory"),
        Contestant("APS3 SQLite", "APScheduler 3", True, "durable (fsync), no history; in process", "sqlite"),
        Contestant("APS3 WAL", "APScheduler 3", True, "durable (fsync), no history; in process", "wal"),
        Contestant("APS3 WAL normal", "APScheduler 3", False, "no fsync, no history; in process", "wal-normal"),
        Contestant("APS4 memory", "APScheduler 4", False, "in memory, lost with the process; in process", "memory"),
        Contestant("APS4 SQLite", "APScheduler 4", True, "durable (fsync), no history; in process", "sqlite"),
        Contestant("huey", "huey", True, "durable (SQLite, fsync), no history; in process"),
        Contestant("arq", "arq", True, "durable (Redis, appendfsync always), no history; plain TCP", server="redis"),
        Contestant("Procrastinate", "Procrastinate", True, "durable (PostgreSQL), history; plain TCP", server="pg"),
        Contestant("cronsim", "cronsim", True, "a function"),
        Contestant("croniter", "croniter", True, "a function"),
        Contestant("APS3 trigger", "APScheduler 3", True, "a function"),
    )
}
LIBRARIES = {"cronsim": "cronsim", "croniter": "croniter", "APS3 trigger": "apscheduler"}


class Field:
    """The contestants at work in one temporary folder."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.ours = Ours(place)
        self.pythons: dict[str, Path] = {}
        self.missing: dict[str, str] = {}
        self._filled: dict[tuple[str, int], Path] = {}

    def prepare(self) -> None:
        """Make the environments; which peers are missing is known then."""
        self.ours.prepare()
        for name, peer in PEERS.items():
            print(f"{name} {peer.version}", flush=True)
            try:
                self.pythons[name] = python_of(peer)
            except Missing as error:
                self.missing[name] = str(error)

    def measure(self, contestant: Contestant, measure: str, arguments: dict[str, Any]) -> Result:
        """Let one contestant do it once. Raises `Missing` or `RuntimeError`: why there is no figure."""
        if contestant.peer is not None and contestant.peer not in self.pythons:
            raise Missing(self.missing[contestant.peer])
        if measure == "kill":
            return self._kill(contestant, **arguments)
        if contestant.peer is None:
            result: Result = getattr(self.ours, measure)(**arguments)
            return result
        if measure == "cron":
            return self._call(contestant, "cron", {**arguments, "library": LIBRARIES[contestant.name]})
        if measure in ("overdue", "idle") and contestant.store not in ("", "memory"):
            return self._stored(contestant, measure, arguments)
        if measure == "singles" and not contestant.server:
            measure = "adds"
        with self._place(contestant) as where:
            return self._call(contestant, measure, {**where, **arguments})

    def _stored(self, contestant: Contestant, measure: str, arguments: dict[str, Any]) -> Result:
        """On a database with so many jobs in it, which is made once."""
        count = arguments["count"]
        if (contestant.name, count) not in self._filled:
            where = {"store": contestant.store, "folder": tempfile.mkdtemp(dir=self.place)}
            self._call(contestant, "fill", {**where, "count": count})
            self._filled[contestant.name, count] = Path(where["folder"])
        where = {"store": contestant.store, "folder": str(self._filled[contestant.name, count])}
        if measure == "idle":
            return self._call(contestant, measure, {**where, **arguments})
        self._call(contestant, "arm", where)
        return self._call(contestant, measure, where)

    @contextmanager
    def _place(self, contestant: Contestant) -> Iterator[dict[str, Any]]:
        """A folder or a server of its own, as arguments of its program."""
        folder = Path(tempfile.mkdtemp(dir=self.place))
        try:
            if contestant.server == "redis":
                with servers.redis(folder) as port:
                    yield {"port": port}
            elif contestant.server == "pg":
                with servers.postgresql(folder) as conninfo:
                    self._call(contestant, "setup", {"conninfo": conninfo})
                    yield {"conninfo": conninfo}
            else:
                yield (
                    {"store": contestant.store, "folder": str(folder)} if contestant.store else {"folder": str(folder)}
                )
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _command(self, contestant: Contestant, measure: str, arguments: dict[str, Any]) -> list[str]:
        assert contestant.peer is not None
        asked = json.dumps({"measure": measure, **arguments})
        return [str(self.pythons[contestant.peer]), str(PROGRAMS / _program(contestant)), asked]

    def _call(self, contestant: Contestant, measure: str, arguments: dict[str, Any]) -> Result:
        command = self._command(contestant, measure, arguments)
        try:
            done = subprocess.run(
                command, cwd=self.place, env=_bare(), capture_output=True, text=True, timeout=WITHIN, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"not over after {WITHIN:g} s") from error
        if done.returncode:
            raise RuntimeError(" ".join(done.stderr.strip().splitlines()[-1:])[:200] or f"exit {done.returncode}")
        found: Result = json.loads(done.stdout.strip().splitlines()[-1])
        return found

    def _kill(self, contestant: Contestant, count: int) -> Result:
        """Kill it when half of `count` due runs have ended, start it again, and look what became of each."""
        log = self.place / f"{contestant.name}.{time.monotonic_ns()}.log"
        log.touch()
        if contestant.peer is None:
            command, environment = self.ours.killable(log, count)
            return killed(command, {**os.environ, **environment}, log, count, QUIET)
        with self._place(contestant) as where:
            ahead = AHEAD + count * SLOW_TO_PREPARE[contestant.peer]
            self._call(contestant, "prepare", {**where, "log": str(log), "count": count, "ahead": ahead})
            quiet = ARQ_QUIET if contestant.peer == "arq" else QUIET
            return killed(self._command(contestant, "work", where), _bare(), log, count, quiet)


def killed(command: list[str], environment: dict[str, str], log: Path, count: int, quiet: float) -> Result:
    """How many of `count` runs have never ended, and how many more than once, in a process killed half-way through."""
    quietly = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    first = subprocess.Popen(command, env=environment, **quietly)  # type: ignore[call-overload]
    deadline = time.monotonic() + DUE_WITHIN
    try:
        while (at_kill := len(_lines(log))) < count // 2 and time.monotonic() < deadline:
            time.sleep(0.0005)
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    if at_kill < count // 2:
        raise RuntimeError("its runs were not half-way through in time")
    second = subprocess.Popen(command, env=environment, **quietly)  # type: ignore[call-overload]
    try:
        seen, since = -1, time.monotonic() + BACK_WITHIN
        while time.monotonic() - since < quiet and time.monotonic() < deadline + DUE_WITHIN:
            if second.poll() is not None:
                raise RuntimeError(f"it did not come back: exit code {second.returncode}")
            if (now := len(_lines(log))) != seen:
                since = time.monotonic() + (BACK_WITHIN if now == at_kill else 0)
                seen = now
            time.sleep(0.05)
    finally:
        second.send_signal(signal.SIGKILL)
        second.wait()
    ends = Counter(_lines(log))
    return {"lost": count - len(ends), "doubled": sum(times > 1 for times in ends.values()), "at_kill": at_kill}


def _lines(log: Path) -> list[str]:
    return log.read_text(encoding="utf-8").splitlines()


def _program(contestant: Contestant) -> str:
    if contestant.name in LIBRARIES:
        return "crons.py"
    assert contestant.peer is not None
    return PEERS[contestant.peer].program


def _bare() -> dict[str, str]:
    """Nothing of our own environment that a peer's interpreter would heed."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
