"""Asks a class that only a child process may load whether it takes a configuration."""

import asyncio
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from aico_sched.clock import SystemClock
from aico_sched.execution.child.runner import ProcessRunner
from aico_sched.execution.environments import Job, RemoteFailure
from aico_sched.execution.failures import type_name
from aico_sched.execution.sandbox import data_folder
from aico_sched.logs import described
from aico_sched.tasks.base import TaskResult
from aico_sched.tasks.discovery import FoundClass
from aico_sched.tasks.errors import TaskClassUnavailable
from aico_sched.tasks.ports import TaskPorts
from aico_sched.topics.errors import ErrorCode
from aico_sched.topics.internal import AttemptStart
from aico_sched.verdicts import Verdict

log = structlog.get_logger(__name__)

WITHIN = 8.0
"""Seconds for the answer: who creates the task is waiting."""

AT_ONCE = 2
CPU_SECONDS = 10

_UNAVAILABLE = type_name(TaskClassUnavailable("", ""))


class ConfigJudge:
    """Children of `runner` that load a class, validate, and end. They have an empty folder below `data_dir` that is
    removed afterwards, and may reach nothing of the service's."""

    def __init__(self, runner: ProcessRunner, data_dir: Path) -> None:
        self._runner, self._data_dir = runner, data_dir
        self._places = asyncio.Semaphore(AT_ONCE)

    async def ask(self, found: FoundClass, config: dict[str, Any]) -> Verdict:
        """What the class says. Where no child can be had in time nobody knows: then its run will tell."""
        try:
            answer = await self._answer(found, config)
        except TimeoutError:
            log.warning("configuration_not_checked", task_class=found.name, reason=f"no answer within {WITHIN:g} s")
            return Verdict()
        except RemoteFailure as error:
            if error.permanent or error.error_type == _UNAVAILABLE:
                return Verdict(ErrorCode.UNKNOWN_TASK_CLASS, str(error), "task_class")
            log.warning("configuration_not_checked", task_class=found.name, reason=str(error))
            return Verdict()
        if answer.success:
            return Verdict()
        field = str(answer.data.get("field", ""))[:200]
        return Verdict(ErrorCode.INVALID_MESSAGE, answer.message, f"config.{field}" if field else "config")

    async def _answer(self, found: FoundClass, config: dict[str, Any]) -> TaskResult:
        name = f".config-{uuid.uuid4().hex}"
        try:
            async with asyncio.timeout(WITHIN), self._places:
                return await self._runner.check(_job(found, config, name, self._data_dir))
        finally:
            try:
                await asyncio.to_thread(data_folder.remove, self._data_dir / name)
            except OSError as error:
                log.warning("folder_not_removed", folder=str(self._data_dir / name), **described(error))


class _Found:
    """A loader that knows one class."""

    def __init__(self, found: FoundClass) -> None:
        self._found = found

    def find(self, name: str) -> FoundClass:
        return self._found

    def load(self, name: str) -> Any:
        raise TaskClassUnavailable(name, "its code may only be imported in a sandbox")


def _job(found: FoundClass, config: Mapping[str, Any], name: str, data_dir: Path) -> Job:
    start = AttemptStart(
        execution_id=name,
        task_id=name,
        attempt=1,
        task_class=found.name,
        config=dict(config),
        scheduled_for_us=0,
        claimed_us=0,
        timeout=WITHIN,
        retry=None,
        trigger="manual",
        creator="",
        role="",
        limits={"cpu_seconds": CPU_SECONDS},
    )
    return Job(start, TaskPorts(SystemClock(), _ignored, _refused, _refused, _unheld), data_dir, _Found(found))


def _ignored(report: dict[str, Any]) -> None:
    """Nobody listens to a class that is only looked at."""


async def _refused(*_: Any) -> Any:
    raise PermissionError("a class that is only looked at may not do this")


async def _unheld() -> None:
    """It never pauses."""
