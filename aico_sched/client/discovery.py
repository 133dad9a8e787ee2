"""Finding a running service on this machine: the file it writes into its data folder, and the keys beside it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aico_sched.bus.address import BusAddress, InvalidBusAddress
from aico_sched.client.errors import ServiceUnreachable
from aico_sched.paths import default_data_dir
from aico_sched.security.keys import SERVICE, CurveIdentity, KeyRing, KeyRingError
from aico_sched.security.signatures import Signer
from aico_sched.security.signing_keys import SigningRing
from aico_sched.topics.codecs import Codec

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


SERVICE_FILE: Final = "service.json"
_VERSION: Final = 1


class Location(NamedTuple):
    """How to reach a service. Without `identity` its bus is a joined one, where no key has a name: there commands are
    signed by `signer`, and what the service says is checked with `service_key`."""

    address: BusAddress
    identity: CurveIdentity | None = None
    server_public_key: str | None = None
    codec: Codec = "msgpack"
    signer: Signer | None = None
    service_key: "Ed25519PublicKey | None" = None


class Running(NamedTuple):
    """What a service says of itself: where its bus is, the broker's public key, the folder of its clients' keys if it
    is not the usual one, and the folder of the keys that sign."""

    address: BusAddress
    server_key: str | None
    keys: Path | None
    codec: Codec
    signing_keys: Path | None
    name: str


def locate(data_dir: Path | None = None, name: str = "admin", bus: str | None = None) -> Location:
    """The service whose data folder is `data_dir` (`paths.default_data_dir()` if None), and the key `name` for it.

    `bus` names the address of a bus instead: the service's own if it is the one in the data folder, else a joined
    one without keys. Raises `ServiceUnreachable` when no service runs there, `UnknownKey` or `InsecureKeyFile` when
    the key cannot be used, `InvalidBusAddress` for a bad `bus`.
    """
    folder = data_dir or default_data_dir()
    if bus is not None:
        address = BusAddress.parse(bus)
        running = _running(folder, missing_ok=True)
        if running is None or running.address != address:
            # AICO's own codec, as the service speaks on a bus that it joined.
            return Location(address, codec="aico")
    else:
        running = _running(folder)
    assert running is not None
    if running.signing_keys is not None:
        ring = SigningRing(running.signing_keys)
        ring.reload()
        known = ring.signer(name), ring.public(running.name)
        return Location(running.address, None, running.server_key, running.codec, *known)
    if running.server_key is None:
        return Location(running.address, codec=running.codec)
    identity = KeyRing(running.keys or folder / "keys").client(name)
    return Location(running.address, identity, running.server_key)


def present_key(data_dir: Path | None, name: str, bus: str | None) -> CurveIdentity | None:
    """The key that `locate` gives now; None, and a line in the log, where it gives none."""
    try:
        return locate(data_dir, name, bus).identity
    except (ServiceUnreachable, InvalidBusAddress, KeyRingError, OSError) as error:
        # Loaded for this alone.
        import structlog  # noqa: PLC0415

        structlog.get_logger(__name__).warning("key_not_renewed", name=name, error=str(error))
        return None


def _running(folder: Path, *, missing_ok: bool = False) -> Running | None:
    path = folder / SERVICE_FILE
    try:
        return _parse(path, json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        if missing_ok:
            return None
        raise ServiceUnreachable(
            f"no service runs with the data folder {folder}: there is no {SERVICE_FILE}. Start it with "
            "`aico-sched run`, or name its folder (--data-dir, AICO_SCHED_DATA_DIR)"
        ) from None
    except (OSError, ValueError) as error:
        raise ServiceUnreachable(f"{path} cannot be read: {error}") from error


def _parse(path: Path, content: Any) -> Running:
    if not isinstance(content, dict) or content.get("version") != _VERSION:
        raise ServiceUnreachable(f"{path} is of another version of aico-sched; use the client of the same version")
    publish, subscribe = content.get("publish"), content.get("subscribe")
    key, keys = content.get("server_public_key"), content.get("keys")
    where = isinstance(publish, str) and isinstance(subscribe, str)
    if not where or not isinstance(key, str | None) or not isinstance(keys, str | None):
        raise ServiceUnreachable(f"{path} does not say where the bus is; restart the service")
    try:
        address = BusAddress.of(str(publish), str(subscribe))
    except InvalidBusAddress as error:
        raise ServiceUnreachable(f"{path}: {error}") from error
    signing, codec = content.get("signing_keys"), content.get("codec")
    return Running(
        address,
        key,
        None if keys is None else Path(keys),
        "aico" if codec == "aico" else "msgpack",
        Path(signing) if isinstance(signing, str) else None,
        str(content.get("name", SERVICE)),
    )
