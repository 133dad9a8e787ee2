"""How the demo's processes speak with one another: a JSON object per line, in on standard input, out on standard
output. The end of its input is a child's end, so none outlives the demo."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from typing import Any


def say(kind: str, **more: Any) -> None:
    """Tell the demo something."""
    sys.stdout.write(json.dumps({"kind": kind, **more}) + "\n")
    sys.stdout.flush()


async def listen() -> asyncio.StreamReader:
    """Standard input, to read from on the running loop."""
    reader = asyncio.StreamReader()
    # A duplicate, because the transport makes what it reads from non-blocking and closes it.
    pipe = os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    return reader


async def spoken(reader: asyncio.StreamReader) -> AsyncIterator[dict[str, Any]]:
    """What the other end says, until it ends. A line that is no JSON object ends the reading with ValueError."""
    while line := await reader.readline():
        said = json.loads(line)
        if not isinstance(said, dict):
            raise ValueError(f"not a message: {line[:100]!r}")
        yield said
