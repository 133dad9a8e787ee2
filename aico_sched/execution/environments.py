"""Where attempts run: the seam between an attempt and what runs its code.

An environment is a name (`topics.commands.Environment`) and a `Runner`. A task's option wins over its class's
`environment`; `auto`, the default of both, is a thread for a `BlockingTask` and the loop for any other.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, get_args

from pydantic import BaseModel

from aico_sched.run_lines import RunLog
from aico_sched.tasks.base import BaseTask, PermanentError, TaskResult
from aico_sched.tasks.configuration import bind_config
from aico_sched.tasks.context import TaskContext
from aico_sched.tasks.discovery import FoundClass
from aico_sched.tasks.loading import place_of
from aico_sched.tasks.ports import Ports
from aico_sched.topics.commands import Environment
from aico_sched.topics.internal import AttemptStart

ENVIRONMENTS: tuple[str, ...] = get_args(Environment)


class TaskLoader(Protocol):
    """Where the class of a task comes from."""

    def load(self, name: str) -> type[BaseTask]:
        """The class; raises when it cannot be had."""

    def find(self, name: str) -> FoundClass:
        """Where the class is, nothing being imported; raises when it cannot be had."""


@dataclass(slots=True)
class Job:
    """What a runner is given: one attempt, what its code may reach, and where to write what it used.

    `start` holds the task's class by name, its configuration, its timeout (seconds from when `Runner.run` is
    called; the caller enforces it by cancelling) and its `limits`. `data_dir` is the folder of all tasks' data.
    `usage` is kept with the attempt: numbers and short texts by name, such as `cpu_seconds`, and `lost` where the
    process or worker is gone and nobody knows how far the run came; so is `logs`, where a
    runner puts what was logged in another process.
    """

    start: AttemptStart
    ports: Ports
    data_dir: Path
    loader: TaskLoader
    usage: dict[str, Any] = field(default_factory=dict)
    logs: RunLog = field(default_factory=RunLog)
    _loaded: type[BaseTask] | None = None

    @property
    def loaded(self) -> type[BaseTask] | None:
        """The class if it was loaded in this process, which runs its module."""
        return self._loaded

    def task_class(self) -> type[BaseTask]:
        """The class, loaded in this process. A runner that must not run the task's module here does not ask."""
        if self._loaded is None:
            self._loaded = self.loader.load(self.start.task_class)
        return self._loaded

    def context(self, task_class: type[BaseTask]) -> TaskContext[BaseModel]:
        """A context for the code of `task_class` in this process."""
        start = self.start
        return TaskContext(
            task_id=start.task_id,
            execution_id=start.execution_id,
            attempt=start.attempt,
            scheduled_for_us=start.scheduled_for_us,
            trigger=start.trigger,
            config=bind_config(task_class, start.config),
            # A text: few tasks ask for their folder, and to make a path takes as long as to read the configuration.
            data_dir=f"{self.data_dir}/{start.task_id}",
            ports=self.ports,
            cause=start.cause,
        )


class Runner(Protocol):
    """Runs attempts in one environment. One instance serves all of them, on the service's loop, over any number of
    restarts of the executor."""

    @property
    def slots(self) -> asyncio.Semaphore | None:
        """Where there are slots, an attempt takes one before its time begins: no more run here at once."""

    async def run(self, job: Job) -> TaskResult:
        """Run the attempt's code to its end.

        Raises what the task raised, or `RemoteFailure` where the exception itself is in another process. Cancelled,
        it ends what it started, or gives it up and counts it after a grace time, and lets CancelledError pass.
        `job.usage` is filled in either way.
        """

    def report(self) -> dict[str, Any]:
        """Figures for `scheduler.stats`."""

    async def close(self) -> None:
        """Release what it holds; called once, when nothing runs any more. Returns within seconds."""


class RemoteFailure(Exception):
    """A task's code raised in another process. `error_type` is the exception's qualified name, `traceback` its text;
    `permanent` says that the next attempt would fail the same way, as the task's class declares it."""

    def __init__(self, error_type: str, message: str, traceback: str, *, permanent: bool) -> None:
        super().__init__(message)
        self.error_type, self.traceback, self.permanent = error_type, traceback, permanent


class NoSuchEnvironment(PermanentError):
    """The task asks for an environment that this service does not have, or that cannot run its class."""


class Environments:
    """The runners by environment. `forced` names the environment that an attempt must have, whatever it asks for;
    it is asked before the task's class is loaded."""

    def __init__(
        self, runners: Mapping[str, Runner], forced: Callable[[AttemptStart], str | None] = lambda start: None
    ) -> None:
        self._runners, self._forced = dict(runners), forced

    def choose(self, job: Job) -> Runner:
        """The runner of an attempt; `job.usage` says which. Raises `NoSuchEnvironment`, or what loading the class
        raises."""
        name = self._forced(job.start) or job.start.environment
        if name == "auto":
            name = place_of(job.task_class())
            if name == "auto":
                name = "loop"
        runner = self._runners.get(name)
        if runner is None:
            raise NoSuchEnvironment(
                f"this service has no environment {name!r} for {job.start.task_id}; "
                f"choose one of {', '.join(('auto', *self._runners))}"
            )
        job.usage["environment"] = name
        return runner

    @property
    def names(self) -> tuple[str, ...]:
        """The environments there are."""
        return tuple(self._runners)

    def runner(self, name: str) -> Runner:
        """The runner of an environment. Raises KeyError."""
        return self._runners[name]

    def report(self) -> dict[str, Any]:
        """Each runner's figures, by environment."""
        return {name: runner.report() for name, runner in self._runners.items()}

    async def close(self) -> None:
        """Close the runners; one that fails does not keep the others from it."""
        failures = []
        for runner in self._runners.values():
            try:
                await runner.close()
            except Exception as error:
                failures.append(error)
        if failures:
            raise ExceptionGroup("environments were not closed in order", failures)
