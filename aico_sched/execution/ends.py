"""The ends of attempts on their way to the executor: those of one round of the event loop travel together."""

import asyncio

from aico_sched.execution.powers import Post
from aico_sched.topics import names
from aico_sched.topics.internal import AttemptEnd, AttemptsEnded


class Ends:
    """Gathers ends and posts them in the loop's next round. One whose executor has crashed still does."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._ends: list[AttemptEnd] = []

    def add(self, end: AttemptEnd) -> None:
        """An attempt has ended. On the loop's thread."""
        if not self._ends:
            asyncio.get_running_loop().call_soon(self._tell)
        self._ends.append(end)

    def _tell(self) -> None:
        ends, self._ends = self._ends, []
        self._post(names.ATTEMPTS_DONE, AttemptsEnded(ends))
