"""What the tasks on AICO's vectors share: where these are, a worker that holds them, and when such work suits."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from aico_sched.data.chroma import DATABASE
from aico_sched.data.source import NothingThere
from aico_sched.tasks.base import TransientError
from aico_sched.worker.worker import Worker, WorkerDied, WorkerFailed

IN_QUIET_HOURS: Final[Mapping[str, Any]] = MappingProxyType(
    {"idle_only": True, "low_activity": True, "max_defer": 72_000}
)
"""Options of heavy work: when the user is away, within twenty hours at the latest."""


def default_vectors() -> Path:
    """Where AICO keeps its vectors: `$AICO_DATA_DIR/data/chroma`, else `~/.local/share/aico/data/chroma`."""
    configured = os.environ.get("AICO_DATA_DIR")
    base = Path(configured) if configured else Path.home() / ".local" / "share" / "aico"
    return base / "data" / "chroma"


@asynccontextmanager
async def vectors(factory: str, path: Path | None, /, **arguments: Any) -> AsyncIterator[Worker]:
    """A worker with what `factory` makes of the ChromaDB folder, AICO's own if `path` is None. Raises `NothingThere`
    where there is none; what fails inside the block is a `TransientError`, for the next run goes on from there."""
    folder = path or default_vectors()
    if not (folder / DATABASE).is_file():
        raise NothingThere(f"there is no ChromaDB at {folder}")
    try:
        async with Worker.open(factory, path=str(folder), **arguments) as worker:
            yield worker
    except (WorkerFailed, WorkerDied) as error:
        raise TransientError(str(error)) from error
