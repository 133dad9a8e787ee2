"""A real service under a steady load for a long time: does it leak, fall behind, or slow down?

Run `make soak` (2 minutes), `make soak LONG=1` (30 minutes), or `python tests/benchmarks/soak.py [--seconds S]
[--executions N] [--commands N] [--out FILE]`. 500 tasks run once a second, and this process sends 1,000 commands a
second at their times whether or not the earlier ones are answered: creates, updates, reads and deletes, half of them
durable changes. A third process checks each slot of each task as its event comes. Figures are printed as they are
taken; the end is a table, and the exit code is 1 if something did not hold:

- memory: the last quarter's median is less than 5 % above the first one's after the warm-up
- no slot missed, none run twice, no command without an answer, no run that ended otherwise than in success
- p99 of start delays and of commands: the second half's no more than a quarter and 5 ms above the first half's
- file descriptors: no more at the end than after the warm-up and ten
- the database: below 4 kB for each execution and command; in a run that is long enough for its history to be swept
  twice, no larger in the second half than a quarter above the first half's

The first third, two minutes at most, is the warm-up.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from harness import LISTENER, Service, due_at, fill, folder, percentile, rfc3339
from ours import TASKS

from aico_sched.client import SchedulerClient
from aico_sched.topics import names

PERIOD = 1.0
PREFIX = "bench.soak"
STEADY, SLACK = 1.25, 0.005
GROWTH = 1.05
DESCRIPTORS = 10
BYTES_EACH = 4_096
SWEPT_TWICE = 1_500.0
EACH_WITHIN = 30.0
ROTATION = 500
"""So many ids are created, updated, read and deleted in turn, so that the number of tasks stays."""

LEAD = 8.0
"""Seconds from the storing of the tasks to their first runs: the service and the watcher are there by then."""

EVERY_SLOT = {"misfire": "all", "catchup_window": 60.0, "overlap": "allow"}
"""A slot that is late still runs: being late shows in the delays, being lost in the slots."""

KEPT = {
    "AICO_SCHED_STORE__HISTORY_ROWS": "20000",
    "AICO_SCHED_STORE__HISTORY_KEEP": "5",
    "AICO_SCHED_SCHEDULER__EVENT_RETENTION": "20000",
    "AICO_SCHED_SCHEDULER__AUDIT_RETENTION": "20000",
    "AICO_SCHED_SCHEDULER__MESSAGE_ID_RETENTION": "60",
}
"""Little history: what is to be kept is full after the warm-up, and a leak shows."""


class Sample(NamedTuple):
    """What was seen at one time. Latencies are seconds since the last sample, counts are from the beginning."""

    at: float
    megabytes: float
    descriptors: int
    database: float
    start_p99: float
    command_p99: float
    runs: int
    commands: int
    unanswered: int
    missed: int
    doubled: int
    others: int
    events_lost: int
    cpu: float


class Verdict(NamedTuple):
    """One thing that must hold."""

    what: str
    found: str
    limit: str
    holds: bool


class Watcher:
    """The third process."""

    def __init__(self, data_dir: Path) -> None:
        program = Path(__file__).with_name("soak_watch.py")
        command = [sys.executable, str(program), str(data_dir), LISTENER, PREFIX, str(PERIOD)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    async def figures(self, ask: bool = True) -> Any:
        """Its next answer."""
        assert self._process.stdin is not None and self._process.stdout is not None
        if ask:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        line = await asyncio.to_thread(self._process.stdout.readline)
        if not line:
            raise RuntimeError("the soak's watcher has ended")
        return json.loads(line)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


class Commands:
    """A steady stream of commands; latency counts from when one should have been sent."""

    def __init__(self, client: SchedulerClient, rate: float) -> None:
        self._client, self._rate = client, rate
        self.latencies: list[float] = []
        self.sent = self.answered = self.failed = 0
        self.first_failure = ""

    async def run(self, seconds: float) -> None:
        """Until so many seconds have passed, and what was sent is answered."""
        loop = asyncio.get_running_loop()
        first = loop.time()
        async with asyncio.TaskGroup() as group:
            for number in range(int(self._rate * seconds)):
                intended = first + number / self._rate
                if (pause := intended - loop.time()) > 0:
                    await asyncio.sleep(pause)
                self.sent += 1
                group.create_task(self._one(number, intended))

    async def _one(self, number: int, intended: float) -> None:
        topic, payload = command(number)
        try:
            await self._client.request(topic, payload, EACH_WITHIN)
        except Exception as error:
            self.failed += 1
            self.first_failure = self.first_failure or f"{topic}: {type(error).__name__}: {error}"
        else:
            self.answered += 1
            self.latencies.append(asyncio.get_running_loop().time() - intended)

    def taken(self) -> list[float]:
        """The latencies since the last call."""
        taken, self.latencies = self.latencies, []
        return taken


def command(number: int) -> tuple[str, dict[str, Any]]:
    """Command `number`: each id is created, read, changed and deleted, half a rotation of others in between."""
    lap, step = divmod(number, ROTATION)
    task_id = f"bench.command.{step}"
    match lap % 4:
        case 0:
            return names.TASK_CREATE, {
                "task_id": task_id,
                "schedule": f"interval:{86_400 + step}",
                "task_class": "bench.nothing",
            }
        case 1:
            return names.TASK_STATUS, {"task_id": task_id}
        case 2:
            return names.TASK_UPDATE, {"task_id": task_id, "priority": 40}
        case _:
            return names.TASK_DELETE, {"task_id": task_id}


async def soaked(data_dir: Path, executions: int, rate: float, seconds: float, every: float) -> list[Sample]:
    """Load the service and look at it."""
    samples: list[Sample] = []
    with Service(data_dir, **TASKS, **KEPT) as service:
        watcher = Watcher(data_dir)
        try:
            await watcher.figures(ask=False)
            async with SchedulerClient.discover(data_dir, timeout=EACH_WITHIN) as client:
                commands = Commands(client, rate)
                running = asyncio.create_task(commands.run(seconds))
                began, runs = time.monotonic(), 0
                print(HEAD, flush=True)
                while not running.done():
                    await asyncio.wait({running}, timeout=every)
                    seen = await watcher.figures()
                    runs += seen["runs"]
                    at = time.monotonic() - began
                    if running.done():
                        break
                    samples.append(sample(at, service, data_dir, commands, seen, runs))
                    print(line(samples[-1]), flush=True)
                await running
                if commands.failed:
                    print(f"first failure: {commands.first_failure}", flush=True)
                # The last one counts everything, when all has been answered.
                samples.append(sample(at, service, data_dir, commands, seen, runs, samples[-1] if samples else None))
        finally:
            watcher.close()
    return samples


def sample(
    at: float, service: Service, data_dir: Path, commands: Commands, seen: Any, runs: int, like: Sample | None = None
) -> Sample:
    """What is to be seen now; `like` lends its latencies to a sample of less than a whole stretch."""
    latencies = commands.taken()
    size = sum(path.stat().st_size for path in data_dir.glob("scheduler.db*") if path.is_file()) / 1e6
    return Sample(
        at,
        service.megabytes,
        service.descriptors,
        size,
        like.start_p99 if like else seen.get("p99", 0.0),
        like.command_p99 if like else percentile(latencies, 0.99),
        runs,
        commands.answered,
        commands.failed,
        seen["missed"],
        seen["doubled"],
        seen["others"],
        seen["events_lost"],
        service.cpu_seconds,
    )


HEAD = (
    "   time   memory    fds  database   start p99  command p99       runs   commands  missed  doubled  failed    CPU"
)


def line(taken: Sample) -> str:
    """A sample as it is printed."""
    return (
        f"{taken.at:6.0f} s{taken.megabytes:6.1f} MB{taken.descriptors:7}{taken.database:7.1f} MB"
        f"{taken.start_p99 * 1e3:9.1f} ms{taken.command_p99 * 1e3:10.1f} ms{taken.runs:11,}{taken.commands:11,}"
        f"{taken.missed:8}{taken.doubled:9}{taken.unanswered + taken.others:8}{taken.cpu / max(taken.at, 1):7.0%}"
    )


def judge(samples: Sequence[Sample], seconds: float, expected_runs: float) -> list[Verdict]:
    """What holds and what does not."""
    warm = [taken for taken in samples if taken.at >= min(seconds / 3, 120.0)]
    if len(warm) < 4:
        return [Verdict("samples after the warm-up", str(len(warm)), "≥ 4", False)]
    quarter, half, last = max(1, len(warm) // 4), len(warm) // 2, samples[-1]
    before = statistics.median(taken.megabytes for taken in warm[:quarter])
    after = statistics.median(taken.megabytes for taken in warm[-quarter:])
    verdicts = [Verdict("memory, growth", f"{after / before - 1:+.1%}", f"< {GROWTH - 1:.0%}", after < before * GROWTH)]
    nothing = {
        "slots missed": last.missed,
        "slots run twice": last.doubled,
        "commands that failed": last.unanswered,
        "runs that did not succeed": last.others,
    }
    verdicts += [Verdict(what, f"{count:,}", "0", count == 0) for what, count in nothing.items()]
    verdicts.append(Verdict("runs", f"{last.runs:,}", f"≥ {expected_runs:,.0f}", last.runs >= expected_runs))
    for what, name in (("start delay", "start_p99"), ("commands", "command_p99")):
        first = statistics.median(getattr(taken, name) for taken in warm[:half])
        second = statistics.median(getattr(taken, name) for taken in warm[half:])
        limit = first * STEADY + SLACK
        found = f"{first * 1e3:.1f} → {second * 1e3:.1f} ms"
        verdicts.append(Verdict(f"p99, {what}", found, f"≤ {limit * 1e3:.1f} ms", second <= limit))
    most, least = max(taken.descriptors for taken in warm[half:]), warm[0].descriptors
    limit_fds = least + DESCRIPTORS
    verdicts.append(Verdict("file descriptors", f"{least} → {most}", f"≤ {limit_fds}", most <= limit_fds))
    return [*verdicts, sizes(samples, warm, seconds)]


def sizes(samples: Sequence[Sample], warm: Sequence[Sample], seconds: float) -> Verdict:
    """Whether the database is bounded."""
    last = samples[-1]
    if seconds >= SWEPT_TWICE:
        first = max(taken.database for taken in samples if taken.at <= seconds / 2)
        second = max(taken.database for taken in samples if taken.at > seconds / 2)
        found, limit = f"{first:.0f} → {second:.0f} MB", f"≤ {first * STEADY:.0f} MB"
        return Verdict("database", found, limit, second <= first * STEADY)
    limit_mb = BYTES_EACH * (last.runs + last.commands) / 1e6 + warm[0].database
    return Verdict("database", f"{last.database:.0f} MB", f"≤ {limit_mb:.0f} MB", last.database <= limit_mb)


async def _template(data_dir: Path) -> None:
    async with SchedulerClient.discover(data_dir) as client:
        far = datetime.now(UTC) + timedelta(days=1)
        await client.create(PREFIX, f"interval:{PERIOD:g}", task_class="bench.nothing", start_at=far, **EVERY_SLOT)
        await client.disable(PREFIX)


def store(data_dir: Path, executions: int) -> None:
    """Tasks whose runs are spread evenly over each second."""
    with Service(data_dir, **TASKS):
        asyncio.run(_template(data_dir))
    first = datetime.now(UTC) + timedelta(seconds=LEAD)

    def changes(number: int) -> dict[str, Any]:
        moment = first + timedelta(seconds=number * PERIOD / executions)
        anchor = rfc3339(moment - timedelta(seconds=PERIOD))
        return {"anchor": anchor, "options": json.dumps(EVERY_SLOT), "enabled": 1, **due_at(moment)}

    fill(data_dir, PREFIX, executions, changes)


def main() -> int:
    """Soak, judge, say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0, help="how long (default 120)")
    parser.add_argument("--executions", type=int, default=500, help="a second")
    parser.add_argument("--commands", type=float, default=1_000.0, help="a second")
    parser.add_argument("--every", type=float, help="seconds between two looks (default: a fortieth of it, at least 2)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write samples and verdicts there as JSON")
    chosen = parser.parse_args()
    every = chosen.every or max(2.0, chosen.seconds / 40)
    with folder() as place:
        store(place / "data", chosen.executions)
        samples = asyncio.run(soaked(place / "data", chosen.executions, chosen.commands, chosen.seconds, every))
    # The tasks may begin that much after the commands, and those of the last seconds are still under way.
    expected = chosen.executions * max(0.0, chosen.seconds - LEAD - 3)
    verdicts = judge(samples, chosen.seconds, expected)
    print()
    for verdict in verdicts:
        state = "holds" if verdict.holds else "DOES NOT HOLD"
        print(f"{verdict.what:28}{verdict.found:>22}   {verdict.limit:>18}   {state}")
    print(f"events lost by the watcher: {samples[-1].events_lost}", flush=True)
    if chosen.out:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        result = {
            "seconds": chosen.seconds,
            "samples": [taken._asdict() for taken in samples],
            "verdicts": [verdict._asdict() for verdict in verdicts],
        }
        chosen.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0 if all(verdict.holds for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
