"""One run of a task without a service: its real data and database, no bus, no record."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from aico_sched.clock import SystemClock
from aico_sched.tasks.base import BaseTask, PermanentError, TaskResult, TransientError
from aico_sched.tasks.configuration import bind_config
from aico_sched.tasks.context import TaskContext
from aico_sched.tasks.ports import Maintain, OpenData, ProbeDatabase, TaskPorts
from aico_sched.tasks.powers import DatabaseFailed, Powers
from aico_sched.tasks.session_keys import SessionKeys

Report = Callable[[dict[str, Any]], None]

_IN_WORDS = (PermanentError, TransientError, DatabaseFailed, PermissionError)
"""Errors whose message tells a person all there is to tell."""


@dataclass(frozen=True, slots=True)
class Outside:
    """What stands in for the service, as `TaskPorts` has it; what a task may not have is kept from it here."""

    open_data: OpenData
    powers: Powers
    maintain: Maintain
    session_keys: SessionKeys | None
    probe_database: ProbeDatabase
    default_timeout: float


@dataclass(slots=True)
class LocalRun:
    """How it went. `published` are the topics of what it would have said on the bus; `error` the exception's type."""

    success: bool = False
    skipped: bool = False
    message: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    published: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """All of it as plain data."""
        plain: dict[str, Any] = to_jsonable_python(self, fallback=str)
        return plain


async def run_here(
    task_class: type[BaseTask],
    config: Mapping[str, Any],
    data_dir: Path,
    outside: Outside,
    report: Report,
) -> LocalRun:
    """Run the task once, with the permissions it would have. Raises `InvalidTaskConfig`; what the task raises is in
    the result. `report` gets its progress."""
    run, clock = LocalRun(), SystemClock()
    context = TaskContext(
        task_id=task_class.name,
        execution_id=f"local-{uuid.uuid4().hex}",
        attempt=1,
        scheduled_for_us=clock.now_us(),
        trigger="manual",
        config=bind_config(task_class, config),
        data_dir=data_dir,
        ports=_ports(run, clock, outside, report),
    )
    try:
        result = TaskResult.of(await task_class().execute(context))
        run.success, run.skipped, run.message, run.data = result.success, result.skipped, result.message, result.data
    except Exception as error:
        run.error = type(error).__name__
        run.message = str(error) if isinstance(error, _IN_WORDS) else f"{run.error}: {error}"
    finally:
        context.flush_progress()
    return run


def _ports(
    run: LocalRun,
    clock: SystemClock,
    outside: Outside,
    report: Report,
) -> TaskPorts:
    async def publish(topic: str, payload: dict[str, Any], attributes: dict[str, str]) -> None:
        run.published.append(topic)

    async def request(topic: str, payload: dict[str, Any], timeout: float) -> dict[str, Any]:
        raise TimeoutError(f"nobody answers on {topic}: a task that is run alone has no bus")

    async def hold() -> None:
        return None

    may = outside.powers.capabilities
    system = "database.system" in may
    return TaskPorts(
        clock,
        report,
        publish,
        request,
        hold,
        probe_database=outside.probe_database if system else None,
        open_data=outside.open_data if system or "memory" in may else None,
        # It is in the task's folder, where the service finds it when it starts.
        tell_quiet_hours=(lambda quiet: None) if "learning" in may else None,
        alert=(lambda key, *_: run.published.append(f"alert {key}")) if system else None,
        powers=outside.powers,
        maintain=outside.maintain if system else None,
        session_keys=outside.session_keys if system else None,
        default_timeout=outside.default_timeout,
    )
