"""What tests of people who schedule work want to say in one line; a failure says what was there instead."""

from typing import Any, Protocol

from aico_sched.topics.errors import CommandError, ErrorCode
from aico_sched.topics.views import ExecutionPage, ExecutionView, TaskPage, TaskStatusView, TaskView


class Client(Protocol):
    """What the assertions need of `aico_sched.client.SchedulerClient`."""

    async def status(self, task_id: str, *, history: int = 10) -> TaskStatusView: ...
    async def list(self, *, prefix: str = "", limit: int = 100) -> TaskPage: ...
    async def executions(
        self, *, task_id: str | None = None, status: str | None = None, limit: int = 100
    ) -> ExecutionPage: ...


async def assert_scheduled(client: Client, task_id: str, **expected: Any) -> TaskView:
    """There is a task of that id, active unless `state` says otherwise, and it has what `expected` says: fields of
    `TaskView` or options, such as `schedule="@daily"`, `config={…}`, `timeout=60.0`. Returns the task.

    Raises AssertionError that names each difference, or the tasks there are.
    """
    try:
        task = (await client.status(task_id, history=0)).task
    except CommandError as error:
        if error.code != ErrorCode.TASK_NOT_FOUND:
            raise
        others = [other.task_id for other in (await client.list(limit=20)).tasks if not other.protected]
        there = f"there are {', '.join(others)}" if others else "there is no task but the system's"
        raise AssertionError(f"{task_id} is not scheduled; {there}") from None
    differences = [
        f"{name} is {found!r}, not {wanted!r}"
        for name, wanted in {"state": "active", **expected}.items()
        if (found := _of(task, name)) != wanted
    ]
    if differences:
        raise AssertionError(f"{task_id} is scheduled, but its {'; its '.join(differences)}")
    return task


async def assert_not_scheduled(client: Client, task_id: str) -> None:
    """There is no task of that id."""
    try:
        task = (await client.status(task_id, history=0)).task
    except CommandError as error:
        if error.code != ErrorCode.TASK_NOT_FOUND:
            raise
    else:
        raise AssertionError(f"{task_id} is scheduled: {task.schedule}, {task.state}, next run {task.next_run}")


async def assert_ran(
    client: Client, task_id: str, *, times: int | None = None, status: str = "succeeded"
) -> list[ExecutionView]:
    """The task has executions that ended as `status`: `times` of them, at least one without. Returns them, the oldest
    first. Raises AssertionError that says how its executions ended."""
    found = (await client.executions(task_id=task_id, limit=1_000)).executions[::-1]
    wanted = [run for run in found if run.status == status]
    if len(wanted) != times if times is not None else not wanted:
        ended = ", ".join(f"{run.scheduled_for} {run.status}" for run in found[-10:]) or "it has none"
        counted = "at least once" if times is None else f"{times} times"
        raise AssertionError(f"{task_id} should have {status} {counted}, not {len(wanted)}; its executions: {ended}")
    return wanted


def _of(task: TaskView, name: str) -> Any:
    return getattr(task, name) if name in TaskView.model_fields else task.options.get(name)
