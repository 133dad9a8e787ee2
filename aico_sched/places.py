"""Limits on what runs at one time, besides the service's own: of a group of tasks, and of one task. Pure.

A limit is known by a key, `g/NAME` or `t/TASK_ID`. A start takes a place under each key of its task and gives it back
when it ends, or when nothing came of its claim.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any


def keys_of(task_id: str, options: Mapping[str, Any]) -> list[str]:
    """The keys of the limits that these options of a task name."""
    keys = [f"g/{options['group']}"] if options.get("group") else []
    return [*keys, f"t/{task_id}"] if options.get("max_instances") else keys


class Places:
    """Who has how many places, by key. `groups` are the limits of the groups by name; a group that has none any more
    (its setting was removed) does not limit its tasks."""

    def __init__(self, groups: Mapping[str, int]) -> None:
        self._groups = groups
        self._taken: Counter[str] = Counter()

    def free(self, key: str, max_instances: int) -> float:
        """How many more may start under `key`."""
        limit = self._groups.get(key[2:], float("inf")) if key.startswith("g/") else max_instances
        return limit - self._taken[key]

    def take(self, keys: Iterable[str]) -> None:
        """A claim of a start is on its way."""
        self._taken.update(keys)

    def give_back(self, count: Mapping[str, int]) -> None:
        """Runs have ended, or claims have come to nothing; by key."""
        for key, number in count.items():
            self._taken[key] -= number
            if self._taken[key] <= 0:
                del self._taken[key]

    def recount(self, running: Mapping[str, int], claimed: Mapping[str, int]) -> None:
        """Begin anew with what runs and what is claimed: the executor or the scheduler has just started."""
        self._taken = Counter(running)
        self._taken.update(claimed)
