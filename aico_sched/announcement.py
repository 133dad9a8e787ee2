"""Where the bus is, written into the data folder for clients on this machine (`client.discovery` reads it)."""

import json
import os
from pathlib import Path

import structlog

from aico_sched.bus.address import BusAddress
from aico_sched.settings import Settings

log = structlog.get_logger(__name__)

SERVICE_FILE = "service.json"


def announce(
    settings: Settings, address: BusAddress, server_public_key: str | None, signing_keys: Path | None = None
) -> None:
    """Write where the bus is into the data folder, where clients on this machine look for it. With `signing_keys`
    commands must be signed, and nobody has a key of the broker's."""
    content = {
        "version": 1,
        "pid": os.getpid(),
        "publish": address.publish,
        "subscribe": address.subscribe,
        "server_public_key": server_public_key,
        "keys": None if settings.bus.connect is None or settings.bus.keys is None else str(settings.bus.keys),
        "codec": settings.bus.spoken,
        "signing_keys": None if signing_keys is None else str(signing_keys),
        "name": settings.bus.name,
    }
    write_private(settings.data_dir / SERVICE_FILE, json.dumps(content, indent=2) + "\n")


def withdraw(settings: Settings) -> None:
    """Take back what this process has announced."""
    path = settings.data_dir / SERVICE_FILE
    try:
        if json.loads(path.read_text(encoding="utf-8")).get("pid") == os.getpid():
            path.unlink()
    except (OSError, ValueError):
        log.debug("no_service_file", path=str(path))


def write_private(path: Path, text: str) -> None:
    """Write a file whole or not at all, readable by its owner only."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)
