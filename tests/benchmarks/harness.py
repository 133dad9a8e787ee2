"""What the benchmarks of the running service share: the service as a process of its own, a listener as another,
stored tasks in any number, and one form for results.

Everything is on 127.0.0.1, every wait has a deadline, and processes are ended by the id they were started with.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, Self

import psutil

from aico_sched.security.keys import KeyRing
from aico_sched.settings import Settings
from aico_sched.wiring import database_keys, open_database

ROOT = Path(__file__).resolve().parents[2]
LISTENER = "listener"
START_WITHIN = 30.0
STOP_WITHIN = 30.0


class Measure(NamedTuple):
    """One figure. `goal` is what to reach: at most that ("<"), at least that (">"), or None for a figure to know."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    sense: str = "<"

    @property
    def met(self) -> bool | None:
        if self.goal is None:
            return None
        return self.value <= self.goal if self.sense == "<" else self.value >= self.goal


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest of `values` that `share` (0 to 1) of them do not exceed; NaN of none."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(len(ranked) * share) - 1)] if ranked else math.nan


def spread(name: str, seconds: Sequence[float], goals: dict[str, float] | None = None) -> list[Measure]:
    """p50, p99 and the longest of `seconds`, in milliseconds; `goals` by the name of the percentile."""
    shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    wanted = goals or {}
    return [
        Measure(f"{name}, {key}", percentile(seconds, share) * 1_000, "ms", wanted.get(key))
        for key, share in shares.items()
    ]


def options(description: str | None, *, megabytes: int | None = None) -> argparse.Namespace:
    """`--quick`, `--json` and `--rounds`, as every benchmark of the service takes them; and `--megabytes`, where there
    is a size to choose: such a benchmark has one round."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument(
        "--json", action="store_true", help="one JSON object on standard output, the table on the other"
    )
    if megabytes is None:
        parser.add_argument("--rounds", type=int, default=3, help="medians are over so many rounds")
    else:
        parser.add_argument("--rounds", type=int, default=1, help="taken for the sake of `run.py`; there is one")
        parser.add_argument("--megabytes", type=int, default=megabytes, help="size of the database")
    return parser.parse_args()


def medians(rounds: Sequence[Sequence[Measure]]) -> list[Measure]:
    """The same measures of several rounds as one each."""
    by_name: dict[str, list[Measure]] = {}
    for measures in rounds:
        for measure in measures:
            by_name.setdefault(measure.name, []).append(measure)
    return [same[0]._replace(value=percentile([each.value for each in same], 0.5)) for same in by_name.values()]


def publish(title: str, measures: Sequence[Measure], chosen: argparse.Namespace) -> int:
    """Print the results as `chosen` says. Always 0: a slow machine is no failure."""
    print(table(title, measures), file=sys.stderr if chosen.json else sys.stdout, flush=True)
    if chosen.json:
        rows = [{**measure._asdict(), "met": measure.met} for measure in measures]
        machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]}
        print(json.dumps({"title": title, "quick": chosen.quick, "machine": machine, "measures": rows}))
    return 0


def table(title: str, measures: Sequence[Measure]) -> str:
    """The measures as lines of text."""
    lines = [title, "-" * len(title)]
    for name, value, unit, goal, sense in measures:
        aim = "" if goal is None else f"  goal {'≤' if sense == '<' else '≥'} {goal:g}"
        verdict = {None: "", True: "  met", False: "  MISSED"}[Measure(name, value, unit, goal, sense).met]
        lines.append(f"{name:58}{value:12,.2f} {unit:6}{aim:14}{verdict}".rstrip())
    return "\n".join(lines) + "\n"


@contextmanager
def folder() -> Iterator[Path]:
    """A temporary folder, removed at the end."""
    path = Path(tempfile.mkdtemp(prefix="aico-sched-bench-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def environment(data_dir: Path) -> dict[str, str]:
    """Settings of the measured service: the defaults, free ports, and no load of the machine that holds tasks back."""
    return {
        "AICO_SCHED_DATA_DIR": str(data_dir),
        "AICO_SCHED_CONFIG_DIR": str(data_dir / "config"),
        "AICO_SCHED_SCHEDULER__MAX_CPU_PERCENT": "100",
        "AICO_SCHED_SCHEDULER__MAX_MEMORY_PERCENT": "100",
        "AICO_SCHED_SCHEDULER__MAX_CONCURRENT_TASKS": "10000",
        "AICO_SCHED_SCHEDULER__HEARTBEAT_INTERVAL": "1",
        "AICO_SCHED_SCHEDULER__LOG_LEVEL": "warning",
        "AICO_SCHED_BUS__PUBLISH_PORT": "0",
        "AICO_SCHED_BUS__SUBSCRIBE_PORT": "0",
    }


class Service:
    """`aico-sched run` on `data_dir`, as a process of its own. `began` is the wall time of its start."""

    def __init__(self, data_dir: Path, **more: str) -> None:
        self.data_dir = data_dir
        keys = KeyRing(data_dir / "keys")
        keys.ensure()
        with suppress(Exception):
            keys.create(LISTENER, "observer")
        self.began = time.time()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "aico_sched.cli.app", "run"],
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment(data_dir), **more},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        self._seen = psutil.Process(self._process.pid)

    def __enter__(self) -> Self:
        deadline = time.monotonic() + START_WITHIN
        while not (self.data_dir / "service.json").exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise RuntimeError(f"the service did not start (exit code {self._process.returncode})")
            time.sleep(0.005)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        (self.data_dir / "service.json").unlink(missing_ok=True)

    @property
    def cpu_seconds(self) -> float:
        """Processor time it has used, all threads together."""
        times = self._seen.cpu_times()
        return float(times.user + times.system)

    @property
    def descriptors(self) -> int:
        """How many file descriptors it has open."""
        return self._seen.num_fds()

    @property
    def megabytes(self) -> float:
        """Its resident memory."""
        return float(self._seen.memory_info().rss) / 1e6


class Listener:
    """A process that subscribes to the events below `prefix` with bare pyzmq and keeps reading (`listener.py`)."""

    def __init__(self, data_dir: Path, prefix: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("listener.py")), str(data_dir), LISTENER, prefix],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        self._answer()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def collect(self, topic: str, count: int, seconds: float) -> list[dict[str, Any]]:
        """Every event so far, once `count` of `topic` have come or `seconds` have passed; each with `arrived`, the
        wall time at which it was read."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"topic": topic, "count": count, "seconds": seconds}) + "\n")
        self._process.stdin.flush()
        events: list[dict[str, Any]] = self._answer()
        return events

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the listener has ended")
        return json.loads(line)


def gaps(events: Sequence[dict[str, Any]]) -> int:
    """How many numbers are missing in the events' `seq`, over all topics."""
    numbers: dict[str, set[int]] = {}
    for event in events:
        numbers.setdefault(event["topic"], set()).add(event["seq"])
    return sum(max(found) - min(found) + 1 - len(found) for found in numbers.values())


def rfc3339(moment: datetime) -> str:
    """As the database keeps instants."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@contextmanager
def opened(data_dir: Path) -> Iterator[Any]:
    """The bare connection to the database of a stopped service."""
    settings = Settings.load(environ=environment(data_dir))
    database = open_database(settings, database_keys(settings))
    try:
        yield database._connection
    finally:
        database.close()


def fill(data_dir: Path, template: str, count: int, changes: Callable[[int], dict[str, Any]]) -> None:
    """Store `count` copies of the task `template`, which the database of a stopped service holds; `changes` says
    which columns of copy n differ. Not through the bus, because this is not what is measured."""
    with opened(data_dir) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(scheduled_tasks)").fetchall()]
        row = connection.execute("SELECT * FROM scheduled_tasks WHERE task_id = ?", (template,)).fetchone()
        original = dict(zip(columns, row, strict=True))
        insert = f"INSERT INTO scheduled_tasks VALUES ({', '.join('?' * len(columns))})"
        copies = ({**original, "task_id": f"{template}.{number}", **changes(number)} for number in range(count))
        connection.execute("BEGIN")
        connection.executemany(insert, [tuple(copy[column] for column in columns) for copy in copies])
        connection.execute("COMMIT")


def succeeded(data_dir: Path) -> int:
    """How many executions the database of a stopped service holds as succeeded."""
    with opened(data_dir) as connection:
        count = connection.execute("SELECT count(*) FROM task_executions WHERE status = 'succeeded'").fetchone()[0]
    return int(count)


def due_at(moment: datetime) -> dict[str, str]:
    """The columns that make a copy come due at `moment`."""
    text = rfc3339(moment)
    return {"next_run": text, "due_at": text}


def tomorrow() -> datetime:
    """A moment that no benchmark lives to see."""
    return datetime.now(UTC) + timedelta(days=1)


def later(number: int) -> dict[str, str]:
    """The columns that make copy `number` idle for the next half hour: one a second comes due from then on, so that
    some are in the scheduler's horizon and most are not."""
    return due_at(datetime.now(UTC) + timedelta(seconds=1_800 + number))
