"""Finding a running service on this machine: the file it writes into its data folder, and the keys beside it."""

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

from aico_sched.bus.address import BusAddress, InvalidBusAddress
from aico_sched.client.errors import ServiceUnreachable
from aico_sched.paths import default_data_dir
from aico_sched.security.keys import CurveIdentity, KeyRing

SERVICE_FILE: Final = "service.json"
_VERSION: Final = 1


class Location(NamedTuple):
    """How to reach a service. Without `identity` its bus is a joined one, where no key has a name."""

    address: BusAddress
    identity: CurveIdentity | None
    server_public_key: str | None


Running = tuple[BusAddress, str | None, Path | None]
"""Where the bus is, the broker's public key, and the folder of its clients' keys if it is not the usual one."""


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
        if running is None or running[0] != address:
            return Location(address, None, None)
    else:
        running = _running(folder)
    assert running is not None
    address, server_key, keys = running
    if server_key is None:
        return Location(address, None, None)
    return Location(address, KeyRing(keys or folder / "keys").client(name), server_key)


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
        return BusAddress.of(str(publish), str(subscribe)), key, None if keys is None else Path(keys)
    except InvalidBusAddress as error:
        raise ServiceUnreachable(f"{path}: {error}") from error
