"""This project's side of the comparison: each measure with the arguments and the figures that the peers' programs have.

The service is a process of its own with its defaults (durable, encrypted, CURVE, access checks, audit, health), clients
and listeners are others.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench_creates import EACH_WITHIN, bare, one_by_one, payloads, pipelined
from bench_executions import delay
from harness import ROOT, Listener, Service, due_at, environment, fill, later, percentile, rfc3339, tomorrow
from peers.environments import PROGRAMS

from aico_sched.client import SchedulerClient
from aico_sched.topics import names

Result = dict[str, Any]

HERE = Path(__file__).resolve().parent
TASKS = {
    "AICO_SCHED_SCHEDULER__TASK_MODULES": '["marks"]',
    "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)]),
}
LEAD = 9.0
"""Seconds from the filling of the database to the instant, besides what its size takes."""


class Ours:
    """Our contestant. `place` is a folder for its databases."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.template = place / "template"
        self._filled: dict[int, Path] = {}

    def prepare(self) -> None:
        """A database that holds one task of each kind, not due for a long time."""
        with Service(self.template, **TASKS):
            asyncio.run(self._make_template())

    async def _make_template(self) -> None:
        async with SchedulerClient.discover(self.template) as client:
            await client.create("bench.every", "interval:1", task_class="bench.nothing", start_at=tomorrow())
            await client.create("bench.daily", "interval:86400", task_class="bench.nothing", start_at=tomorrow())
            await client.create(
                "bench.overdue", "interval:3600", task_class="bench.mark", config={"log": "/"}, start_at=tomorrow()
            )
            await client.create(
                "bench.witness", f"at:{rfc3339(tomorrow())}", task_class="bench.witness", config={"log": "/"}
            )

    def copy(self) -> Path:
        """A database of its own for one measurement."""
        copy = self.place / uuid.uuid4().hex
        shutil.copytree(self.template, copy)
        return copy

    def daily(self, data_dir: Path, count: int) -> datetime:
        """Store daily tasks that are due at one instant, which is returned."""
        due = datetime.now(UTC) + timedelta(seconds=LEAD + count / 2_500)
        columns = {"anchor": rfc3339(due - timedelta(days=1)), "options": "{}", **due_at(due)}
        fill(data_dir, "bench.daily", count, lambda number: {**columns, "task_id": f"bench.burst.{number}"})
        return due

    def once(self, data_dir: Path, template: str, count: int, **more: str) -> datetime:
        """Store one-time tasks that are due at one instant, which is returned."""
        due = datetime.now(UTC) + timedelta(seconds=LEAD + count / 2_500)
        fill(data_dir, template, count, lambda _: {"schedule": f"at:{rfc3339(due)}", **due_at(due), **more})
        return due

    def cron(self, cases: list[list[str]], length: int) -> Result:
        asked = json.dumps({"measure": "cron", "library": "ours", "cases": cases, "length": length})
        command = [sys.executable, str(PROGRAMS / "crons.py"), asked]
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
        found: Result = json.loads(done.stdout)
        return found

    def adds(self, count: int) -> Result:
        """Pipelined over the CURVE bus from this process: through our client, and bare packed messages."""
        with Service(self.copy()) as service:

            async def through_client() -> float:
                async with SchedulerClient.discover(service.data_dir, timeout=EACH_WITHIN) as client:
                    await one_by_one(client, payloads("warm"), 100)
                    gc.freeze()
                    return await pipelined(client, payloads("client"), count)

            return {"client": asyncio.run(through_client()), "rate": bare(service, payloads("bare"), count)}

    def singles(self, count: int) -> Result:
        with Service(self.copy()) as service:

            async def run() -> list[float]:
                async with SchedulerClient.discover(service.data_dir, timeout=EACH_WITHIN) as client:
                    await one_by_one(client, payloads("warm"), 100)
                    return await one_by_one(client, payloads("single"), count)

            return percentiles(asyncio.run(run()))

    def due(self, count: int) -> Result:
        """As the events tell, which another process reads; the rate ends with the last event read."""
        data_dir = self.copy()
        due = self.daily(data_dir, count)
        with Service(data_dir, **TASKS) as service, Listener(data_dir, names.EXECUTION_EVENTS) as listener:
            if datetime.now(UTC) > due:
                raise RuntimeError("the instant passed before the service was there")
            time.sleep(max(0.0, due.timestamp() - time.time() - 0.5))
            used = -service.cpu_seconds
            ends = heard(listener, count, LEAD + 60)
            used += service.cpu_seconds
        if len(ends) < count:
            raise RuntimeError(f"only {len(ends):,} of {count:,} have run")
        last = max(event["arrived"] for event in ends)
        return {
            "ran": len(ends),
            **percentiles([delay(event) for event in ends]),
            "rate": len(ends) / (last - due.timestamp()),
            "cpu_each": used / count,
        }

    def uncrowded(self, runners: int, seconds: float) -> Result:
        data_dir = self.copy()
        first = datetime.now(UTC) + timedelta(seconds=LEAD)

        def changes(number: int) -> dict[str, str]:
            moment = first + timedelta(seconds=number / runners)
            return {"anchor": rfc3339(moment - timedelta(seconds=1)), "options": "{}", **due_at(moment)}

        fill(data_dir, "bench.every", runners, changes)
        with Service(data_dir, **TASKS), Listener(data_dir, names.EXECUTION_EVENTS) as listener:
            count = int(runners * seconds)
            late = [delay(event) for event in heard(listener, count, LEAD + seconds + 30)]
        return {"ran": len(late), **percentiles(late)}

    def filled(self, count: int) -> Path:
        """A database with `count` tasks that are not due; made once."""
        if count not in self._filled:
            data_dir = self.copy()
            fill(data_dir, "bench.daily", count, later)
            self._filled[count] = data_dir
        return self._filled[count]

    def overdue(self, count: int) -> Result:
        """One task whose time was a minute ago: in a program that embeds the service, and in `aico-sched run`."""
        data_dir = self.filled(count)
        log = self._arm(data_dir)
        inside = subprocess.run(
            [sys.executable, str(HERE / "start_inside.py"), str(data_dir), str(log)],
            env={**os.environ, **environment(data_dir), **TASKS},
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        if inside.returncode:
            raise RuntimeError(inside.stderr[-1_000:])
        log = self._arm(data_dir)
        with Service(data_dir, **TASKS) as service:
            deadline = time.monotonic() + 60
            while not log.exists() and time.monotonic() < deadline:
                time.sleep(0.005)
            began = float(log.read_text(encoding="ascii").split()[0])
            time.sleep(1.0)
            memory = service.megabytes
        found = json.loads(inside.stdout.splitlines()[-1])
        return {"from_start": found["from_start"], "from_process": began - service.began, "megabytes": memory}

    def _arm(self, data_dir: Path) -> Path:
        name, past = uuid.uuid4().hex, datetime.now(UTC) - timedelta(minutes=1)
        log = self.place / f"{name}.log"
        changes = {"task_id": f"bench.overdue.{name}", "config": json.dumps({"log": str(log)}), **due_at(past)}
        fill(data_dir, "bench.overdue", 1, lambda _: changes)
        return log

    def idle(self, count: int, settle: float, seconds: float) -> Result:
        with Service(self.filled(count), **TASKS) as service:
            time.sleep(settle)
            before = service.cpu_seconds
            time.sleep(seconds)
            return {"cpu": (service.cpu_seconds - before) * 10 / seconds, "megabytes": service.megabytes}

    def memory(self, count: int) -> Result:
        """How much larger the process is with so many tasks stored than with none, for each."""
        with Service(self.copy(), **TASKS) as service:
            time.sleep(1.0)
            without = service.megabytes
        with Service(self.filled(count), **TASKS) as service:
            time.sleep(1.0)
            return {"bytes_each": (service.megabytes - without) * 1e6 / count, "megabytes": service.megabytes}

    def pauses(self, count: int, more: int, burst: int) -> Result:
        data_dir = self.place / uuid.uuid4().hex
        shutil.copytree(self.filled(count), data_dir)
        self.daily(data_dir, burst)
        report = self.place / f"{uuid.uuid4().hex}.json"
        path = os.pathsep.join([str(HERE / "hook"), TASKS["PYTHONPATH"]])
        more_path = {**TASKS, "PYTHONPATH": path, "AICO_BENCH_PAUSES": str(report)}
        with Service(data_dir, **more_path) as service, Listener(data_dir, names.EXECUTION_EVENTS) as listener:
            up = time.time()
            bare(service, payloads("more"), more)
            heard(listener, burst, LEAD + 60)
        shutil.rmtree(data_dir)
        # As with the peers, not what loading the program and its tasks takes.
        seconds = [took for at, took in json.loads(report.read_text(encoding="utf-8")) if at > up]
        return {"max": max(seconds, default=0.0), "collections": len(seconds), "sum": sum(seconds)}

    def killable(self, log: Path, count: int) -> tuple[list[str], dict[str, str]]:
        """The command of a service, and its environment, that has `count` tasks due soon, each of which adds its
        name to `log`. At least once and ten at a time, as are the defaults."""
        data_dir = self.copy()
        self.once(data_dir, "bench.witness", count, config=json.dumps({"log": str(log)}))
        command = [sys.executable, "-m", "aico_sched.cli.app", "run"]
        return command, {**environment(data_dir), **TASKS, "AICO_SCHED_SCHEDULER__MAX_CONCURRENT_TASKS": "10"}


def heard(listener: Listener, count: int, seconds: float) -> list[Result]:
    """The ends of `count` runs of the benchmark's own tasks, or what has come after `seconds`. The service has tasks
    of its own, one of them every five minutes, whose ends are heard too."""
    wanted, deadline = count, time.monotonic() + seconds
    while True:
        events = listener.collect(names.EXECUTION_SUCCEEDED, wanted, max(0.0, deadline - time.monotonic()))
        succeeded = (event for event in events if event["topic"] == names.EXECUTION_SUCCEEDED)
        ends = [event for event in succeeded if event["task_id"].startswith("bench.")]
        if len(ends) >= count or time.monotonic() > deadline:
            return ends
        wanted += count - len(ends)


def percentiles(seconds: list[float]) -> Result:
    """As the peers' programs say them."""
    shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {name: percentile(seconds, share) for name, share in shares.items()}
