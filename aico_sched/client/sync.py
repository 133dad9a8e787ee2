"""The client for scripts: the same methods, blocking, with the asyncio client in a thread of its own."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from functools import partial, wraps
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Self, TypeVar

from aico_sched.bus.address import BusAddress
from aico_sched.bus.endpoint import Renew
from aico_sched.client import calls
from aico_sched.client.client import SchedulerClient
from aico_sched.client.discovery import locate, present_key
from aico_sched.client.errors import ServiceUnreachable
from aico_sched.client.events import BUFFER, Event, EventStream
from aico_sched.security.keys import CurveIdentity
from aico_sched.security.signatures import Signer
from aico_sched.topics import names
from aico_sched.topics.codecs import Codec
from aico_sched.topics.commands import Payload
from aico_sched.topics.views import ExecutionView

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result", bound=Payload)
Anything = TypeVar("Anything")


class _Command(Generic[Arguments, Result]):
    """A function of `calls` as a blocking method."""

    def __init__(self, make: Callable[Arguments, calls.Call[Result]]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __get__(self, client: "SyncSchedulerClient", owner: type) -> Callable[Arguments, Result]:
        make = self._make

        @wraps(make)
        def method(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            call = make(*args, **kwargs)
            return client.run(lambda inner: inner.do(call))

        return method


class SyncEvents:
    """The events of an `EventStream`, blocking. Usable as a context manager; closing it ends the iteration."""

    def __init__(self, client: "SyncSchedulerClient", stream: EventStream) -> None:
        self._client, self._stream = client, stream

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        event = self._client.run(lambda _: anext(self._stream, None))
        if event is None:
            raise StopIteration
        return event

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening; harmless when repeated."""
        if self._client.running:
            self._client.run(lambda _: self._stream.aclose())


class SyncSchedulerClient:
    """`SchedulerClient` without asyncio; see there for the arguments, the methods and their errors.

    >>> with SyncSchedulerClient.discover() as client:
    ...     print(client.health().status)

    Several threads may share one.
    """

    def __init__(
        self,
        address: BusAddress,
        identity: CurveIdentity | None = None,
        server_public_key: str | None = None,
        *,
        name: str = "admin",
        timeout: float = 10.0,
        codec: Codec = "msgpack",
        signer: Signer | None = None,
        service_key: "Ed25519PublicKey | None" = None,
        renew: Renew | None = None,
    ) -> None:
        # Made inside the thread: it belongs to the loop it first runs on.
        self._make: Callable[[], SchedulerClient] = lambda: SchedulerClient(
            address,
            identity,
            server_public_key,
            name=name,
            timeout=timeout,
            codec=codec,
            signer=signer,
            service_key=service_key,
            renew=renew,
        )
        self._client: SchedulerClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @classmethod
    def discover(
        cls, data_dir: Path | None = None, name: str = "admin", *, bus: str | None = None, timeout: float = 10.0
    ) -> Self:
        """As `SchedulerClient.discover`."""
        location = locate(data_dir, name, bus)
        renew = partial(present_key, data_dir, name, bus)
        return cls(name=name, timeout=timeout, renew=renew, **location._asdict())

    @property
    def running(self) -> bool:
        """Whether it is connected, between `connect` and `close`."""
        return self._client is not None

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def connect(self) -> None:
        """Start the thread and connect. Raises `ServiceUnreachable`; nothing is left running then."""
        if self._thread is not None:
            raise RuntimeError("the client is connected already")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="aico-sched-client", daemon=True)
        self._thread.start()
        try:
            self._client = self._on_loop(self._connected())
        except BaseException:
            self._stop_loop()
            raise

    def close(self) -> None:
        """Disconnect and end the thread; harmless when repeated."""
        client, self._client = self._client, None
        if client is not None:
            try:
                self._on_loop(client.close())
            finally:
                self._stop_loop()

    def run(self, work: Callable[[SchedulerClient], Coroutine[Any, Any, Anything]]) -> Anything:
        """The result of a coroutine made with the asyncio client, run in its thread."""
        client = self._client
        if client is None:
            raise ServiceUnreachable("the client is not connected; use `with`")
        return self._on_loop(_started(work, client))

    def request(
        self,
        topic: str,
        payload: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        *,
        message_id: str | None = None,
    ) -> dict[str, Any]:
        """As `SchedulerClient.request`."""
        return self.run(lambda client: client.request(topic, payload, timeout, message_id=message_id))

    create = _Command(calls.create)
    update = _Command(calls.update)
    delete = _Command(calls.delete)
    enable = _Command(calls.enable)
    disable = _Command(calls.disable)
    pause = _Command(calls.pause)
    resume = _Command(calls.resume)
    trigger = _Command(calls.trigger)
    backfill = _Command(calls.backfill)
    status = _Command(calls.status)
    list = _Command(calls.list_tasks)
    executions = _Command(calls.executions)
    cancel = _Command(calls.cancel)
    dead_list = _Command(calls.dead_list)
    dead_requeue = _Command(calls.dead_requeue)
    dead_discard = _Command(calls.dead_discard)
    explain = _Command(calls.explain)
    registry = _Command(calls.registry)
    reload = _Command(calls.reload)
    event_list = _Command(calls.event_list)
    audit = _Command(calls.audit)
    store_vacuum = _Command(calls.store_vacuum)
    store_check = _Command(calls.store_check)
    store_backup = _Command(calls.store_backup)
    store_rekey = _Command(calls.store_rekey)
    stats = _Command(calls.stats)
    stats_history = _Command(calls.stats_history)
    health = _Command(calls.health)

    def events(
        self,
        prefix: str = names.EVENTS,
        *,
        resume: bool = False,
        after: Mapping[str, int] | None = None,
        buffer: int = BUFFER,
    ) -> SyncEvents:
        """As `SchedulerClient.events`, for a `for` loop."""

        async def listen(client: SchedulerClient) -> EventStream:
            return client.events(prefix, resume=resume, after=after, buffer=buffer)

        return SyncEvents(self, self.run(listen))

    def wait(self, execution_id: str, timeout: float | None = None) -> ExecutionView:
        """As `SchedulerClient.wait`."""
        return self.run(lambda client: client.wait(execution_id, timeout))

    async def _connected(self) -> SchedulerClient:
        client = self._make()
        await client.connect()
        return client

    def _on_loop(self, work: Coroutine[Any, Any, Anything]) -> Anything:
        assert self._loop is not None
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            # Ctrl-C in the waiting thread must not leave the request running.
            future.cancel()
            raise

    def _stop_loop(self) -> None:
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


async def _started(
    work: Callable[[SchedulerClient], Coroutine[Any, Any, Anything]], client: SchedulerClient
) -> Anything:
    """Calls `work` on the loop's own thread, where alone the client may be touched."""
    return await work(client)
