"""Work of other processes that this program waits for. A virtual clock (`aico_sched.testing`) must not run ahead of it:
an hour of simulated time passes faster than a child process starts."""

from collections.abc import Iterator
from contextlib import contextmanager


class _Count:
    """How many waits are under way in this process."""

    waits = 0


@contextmanager
def waiting() -> Iterator[None]:
    """Around a wait for another process, of which no more than real time passing is needed."""
    _Count.waits += 1
    try:
        yield
    finally:
        _Count.waits -= 1


def under_way() -> bool:
    """Whether another process is being waited for."""
    return _Count.waits > 0
