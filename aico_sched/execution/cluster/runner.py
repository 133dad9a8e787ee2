"""The service's side of the environment `cluster`."""

import asyncio
import contextvars
import importlib.util
import itertools
import sys
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import msgpack
import structlog

from aico_sched.execution.child.session import PORTS, as_told
from aico_sched.execution.environments import Job, NoSuchEnvironment, RemoteFailure
from aico_sched.execution.log_relay import received
from aico_sched.planning import LIMITS_REFUSED, refused_limits
from aico_sched.tasks.base import BaseTask, TaskResult, TransientError
from aico_sched.tasks.context import TaskContext
from aico_sched.tasks.powers import TooMuchData
from aico_sched.tasks.user_code import NAMESPACE
from aico_sched.worker.frames import LENGTH, length_of, pack, unpack

log = structlog.get_logger(__name__)

START_MORE = 30.0
"""Seconds beyond the connection's own for the gateway to come up: it imports Dask first."""

CLOSE_WITHIN = 5.0

OVER_WITHIN = 4.0
"""Seconds beyond the grace time for the gateway to say how a cancelled attempt was over."""

MOST_RELAYED = 256
"""Calls and messages of runs on the cluster that are dealt with at one time."""

MOST_BYTES = 8 * 1024 * 1024
"""Of one answer to a call."""


class WorkerLost(TransientError):
    """The worker, the cluster or the connection to it was lost while the attempt ran: nobody knows how far it came."""


class ClusterUnreachable(TransientError):
    """There is no cluster at `cluster.address` now."""


class ClusterRunner:
    """Runs attempts on the cluster at `address`, through a gateway that is started with the first and again after it
    has ended. How many run at once is the cluster's own affair. One that was cancelled may take `cancel_grace` seconds
    to end; after that it is left to itself, and its worker is free for others."""

    slots = None

    def __init__(self, address: str | None, connect_timeout: float, cancel_grace: float) -> None:
        self._address, self._timeout, self._grace = address, connect_timeout, cancel_grace
        self._gateway: _Gateway | None = None
        self._starting: asyncio.Task[_Gateway] | None = None
        self._figures = {"runs": 0, "lost": 0, "abandoned": 0, "gateways": 0}

    async def run(self, job: Job) -> TaskResult:
        request = {**_request(job, job.task_class()), "grace": self._grace}
        gateway = await self._connected()
        self._figures["runs"] += 1
        try:
            answer = await gateway.run(job, request)
        except WorkerLost:
            self._lost(job)
            raise
        finally:
            self._figures["abandoned"] += job.usage.get("abandoned", False)
        if "cpu_seconds" in answer:
            job.usage["cpu_seconds"] = round(float(answer["cpu_seconds"]), 6)
        if "logged" in answer:
            _received(job, answer["logged"])
        match answer["kind"]:
            case "ended":
                return TaskResult(answer["success"], answer["message"], answer["data"], answer["skipped"])
            case "failed":
                raise RemoteFailure(
                    answer["error_type"], answer["message"], answer["traceback"], permanent=answer["permanent"]
                )
        self._lost(job)
        raise WorkerLost("the worker that had begun it is gone")

    def _lost(self, job: Job) -> None:
        self._figures["lost"] += 1
        job.usage["lost"] = True

    async def _connected(self) -> "_Gateway":
        if self._address is None:
            raise NoSuchEnvironment("there is no cluster: set cluster.address to a Dask scheduler, tcp://HOST:PORT")
        if importlib.util.find_spec("distributed") is None:
            raise NoSuchEnvironment("the environment cluster needs Dask: pip install 'aico-sched[cluster]'")
        if self._gateway is not None and not self._gateway.ended:
            return self._gateway
        if self._starting is None:
            # For all who wait for it: it goes on when one of them is cancelled.
            self._starting = asyncio.create_task(_Gateway.start(self._address, self._timeout), name="executor/cluster")
            self._starting.add_done_callback(self._started)
        return await asyncio.shield(self._starting)

    def _started(self, starting: "asyncio.Task[_Gateway]") -> None:
        self._starting = None
        if not starting.cancelled() and starting.exception() is None:
            self._gateway = starting.result()
            self._figures["gateways"] += 1

    def report(self) -> dict[str, Any]:
        running = 0 if self._gateway is None else len(self._gateway.jobs)
        return {**self._figures, "running": running}

    async def close(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        if self._gateway is not None:
            gateway, self._gateway = self._gateway, None
            await gateway.close()


class _Gateway:
    """The gateway process, seen from here. `jobs` are those that wait for their answer, by number."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._numbers = itertools.count(1)
        self.jobs: dict[int, tuple[Job, asyncio.Future[dict[str, Any]]]] = {}
        self.ended = False
        self._reading: asyncio.Task[None] | None = None
        self._relayed: set[asyncio.Task[None]] = set()

    @classmethod
    async def start(cls, address: str, timeout: float) -> "_Gateway":
        """Raises `ClusterUnreachable`."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "aico_sched.execution.cluster.gateway",
            address,
            str(timeout),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # Ctrl-C is for the service, which then ends it.
            process_group=0,
        )
        gateway = cls(process)
        try:
            async with asyncio.timeout(timeout + START_MORE):
                first = await gateway._next()
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError) as error:
            await gateway._kill()
            raise ClusterUnreachable(f"no connection to the cluster at {address} came about") from error
        except BaseException:
            await gateway._kill()
            raise
        if "ready" not in first:
            await gateway._kill()
            raise ClusterUnreachable(f"the cluster at {address} cannot be reached: {first.get('failed')}")
        # Of no attempt: what it logs is not the business of the one that happened to come first.
        nobody = contextvars.Context()
        gateway._reading = asyncio.create_task(gateway._read(), name="executor/cluster", context=nobody)
        return gateway

    async def run(self, job: Job, request: dict[str, Any]) -> dict[str, Any]:
        """The worker's answer. Raises `WorkerLost`. A cancellation is passed on to the cluster, and waited for until it
        is known how the attempt was over."""
        number = next(self._numbers)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.jobs[number] = job, answer
        try:
            self._say({"op": "run", "id": number, "resources": job.start.resources, "request": request})
            await asyncio.wait([answer])
        except asyncio.CancelledError:
            if not self.ended:
                self._say({"op": "cancel", "id": number})
                await self._over(job, answer, request["grace"] + OVER_WITHIN)
            raise
        finally:
            del self.jobs[number]
        return answer.result()

    async def _over(self, job: Job, answer: "asyncio.Future[dict[str, Any]]", seconds: float) -> None:
        """Wait until a cancelled attempt is over; the caller may be cancelled again meanwhile."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not answer.done() and (left := deadline - loop.time()) > 0:
            with suppress(asyncio.CancelledError):
                await asyncio.wait([answer], timeout=left)
        lost = answer.done() and answer.exception() is not None
        if not lost and (not answer.done() or answer.result().get("over") == "abandoned"):
            job.usage["abandoned"] = True

    def _say(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        if self.ended:
            raise WorkerLost("the connection to the cluster is lost")
        self._process.stdin.write(pack(message))

    async def _read(self) -> None:
        reason = "the gateway to the cluster has ended"
        try:
            while True:
                self._heard(await self._next())
        except (asyncio.IncompleteReadError, ConnectionError):
            log.warning("cluster_gateway_ended")
        except Exception as error:
            reason = f"the gateway to the cluster said what cannot be understood: {error}"
            log.error("cluster_gateway_broke", error=str(error))
        finally:
            self.ended = True
            for _, answer in self.jobs.values():
                if not answer.done():
                    answer.set_exception(WorkerLost(reason))
            await self._kill()

    async def _next(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        head = await self._process.stdout.readexactly(LENGTH.size)
        return unpack(await self._process.stdout.readexactly(length_of(head)))

    def _heard(self, message: dict[str, Any]) -> None:
        known = self.jobs.get(message.get("id", 0))
        if known is None:
            return
        job, answer = known
        if answer.done():
            return
        if "answer" in message:
            answer.set_result(msgpack.unpackb(message["answer"]))
        elif "over" in message:
            answer.set_result(message)
        elif "lost" in message:
            answer.set_exception(WorkerLost(str(message["lost"])))
        elif "progress" in message:
            job.ports.report_progress(message["progress"])
        elif "logged" in message:
            _received(job, message["logged"])
        elif "refused" in message:
            _context(job).refused(message["refused"])
        elif "publish" in message:
            topic, payload = message["publish"]
            self._relay(self._publish(job, topic, payload))
        elif "call" in message:
            self._relay(self._answer(job, *message["call"]))

    def _relay(self, work: Coroutine[Any, Any, None]) -> None:
        relayed = asyncio.create_task(work)
        self._relayed.add(relayed)
        relayed.add_done_callback(self._relayed.discard)

    async def _answer(self, job: Job, queue: str, port: str, arguments: bytes) -> None:
        """Do what a run asks for, and send the answer to its queue."""
        try:
            if len(self._relayed) > MOST_RELAYED:
                raise TimeoutError(f"runs on the cluster wait for {MOST_RELAYED} answers already")
            method = PORTS.get(port)
            if method is None:
                raise PermissionError(f"a task on a cluster cannot use {port}")
            value = await method(_context(job), *msgpack.unpackb(arguments))
            packed = msgpack.packb({"value": value})
            if len(packed) > MOST_BYTES:
                raise TooMuchData(f"the answer has {len(packed)} bytes; at most {MOST_BYTES} reach a cluster")
        except Exception as error:
            packed = msgpack.packb({"error": as_told(error)})
        with suppress(WorkerLost):
            self._say({"op": "answer", "queue": queue, "answer": packed})

    async def _publish(self, job: Job, topic: str, payload: dict[str, Any]) -> None:
        try:
            await job.ports.publish(topic, payload, {})
        except Exception as error:
            log.error("cluster_publish_refused", task_id=job.start.task_id, topic=topic, error=str(error))

    async def _kill(self) -> None:
        self.ended = True
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
        await self._process.wait()

    async def close(self) -> None:
        """End the gateway; what still runs on the cluster is cancelled by it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        if self._reading is not None:
            _, still = await asyncio.wait([self._reading], timeout=CLOSE_WITHIN)
            for reading in still:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
        await self._kill()


def _context(job: Job) -> TaskContext[Any]:
    """The run's context in this process, which checks what it may do."""
    return job.context(job.task_class())


def _received(job: Job, logged: Any) -> None:
    lines, total = logged
    start = job.start
    received(job.logs, lines, total, task_id=start.task_id, execution_id=start.execution_id, attempt=start.attempt)


def _request(job: Job, task_class: type[BaseTask]) -> dict[str, Any]:
    """What the worker needs to know. The class travels as a name."""
    module = task_class.__module__
    if module.partition(".")[0] == NAMESPACE:
        raise NoSuchEnvironment(
            f"{task_class.name} is a file of this machine's user-task folder; a cluster has no copy of it"
        )
    start = job.start
    if beyond := refused_limits(start.limits):
        raise NoSuchEnvironment(LIMITS_REFUSED.format(" and ".join(beyond)))
    return {
        "module": module,
        "attribute": task_class.__qualname__,
        "task_id": start.task_id,
        "execution_id": start.execution_id,
        "attempt": start.attempt,
        "scheduled_for_us": start.scheduled_for_us,
        "trigger": start.trigger,
        "config": start.config,
        "capabilities": sorted(job.ports.powers.capabilities) if job.ports.powers is not None else [],
    }
