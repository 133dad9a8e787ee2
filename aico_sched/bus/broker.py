"""The hosted bus: an XSUB/XPUB broker that knows every client by its key, and checks each message and subscription."""

import asyncio
import contextlib
import secrets
from dataclasses import dataclass
from typing import Final

import structlog

from aico_sched.bus.access import AccessRules
from aico_sched.bus.address import BusAddress
from aico_sched.bus.checks import Checks
from aico_sched.bus.exchange import CannotBind, Exchange, PortInUse, Traffic
from aico_sched.bus.local import LocalEndpoint
from aico_sched.bus.refusal import OnRefused, Reason, Refusals
from aico_sched.bus.sockets import HIGH_WATER, Context
from aico_sched.bus.source import SourcePeek, SourceReader
from aico_sched.bus.zap import ZapGate
from aico_sched.clock import Clock, SystemClock
from aico_sched.security.keys import CurveKeys, KeyRing, KeyRingError

__all__ = ["Broker", "BrokerStateError", "BrokerStats", "CannotBind", "PortInUse"]

log = structlog.get_logger(__name__)

_BAN_SECONDS: Final = 60.0
"""How long a client that broke the protocol stays out."""

_LAST_WORDS_SECONDS: Final = 0.5
"""How long `stop` lets the last messages go out."""

_REBIND_SECONDS: Final = 0.005
_REBIND_COMPLAINT: Final = 400


class BrokerStateError(RuntimeError):
    """`start` of a broker that was started before, or a reload of one that does not run."""


@dataclass(frozen=True, slots=True)
class BrokerStats:
    """Counts since the start. `messages_in` are whole messages from publishers, `messages_out` those passed on
    (each once, however many subscribers); `refused` is by reason, of which `unreported` were not reported one by
    one; `subscriptions` are held now, by `subscribers` (names)."""

    messages_in: int
    messages_out: int
    bytes_out: int
    refused: dict[str, int]
    unreported: int
    subscriptions: int
    subscribers: tuple[str, ...]
    reconnections: int


class Broker:
    """Hosts a bus on `host`. `publish_port` is where clients send to, `subscribe_port` where they listen; 0 is any
    free port. The context must be its own: ZeroMQ has one authenticator per context. The key ring must be ready
    (`KeyRing.ensure`). `rate_limit` is messages a second per client, `burst` how many it may save up.

    A subscriber that does not keep up loses messages beyond `high_water`; nobody else does. Runs on the loop that
    `start` is awaited on; `stop` there too.
    """

    def __init__(
        self,
        context: Context,
        keyring: KeyRing,
        rules: AccessRules,
        host: str = "127.0.0.1",
        publish_port: int = 0,
        subscribe_port: int = 0,
        *,
        on_refused: OnRefused | None = None,
        rate_limit: float = 20_000.0,
        burst: float | None = None,
        high_water: int = HIGH_WATER,
        peek_protobuf: SourcePeek | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._context, self._keyring, self._clock = context, keyring, clock or SystemClock()
        self._host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        self._ports = (publish_port, subscribe_port)
        self._checks = Checks(keyring, rules, SourceReader(peek_protobuf), rate=rate_limit, burst=burst or rate_limit)
        self._on_refused = on_refused
        self._refusals, self._traffic = Refusals(self._tell), Traffic()
        self._high_water = high_water
        self._domain = f"aico-sched-{secrets.token_hex(8)}"
        self._known: dict[str, tuple[str, str]] = {}
        self._admitted: set[str] = set()
        self._server: CurveKeys | None = None
        self._banned: dict[str, float] = {}
        self._gate: ZapGate | None = None
        self._exchange: Exchange | None = None
        self._local: LocalEndpoint | None = None
        self._bound = ("", "")
        self._state = "new"
        self._reconnections = 0
        self._reconnecting = asyncio.Lock()
        self._repairs: set[asyncio.Task[None]] = set()

    async def start(self) -> BusAddress:
        """Listen, and return where. Raises `PortInUse`, `CannotBind`, `ZapInUse` (a shared context), the errors of the
        key ring, and `BrokerStateError` the second time."""
        if self._state != "new":
            raise BrokerStateError(f"the broker is {self._state}; make a new one")
        self._known = self._keyring.snapshot()
        # As long as the broker lives, whatever becomes of the file: its clients know this one.
        self._server = self._keyring.server()
        self._gate = ZapGate(self._context, self._domain, self._admit)
        try:
            self._bound = self._open(*(f"tcp://{self._host}:{port or '*'}" for port in self._ports))
        except BaseException:
            self._gate.close()
            raise
        self._state = "running"
        return BusAddress.of(*(self._reachable(endpoint) for endpoint in self._bound))

    async def stop(self) -> None:
        """Disconnect everybody and stop listening. Harmless when it is stopped, or was never started."""
        if self._state == "running":
            for task in self._repairs:
                task.cancel()
            if self._exchange is not None:
                self._exchange.close(linger=_LAST_WORDS_SECONDS)
                self._exchange = None
            if self._gate is not None:
                self._gate.close()
            await asyncio.gather(*self._repairs, return_exceptions=True)
        self._state = "stopped"

    def local_endpoint(self) -> LocalEndpoint:
        """The host's own place on this bus; asked for before `start`."""
        if self._state != "new":
            raise BrokerStateError(f"the broker is {self._state}; ask for its local endpoint before it starts")
        self._local = LocalEndpoint(self)
        return self._local

    def send_local(self, topic: bytes, body: bytes) -> bool:
        """See `local.Outlet`."""
        if self._exchange is None:
            return False
        self._exchange.send_local(topic, body)
        return True

    def resume(self) -> None:
        """See `local.Outlet`."""
        if self._exchange is not None:
            self._exchange.resume()

    async def reload_keys(self) -> bool:
        """Read the key folder again. If a key with which a client has been connected was revoked, has expired or has
        another role now, everybody is disconnected, and the honest clients are back within their reconnect interval:
        ZeroMQ cannot close one connection. Once this returns whoever has that key receives nothing. Returns whether it
        disconnected."""
        if self._state != "running":
            raise BrokerStateError(f"the broker is {self._state}")
        self._keyring.reload()
        before, self._known = self._known, self._keyring.snapshot()
        self._checks.forget()
        changed = {public for public, entry in before.items() if self._known.get(public) != entry}
        if not changed & self._admitted:
            return False
        self._admitted -= changed
        await self._reconnect_all()
        return True

    def stats(self) -> BrokerStats:
        """The figures now."""
        holders = None if self._exchange is None else self._exchange.holders
        return BrokerStats(
            messages_in=self._traffic.received,
            messages_out=self._traffic.forwarded,
            bytes_out=self._traffic.forwarded_bytes,
            refused={reason.name.lower(): count for reason, count in self._refusals.counts.items()},
            unreported=self._refusals.unreported,
            subscriptions=0 if holders is None else len(holders),
            subscribers=() if holders is None else tuple(holders.names()),
            reconnections=self._reconnections,
        )

    def _tell(self, name: str, action: str, topic: str, reason: str) -> None:
        """A refusal that is within the rate at which they are told of. Of a message the exchange tells the host, who
        has its body."""
        if self._local is not None and action != "publish":
            self._local.refused(name, topic, Reason(reason), b"", action)
        if self._on_refused is not None:
            self._on_refused(name, action, topic, reason)

    def _admit(self, public: str, address: str) -> str | None:
        found = self._found(public)
        now = self._clock.monotonic()
        if found is None or self._banned.get(found[0], 0.0) > now:
            name, reason = ("", Reason.UNKNOWN_KEY) if found is None else (found[0], Reason.PROTOCOL)
            self._refusals.add(now, name or address, "connect", "", reason)
            return None
        self._admitted.add(public)
        return found[0]

    def _found(self, public: str) -> tuple[str, str] | None:
        found = self._keyring.lookup(public)
        if found is None and self._keyring.changed():
            # Made a moment ago, before anybody has told us: a client that is refused once never tries again.
            try:
                self._keyring.reload()
            except (KeyRingError, OSError) as error:
                log.warning("broker.keys_unreadable", error=str(error))
                return None
            self._checks.forget()
            found = self._keyring.lookup(public)
        return found

    def _open(self, publish: str, subscribe: str) -> tuple[str, str]:
        """A new pair of sockets at these endpoints."""
        assert self._server is not None
        exchange = Exchange(
            self._context,
            self._server,
            self._domain,
            self._checks,
            self._refusals,
            self._traffic,
            self._clock,
            self._on_violation,
            high_water=self._high_water,
            ipv6=self._host.startswith("["),
            local=self._local,
        )
        try:
            bound = exchange.bind(publish, subscribe)
        except BaseException:
            exchange.close()
            raise
        self._exchange = exchange
        return bound

    def _reachable(self, endpoint: str) -> str:
        """`endpoint` as a client on this machine connects to it."""
        port = endpoint.rpartition(":")[2]
        host = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(self._host, self._host)  # noqa: S104
        return f"tcp://{host}:{port}"

    async def _reconnect_all(self) -> None:
        async with self._reconnecting:
            if self._exchange is not None:
                self._exchange.close()
                self._exchange = None
            self._reconnections += 1
            tries = 0
            # The closed sockets give up their ports a moment later, in ZeroMQ's own thread.
            while self._state == "running":
                with contextlib.suppress(PortInUse):
                    self._open(*self._bound)
                    return
                tries += 1
                if tries % _REBIND_COMPLAINT == 0:
                    log.error("broker.port_lost", endpoints=self._bound, tries=tries)
                await self._clock.sleep(_REBIND_SECONDS)

    def _on_violation(self, name: str) -> None:
        """Called from within a turn of the exchange, which must not be closed under its feet."""
        self._banned[name] = self._clock.monotonic() + _BAN_SECONDS
        self._admitted -= {public for public, entry in self._known.items() if entry[0] == name}
        if not self._repairs:
            task = asyncio.get_running_loop().create_task(self._reconnect_all(), name="broker-reconnect")
            self._repairs.add(task)
            task.add_done_callback(self._repaired)

    def _repaired(self, task: "asyncio.Task[None]") -> None:
        self._repairs.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("broker.reconnect_failed", exc_info=error)
