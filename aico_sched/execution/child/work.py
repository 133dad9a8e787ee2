"""The child's part: take one job, restrict itself, run the task, say how it ended."""

import asyncio
import errno
import os
import socket
import sys
import traceback
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from aico_sched.execution.child.code import function_of, task_class_of
from aico_sched.execution.child.exits import SandboxUnavailable
from aico_sched.execution.child.pipe import Pipe
from aico_sched.execution.child.ports import make_ports
from aico_sched.execution.child.wire import (
    Answer,
    Begun,
    CallFunction,
    Cancel,
    Job,
    Line,
    Logged,
    Message,
    Raised,
    Returned,
    read_from_parent,
)
from aico_sched.execution.courtesy import give_way
from aico_sched.execution.failures import permanent_of, tail, type_name
from aico_sched.execution.log_relay import LogRelay
from aico_sched.execution.sandbox.apply import restrict
from aico_sched.execution.sandbox.policy import Limits, Policy
from aico_sched.json_text import compact
from aico_sched.run_lines import RunLog
from aico_sched.tasks.base import BaseTask, TaskResult
from aico_sched.tasks.configuration import bind_config
from aico_sched.tasks.context import TaskContext
from aico_sched.tasks.errors import InvalidTaskConfig

ORPHANED = 70
"""Exit code of a child whose service is gone."""


async def serve(descriptor: socket.socket) -> None:
    """Do the one job that comes through the socket. Ends the process at once when the other side is gone."""
    reader, writer = await asyncio.open_connection(sock=descriptor)
    pipe = Pipe(writer)
    job = await read_from_parent(reader)
    if not isinstance(job, Job | CallFunction):
        return
    give_way()
    work = _run(job, pipe) if isinstance(job, Job) else _call(job, pipe)
    running = asyncio.create_task(_to_its_end(work))
    listening = asyncio.create_task(_listen(reader, pipe, running))
    await pipe.send_last(await running)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    writer.close()


async def _listen(reader: asyncio.StreamReader, pipe: Pipe, running: "asyncio.Task[Message]") -> None:
    while (message := await read_from_parent(reader)) is not None:
        if isinstance(message, Cancel):
            running.cancel(message.reason)
        elif isinstance(message, Answer):
            pipe.answered(message)
    # Nobody is left to report to.
    os._exit(ORPHANED)


async def _to_its_end(work: Coroutine[Any, Any, Message]) -> Message:
    """The last message of a run, whatever the task raises: a SystemExit would end the loop before it is sent."""
    try:
        return await work
    except BaseException as error:
        return _raised(error, None)


async def _run(job: Job, pipe: Pipe) -> Message:
    sys.path[:] = job.search_path
    policy = None if job.sandbox is None else Policy.unpack(job.sandbox)
    if policy is not None:
        _settle_in(policy.data_dir)
    # A file of the user's is read before the folder it is in is out of reach.
    load = task_class_of(job)
    try:
        level = restrict(Limits.unpack(job.limits), policy)
    except OSError as error:
        raise SandboxUnavailable(f"a restriction could not be put in force: {error}") from error
    pipe.send(Begun(level=level.pack()))
    task_class: type[BaseTask] | None = None
    try:
        task_class = load()
        return _returned(_checked(task_class, job) if job.only_check else await _execute(task_class, job, pipe))
    except BaseException as error:
        return _raised(error, task_class)


def _settle_in(folder: str) -> None:
    """Make the task's folder the working folder, the home and the place for temporary files."""
    os.environ.update(HOME=folder, TMPDIR=folder)
    os.chdir(folder)


async def _execute(task_class: type[BaseTask], job: Job, pipe: Pipe) -> TaskResult:
    relay = LogRelay(
        lambda lines, total: pipe.send(Logged(lines=[Line(**line) for line in lines], total=total)), RunLog()
    )
    context = TaskContext(
        task_id=job.task_id,
        execution_id=job.execution_id,
        attempt=job.attempt,
        scheduled_for_us=job.scheduled_for_us,
        trigger=job.trigger,
        config=bind_config(task_class, job.config),
        data_dir=Path(job.data_dir),
        ports=make_ports(pipe, job.capabilities, relay.add),
        cause=job.cause,
    )
    try:
        return TaskResult.of(await task_class().execute(context))
    finally:
        context.flush_progress()
        relay.flush()


def _checked(task_class: type[BaseTask], job: Job) -> TaskResult:
    """Whether the class takes the configuration."""
    try:
        bind_config(task_class, job.config)
    except InvalidTaskConfig as error:
        return TaskResult(False, tail(str(error)), {"field": error.field})
    return TaskResult(True)


async def _call(job: CallFunction, pipe: Pipe) -> Message:
    sys.path[:] = job.search_path
    pipe.send(Begun(level=restrict(Limits.unpack(job.limits), None).pack()))
    return Returned(success=True, skipped=False, message="", data=compact({"value": function_of(job)(*job.arguments)}))


def _returned(result: TaskResult) -> Message:
    """Data JSON cannot hold is said so, as it is of a task in the loop; so is what does not fit."""
    message = str(result.message).encode(errors="backslashreplace").decode()
    try:
        data = compact(result.data)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        data = compact({"unprintable": tail(str(error))})
    return Returned(success=result.success, skipped=result.skipped, message=message, data=data)


def _raised(error: BaseException, task_class: type[BaseTask] | None) -> Message:
    return Raised(
        type=type_name(error)[-300:],
        message=tail(str(error) or type(error).__name__),
        traceback=tail("".join(traceback.format_exception(error))),
        permanent=permanent_of(error, task_class),
        limit=_limit_of(error),
    )


def _limit_of(error: BaseException | None) -> Any:
    """Which resource limit made the run fail, as far as the error tells."""
    while error is not None:
        if isinstance(error, MemoryError):
            return "memory"
        if isinstance(error, OSError) and error.errno in (errno.EFBIG, errno.EDQUOT):
            return "file_size"
        error = error.__cause__ or error.__context__
    return None
