"""Which sandbox this machine offers, found by putting one in force."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from aico_sched.clock import SystemClock
from aico_sched.execution.child.runner import ProcessRunner, SandboxRules
from aico_sched.execution.environments import Job
from aico_sched.tasks.base import BaseTask
from aico_sched.tasks.demo import DemoEcho
from aico_sched.tasks.discovery import FoundClass
from aico_sched.tasks.ports import TaskPorts
from aico_sched.topics.internal import AttemptStart

_DEADLINE = 30.0


class _Only:
    """A loader of one harmless class."""

    def find(self, name: str) -> FoundClass:
        return FoundClass(name, DemoEcho.__module__, DemoEcho.__qualname__, "builtin")

    def load(self, name: str) -> type[BaseTask]:
        return DemoEcho


async def reached(rules: SandboxRules) -> dict[str, Any]:
    """The level of a sandbox with these rules, as `sandbox.policy.Level` packs it. Raises `RemoteFailure` if none could
    be put in force, TimeoutError."""
    runner = ProcessRunner(asyncio.Semaphore(1), rules)
    with tempfile.TemporaryDirectory(prefix="aico-sched-") as folder:
        start = AttemptStart(
            execution_id="probe",
            task_id="probe",
            attempt=1,
            task_class=DemoEcho.name,
            config={},
            scheduled_for_us=0,
            claimed_us=0,
            timeout=_DEADLINE,
            retry=None,
            trigger="manual",
            creator="",
            role="",
        )
        try:
            async with asyncio.timeout(_DEADLINE):
                await runner.run(Job(start, _ports(), Path(folder), _Only()))
        finally:
            await runner.close()
    level: dict[str, Any] = runner.report()["sandbox"]
    return level


def _ports() -> TaskPorts:
    async def nothing(*arguments: Any) -> Any:
        return {}

    return TaskPorts(SystemClock(), lambda progress: None, nothing, nothing, nothing)
