"""Starts that are put off: each is told of once, and a waiting run ends when its patience does. Pure."""

from collections.abc import Callable

from aico_sched.horizon import Item
from aico_sched.topics.internal import SlotsDeferred


class PutOff:
    """What the scheduler has to say of starts that must not be yet, and what it has said already.

    It remembers at most `limit` of them, which is more than are put off at one time; a flood of events helps nobody.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._told: set[tuple[str, int]] = set()
        self._said = SlotsDeferred([], [], [])

    def told(self, item: Item) -> bool:
        """Whether it was told that this start is put off."""
        return (item.key, item.due_us) in self._told

    def tell(self, item: Item, reason: str, is_due: Callable[[str, int], bool]) -> None:
        """A start is put off. `is_due` tells whether one that was put off, by key and time, still waits."""
        if self.told(item):
            return
        if len(self._told) >= self._limit:
            self._told = {entry for entry in self._told if is_due(*entry)}
        if len(self._told) >= self._limit:
            return
        self._told.add((item.key, item.due_us))
        if item.run is not None:
            self._said.runs.append((item.run.execution_id, reason))
        elif item.task is not None:
            self._said.slots.append((item.task_id, item.task.next_run_us, reason))

    def give_up(self, item: Item, action: str, reason: str) -> None:
        """A waiting run is not to start any more: `skip` or `fail` it."""
        assert item.run is not None
        self.over(item)
        self._said.given_up.append((item.run.execution_id, action, reason))

    def over(self, item: Item) -> None:
        """The start is put off no more."""
        self._told.discard((item.key, item.due_us))

    def clear(self) -> None:
        """Forget what was said."""
        self._told.clear()

    def take(self) -> SlotsDeferred | None:
        """What is to be said, once."""
        said, self._said = self._said, SlotsDeferred([], [], [])
        return said if any(said) else None
