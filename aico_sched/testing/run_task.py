"""Runs one task without a service, for the unit tests of people who write tasks."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aico_sched.clock import Clock, SystemClock
from aico_sched.data.source import DataSource
from aico_sched.quiet import QuietHours
from aico_sched.run_lines import RunLog
from aico_sched.tasks.base import BaseTask, TaskResult
from aico_sched.tasks.configuration import bind_config
from aico_sched.tasks.context import TaskContext
from aico_sched.tasks.ports import TaskPorts
from aico_sched.tasks.session_keys import SessionKeys
from aico_sched.testing.powers import Answers, TestPowers

Reply = dict[str, Any] | Callable[[dict[str, Any]], dict[str, Any]]
"""What answers a request: a payload, or a function from the request's payload to one."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class TaskRun:
    """What a run did. `result` is None when it raised `error`. `progress` holds the reports as they would have left
    the service (`{fraction, message, data}`), `published` and `requested` the (topic, payload) pairs in order,
    `quiet_hours` the predictions for the scheduler, `alerts` the (key, severity, resolved) triples, `refused` what it
    tried and may not, `logs` the lines kept of what it logged (`{at, level, message, fields}`)."""

    result: TaskResult | None = None
    progress: list[dict[str, Any]] = field(default_factory=list)
    published: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    requested: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    quiet_hours: list[QuietHours | None] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    alerts: list[tuple[str, str, bool]] = field(default_factory=list)
    error: Exception | None = None
    log: RunLog = field(default_factory=RunLog)

    @property
    def logs(self) -> list[dict[str, Any]]:
        """What the service would keep of what the run logged."""
        return self.log.since(0)


async def run_task(
    task_class: type[BaseTask],
    config: Mapping[str, Any] | None = None,
    clock: Clock | None = None,
    *,
    task_id: str | None = None,
    execution_id: str = "test-execution",
    attempt: int = 1,
    scheduled_for: datetime | None = None,
    trigger: str = "manual",
    cause: dict[str, Any] | None = None,
    data_dir: Path | None = None,
    replies: Mapping[str, Reply] | None = None,
    probe_database: dict[str, Any] | None = None,
    probe_bus: float | None = None,
    data: DataSource | None = None,
    database: Answers | None = None,
    session_keys: SessionKeys | None = None,
    deadline: float = 30.0,
) -> TaskRun:
    """Run `task_class` once as the service would: configuration copied and validated, a fresh instance.

    `replies` answers requests by topic; one without a reply raises TimeoutError in the task at once. Without
    `data_dir` the task's folder is a temporary one, gone when this returns. `probe_database` is what the database
    answers a probe, `probe_bus` the seconds a message takes over the bus and back (infinity: it does not come back).
    `data` is what `context.data()` opens (see `MemorySource`); without it the task may see none.
    `database` answers `context.query` and `context.execute`: it takes the statement and its parameters.
    `session_keys` are those of the bus. Permissions are the real ones, by `task_id` and the class; HTTP requests are
    real.
    After `deadline` seconds of real time the run is cancelled and `error` is a TimeoutError.
    Raises `InvalidTaskConfig` when the class refuses `config`; whatever the task raises is in `TaskRun.error`.
    """
    run, used_clock = TaskRun(), clock or SystemClock()
    slot_us = used_clock.now_us() if scheduled_for is None else (scheduled_for - _EPOCH) // timedelta(microseconds=1)
    with TemporaryDirectory(prefix="aico-sched-") as folder:
        context = TaskContext(
            task_id=task_id or task_class.name,
            execution_id=execution_id,
            attempt=attempt,
            scheduled_for_us=slot_us,
            trigger=trigger,
            config=bind_config(task_class, config or {}),
            data_dir=data_dir or Path(folder) / "data",
            ports=_ports(
                run,
                used_clock,
                replies or {},
                probe_database,
                probe_bus,
                data,
                TestPowers(task_id or task_class.name, task_class.name, database, run.refused),
                session_keys,
            ),
            cause=cause,
        )
        await _execute(task_class, context, run, deadline)
    return run


async def _execute(task_class: type[BaseTask], context: TaskContext[Any], run: TaskRun, deadline: float) -> None:
    try:
        async with asyncio.timeout(deadline):
            run.result = TaskResult.of(await task_class().execute(context))
    except Exception as error:
        run.error = error
    context.flush_progress()


def _ports(
    run: TaskRun,
    clock: Clock,
    replies: Mapping[str, Reply],
    database: dict[str, Any] | None,
    bus: float | None,
    data: DataSource | None,
    powers: TestPowers,
    session_keys: SessionKeys | None,
) -> TaskPorts:
    async def publish(topic: str, payload: dict[str, Any], attributes: dict[str, str]) -> None:
        run.published.append((topic, payload))

    async def request(topic: str, payload: dict[str, Any], timeout: float) -> dict[str, Any]:
        run.requested.append((topic, payload))
        if topic not in replies:
            raise TimeoutError(f"no reply on {topic} within {timeout:g} s")
        reply = replies[topic]
        return reply(payload) if callable(reply) else reply

    async def hold() -> None:
        return None

    async def probe() -> dict[str, Any]:
        return dict(database or {})

    async def round_trip(timeout: float) -> float | None:
        if bus is not None and bus > timeout:
            raise TimeoutError
        return bus

    return TaskPorts(
        clock,
        run.progress.append,
        publish,
        request,
        hold,
        probe_database=probe if database is not None else None,
        probe_bus=round_trip,
        open_data=None if data is None else lambda: nullcontext(data),
        tell_quiet_hours=run.quiet_hours.append,
        alert=lambda key, severity, message, details, resolved: run.alerts.append((key, severity, resolved)),
        powers=powers,
        log_line=run.log.add,
        session_keys=session_keys,
    )
