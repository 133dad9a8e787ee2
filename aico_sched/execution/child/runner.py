"""The environments `process` and `sandbox`: each attempt in a child process of its own."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aico_sched.execution.child import wire
from aico_sched.execution.child.exits import (
    ChildError,
    DiskLimitExceeded,
    Ended,
    KilledBySystem,
    ProcessCrashed,
    ProtocolBroken,
    SandboxUnavailable,
    explain,
    explain_limit,
)
from aico_sched.execution.child.nursery import Nursery
from aico_sched.execution.child.process import ChildProcess, inherited, scrubbed
from aico_sched.execution.child.session import Session
from aico_sched.execution.child.warden import Warden
from aico_sched.execution.environments import Job, RemoteFailure
from aico_sched.execution.failures import type_name
from aico_sched.execution.log_relay import received
from aico_sched.execution.sandbox import data_folder, folder_watch
from aico_sched.execution.sandbox.policy import Limits, Policy
from aico_sched.execution.sandbox.readable import code_paths
from aico_sched.json_text import decoded
from aico_sched.outside import waiting
from aico_sched.tasks.base import EmptyConfig, TaskResult
from aico_sched.tasks.context import TaskContext
from aico_sched.tasks.discovery import FoundClass
from aico_sched.topics import limits as contract

GRACE = 2.0
"""Seconds a run has for each step of its end: the request, SIGTERM, SIGKILL."""


@dataclass(frozen=True, slots=True)
class SandboxRules:
    """The sandbox every run gets. `network` names the task ids that may use the network; `*` is all of them. `uid` is
    whom a child of root becomes."""

    limits: Limits
    disk_mb: int
    max_files: int
    network: frozenset[str]
    uid: int | None

    def may_use_network(self, task_id: str) -> bool:
        """Whether the task may open sockets."""
        return bool(self.network & {task_id, "*"})


class ProcessRunner:
    """Runs attempts in children, no more than `slots` at once; with `rules`, in a sandbox."""

    def __init__(self, slots: asyncio.Semaphore, rules: SandboxRules | None = None, *, grace: float = GRACE) -> None:
        self._slots, self._rules, self._grace = slots, rules, grace
        make = scrubbed if rules is not None else inherited
        self._nursery = Nursery(lambda: make(os.environ))
        # What is in a sandbox starts no processes.
        self._warden = Warden() if rules is None else None
        self._figures = {"runs": 0, "running": 0, "ended_by_limit": 0, "crashed": 0, "killed": 0}
        self._level: dict[str, Any] | None = None

    @property
    def slots(self) -> asyncio.Semaphore | None:
        """Shared by all that start processes."""
        return self._slots

    async def run(self, job: Job) -> TaskResult:
        """See `Runner`. What the process itself died of is a `RemoteFailure` too, its type a `ChildError`."""
        self._figures["runs"] += 1
        self._figures["running"] += 1
        try:
            return await self._run(job)
        except ChildError as error:
            self._count(error)
            if isinstance(error, KilledBySystem | ProcessCrashed):
                job.usage["lost"] = True
            raise _remote(error) from error
        finally:
            self._figures["running"] -= 1

    async def check(self, job: Job) -> TaskResult:
        """Whether the job's class takes its configuration, its code not being run beyond that: a failure's message
        says what is wrong, its data `{field}`. Raises as `run`, also for a class that cannot be loaded."""
        try:
            return await self._run(job, only_check=True)
        except ChildError as error:
            raise _remote(error) from error

    async def _run(self, job: Job, *, only_check: bool = False) -> TaskResult:
        found = job.loader.find(job.start.task_class)
        policy = await self._policy(job, found)
        asked = job.start.limits or {}
        limits = Limits(asked.get("memory_mb"), _whole(asked.get("cpu_seconds")))
        if self._rules is not None:
            limits = limits.narrowed(self._rules.limits)
        order = _order(job, found, limits, policy, only_check=only_check)
        try:
            child = self._take()
        except OSError as error:
            raise SandboxUnavailable(f"no process could be started: {error}") from error
        child.output.context = {"task_id": job.start.task_id, "execution_id": job.start.execution_id}
        run = _Run(child, job, limits, policy, self._reached, self._grace)
        with waiting():
            return await run.result(order)

    async def _policy(self, job: Job, found: FoundClass) -> Policy | None:
        rules = self._rules
        if rules is None:
            return None
        task_id = job.start.task_id
        network = rules.may_use_network(task_id)
        folder = job.data_dir / task_id
        uid = rules.uid if os.geteuid() == 0 else None
        try:
            problem = await asyncio.to_thread(data_folder.prepare, folder, uid, rules.disk_mb, rules.max_files)
        except OSError as error:
            raise SandboxUnavailable(f"the task's folder cannot be made ready: {error}") from error
        if problem is not None:
            raise DiskLimitExceeded(f"{problem}; delete what is not needed in {folder}, or raise the limit")
        module = None if found.path is not None else found.module
        readable = code_paths(module, network=network)
        _check_apart(job.data_dir, readable)
        return Policy(str(folder), readable, rules.disk_mb, rules.max_files, network, uid)

    async def call(self, module: str, attribute: str, path: str | None, arguments: list[Any]) -> Any:
        """What a function returns in a process of its own; cancelled, the process is ended. Raises `RemoteFailure`."""
        folder = None if path is None else str(Path(path).parent)
        order = wire.CallFunction(
            module=module,
            attribute=attribute,
            path=path,
            folder=folder,
            arguments=arguments,
            search_path=_search_path(),
            limits=Limits().pack(),
        )
        async with self._slots:
            child = self._take()
            try:
                last = await Session(child, None, lambda level: None).run(order)
            finally:
                await _despite_cancellation(child.end(0.0, 0.0))
                child.close()
        if isinstance(last, wire.Returned):
            return decoded(last.data)["value"]
        if last is None:
            raise _remote(explain(child.ended.result(), Limits(), child.output.tail))
        raise RemoteFailure(last.type, last.message, last.traceback, permanent=last.permanent)

    def _take(self) -> ChildProcess:
        child = self._nursery.take()
        if self._warden is not None:
            self._warden.watch_over(child)
        return child

    def _reached(self, level: dict[str, Any]) -> None:
        if self._rules is not None:
            self._level = level

    def _count(self, error: ChildError) -> None:
        kind = "ended_by_limit" if error.permanent else "crashed"
        self._figures[kind] += 1

    def report(self) -> dict[str, Any]:
        """Counts, and the level of the last sandbox."""
        return {**self._figures, **({} if self._level is None else {"sandbox": self._level})}

    async def close(self) -> None:
        """End the child that was started ahead, and the warden."""
        await self._nursery.close()
        if self._warden is not None:
            await self._warden.close()


class _Run:
    """One attempt from the start of its child to the child's end."""

    def __init__(
        self,
        child: ChildProcess,
        job: Job,
        limits: Limits,
        policy: Policy | None,
        reached: Any,
        grace: float,
    ) -> None:
        self._child, self._job, self._limits, self._policy, self._grace = child, job, limits, policy, grace
        self._reached = reached
        self._session = Session(child, _context(job), self._begun, self._logged)

    async def result(self, order: wire.Job) -> TaskResult:
        """The run's result; raises its failure as a `ChildError` or `RemoteFailure`."""
        talk = asyncio.create_task(self._session.run(order))
        watch = asyncio.create_task(self._watch())
        try:
            waits: set[asyncio.Future[Any]] = {talk, watch, self._child.ended}
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if self._child.ended.done() and not talk.done():
                # What it wrote last is still in the pipe; a process it left behind may hold the pipe open.
                await asyncio.wait({talk}, timeout=self._grace)
            in_order = talk.done() and talk.exception() is None and talk.result() is not None
            ended = await self._reap(self._grace if in_order else 0.0, 0.0)
        except asyncio.CancelledError:
            self._session.cancel("cancelled")
            await _despite_cancellation(self._end_cancelled(talk))
            raise
        finally:
            watched, said = watch.done(), talk.done()
            watch.cancel()
            talk.cancel()
            await _despite_cancellation(_settled(talk, watch))
            self._child.close()
        if watched:
            raise DiskLimitExceeded(f"it was ended: {watch.result()}", self._child.output.tail)
        return self._outcome(talk if said else None, ended)

    async def _watch(self) -> str:
        policy = self._policy
        if policy is None:
            # Never.
            await asyncio.get_running_loop().create_future()
            return ""
        return await folder_watch.watch(Path(policy.data_dir), policy.disk_mb, policy.max_files, self._child.pid)

    async def _end_cancelled(self, talk: "asyncio.Task[Any]") -> None:
        # All of it within the grace: half for the run itself, half for SIGTERM, then SIGKILL.
        half = self._grace / 2
        await asyncio.wait({talk}, timeout=half)
        await self._reap(half / 2 if talk.done() else 0.0, half / 2 if talk.done() else half)

    async def _reap(self, patience: float, after_term: float) -> Ended:
        ended = await self._child.end(patience, after_term)
        self._job.usage["cpu_seconds"] = round(ended.cpu_seconds, 3)
        self._job.usage["memory_mb"] = round(ended.peak_memory_mb, 1)
        return ended

    def _begun(self, level: dict[str, Any]) -> None:
        if self._policy is not None:
            self._job.usage["sandbox"] = level["level"]
            self._job.usage["sandbox_missing"] = "; ".join(level["missing"])
        self._reached(level)

    def _logged(self, lines: list[dict[str, Any]], total: int) -> None:
        start = self._job.start
        identity = {"task_id": start.task_id, "execution_id": start.execution_id, "attempt": start.attempt}
        received(self._job.logs, lines, total, **identity)

    def _outcome(self, talk: "asyncio.Task[wire.Returned | wire.Raised | None] | None", ended: Ended) -> TaskResult:
        tail = self._child.output.tail
        try:
            last = None if talk is None else talk.result()
        except wire.ProtocolError as error:
            raise ProtocolBroken(f"its process sent {error}", tail) from error
        if last is None:
            raise explain(ended, self._limits, tail)
        if isinstance(last, wire.Raised):
            raise self._failure(last)
        return _result(last)

    def _failure(self, raised: wire.Raised) -> Exception:
        if raised.limit is None:
            return RemoteFailure(raised.type, raised.message, raised.traceback, permanent=raised.permanent)
        disk_mb = None if self._policy is None else self._policy.disk_mb
        return explain_limit(raised.limit, self._limits, disk_mb, raised.message, raised.traceback)


def _remote(error: ChildError) -> RemoteFailure:
    return RemoteFailure(type_name(error), str(error), error.output, permanent=error.permanent)


def _order(job: Job, found: FoundClass, limits: Limits, policy: Policy | None, *, only_check: bool) -> wire.Job:
    start = job.start
    return wire.Job(
        task_class=start.task_class,
        module=found.module,
        attribute=found.attribute,
        path=None if found.path is None else str(found.path),
        folder=None if found.path is None else str(found.path.parent),
        task_id=start.task_id,
        execution_id=start.execution_id,
        attempt=start.attempt,
        scheduled_for_us=start.scheduled_for_us,
        trigger=start.trigger,
        config=dict(start.config),
        data_dir=str(job.data_dir / start.task_id),
        cause=start.cause,
        capabilities=sorted(job.ports.powers.capabilities) if job.ports.powers is not None else [],
        search_path=_search_path(),
        limits=limits.pack(),
        sandbox=None if policy is None else policy.pack(),
        only_check=only_check,
    )


def _search_path() -> list[str]:
    return [os.path.abspath(entry) for entry in sys.path]  # noqa: PTH100


def _context(job: Job) -> TaskContext[EmptyConfig]:
    """The run's context in this process, for what its child calls."""
    start = job.start
    return TaskContext(
        task_id=start.task_id,
        execution_id=start.execution_id,
        attempt=start.attempt,
        scheduled_for_us=start.scheduled_for_us,
        trigger=start.trigger,
        config=EmptyConfig(),
        data_dir=job.data_dir / start.task_id,
        ports=job.ports,
    )


def _result(last: wire.Returned) -> TaskResult:
    """The result as the child sent it, its data checked for what it claims to be."""
    if len(last.data) > contract.MAX_RESULT_BYTES * 4:
        return TaskResult(last.success, last.message, {"left_out": f"{len(last.data)} characters"}, last.skipped)
    try:
        data = decoded(last.data)
    except (ValueError, RecursionError) as error:
        raise ProtocolBroken("its process sent a result that is no JSON") from error
    if not isinstance(data, dict):
        raise ProtocolBroken("its process sent a result that is no map")
    return TaskResult(last.success, last.message, data, last.skipped)


def _whole(seconds: float | None) -> int | None:
    """The kernel counts whole seconds of processor time."""
    return None if seconds is None else max(1, round(seconds))


def _check_apart(data: Path, readable: Iterable[str]) -> None:
    """Raises `SandboxUnavailable` where the data, keys among it, lies in a folder with code, which tasks may read."""
    where = data.resolve()
    code = next((path for path in readable if where.is_relative_to(path)), None)
    if code is not None:
        raise SandboxUnavailable(
            f"the data folder {where.parent} lies in {code}, which every task in the sandbox may read for its code; "
            "choose another with --data-dir, or move the code"
        )


async def _settled(*tasks: "asyncio.Task[Any]") -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


async def _despite_cancellation(work: Coroutine[Any, Any, Any]) -> None:
    """Wait for work that takes only seconds and must not be left half done; whoever cancels meanwhile waits for it."""
    task = asyncio.ensure_future(work)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(task)
    task.result()
