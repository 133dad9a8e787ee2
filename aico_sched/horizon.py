"""The near horizon: what is due soon, in memory, in due order. Pure: time is an argument.

It holds tasks (by their next slot) and waiting runs. What has come due moves to `ready`, ordered by priority and by how
long it has waited, until there is capacity for it; what must not start yet although it is due is `held`. Adding and
taking cost O(log n).
"""

import heapq
from typing import NamedTuple

from aico_sched.places import keys_of
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

    @property
    def places(self) -> list[str]:
        """The keys of the limits besides the service's own that it starts under (`aico_sched.places`)."""
        if self.run is not None:
            run = self.run
            return keys_of(run.task_id, {"group": run.group, "max_instances": run.max_instances})
        task = self.task
        return keys_of(task.task_id, task.options) if task is not None and task.options else []

    @property
    def max_instances(self) -> int:
        """How many runs of its task may go on at one time, by the task's own word; 0 if it says nothing."""
        if self.run is not None:
            return self.run.max_instances
        return (self.task.options.get("max_instances") or 0) if self.task is not None else 0

    @property
    def environment(self) -> str:
        """Where it will run, as far as is known; `auto` where it is not."""
        entry = self.run or self.task
        assert entry is not None
        return entry.environment

    @property
    def task_id(self) -> str:
        """Whose it is."""
        entry = self.task or self.run
        assert entry is not None
        return entry.task_id


class Horizon:
    """Tasks and runs that are due up to `until_us`, at most `limit` of them and those held; what is due later is left
    in the store. Of two words on a task the one with the higher revision counts, then the one with the later slot.

    `aging_us` of waiting count as much as one point of priority, so that nothing starves however much of higher
    priority comes due: all age alike, so the order of two items never changes and is one number, see `rank`."""

    def __init__(self, limit: int, aging_us: int) -> None:
        self._limit, self._aging_us = limit, aging_us
        self._items: dict[str, Item] = {}
        self._heap: list[tuple[int, str]] = []
        self._ready: list[tuple[int, str]] = []
        self._ready_keys: dict[str, int] = {}
        self._held_keys: set[str] = set()
        self._parked_at: dict[str, str] = {}
        self._parked: dict[str, list[tuple[int, str]]] = {}
        self.until_us = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def ready(self) -> int:
        """How many are due and wait for capacity."""
        return len(self._ready_keys)

    @property
    def held(self) -> int:
        """How many are due and put off, or wait for a place of their own."""
        return len(self._held_keys) + len(self._parked_at)

    @property
    def has_room(self) -> bool:
        """Whether there is room for a window: three quarters of all, because a query reads as much as fits."""
        return 4 * (len(self._items) - self.held) <= self._limit

    def rank(self, item: Item) -> int:
        """Lower goes first: when the item came due, moved ahead by what its priority is worth."""
        return item.due_us - item.priority * self._aging_us

    def put_task(self, task: DueTask) -> None:
        """A task as it is now, in place of what was known of it, unless that was newer."""
        key = f"t/{task.task_id}"
        known = self._items.get(key)
        if known is not None and known.task is not None:
            if (known.task.revision, known.task.next_run_us) > (task.revision, task.next_run_us):
                return
            if known.task == task:
                return
        due = task.next_run_us + jitter_offset(task.task_id, task.options)
        if due > self.until_us:
            self.take(key)
        else:
            self._put(Item(key, due, task, None))

    def put_run(self, run: DueRun) -> None:
        """A run that waits for its time."""
        key = f"r/{run.execution_id}"
        known = self._items.get(key)
        if known is not None and known.run == run:
            return
        if run.run_at_us > self.until_us:
            self.take(key)
        else:
            self._put(Item(key, run.run_at_us, None, run))

    def drop_task(self, task_id: str, revision: int) -> None:
        """A task that fires no more, as of `revision`."""
        known = self._items.get(f"t/{task_id}")
        if known is not None and known.task is not None and known.task.revision <= revision:
            self.take(known.key)

    def take(self, key: str) -> Item | None:
        """Remove an item and return it."""
        self._ready_keys.pop(key, None)
        self._held_keys.discard(key)
        self._parked_at.pop(key, None)
        return self._items.pop(key, None)

    def _put(self, item: Item) -> None:
        self._ready_keys.pop(item.key, None)
        self._held_keys.discard(item.key)
        self._parked_at.pop(item.key, None)
        self._items[item.key] = item
        heapq.heappush(self._heap, (item.due_us, item.key))
        if len(self._heap) > 2 * len(self._items) + _SLACK:
            out = self._ready_keys.keys() | self._held_keys | self._parked_at.keys()
            self._heap = [(live.due_us, key) for key, live in self._items.items() if key not in out]
            heapq.heapify(self._heap)

    def trim(self) -> None:
        """Forget what is due last, where there is more than fits, and some besides, so that this is seldom. The store
        knows it all, and `until_us` says from when on to ask it."""
        if len(self._items) - self.held <= self._limit:
            return
        out = self._held_keys | self._parked_at.keys()
        live = sorted((item.due_us, key) for key, item in self._items.items() if key not in out)
        beyond = live[max(1, self._limit * 3 // 4) :]
        for _, key in beyond:
            self.take(key)
        self.until_us = min(self.until_us, beyond[0][0] - 1)

    def advance(self, now_us: int) -> None:
        """Move what is due by now to `ready`."""
        while self._heap and self._heap[0][0] <= now_us:
            due, key = heapq.heappop(self._heap)
            if self._waits(due, key):
                self._make_ready(self._items[key])

    def _waits(self, due: int, key: str) -> bool:
        """Whether this entry of the heap is not stale."""
        item = self._items.get(key)
        out = key in self._ready_keys or key in self._held_keys or key in self._parked_at
        return item is not None and item.due_us == due and not out

    def hold(self, item: Item) -> None:
        """An item that `next_ready` gave out is put off until `release`."""
        self._items[item.key] = item
        self._held_keys.add(item.key)

    def holds(self, key: str, due_us: int) -> bool:
        """Whether the item of that key and time is still known."""
        item = self._items.get(key)
        return item is not None and item.due_us == due_us

    def release(self) -> None:
        """What was put off may be looked at again."""
        for key in self._held_keys:
            self._make_ready(self._items[key])
        self._held_keys.clear()

    def park(self, item: Item, place: str) -> None:
        """An item that `next_ready` gave out waits for `place`, until `unpark`."""
        self._items[item.key] = item
        self._parked_at[item.key] = place
        waiting = self._parked.setdefault(place, [])
        heapq.heappush(waiting, (self.rank(item), item.key))
        if len(waiting) > 2 * len(self._parked_at) + _SLACK:
            self._parked[place] = [entry for entry in set(waiting) if self._is_parked(entry, place)]
            heapq.heapify(self._parked[place])

    def _is_parked(self, entry: tuple[int, str], place: str) -> bool:
        """Whether this entry of the heap of `place` is not stale."""
        rank, key = entry
        return self._parked_at.get(key) == place and self.rank(self._items[key]) == rank

    @property
    def parked_places(self) -> list[str]:
        """What is waited for."""
        return list(self._parked)

    def first_parked(self, place: str) -> Item | None:
        """The most urgent one that waits for `place`."""
        waiting = self._parked.get(place, [])
        while waiting and not self._is_parked(waiting[0], place):
            heapq.heappop(waiting)
        return self._items[waiting[0][1]] if waiting else None

    def unpark(self, place: str, count: float) -> None:
        """So many of those that wait for `place` may be looked at again, the most urgent first."""
        waiting = self._parked.get(place, [])
        while waiting and count > 0:
            entry = heapq.heappop(waiting)
            if self._is_parked(entry, place):
                del self._parked_at[entry[1]]
                self._make_ready(self._items[entry[1]])
                count -= 1
        if not waiting:
            self._parked.pop(place, None)

    def _make_ready(self, item: Item) -> None:
        rank = self._ready_keys[item.key] = self.rank(item)
        heapq.heappush(self._ready, (rank, item.key))
        if len(self._ready) > 2 * len(self._ready_keys) + _SLACK:
            self._ready = [(rank, key) for key, rank in self._ready_keys.items()]
            heapq.heapify(self._ready)

    def next_ready(self) -> Item | None:
        """Take the most urgent due item out of the horizon."""
        while self._ready:
            rank, key = heapq.heappop(self._ready)
            if self._ready_keys.get(key) == rank:
                return self.take(key)
        return None

    def next_due_us(self) -> int | None:
        """When the next item that is neither ready nor held comes due."""
        while self._heap:
            due, key = self._heap[0]
            if self._waits(due, key):
                return due
            heapq.heappop(self._heap)
        return None

    def clear(self) -> None:
        """Forget everything; the store knows it all."""
        self._items.clear()
        self._heap.clear()
        self._ready.clear()
        self._ready_keys.clear()
        self._held_keys.clear()
        self._parked_at.clear()
        self._parked.clear()
        self.until_us = 0
