"""The way from a command to the running service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aico_sched.cli.errors import UNREACHABLE, Failure
from aico_sched.cli.session import Client


@asynccontextmanager
async def connect(data_dir: Path | None, bus_connect: str | None, deadline: float) -> AsyncIterator[Client]:
    """A connected client; a Failure with exit code 3 when there is no service to talk to."""
    from aico_sched.client import SchedulerClient, ServiceUnreachable

    try:
        async with SchedulerClient.discover(data_dir=data_dir, bus=bus_connect, timeout=deadline) as client:
            yield client
    except ServiceUnreachable as error:
        raise Failure("unreachable", str(error), exit_code=UNREACHABLE) from None
