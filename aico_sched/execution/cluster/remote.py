"""What runs on a worker of the cluster: one attempt, found by the name of its class."""

import asyncio
import contextlib
import functools
import importlib
import threading
import time
import traceback as tracebacks
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgpack
from distributed import Client, Queue, get_client, get_worker
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


LOST = "lost"
"""The kind of answer that says that the attempt had begun on a worker that is gone."""


def run_attempt(request: bytes) -> bytes:
    """Run one attempt on this worker. Both ways go plain msgpack bytes; nothing is raised, so that nothing is pickled.

    Dask runs a task again by itself when its worker is lost. An attempt begins at most once: who finds its token taken
    says so, and the service's own retry policy decides.
    """
    asked: dict[str, Any] = msgpack.unpackb(request)
    if not _take(asked["token"]):
        return bytes(msgpack.packb({"kind": LOST}))
    began = time.thread_time()
    logs = RunLog()
    task_class: type[BaseTask] | None = None
    try:
        task_class = _load(asked["module"], asked["attribute"])
        result = asyncio.run(_execute(task_class, asked, logs, get_client()))
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
    return bytes(packed)


def _used(logs: RunLog, began: float) -> dict[str, Any]:
    """What an answer says besides. All lines once more: those under way may come after it, or never."""
    return {"cpu_seconds": time.thread_time() - began, "logged": [logs.since(0), logs.total]}


def _take(token: str) -> bool:
    """Whether this is the first to begin."""
    try:
        Queue(token, client=get_client()).get(timeout=0.5)
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


async def _execute(task_class: type[BaseTask], asked: dict[str, Any], logs: RunLog, client: Client) -> TaskResult:
    worker = get_worker()

    def tell(message: dict[str, Any]) -> None:
        worker.log_event(asked["topic"], {"id": asked["id"], **message})

    relay = LogRelay(lambda lines, total: tell({"logged": [lines, total]}), logs)
    calls = ServiceCalls(asked["key"], tell, functools.partial(_exchange, client))
    context = TaskContext(
        task_id=asked["task_id"],
        execution_id=asked["execution_id"],
        attempt=asked["attempt"],
        scheduled_for_us=asked["scheduled_for_us"],
        trigger=asked["trigger"],
        config=bind_config(task_class, asked["config"]),
        data_dir=Path(worker.local_directory) / "aico-sched" / asked["task_id"],
        ports=_ports(calls, asked["capabilities"], tell, relay.add),
    )
    run = asyncio.ensure_future(task_class().execute(context))
    try:
        while not run.done():
            await asyncio.wait([run], timeout=LOOK_EVERY)
            if asked["key"] not in worker.state.tasks or worker.state.tasks[asked["key"]].state == "cancelled":
                run.cancel()
        return TaskResult.of(run.result())
    finally:
        calls.close()
        context.flush_progress()
        relay.flush()


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
