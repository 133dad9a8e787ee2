"""What tasks compute comes after the service's own loop, which must answer while all processors are busy."""

import os
from contextlib import suppress
from pathlib import Path

NICE = 10


def give_way() -> None:
    """Lower the priority of this process. Where the kernel groups processes by session (autogroup), niceness counts
    only inside the group, so the group itself is lowered too; see sched(7)."""
    if hasattr(os, "nice"):
        os.nice(NICE)
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(NICE))
