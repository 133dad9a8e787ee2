"""One attempt at an execution: from the claim to an outcome. Every return, raise and cancellation ends as a named
outcome here; nothing a task does escapes as an exception."""

import asyncio
import traceback as tracebacks
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from aico_sched.clock import Clock, Timer
from aico_sched.execution.deadline import Deadline
from aico_sched.execution.environments import Environments, Job, RemoteFailure, TaskLoader
from aico_sched.execution.failures import permanent_of, tail, type_name
from aico_sched.execution.retry import next_attempt_in
from aico_sched.json_text import compact, decoded
from aico_sched.run_lines import RunLog
from aico_sched.security import permissions
from aico_sched.tasks.base import PermanentError, TaskResult
from aico_sched.tasks.ports import Ports
from aico_sched.topics import limits
from aico_sched.topics.envelope import check_portable
from aico_sched.topics.internal import AttemptEnd, AttemptStart
from aico_sched.tracing import log_fields

SECOND = 1_000_000
INSIST_EVERY = 1.0
"""Seconds between the cancellations of a task that was told to end: it can swallow one."""

USAGE = AttemptEnd._fields.index("usage")
"""Where in an end stands what is known only when it is made: its usage, its logs, its trace."""

NO_RESULT = compact({"message": "", "data": {}})

LEFT_ALONE = "it did not end when it was told to and was left to itself"


@dataclass(slots=True)
class Attempt:
    """An attempt as the executor remembers it; `begun` is false while it waits for a place. `end_as` is set when
    somebody asked for its end: (outcome, reason). `replies` are what its requests wait for, by correlation id.
    `insist`, while it runs, is to be called along with the cancellation that asks for its end; `deadline` is when it
    ends by itself; `logs` are the lines it has logged, of which so many were `logs_sent` to those who follow it
    and others may be `logs_due` (`execution.live_logs`); `traceparent` is its span, where it is traced."""

    start: AttemptStart
    begun: bool = False
    end_as: tuple[str, str] | None = None
    replies: dict[str, "asyncio.Future[dict[str, Any]]"] = field(default_factory=dict)
    insist: Callable[[], None] | None = None
    deadline: Deadline | None = None
    logs: RunLog = field(default_factory=RunLog)
    logs_due: bool = False
    logs_sent: int = 0
    traceparent: str = ""


class TaskFailed(Exception):
    """A task returned a result that says it failed."""


async def run_attempt(
    attempt: Attempt,
    environments: Environments,
    loader: TaskLoader,
    ports: Ports,
    data_dir: Path,
    clock: Clock,
    draw: Callable[[], float],
    give_up: "GiveUp",
) -> AttemptEnd:
    """Run the attempt to its end and say how it ended. Cancelling the surrounding task ends it as `attempt.end_as`
    says, or as interrupted. An attempt that does not end when it is told to is given up."""
    start, started_us = attempt.start, clock.now_us()
    job = Job(start, ports, data_dir, loader, logs=attempt.logs)
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(
        task_id=start.task_id, execution_id=start.execution_id, attempt=start.attempt, **log_fields(attempt.traceparent)
    )
    deadline: Deadline | None = None
    slots: asyncio.Semaphore | None = None
    try:
        _check_permission(start)
        runner = environments.choose(job)
        if runner.slots is not None:
            await runner.slots.acquire()
            slots, started_us = runner.slots, clock.now_us()
        insistence = _Insistence(
            clock, give_up.after, lambda: give_up.call(_given_up(attempt, started_us, clock, draw, job))
        )
        attempt.insist = insistence.begin
        try:
            with Deadline(clock, start.timeout, insistence.begin) as deadline:
                attempt.deadline = deadline
                result = await runner.run(job)
        finally:
            attempt.insist = None
            insistence.end()
        if not result.success:
            raise TaskFailed(result.message or "the task said that it failed")
        end = _ended(attempt, started_us, clock, "succeeded", None, result=_json(result))
    except asyncio.CancelledError as error:
        if _was_cancelled():
            outcome, reason = attempt.end_as or ("interrupted", "the service stopped")
            end = _ended(attempt, started_us, clock, outcome, reason)
        else:
            end = _failed(attempt, started_us, clock, draw, error, job)
    except BaseException as error:
        # A SystemExit that left the task would end the loop, and a Rust panic is no Exception (facts.md).
        end = _failed(attempt, started_us, clock, draw, error, job)
    finally:
        if slots is not None:
            slots.release()
    if deadline is not None and deadline.expired() and attempt.end_as is None:
        # Also when the task swallowed the cancellation and went on to return or to raise something of its own.
        end = _timed_out(attempt, started_us, clock, draw)
    if job.usage.get("abandoned"):
        end = end._replace(reason=f"{end.reason}; {LEFT_ALONE}" if end.reason else LEFT_ALONE)
    # `_replace` takes three times as long.
    return AttemptEnd._make((*end[:USAGE], job.usage, attempt.logs.plain(), attempt.traceparent))


class GiveUp(NamedTuple):
    """What becomes of an attempt that goes on although it was told to end: `after` so many seconds `call` is called,
    once, with its end. Its code may go on for ever; nobody waits for it any more."""

    after: float
    call: Callable[[AttemptEnd], None]


class _Insistence:
    """Sees that a task ends once it was told to, by its timeout or through `begin`: it is cancelled every second from
    then on, and `give_up` is called after `patience` seconds. No object of it refers to itself: a burst of runs would
    leave a hundred thousand of them to the garbage collector."""

    __slots__ = ("_clock", "_give_up", "_last", "_patience", "_task", "_timer")

    def __init__(self, clock: Clock, patience: float, give_up: Callable[[], None]) -> None:
        self._clock, self._patience, self._give_up = clock, patience, give_up
        self._task = asyncio.current_task()
        self._timer: Timer | None = None
        self._last: float | None = None

    def begin(self) -> None:
        """The task is told to end. Harmless when repeated."""
        if self._timer is None:
            self._timer = self._clock.call_at(self._clock.monotonic() + INSIST_EVERY, self._again)

    def _again(self) -> None:
        now = self._clock.monotonic()
        assert self._task is not None
        self._task.cancel("told to end")
        if self._last is None:
            self._last = now - INSIST_EVERY + self._patience
        elif now >= self._last:
            self._give_up()
            self._last = float("inf")
        self._timer = self._clock.call_at(min(now + INSIST_EVERY, max(self._last, now)), self._again)

    def end(self) -> None:
        """It has ended."""
        if self._timer is not None:
            self._timer.cancel()


def _was_cancelled() -> bool:
    """Whether somebody asked for the end of this run; a task may also raise CancelledError for reasons of its own."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _check_permission(start: AttemptStart) -> None:
    """The rule of the registration, asked again: neither an edited database nor a stricter rule lets a task through."""
    refusal = permissions.execution_refusal(start.task_id, start.task_class, start.role)
    if refusal is not None:
        raise PermanentError(refusal)


def ended_unbegun(attempt: Attempt, clock: Clock) -> AttemptEnd:
    """The end, as `attempt.end_as` says, of an attempt that never began."""
    assert attempt.end_as is not None
    return _ended(attempt, clock.now_us(), clock, *attempt.end_as)


def broken(attempt: Attempt, error: Exception, clock: Clock) -> AttemptEnd:
    """The end of an attempt whose running went wrong in our own code; it is not retried."""
    return _ended(attempt, clock.now_us(), clock, "failed", "the scheduler could not run it", error=error)


def _ended(
    attempt: Attempt,
    started_us: int,
    clock: Clock,
    outcome: str,
    reason: str | None,
    *,
    result: str | None = None,
    error: BaseException | None = None,
    retry_in: float | None = None,
) -> AttemptEnd:
    now = max(started_us, clock.now_us())
    return AttemptEnd(
        attempt.start.execution_id,
        attempt.start.attempt,
        outcome,
        started_us,
        now,
        result,
        None if error is None else _type_of(error),
        None if error is None else tail(str(error) or type(error).__name__),
        None if error is None else tail(_traceback_of(error)),
        0 if retry_in is None else now + int(retry_in * SECOND),
        reason,
    )


def _type_of(error: BaseException) -> str:
    if isinstance(error, RemoteFailure):
        return error.error_type
    return type_name(error)


def _traceback_of(error: BaseException) -> str:
    return error.traceback if isinstance(error, RemoteFailure) else "".join(tracebacks.format_exception(error))


def _timed_out(attempt: Attempt, started_us: int, clock: Clock, draw: Callable[[], float]) -> AttemptEnd:
    start = attempt.start
    reason = f"it took longer than its timeout of {start.timeout:g} s"
    retry_in = _retry_in(start, False, draw)
    end = _ended(attempt, started_us, clock, "timed_out", reason, retry_in=retry_in)
    return end._replace(error_type="TimeoutError", error_message=reason)


def _failed(
    attempt: Attempt,
    started_us: int,
    clock: Clock,
    draw: Callable[[], float],
    error: BaseException,
    job: Job,
) -> AttemptEnd:
    permanent = error.permanent if isinstance(error, RemoteFailure) else permanent_of(error, job.loaded)
    retry_in = _retry_in(attempt.start, permanent, draw)
    return _ended(attempt, started_us, clock, "failed", None, error=error, retry_in=retry_in)


def _given_up(attempt: Attempt, started_us: int, clock: Clock, draw: Callable[[], float], job: Job) -> AttemptEnd:
    """The end of an attempt whose code goes on."""
    if attempt.end_as is None:
        end = _timed_out(attempt, started_us, clock, draw)
    else:
        end = _ended(attempt, started_us, clock, *attempt.end_as)
    usage, reason = {**job.usage, "abandoned": True}, f"{end.reason}; {LEFT_ALONE}"
    return end._replace(reason=reason, usage=usage, logs=attempt.logs.plain(), traceparent=attempt.traceparent)


def _retry_in(start: AttemptStart, permanent: bool, draw: Callable[[], float]) -> float | None:
    assert start.retry is not None
    return next_attempt_in(start.retry, start.attempt, permanent=permanent, draw=draw)


def _json(result: TaskResult) -> str:
    """The result as kept and published; one that JSON cannot say, or that is too long, says so instead."""
    if not (result.message or result.data or result.skipped):
        return NO_RESULT
    message = str(result.message).encode(errors="backslashreplace").decode()
    body: dict[str, Any] = {"message": message, "data": result.data}
    if result.skipped:
        body["skipped"] = True
    try:
        text = compact(body)
        size = len(text.encode())
        if size <= limits.MAX_RESULT_BYTES:
            # A message alone is text, which every reader can decode.
            if result.data:
                check_portable(decoded(text), limits.LISTED_LEVELS)
            return text
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        return compact({"message": message[:1_000], "data": {}, "unprintable": tail(str(error))})
    return compact({"message": message[:1_000], "data": {}, "truncated_bytes": size})
