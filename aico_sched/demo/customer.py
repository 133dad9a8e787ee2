"""The demo's client process: it creates the tasks over the bus, asks about them, and reports every event it hears.

python -m aico_sched.demo.customer DATA_DIR SHIFT_US: connects at the first line on standard input, creates the tasks at
the second, which says how many seconds it may take, and ends with its input. It needs nothing but the data folder.
"""

import asyncio
import contextlib
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any, TypeVar

from aico_sched.client import EventStream, RequestTimeout, SchedulerClient, SchedulerError
from aico_sched.demo.lines import listen, say, spoken
from aico_sched.demo.plan import CUSTOMER, ONCE_IN, TASKS, Planned
from aico_sched.schedule import format_rfc3339
from aico_sched.topics import names
from aico_sched.topics.views import ExecutionView

ASK_EVERY = 0.1
SETTLE = 1.5
UNFINISHED = frozenset({"queued", "running", "retrying"})

Answer = TypeVar("Answer")


class Customer:
    """A client that measures how long each answer takes, and counts what has succeeded."""

    def __init__(self, client: SchedulerClient, shift_us: int) -> None:
        self._client, self._shift_us = client, shift_us
        self._round_trips: list[float] = []
        self._unanswered: list[str] = []
        self._succeeded: Counter[str] = Counter()
        self._all_seen = asyncio.Event()

    async def work(self, seconds: float) -> None:
        """Create the tasks, wait until what is planned was seen or the time is over, pause them, and report."""
        created = [task for task in TASKS if await self._create(task)]
        asking = asyncio.create_task(self._keep_asking())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._all_seen.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        for task in created:
            await self._measured(f"pause {task.task_id}", self._client.pause(task.task_id, note="the demo is over"))
        executions = await self._executions(created)
        say("done", round_trips=self._round_trips, unanswered=self._unanswered, executions=executions)

    async def report(self, events: EventStream) -> None:
        """Tell of every event until the client is closed."""
        async for event in events:
            arrived_us = time.time_ns() // 1_000 + self._shift_us
            say("event", **{**event.payload, "topic": event.topic, "seq": event.seq, "arrived_us": arrived_us})
            if event.topic == names.EXECUTION_SUCCEEDED:
                self._succeeded[event.payload["task_id"]] += 1
                if all(self._succeeded[task.task_id] >= task.runs for task in TASKS):
                    self._all_seen.set()

    async def _create(self, task: Planned) -> bool:
        moment = time.time_ns() // 1_000 + self._shift_us + int(ONCE_IN * 1_000_000)
        schedule = f"at:{format_rfc3339(moment)}" if task.schedule == "at:" else task.schedule
        # Late is better than never here: a busy machine must not make the demo miss a slot.
        request = self._client.create(
            task.task_id, schedule, task_class=task.task_class, config=task.config, timezone="UTC", misfire="all"
        )
        view = await self._measured(f"create {task.task_id}", request)
        return view is not None

    async def _keep_asking(self) -> None:
        """Ask about the tasks in turn, for the sake of the round-trip times."""
        while True:
            for task in TASKS:
                await self._measured(f"status {task.task_id}", self._client.status(task.task_id))
                await asyncio.sleep(ASK_EVERY)

    async def _measured(self, what: str, request: Awaitable[Answer]) -> Answer | None:
        """The answer, with its time noted; None if there is none, or a refusal."""
        started = time.perf_counter()
        try:
            answer = await request
        except SchedulerError as error:
            reason = "no answer" if isinstance(error, RequestTimeout) else str(error)
            self._unanswered.append(f"{what}: {reason}")
            return None
        self._round_trips.append(time.perf_counter() - started)
        return answer

    async def _executions(self, created: list[Planned]) -> list[dict[str, Any]]:
        """The service's own history of the tasks, once nothing runs any more."""
        rows: list[ExecutionView] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE):
                while True:
                    rows = []
                    for task in created:
                        page = await self._measured("executions", self._client.executions(task_id=task.task_id))
                        rows += page.executions if page is not None else []
                    if not any(row.status in UNFINISHED for row in rows):
                        break
                    await asyncio.sleep(ASK_EVERY)
        wanted = {"execution_id", "task_id", "status", "scheduled_for", "started_at", "error_message", "reason"}
        return [row.model_dump(mode="json", include=wanted) for row in rows]


async def _follow(commands: AsyncIterator[dict[str, Any]], customer: Customer) -> None:
    """Work when told to, and return when the input ends."""
    if (begin := await anext(commands, None)) is None:
        return
    working = asyncio.create_task(customer.work(float(begin["seconds"])))
    ended = asyncio.ensure_future(anext(commands, None))
    await asyncio.wait({working, ended}, return_when=asyncio.FIRST_COMPLETED)
    if working.done():
        working.result()
        await ended
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


async def serve(data_dir: Path, shift_us: int) -> None:
    """Connect when told to, and report from then on until the input ends."""
    commands = spoken(await listen())
    if await anext(commands, None) is None:
        return
    async with SchedulerClient.discover(data_dir, CUSTOMER, timeout=5.0) as client:
        customer = Customer(client, shift_us)
        reporting = asyncio.create_task(customer.report(client.events()))
        # A request is sent only when the subscription is live.
        await client.health()
        say("ready")
        following = asyncio.create_task(_follow(commands, customer))
        done, _ = await asyncio.wait({reporting, following}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    await reporting


def main() -> int:
    """The process."""
    try:
        asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
    except (SchedulerError, BrokenPipeError) as error:
        sys.stderr.write(f"the client process: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
