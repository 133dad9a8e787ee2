"""Attempts run by the real runner of processes, without a service around them."""

import asyncio
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aico_sched.clock import SystemClock
from aico_sched.execution.child.runner import ProcessRunner, SandboxRules
from aico_sched.execution.environments import Job
from aico_sched.execution.sandbox.policy import Limits
from aico_sched.tasks.ports import TaskPorts
from aico_sched.tasks.registry import TaskRegistry
from aico_sched.topics.internal import AttemptStart

RULES = SandboxRules(Limits(memory_mb=256, cpu_seconds=10), disk_mb=16, max_files=100, network=frozenset(), uid=65_534)

HEAD = """
import asyncio, ctypes, os, socket, sys, time
from pathlib import Path
from aico_sched.tasks import BaseTask, TaskContext, TaskResult

class Task(BaseTask):
    name = "user.task"
    async def execute(self, context):
"""


class Bench:
    """A folder with one user task, `user.task`, and a runner for it. What the task reports and asks is kept."""

    def __init__(self, folder: Path, runner: ProcessRunner) -> None:
        self.folder, self.runner = folder, runner
        self.code = folder / "tasks"
        self.data = folder / "task_data"
        self.code.mkdir(mode=0o700, exist_ok=True)
        self.progress: list[dict[str, Any]] = []
        self.published: list[tuple[str, dict[str, Any]]] = []
        self.progressed = asyncio.Event()
        self.usage: dict[str, Any] = {}

    def job(self, body: str, *, head: str = HEAD, **start: Any) -> Job:
        """A job whose `execute` has this body."""
        (self.code / "task.py").write_text(head + textwrap.indent(textwrap.dedent(body), " " * 8))
        registry = TaskRegistry((), use_entry_points=False, user_folder=self.code)
        registry.discover()
        return self.job_of(registry, task_class="user.task", **start)

    def job_of(self, loader: Any, **start: Any) -> Job:
        """A job of a class some loader knows."""
        values: dict[str, Any] = {
            "execution_id": "e1",
            "task_id": "user.task",
            "attempt": 1,
            "config": {},
            "scheduled_for_us": 1_700_000_000_000_000,
            "claimed_us": 1_700_000_000_000_000,
            "timeout": 30.0,
            "retry": None,
            "trigger": "manual",
            "creator": "admin",
            "role": "admin",
        }
        return Job(AttemptStart(**(values | start)), self._ports(), self.data, loader, self.usage)

    async def run(self, body: str, **start: Any) -> Any:
        """What a task with this body returns."""
        return await self.runner.run(self.job(body, **start))

    def _ports(self) -> TaskPorts:
        def report(progress: dict[str, Any]) -> None:
            self.progress.append(progress)
            self.progressed.set()

        async def publish(topic: str, payload: dict[str, Any], attributes: dict[str, str]) -> None:
            self.published.append((topic, payload))

        async def request(topic: str, payload: dict[str, Any], timeout: float) -> dict[str, Any]:
            if topic == "silent":
                raise TimeoutError(f"no reply on {topic} within {timeout:g} s")
            return {"echo": payload}

        async def hold() -> None:
            return

        return TaskPorts(SystemClock(), report, publish, request, hold)


@asynccontextmanager
async def bench(folder: Path, rules: SandboxRules | None = None, grace: float = 1.0) -> AsyncIterator[Bench]:
    """A bench, everything it started gone at the end."""
    runner = ProcessRunner(asyncio.Semaphore(4), rules, grace=grace)
    try:
        yield Bench(folder, runner)
    finally:
        await runner.close()
