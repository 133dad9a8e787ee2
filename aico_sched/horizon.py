"""The near horizon: what is due soon, in memory, in due order. Pure: time is an argument.

It holds tasks (by their next slot) and waiting runs. What has come due moves to `ready`, ordered by priority and
then by due time, until there is capacity for it. Adding and taking cost O(log n).
"""

import heapq
from typing import NamedTuple

from aico_sched.planning import jitter_offset
from aico_sched.topics.internal import DueRun, DueTask

_SLACK = 64
"""Stale heap entries tolerated besides as many as there are live ones."""


class Item(NamedTuple):
    """Something to start: a task's due slot, or a waiting run. `due_us` is when it should have started."""

    key: str
    due_us: int
    task: DueTask | None
    run: DueRun | None

    @property
    def priority(self) -> int:
        """Higher goes first."""
        entry = self.task or self.run
        assert entry is not None
        return entry.priority


class Horizon:
    """Tasks and runs that are due before `until_us`; what is due later is left in the store."""

    def __init__(self) -> None:
        self._items: dict[str, Item] = {}
        self._heap: list[tuple[int, str]] = []
        self._ready: list[tuple[int, int, str]] = []
        self._ready_keys: set[str] = set()
        self.until_us = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def ready(self) -> int:
        """How many are due and wait for capacity."""
        return len(self._ready_keys)

    def put_task(self, task: DueTask) -> None:
        """A task as it is now, in place of what was known of it. One with a lower revision than known is ignored."""
        key = f"t/{task.task_id}"
        known = self._items.get(key)
        if known is not None and known.task is not None and known.task.revision > task.revision:
            return
        if task.next_run_us > self.until_us:
            self.take(key)
            return
        due = task.next_run_us + jitter_offset(task.task_id, task.options)
        self._put(Item(key, due, task, None))

    def put_run(self, run: DueRun) -> None:
        """A run that waits for its time."""
        if run.run_at_us <= self.until_us:
            self._put(Item(f"r/{run.execution_id}", run.run_at_us, None, run))

    def drop_task(self, task_id: str, revision: int) -> None:
        """A task that fires no more, as of `revision`."""
        known = self._items.get(f"t/{task_id}")
        if known is not None and known.task is not None and known.task.revision <= revision:
            self.take(known.key)

    def take(self, key: str) -> Item | None:
        """Remove an item and return it."""
        self._ready_keys.discard(key)
        return self._items.pop(key, None)

    def _put(self, item: Item) -> None:
        self._ready_keys.discard(item.key)
        self._items[item.key] = item
        heapq.heappush(self._heap, (item.due_us, item.key))
        if len(self._heap) > 2 * len(self._items) + _SLACK:
            self._heap = [(live.due_us, key) for key, live in self._items.items() if key not in self._ready_keys]
            heapq.heapify(self._heap)

    def advance(self, now_us: int) -> None:
        """Move what is due by now to `ready`."""
        while self._heap and self._heap[0][0] <= now_us:
            due, key = heapq.heappop(self._heap)
            item = self._items.get(key)
            if item is not None and item.due_us == due and key not in self._ready_keys:
                self._make_ready(item)

    def put_back(self, item: Item) -> None:
        """An item that `next_ready` gave out may be taken again, unless news of it came meanwhile."""
        if item.key not in self._items:
            self._items[item.key] = item
            self._make_ready(item)

    def _make_ready(self, item: Item) -> None:
        self._ready_keys.add(item.key)
        heapq.heappush(self._ready, (-item.priority, item.due_us, item.key))

    def next_ready(self) -> Item | None:
        """Take the most urgent due item out of the horizon."""
        while self._ready:
            _, due, key = heapq.heappop(self._ready)
            item = self._items.get(key)
            if item is not None and key in self._ready_keys and item.due_us == due:
                return self.take(key)
        return None

    def next_due_us(self) -> int | None:
        """When the next item that is not ready comes due."""
        while self._heap:
            due, key = self._heap[0]
            item = self._items.get(key)
            if item is not None and item.due_us == due and key not in self._ready_keys:
                return due
            heapq.heappop(self._heap)
        return None

    def clear(self) -> None:
        """Forget everything; the store knows it all."""
        self._items.clear()
        self._heap.clear()
        self._ready.clear()
        self._ready_keys.clear()
        self.until_us = 0
