"""What runs on a worker of the cluster: one attempt, found by the name of its class."""

import asyncio
import contextlib
import contextvars
import functools
import importlib
import threading
import time
import traceback as tracebacks
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgpack
from distributed import Client, Queue, Worker, get_client, get_worker
from pydantic_core import to_jsonable_python

from aico_sched.clock import SystemClock
from aico_sched.execution.cluster.calls import ClusterPowers, ServiceCalls
from aico_sched.execution.failures import permanent_of, tail, type_name
from aico_sched.execution.log_relay import LogRelay
from aico_sched.run_lines import Line, RunLog
from aico_sched.tasks.base import BaseTask, PermanentError, TaskResult
from aico_sched.tasks.configuration import bind_config
from aico_sched.tasks.context import TaskContext
from aico_sched.tasks.ports import TaskPorts

LOOK_EVERY = 0.2
"""Seconds between two looks whether the attempt was cancelled."""


class AttemptOver(Exception):
    """Nobody waits for the answer any more."""


ENDED, ABANDONED = "ended", "abandoned"
"""How an attempt that was cancelled was over: it ended, or goes on although nobody waits for it."""

LOST = "lost"
"""The kind of answer that says that the attempt had begun on a worker that is gone."""


def run_attempt(request: bytes) -> bytes:
    """Run one attempt on this worker. Both ways go plain msgpack bytes; nothing is raised, so that nothing is pickled.

    Dask runs a task again by itself when its worker is lost. An attempt begins at most once: who finds its token taken
    says so, and the service's own retry policy decides. The attempt has a thread of its own, so that one that does not
    end `grace` seconds after it was cancelled is left to itself, and the worker's thread is free for others.
    """
    asked: dict[str, Any] = msgpack.unpackb(request)
    client, worker = get_client(), get_worker()
    if not _take(asked["token"], client):
        return bytes(msgpack.packb({"kind": LOST}))
    attempt = _Attempt(asked, client, worker)
    # In a copy of the context: Dask's own functions know their worker by it.
    work = functools.partial(contextvars.copy_context().run, attempt.work)
    threading.Thread(target=work, name="aico-sched-attempt", daemon=True).start()
    return attempt.watch()


class _Attempt:
    """An attempt that has begun. `work` is for its thread, `watch` for the worker's."""

    def __init__(self, asked: dict[str, Any], client: Client, worker: Worker) -> None:
        self._asked, self._client, self._worker = asked, client, worker
        self._called_off, self._ended = threading.Event(), threading.Event()
        self._answer = b""

    def tell(self, message: dict[str, Any]) -> None:
        """To the gateway."""
        self._worker.log_event(self._asked["topic"], {"id": self._asked["id"], **message})

    def watch(self) -> bytes:
        """Wait for the end, and see to it when the attempt was cancelled: then nobody waits for the answer, and how it
        ended is told instead."""
        while not self._ended.wait(LOOK_EVERY):
            if self._is_cancelled():
                self._called_off.set()
                ended = self._ended.wait(self._asked["grace"])
                self.tell({"over": ENDED if ended else ABANDONED})
                return b""
        return self._answer

    def _is_cancelled(self) -> bool:
        task = self._worker.state.tasks.get(self._asked["key"])
        return task is None or task.state == "cancelled"

    def work(self) -> None:
        """Run the code to its end."""
        asked, began, logs = self._asked, time.thread_time(), RunLog()
        task_class: type[BaseTask] | None = None
        try:
            task_class = _load(asked["module"], asked["attribute"])
            result = asyncio.run(self._execute(task_class, logs))
            answer: dict[str, Any] = {
                "kind": "ended",
                "success": result.success,
                "message": result.message,
                "data": to_jsonable_python(result.data),
                "skipped": result.skipped,
            }
            packed = msgpack.packb({**answer, **_used(logs, began)})
        except BaseException as error:
            # A cancellation too: the gateway, which asked for it, is not waiting for this any more.
            packed = msgpack.packb(
                {
                    "kind": "failed",
                    "error_type": type_name(error),
                    "message": tail(str(error) or type(error).__name__),
                    "traceback": tail("".join(tracebacks.format_exception(error))),
                    "permanent": permanent_of(error, task_class),
                    **_used(logs, began),
                }
            )
        self._answer = bytes(packed)
        self._ended.set()

    async def _execute(self, task_class: type[BaseTask], logs: RunLog) -> TaskResult:
        asked = self._asked
        relay = LogRelay(lambda lines, total: self.tell({"logged": [lines, total]}), logs)
        calls = ServiceCalls(asked["key"], self.tell, functools.partial(_exchange, self._client))
        context = TaskContext(
            task_id=asked["task_id"],
            execution_id=asked["execution_id"],
            attempt=asked["attempt"],
            scheduled_for_us=asked["scheduled_for_us"],
            trigger=asked["trigger"],
            config=bind_config(task_class, asked["config"]),
            data_dir=Path(self._worker.local_directory) / "aico-sched" / asked["task_id"],
            ports=_ports(calls, asked["capabilities"], self.tell, relay.add),
        )
        run = asyncio.ensure_future(task_class().execute(context))
        try:
            while not run.done():
                await asyncio.wait([run], timeout=LOOK_EVERY)
                if self._called_off.is_set():
                    run.cancel()
            return TaskResult.of(run.result())
        finally:
            calls.close()
            context.flush_progress()
            relay.flush()


def _used(logs: RunLog, began: float) -> dict[str, Any]:
    """What an answer says besides. All lines once more: those under way may come after it, or never."""
    return {"cpu_seconds": time.thread_time() - began, "logged": [logs.since(0), logs.total]}


def _take(token: str, client: Client) -> bool:
    """Whether this is the first to begin."""
    try:
        Queue(token, client=client).get(timeout=0.5)
    except TimeoutError:
        return False
    return True


def _load(module: str, attribute: str) -> type[BaseTask]:
    value: Any = importlib.import_module(module)
    for part in attribute.split("."):
        value = getattr(value, part)
    if not (isinstance(value, type) and issubclass(value, BaseTask)):
        raise PermanentError(f"{module}:{attribute} is no task class on this worker")
    return value


def _exchange(client: Client, name: str, ask: Callable[[], Any], over: threading.Event) -> bytes:
    """What comes to the queue `name` after `ask`; in a thread. Raises `AttemptOver`. A queue is there as long as
    somebody holds it: it is made before anybody can answer."""
    queue = Queue(name, client=client)
    try:
        ask()
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                return bytes(queue.get(timeout=LOOK_EVERY))
    finally:
        queue.close()
    raise AttemptOver


def _ports(
    calls: ServiceCalls,
    capabilities: Sequence[str],
    tell: Callable[[dict[str, Any]], None],
    log_line: Callable[[Line], bool],
) -> TaskPorts:
    async def publish(to: str, payload: dict[str, Any], attributes: dict[str, str]) -> None:
        tell({"publish": [to, payload]})

    async def request(to: str, payload: dict[str, Any], timeout: float) -> dict[str, Any]:
        answer: dict[str, Any] = await calls.call("request", to, payload, timeout)
        return answer

    def report_progress(report: dict[str, Any]) -> None:
        tell({"progress": report})

    powers = ClusterPowers(calls, capabilities)
    return TaskPorts(SystemClock(), report_progress, publish, request, calls.hold, powers=powers, log_line=log_line)
