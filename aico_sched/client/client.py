"""The asyncio client: connect, send commands, follow events, wait for executions."""

import asyncio
import builtins
import secrets
from collections.abc import Awaitable, Callable, Mapping
from functools import partial, wraps
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, Self, TypeVar

import zmq

from aico_sched.bus.address import BusAddress
from aico_sched.bus.echoes import probe_body
from aico_sched.bus.end import BusEnd
from aico_sched.bus.endpoint import BusEndpoint, BusUnreachable, EndpointClosed, Renew
from aico_sched.bus.sockets import Context
from aico_sched.client import calls
from aico_sched.client.discovery import locate, present_key
from aico_sched.client.errors import ServiceUnreachable, WaitTimeout, from_answer, refusal
from aico_sched.client.events import BUFFER, EventStream, event_of
from aico_sched.client.requests import Requests
from aico_sched.security.keys import CurveIdentity
from aico_sched.security.signatures import Signer, is_signed_by
from aico_sched.topics import names
from aico_sched.topics.codecs import Codec, read
from aico_sched.topics.commands import Payload
from aico_sched.topics.envelope import Unreadable
from aico_sched.topics.errors import ErrorCode
from aico_sched.topics.views import EventPage, ExecutionView

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


WINDOW: Final = 1_000
"""Requests in flight at once; further ones wait their turn."""

FINAL_STATUSES: Final = frozenset({"succeeded", "dead", "cancelled", "skipped", "missed", "interrupted"})
_POLL_SECONDS: Final = 5.0
_BATCH: Final = 256

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result", bound=Payload)


class _Command(Generic[Arguments, Result]):
    """A function of `calls` as a method that sends what it makes and returns the answer."""

    def __init__(self, make: Callable[Arguments, calls.Call[Result]]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __get__(self, client: "SchedulerClient", owner: type) -> Callable[Arguments, Awaitable[Result]]:
        make = self._make

        @wraps(make)
        async def method(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            return await client.do(make(*args, **kwargs))

        return method


class SchedulerClient:
    """A client of the service on the bus at `address`, which may also be an end of a bus that exists already.

    >>> async with SchedulerClient.discover() as client:
    ...     await client.create("user.hello", "interval:60", task_class="demo.hello")

    `identity` is the client's key on a hosted bus; without one (a joined bus) it goes by `name`, speaks `codec`, and
    signs its commands with `signer` (`security.signing_keys.load_signer`). With `service_key` it believes only what the
    service has signed; `unproven` counts the rest. `renew` is asked
    for the present key when the broker refuses `identity`, as it does some days after a rotation. `timeout` is how many
    seconds a request may take, all repetitions included. A command is repeated with the same message id until it is
    answered, and the service carries it out once.

    Raises `SchedulerError`s only: a `Refused` subclass by the service's error code, `RequestTimeout`,
    `ServiceUnreachable`. All calls belong on the loop it was entered on; any number may run at once.
    """

    def __init__(
        self,
        address: BusAddress | BusEnd,
        identity: CurveIdentity | None = None,
        server_public_key: str | None = None,
        *,
        name: str = "admin",
        timeout: float = 10.0,
        window: int = WINDOW,
        context: Context | None = None,
        codec: Codec = "msgpack",
        signer: Signer | None = None,
        service_key: "Ed25519PublicKey | None" = None,
        renew: Renew | None = None,
    ) -> None:
        self.timeout = timeout
        self._own_context = context is None
        self._context: Context = zmq.Context() if context is None else context
        self._endpoint: BusEnd
        if isinstance(address, BusAddress):
            named = name if identity is None else identity.name
            probe = probe_body(codec)
            self._endpoint = BusEndpoint(
                self._context, address, named, identity, server_public_key, probe_body=probe, renew=renew
            )
        else:
            self._endpoint = address
        self.name = self._endpoint.name
        # Unguessable: on a bus where anybody may subscribe, a reply is still read by its asker only.
        self._reply_topic = f"{names.REPLY}{self.name}.{secrets.token_hex(16)}"
        self._requests = Requests(self._endpoint, self._reply_topic, window, codec, signer)
        self._service_key = service_key
        self._streams: list[EventStream] = []
        self._watches: dict[str, builtins.list[asyncio.Event]] = {}
        self._unproven = False
        self._proving = asyncio.Lock()
        self.unreadable = self.unproven = 0

    @classmethod
    def discover(
        cls, data_dir: Path | None = None, name: str = "admin", *, bus: str | None = None, timeout: float = 10.0
    ) -> Self:
        """The client of the service whose data folder is `data_dir`, or the usual one; see `discovery.locate` for
        `bus` and the errors."""
        location = locate(data_dir, name, bus)
        renew = partial(present_key, data_dir, name, bus)
        return cls(name=name, timeout=timeout, renew=renew, **location._asdict())

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def connect(self) -> None:
        """Connect to the bus and wait until it carries messages both ways. Raises `ServiceUnreachable`."""
        self._endpoint.connect()
        self._endpoint.subscribe(self._reply_topic)
        self._endpoint.on_readable(self._dispatch)
        try:
            await self._endpoint.ready(self.timeout)
        except BusUnreachable as error:
            await self.close()
            raise ServiceUnreachable(str(error)) from error
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Disconnect. Requests that wait fail with `ServiceUnreachable`, iterations over events end. Harmless when
        repeated."""
        self.end_streams()
        self._requests.close()
        self._endpoint.close()
        if self._own_context:
            self._context.term()

    async def request(
        self,
        topic: str,
        payload: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        *,
        message_id: str | None = None,
    ) -> dict[str, Any]:
        """Send the command `topic` and return the `result` of its answer as plain data. To ask again after a
        `RequestTimeout` give its `message_id`: the service then answers again and does nothing twice."""
        return await self._send(topic, calls.checked(topic, payload or {}), timeout, message_id)

    async def do(self, call: calls.Call[Result]) -> Result:
        """Send a command that `calls` has made and return its answer as a model."""
        return from_answer(call.topic, call.result, await self._send(call.topic, call.payload, None, None))

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

    # Events.

    def events(
        self,
        prefix: str = names.EVENTS,
        *,
        resume: bool = False,
        after: Mapping[str, int] | None = None,
        buffer: int = BUFFER,
    ) -> EventStream:
        """The events whose topic begins with `prefix`, from now on; see `EventStream`. It listens from this call on,
        and a request made after it is not sent before the subscription is known to be live."""
        if not prefix.startswith(names.EVENTS):
            raise ValueError(f"events are below {names.EVENTS}, {prefix!r} is not")
        stream = EventStream(prefix, self._ended, self._list_events, resume=resume, after=after, buffer=buffer)
        for each in stream.prefixes:
            self._listen(each)
        self._streams.append(stream)
        return stream

    def end_streams(self) -> None:
        """End every iteration over events; requests go on."""
        for stream in list(self._streams):
            stream.end()

    async def wait(self, execution_id: str, timeout: float | None = None) -> ExecutionView:
        """The execution once it is over, whatever its end. Raises `ExecutionNotFound`, and `WaitTimeout` after
        `timeout` seconds (None: no limit). Asks now and then besides listening, so that a lost event delays it only."""
        changed = asyncio.Event()
        self._watches.setdefault(execution_id, []).append(changed)
        self._listen(names.EXECUTION_EVENTS)
        try:
            async with asyncio.timeout(timeout) as limit:
                while (execution := await self._execution(execution_id)).status not in FINAL_STATUSES:
                    await _set_within(changed, _POLL_SECONDS)
                    changed.clear()
                return execution
        except TimeoutError:
            if not limit.expired():
                raise
            raise WaitTimeout(execution_id, timeout or 0.0) from None
        finally:
            self._unlisten(names.EXECUTION_EVENTS)
            self._watches[execution_id].remove(changed)
            if not self._watches[execution_id]:
                del self._watches[execution_id]

    # Inside.

    async def _send(
        self, topic: str, payload: dict[str, Any], timeout: float | None, message_id: str | None
    ) -> dict[str, Any]:
        seconds = self.timeout if timeout is None else timeout
        started = asyncio.get_running_loop().time()
        try:
            if self._unproven:
                await self._prove(seconds)
            left = max(0.0, seconds - (asyncio.get_running_loop().time() - started))
            return await self._requests.request(topic, payload, left, message_id)
        except EndpointClosed as error:
            raise ServiceUnreachable("the client is not connected; use `async with`") from error

    async def _prove(self, seconds: float) -> None:
        """Wait until the subscriptions made since the last proof are live."""
        async with self._proving:
            if not self._unproven:
                return
            self._unproven = False
            try:
                await self._endpoint.ready(seconds)
            except BaseException as error:
                self._unproven = True
                if isinstance(error, BusUnreachable):
                    raise ServiceUnreachable(str(error)) from error
                raise

    async def _execution(self, execution_id: str) -> ExecutionView:
        page = await self.executions(execution_id=execution_id, limit=1)
        if not page.executions:
            message = f"there is no execution {execution_id}"
            raise refusal(ErrorCode.EXECUTION_NOT_FOUND, message, {"execution_id": execution_id})
        return page.executions[0]

    async def _list_events(self, topic: str, after_seq: int, limit: int) -> EventPage:
        return await self.event_list(topic, after_seq=after_seq, limit=limit)

    def _listen(self, prefix: str) -> None:
        try:
            self._endpoint.subscribe(prefix)
        except EndpointClosed as error:
            raise ServiceUnreachable("the client is not connected; use `async with`") from error
        self._unproven = True

    def _unlisten(self, prefix: str) -> None:
        if self._endpoint.open:
            self._endpoint.unsubscribe(prefix)

    def _ended(self, stream: EventStream) -> None:
        self._streams.remove(stream)
        for prefix in stream.prefixes:
            self._unlisten(prefix)

    def _dispatch(self) -> None:
        for topic, body in self._endpoint.receive(_BATCH):
            try:
                received = read(body)
            except Unreadable as error:
                self.unreadable += 1
                _warn_of_unreadable(topic, error.message)
                continue
            envelope = received.envelope
            trusted = self._service_key is None or is_signed_by(self._service_key, topic, received)
            self.unproven += not trusted
            if topic == self._reply_topic:
                self._requests.take(envelope, trusted=trusted)
            elif trusted and (event := event_of(envelope)) is not None:
                for stream in self._streams:
                    if stream.wants(event.topic):
                        stream.feed(event)
                for changed in self._watches.get(str(event.payload.get("execution_id")), ()):
                    changed.set()


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    """Until `event` is set, at most `seconds`."""
    try:
        async with asyncio.timeout(seconds) as limit:
            await event.wait()
    except TimeoutError:
        if not limit.expired():
            raise


def _warn_of_unreadable(topic: str, error: str) -> None:
    # A third of the time in which a client is imported, for what hardly ever happens.
    import structlog  # noqa: PLC0415

    structlog.get_logger(__name__).warning("client.unreadable_message", topic=topic, error=error)
