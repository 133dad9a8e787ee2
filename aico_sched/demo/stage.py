"""The demo from its start to its verdict: puts up the service and the two other processes, and takes all down."""

import argparse
import asyncio
import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aico_sched.demo.children import Child, ChildFailed, child
from aico_sched.demo.clock import MovedClock, shift_to_minute
from aico_sched.demo.plan import CUSTOMER, DEADLINE, HARD_LIMIT, MINUTE_IN, OBSERVER, TASKS
from aico_sched.demo.show import BAD, Screen
from aico_sched.demo.verdict import Report, Witness, problems
from aico_sched.logs import configure_logging
from aico_sched.runtime.supervisor import StartFailed
from aico_sched.security.keys import KeyRing
from aico_sched.service import SchedulerService
from aico_sched.settings import Settings
from aico_sched.topics import names

LOST_AND_FOUND = 1.0
"""Seconds that an event may still take to a witness once the client process is done."""

SABOTAGE = {"observer": names.EXECUTION_SUCCEEDED}
TERMINATED = 128 + signal.SIGTERM


class Stage:
    """One performance in the empty folder `folder`. `began` is when the demo's process started (monotonic)."""

    def __init__(self, folder: Path, screen: Screen, began: float, sabotage: str) -> None:
        self._folder, self._screen, self._began = folder, screen, began
        self._left_out = SABOTAGE.get(sabotage, "")
        self._client, self._observer = Witness("client"), Witness("bare observer")
        self._witnesses = (self._client, self._observer)
        self._arrived = asyncio.Event()

    async def perform(self) -> list[str]:
        """Run the demo and return what did not arrive. Raises `ChildFailed`, or `TimeoutError` at the hard limit."""
        async with asyncio.timeout(self._left(HARD_LIMIT)):
            return await self._perform()

    async def _perform(self) -> list[str]:
        keys = KeyRing(self._folder / "keys")
        keys.ensure()
        keys.create(CUSTOMER, "operator")
        keys.create(OBSERVER, "observer")
        clock = MovedClock(shift_to_minute(time.time_ns() // 1_000, self._left(MINUTE_IN)))
        customer = child("client", "aico_sched.demo.customer", [str(self._folder), str(clock.shift_us)], self._hear)
        bare = [str(self._folder), OBSERVER, self._left_out]
        observer = child("bare observer", "aico_sched.demo.observer", bare, self._overhear)
        async with SchedulerService(demo_settings(self._folder), clock=clock) as service:
            self._introduce(service, clock)
            async with customer as client, observer as watcher:
                return await self._watch(client, watcher)

    def _introduce(self, service: SchedulerService, clock: MovedClock) -> None:
        line = self._screen.line
        line(f"Service: bus {service.address} (CURVE), encrypted database in {self._folder}, removed at the end.")
        line(
            f"Cron counts in full minutes. So that one comes within these {HARD_LIMIT:.0f} s, the service's clock is "
            f"set {clock.shift_us / 1_000_000:.1f} s ahead; the times below are its times, in UTC."
        )

    async def _watch(self, client: Child, watcher: Child) -> list[str]:
        """Let the client begin once the observer hears, and both report."""
        for each in (client, watcher):
            each.tell(do="connect")
        for each in (client, watcher):
            await each.said("ready")
        self._screen.line("Two processes are connected: a client, and an observer made of pyzmq and msgpack only.\n")
        client.tell(do="begin", seconds=self._left(DEADLINE))
        done = await client.said("done")
        report = Report(done["round_trips"], done["unanswered"], done["executions"])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOST_AND_FOUND):
                while problems(TASKS, report, self._witnesses):
                    self._arrived.clear()
                    await self._arrived.wait()
        self._screen.line("")
        self._screen.summary(TASKS, report, self._witnesses)
        return problems(TASKS, report, self._witnesses)

    def _left(self, until: float) -> float:
        """Seconds until so many have passed since the start."""
        return max(0.0, self._began + until - time.monotonic())

    def _hear(self, said: dict[str, Any]) -> None:
        if said["kind"] == "event" and said["topic"] != names.AVAILABILITY:
            self._client.hear(said)
            self._arrived.set()
            self._screen.event(said)

    def _overhear(self, said: dict[str, Any]) -> None:
        if said["kind"] == "event":
            self._observer.hear(said)
            self._arrived.set()


def demo_settings(folder: Path) -> Settings:
    """The defaults, in `folder`, on free ports; no load of this machine holds a task back, and the heartbeat comes
    often because the observer waits for one."""
    return Settings.load(
        environ={"AICO_SCHED_DATA_DIR": str(folder), "AICO_SCHED_CONFIG_DIR": str(folder / "config")},
        scheduler__max_cpu_percent=100,
        scheduler__max_memory_percent=100,
        scheduler__heartbeat_interval=0.2,
        bus__publish_port=0,
        bus__subscribe_port=0,
    )


async def _perform(stage: Stage) -> list[str]:
    """The performance; SIGTERM ends it as Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await stage.perform()


def main(arguments: Sequence[str], began: float) -> int:
    """Run the demo. 0: all arrived; 1: it says what did not; 130 and 143: interrupted, terminated."""
    parser = argparse.ArgumentParser(prog="python -m aico_sched.demo", description="See the scheduler at work (20 s).")
    parser.add_argument("--sabotage", choices=sorted(SABOTAGE), default="", help=argparse.SUPPRESS)
    sabotage = parser.parse_args(arguments).sabotage
    configure_logging("warning", "auto")
    screen = Screen()
    with tempfile.TemporaryDirectory(prefix="aico-sched-demo-", ignore_cleanup_errors=True) as folder:
        try:
            found = asyncio.run(_perform(Stage(Path(folder), screen, began, sabotage)))
        except asyncio.CancelledError:
            return TERMINATED
        except (ChildFailed, StartFailed) as error:
            found = [str(error) if error.__cause__ is None else f"{error}: {error.__cause__}"]
        except TimeoutError:
            found = [f"the demo was not over after {HARD_LIMIT:.0f} s"]
    return _verdict(screen, found, time.monotonic() - began)


def _verdict(screen: Screen, found: list[str], seconds: float) -> int:
    if not found:
        screen.line(f"\nEverything arrived, everywhere. {seconds:.1f} s", "bold green")
        return 0
    sys.stdout.flush()
    screen.line(f"\nThe demo failed after {seconds:.1f} s. What did not arrive:", BAD)
    for problem in found:
        screen.line(f"  - {problem}", BAD)
    return 1
