"""The way from a command to the running service."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path

from aico_sched.cli.session import Client


def connect(
    data_dir: Path | None, name: str, bus_connect: str | None, deadline: float
) -> AbstractAsyncContextManager[Client]:
    """A client that connects as the key `name` when it is entered. Raises the client's own errors."""
    from aico_sched.client import SchedulerClient

    return SchedulerClient.discover(data_dir, name, bus=bus_connect, timeout=deadline)
