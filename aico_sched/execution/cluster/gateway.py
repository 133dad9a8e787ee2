"""The process that holds the Dask client: requests from the service on standard input, answers on standard output.

Requests: `{op: run, id, resources, request}`, `{op: cancel, id}`, and `{op: answer, queue, answer}` for the queue of a
worker that waits there. Answers: `{id, answer}` with the bytes that the worker returned, `{id, lost}` with a reason;
of a run under way `{id, progress}`, `{id, publish}`, `{id, logged}`, `{id, call}` and `{id, refused}`; `{id, over}` of
one that was cancelled, with `ended` or `abandoned`; first of all `{ready}` or `{failed}`.
"""

import asyncio
import contextlib
import logging
import os
import sys
import uuid
from typing import Any

import msgpack
from distributed import Client, Future, Queue

from aico_sched.execution.cluster import remote
from aico_sched.worker.frames import LENGTH, length_of, pack, unpack

HEARD_WITHIN = 2.0
"""Seconds beyond the grace time of a cancelled attempt for its worker's word on how it was over."""

UNBEGUN_WITHIN = 0.05
"""Seconds in which the token of an attempt that has not begun is there for the taking."""

_DONE = frozenset({"finished", "error", "cancelled", "lost"})


class Gateway:
    """One connection to a cluster, for any number of attempts at once."""

    def __init__(self, answers: int) -> None:
        self._answers = answers
        self._topic = f"aico-sched-{uuid.uuid4().hex}"
        self._runs: dict[int, asyncio.Task[None]] = {}
        self._over: dict[int, asyncio.Future[str]] = {}
        self._answering: set[asyncio.Task[None]] = set()

    async def serve(self, address: str, timeout: float) -> None:
        """Until the service closes the pipe."""
        requests = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(requests), sys.stdin)
        try:
            # "dask" and "msgpack" only: a result that is more than plain bytes is refused.
            client = await Client(
                address, asynchronous=True, timeout=timeout, deserializers=["dask", "msgpack"], name="aico-sched"
            )
        except (OSError, TimeoutError, ValueError) as error:
            self._say({"failed": f"{type(error).__name__}: {error}"})
            return
        client.subscribe_topic(self._topic, self._heard)
        self._say({"ready": True})
        try:
            while (request := await _next(requests)) is not None:
                self._handle(client, request)
        finally:
            pending = [*self._runs.values(), *self._answering]
            for each in pending:
                each.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
            with contextlib.suppress(Exception):
                await client.close(timeout=2)

    def _handle(self, client: Client, request: dict[str, Any]) -> None:
        if request["op"] == "answer":
            answering = asyncio.create_task(_put(client, request["queue"], request["answer"]))
            self._answering.add(answering)
            answering.add_done_callback(self._answering.discard)
            return
        number = request["id"]
        if request["op"] == "run":
            run = asyncio.create_task(self._run(client, number, request))
            self._runs[number] = run
            run.add_done_callback(lambda _: self._runs.pop(number, None))
        elif number in self._runs:
            # One that is cancelled before its first step never runs, and could not say how it was over.
            asyncio.get_running_loop().call_soon(self._runs[number].cancel)

    async def _run(self, client: Client, number: int, request: dict[str, Any]) -> None:
        key = f"aico-sched-{uuid.uuid4().hex}"
        asked = {**request["request"], "id": number, "topic": self._topic, "token": f"{key}-token", "key": key}
        future: Future | None = None
        token: Queue | None = None
        self._over[number] = asyncio.get_running_loop().create_future()
        try:
            token = await Queue(asked["token"], client=client)
            await token.put(1)
            future = client.submit(
                remote.run_attempt,
                bytes(msgpack.packb(asked)),
                key=key,
                pure=False,
                retries=0,
                resources=request["resources"] or None,
            )
            # Not awaited: that would raise what the cluster sent.
            while future.status not in _DONE:
                await future._state.wait()
            self._say({"id": number, **await self._outcome(future)})
        except asyncio.CancelledError:
            over = remote.ENDED
            if future is not None:
                begun = not await _taken(token)
                with contextlib.suppress(Exception):
                    await asyncio.shield(client.cancel([future], force=True))
                if begun:
                    over = await self._last_word(number, asked["grace"] + HEARD_WITHIN)
            self._say({"id": number, "over": over})
        except Exception as error:
            self._say({"id": number, "lost": f"{type(error).__name__}: {error}"})
        finally:
            del self._over[number]
            if token is not None:
                token.close()

    async def _last_word(self, number: int, seconds: float) -> str:
        """How a cancelled attempt was over. A worker that says nothing has left it alone, or is lost with it."""
        try:
            async with asyncio.timeout(seconds):
                return await self._over[number]
        except TimeoutError:
            return remote.ABANDONED

    async def _outcome(self, future: Future) -> dict[str, Any]:
        if future.status != "finished":
            return {"lost": f"the cluster gave the attempt up ({future.status})"}
        answer = await future
        return {"answer": answer} if isinstance(answer, bytes) else {"lost": "the cluster's answer is no plain bytes"}

    def _heard(self, event: tuple[float, Any]) -> None:
        """A word of a worker."""
        _, message = event
        if isinstance(message, dict) and message.get("id") in self._runs:
            if "over" in message:
                over = self._over.get(message["id"])
                if over is not None and not over.done():
                    over.set_result(message["over"])
                return
            with contextlib.suppress(ValueError, TypeError):
                self._say(message)

    def _say(self, message: dict[str, Any]) -> None:
        frame = memoryview(pack(message))
        while frame:
            frame = frame[os.write(self._answers, frame) :]


async def _taken(token: Queue | None) -> bool:
    """Whether the token was still there, so that the attempt has not begun; now it never will."""
    if token is None:
        return True
    try:
        await token.get(timeout=UNBEGUN_WITHIN)
    except Exception:
        # Empty, or the cluster does not answer.
        return False
    return True


async def _put(client: Client, name: str, answer: bytes) -> None:
    """To the worker that waits there. If the cluster is lost, so is the attempt, which is told elsewhere."""
    with contextlib.suppress(Exception):
        queue = await Queue(name, client=client)
        await queue.put(answer)
        queue.close()


async def _next(requests: asyncio.StreamReader) -> dict[str, Any] | None:
    try:
        head = await requests.readexactly(LENGTH.size)
        return unpack(await requests.readexactly(length_of(head)))
    except asyncio.IncompleteReadError:
        return None


def main() -> None:
    """`python -m aico_sched.execution.cluster.gateway ADDRESS TIMEOUT`."""
    answers = os.dup(1)
    # What a library prints must not end up among the answers.
    os.dup2(2, 1)
    logging.getLogger("distributed").setLevel(logging.ERROR)
    asyncio.run(Gateway(answers).serve(sys.argv[1], float(sys.argv[2])))


if __name__ == "__main__":
    main()
