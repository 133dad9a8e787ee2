"""One run of a task without a service: its real data, no bus, no record."""

import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from aico_sched.clock import SystemClock
from aico_sched.data.source import DataSource
from aico_sched.security import permissions
from aico_sched.tasks.base import BaseTask, TaskResult
from aico_sched.tasks.configuration import bind_config
from aico_sched.tasks.context import TaskContext
from aico_sched.tasks.ports import TaskPorts


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
    open_data: Callable[[], AbstractAsyncContextManager[DataSource]],
    report: Callable[[dict[str, Any]], None],
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
        ports=_ports(task_class.name, run, clock, open_data, report),
    )
    try:
        result = TaskResult.of(await task_class().execute(context))
        run.success, run.skipped, run.message, run.data = result.success, result.skipped, result.message, result.data
    except Exception as error:
        run.error, run.message = type(error).__name__, f"{type(error).__name__}: {error}"
    finally:
        context.flush_progress()
    return run


def _ports(
    name: str,
    run: LocalRun,
    clock: SystemClock,
    open_data: Callable[[], AbstractAsyncContextManager[DataSource]],
    report: Callable[[dict[str, Any]], None],
) -> TaskPorts:
    async def publish(topic: str, payload: dict[str, Any], attributes: dict[str, str]) -> None:
        run.published.append(topic)

    async def request(topic: str, payload: dict[str, Any], timeout: float) -> dict[str, Any]:
        raise TimeoutError(f"nobody answers on {topic}: a task that is run alone has no bus")

    async def hold() -> None:
        return None

    may = permissions.capabilities(name)
    return TaskPorts(
        clock,
        report,
        publish,
        request,
        hold,
        open_data=open_data if may & {"database.system", "memory"} else None,
        # It is in the task's folder, where the service finds it when it starts.
        tell_quiet_hours=(lambda quiet: None) if "learning" in may else None,
        alert=(lambda key, *_: run.published.append(f"alert {key}")) if "database.system" in may else None,
    )
