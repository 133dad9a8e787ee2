"""The scheduler as AICO's backend starts it: `TaskScheduler(config_manager, message_bus_host, db_connection)`.

if config_manager.get("scheduler", {}).get("enabled", True):
    task_scheduler = TaskScheduler(config_manager, message_bus_host, shared_db_connection)
    await task_scheduler.start()
"""

import re
from collections.abc import Mapping
from typing import Any, Protocol

from aico_sched.service import SchedulerService
from aico_sched.settings import Settings
from aico_sched.settings.layers import sections
from aico_sched.store.connection import Database

_PORT = re.compile(r"(?P<scheme>tcp://)?(?P<host>\*|\[[^\]]+\]|[^:/]+)(:(?P<publish>\d+))?(,(?P<subscribe>\d+))?")
_AICO_PUBLISH, _AICO_SUBSCRIBE = 5555, 5556


class ConfigManager(Protocol):
    """What is used of AICO's configuration manager."""

    def get(self, key: str, default: Any = None) -> Any:
        """The value at a dotted key."""


class InvalidBusHost(ValueError):
    """A `message_bus_host` that does not say where the bus is."""

    def __init__(self, given: object) -> None:
        super().__init__(
            f"message_bus_host is {given!r}: give the address of the bus as tcp://HOST:PUBLISH_PORT,SUBSCRIBE_PORT, "
            "AICO's bus host object, or None to host a bus"
        )
        self.given = given


class TaskScheduler:
    """A scheduler for a program that has its own configuration, bus and database.

    `config_manager` is anything with `get(key, default)`; its sections of the names in `config/defaults/core.yaml`, at
    the top or under `core.`, are laid over the defaults. A bus that is given is joined, by its
    address (`tcp://HOST:PUB,SUB`, or `tcp://HOST` with AICO's ports) or by an object with `pub_port` and `sub_port`;
    without one a bus is hosted. A libSQL connection that is given is borrowed: the scheduler keeps its tables there and
    never closes it; without one it has a database file of its own.
    """

    def __init__(
        self, config_manager: ConfigManager | None = None, message_bus_host: Any = None, db_connection: Any = None
    ) -> None:
        overrides = sections_of(config_manager)
        address = bus_address(message_bus_host)
        if address is not None:
            overrides["bus"] = {**overrides.get("bus", {}), "connect": address}
        open_store = None if db_connection is None else lambda: Database.borrow(db_connection)
        self.service = SchedulerService(Settings.load(**overrides), open_store=open_store)

    async def start(self) -> None:
        """Start; with `scheduler.enabled: false` nothing happens. Raises what is wrong and leaves nothing running."""
        await self.service.start()

    async def stop(self) -> None:
        """Stop in order. Safe to call twice, or before `start`."""
        await self.service.stop()


def sections_of(config_manager: ConfigManager | None) -> dict[str, Any]:
    """The sections of ours that a configuration manager holds."""
    if config_manager is None:
        return {}
    found = {}
    for section in sections():
        value = config_manager.get(f"core.{section}") or config_manager.get(section)
        if isinstance(value, Mapping) and value:
            found[section] = dict(value)
    return found


def bus_address(host: Any) -> str | None:
    """`message_bus_host` as the address of a bus to join; None where there is none. Raises `InvalidBusHost`."""
    if host is None:
        return None
    if not isinstance(host, str):
        publish, subscribe = getattr(host, "pub_port", None), getattr(host, "sub_port", None)
        if not isinstance(publish, int) or not isinstance(subscribe, int):
            raise InvalidBusHost(host)
        return f"tcp://127.0.0.1:{publish},{subscribe}"
    match = _PORT.fullmatch(host)
    if match is None:
        raise InvalidBusHost(host)
    name = "127.0.0.1" if match["host"] in ("*", "0.0.0.0") else match["host"]  # noqa: S104
    publish = int(match["publish"] or _AICO_PUBLISH)
    subscribe = int(match["subscribe"] or (publish + 1 if match["publish"] else _AICO_SUBSCRIBE))
    return f"tcp://{name}:{publish},{subscribe}"
