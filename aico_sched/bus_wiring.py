"""The service's place on a bus, made of the settings: a bus it hosts, one it joins, or one inside the program."""

import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import structlog
import zmq

from aico_sched.actors.bridge import BusRefusal
from aico_sched.bus.access import AccessRules
from aico_sched.bus.address import BusAddress
from aico_sched.bus.broker import Broker
from aico_sched.bus.echoes import probe_body
from aico_sched.bus.endpoint import BusEndpoint
from aico_sched.bus.key_watch import KeyWatch
from aico_sched.bus.local import LocalEndpoint
from aico_sched.bus.refusal import OnRefused
from aico_sched.bus.round_trip import round_trip
from aico_sched.clock import Clock, SystemClock
from aico_sched.intake import Terms
from aico_sched.security.keys import CurveIdentity, KeyRing, KeyRingError, UnknownKey
from aico_sched.security.replay import ReplayGuard
from aico_sched.security.signatures import Authenticator
from aico_sched.security.signing_keys import SigningRing
from aico_sched.session_keys import DAY, RingKeys
from aico_sched.settings import Settings
from aico_sched.spoken import Endpoint
from aico_sched.topics.codecs import source_of_aico

Context = zmq.Context[zmq.Socket[bytes]]

log = structlog.get_logger(__name__)

NO_ROLE = "none"
"""May do nothing."""


class PrivateBus(Protocol):
    """A bus in place of the hosted or the joined one (`aico_sched.testing.MemoryBus`). It answers for who is who."""

    def endpoint(self, name: str) -> Endpoint:
        """A place on it for the service, whose name there is `name`."""

    def role_of(self, name: str) -> str:
        """What a sender may do."""


class BusSide:
    """From `open` to `close`. `address` and `server_public_key` are None on a private bus; `signing_folder` is where
    the keys are that sign, where commands are signed; `session_keys` rotates those of a bus that knows its clients."""

    def __init__(self, settings: Settings, rules: AccessRules, clock: Clock, private: PrivateBus | None) -> None:
        self._settings, self._rules, self._clock, self._private = settings, rules, clock, private
        self._context: Context | None = None
        self._keys: KeyRing | None = None
        self._broker: Broker | None = None
        self._local: LocalEndpoint | None = None
        self._watch: KeyWatch | None = None
        self.terms = Terms(private_replies=False)
        self.address: BusAddress | None = None
        self.server_public_key: str | None = None
        self.signing_folder: Path | None = None
        self.session_keys: RingKeys | None = None

    async def open(self, context: Context) -> None:
        """Host the bus, or make ready to join one. Raises what is wrong, as the broker and the key rings do."""
        self._context, bus = context, self._settings.bus
        if self._private is not None:
            return
        self.terms = Terms(private_replies=True, codec=bus.spoken)
        if bus.foreign:
            self._join_foreign()
        elif bus.keys is not None and bus.joined is not None:
            self._join(bus.joined, bus.keys)
        else:
            await self._host()

    async def _host(self) -> None:
        assert self._context is not None
        keys = self._keys = KeyRing(self._settings.data_dir / "keys", self._seconds)
        keys.ensure(self._settings.bus.name)
        self._broker = make_broker(self._context, keys, self._rules, self._settings)
        self._local = self._broker.local_endpoint()
        self.address = await self._broker.start()
        self.server_public_key = keys.server().public
        self._watch_ring(keys, self._broker.reload_keys)

    def _join(self, joined: tuple[str, str], folder: Path) -> None:
        """A bus that another aico-sched process hosts, and whose keys are at hand."""
        keys = self._keys = KeyRing(folder, self._seconds)
        keys.reload()
        self.address, self.server_public_key = BusAddress.of(*joined), keys.server().public

        async def reload() -> None:
            keys.reload()

        self._watch_ring(keys, reload)

    def _watch_ring(self, keys: KeyRing, reload: Callable[[], Awaitable[object]]) -> None:
        overlap = self._settings.bus.key_overlap * DAY
        self.session_keys = RingKeys(keys.folder, self._seconds, overlap, reload)
        self._watch_keys(keys.watched(), reload, keys.expired)

    def _seconds(self) -> float:
        return self._clock.now_us() / 1_000_000

    def _join_foreign(self) -> None:
        """A bus where nobody is who he says: commands must be signed."""
        bus = self._settings.bus
        assert bus.joined is not None
        self.address, self.server_public_key = BusAddress.of(*bus.joined), bus.server_key
        ring = SigningRing(bus.signing_keys or self._settings.data_dir / "keys" / "signing")
        ring.ensure(bus.name)
        self.signing_folder = ring.folder
        guard = ReplayGuard(bus.signature_window)
        self.terms = Terms(
            private_replies=False,
            codec=bus.spoken,
            only=bus.spoken == "aico",
            sign=ring.signer(bus.name),
            authenticate=Authenticator(ring, guard, self._clock.now_us, bus.unsigned_role),
            may_command=self._rules.may_publish,
        )

        async def reload() -> None:
            ring.reload()

        self._watch_keys(ring.watched(), reload)

    def _watch_keys(
        self, folders: tuple[Path, ...], reload: Callable[[], Awaitable[object]], expired: Callable[[], bool] = bool
    ) -> None:
        self._watch = KeyWatch(folders, reload, SystemClock(), expired)
        self._watch.start()

    async def close(self) -> None:
        """Close the bus. Harmless when repeated, and when it was never open."""
        if self._watch is not None:
            await self._watch.stop()
            self._watch = None
        if self._broker is not None:
            await self._broker.stop()
            self._broker = self._local = None

    # For the bridge.

    def role_of(self, source: str) -> str:
        """What the broker's word makes of a sender."""
        if self._private is not None:
            return self._private.role_of(source)
        try:
            return NO_ROLE if self._keys is None else self._keys.role_of(source)
        except UnknownKey:
            # Revoked a moment ago, after the broker had let the message through.
            return NO_ROLE

    def endpoint(self) -> Endpoint:
        """A place on the bus, for one bridge after the other."""
        name = self._settings.bus.name
        if self._private is not None:
            return self._private.endpoint(name)
        return self._own_socket() if self._local is None else self._local

    def _own_socket(self) -> BusEndpoint:
        """A connection of the service's to the bus, as any client has one."""
        name = self._settings.bus.name
        assert self._context is not None and self.address is not None
        identity = None if self._keys is None else self._keys.client(name)
        probe = probe_body(self.terms.codec)
        return BusEndpoint(
            self._context, self.address, name, identity, self.server_public_key, probe_body=probe, renew=self._renew
        )

    def _renew(self) -> CurveIdentity | None:
        try:
            return None if self._keys is None else self._keys.client(self._settings.bus.name)
        except (KeyRingError, OSError) as error:
            log.error("key_not_renewed", error=str(error))
            return None

    async def round_trip(self, timeout: float) -> float | None:
        """Seconds that a message takes from a client to the bridge and back; None on a bus without sockets. Raises
        TimeoutError after `timeout` seconds, BusUnreachable when the broker is not reached."""
        return None if self._private is not None else await round_trip(self._own_socket(), self.terms.codec, timeout)

    def key_ages(self) -> dict[str, float]:
        """How many days old the present key of each client is, by name; nothing where the bus has none."""
        if self._keys is None:
            return {}
        now = self._seconds()
        return {name: (now - made) / DAY for name, made in self._keys.made().items()}

    def figures(self) -> dict[str, Any]:
        """What the hosted broker has counted; nothing where it is somebody else's."""
        if self._broker is None:
            return {}
        stats = self._broker.stats()
        return {"broker": {**dataclasses.asdict(stats), "subscribers": len(stats.subscribers)}}

    @property
    def take_refusals(self) -> Callable[[], Sequence[BusRefusal]]:
        """What the hosted broker refused since the last call."""
        nothing: Callable[[], Sequence[Any]] = tuple
        return nothing if self._local is None else self._local.take_refusals


def make_broker(
    context: Context, keys: KeyRing, rules: AccessRules, settings: Settings, on_refused: OnRefused | None = None
) -> Broker:
    """The bus the service hosts."""
    bus = settings.bus
    return Broker(
        context,
        keys,
        rules,
        host=bus.host,
        publish_port=bus.publish_port,
        subscribe_port=bus.subscribe_port,
        rate_limit=bus.rate_limit,
        on_refused=on_refused,
        peek_protobuf=source_of_aico,
    )
