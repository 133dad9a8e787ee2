"""How much may be claimed: places in the executor, less what runs and what is being claimed. Pure."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from aico_sched.topics.internal import Capacity, SlotsClaimed

FIRST_CLAIM: Final = 48
"""Slots in the first claims of a burst: the store's turn over them is so short that the first tasks start while the
rest are claimed. Each claim may hold as many as the burst has had already, up to `LONGEST_CLAIM`: a slot then costs the
store a fraction of what it costs alone, and fewer commits stand before the last start."""

LONGEST_CLAIM: Final = 512
CLAIMS_UNDER_WAY: Final = 16
"""Enough that a burst is claimed before its first runs end and want to be recorded."""


class Claims:
    """The claims under way. It never has more of them than the executor has room for. `first_id` is above those of the
    scheduler before this one: theirs may still be answered, and must not be taken for ours."""

    def __init__(self, first_id: int) -> None:
        self._id = first_id
        self._open: dict[int, int] = {}
        self._places: dict[int, Counter[str]] = {}
        self._limit = self._started = self._ended = 0
        self._burst = 0

    @property
    def free(self) -> int:
        """How many more may start."""
        return self._limit - (self._started - self._ended) - sum(self._open.values())

    @property
    def possible(self) -> bool:
        """Whether one more may be sent."""
        return self.free > 0 and len(self._open) < CLAIMS_UNDER_WAY

    @property
    def places(self) -> Counter[str]:
        """What is being claimed of limits of their own, by key."""
        total: Counter[str] = Counter()
        for places in self._places.values():
            total.update(places)
        return total

    def next_size(self) -> int:
        """How many starts the next claim may hold."""
        return min(max(FIRST_CLAIM, min(LONGEST_CLAIM, self._burst)), self.free)

    def open(self, count: int, places: Counter[str]) -> int:
        """A claim of so many starts is sent; returns its id."""
        self._id += 1
        self._open[self._id], self._places[self._id] = count, places
        self._burst += count
        return self._id

    def nothing_left(self) -> None:
        """Nothing is due: a burst is over."""
        self._burst = 0

    def capacity(self, capacity: Capacity) -> None:
        """What the executor says of itself."""
        if not self._limit or capacity.ended < self._ended:
            # The scheduler or the executor has just started and counts from anew.
            self._started = capacity.ended + capacity.running
        self._limit, self._ended = capacity.limit, capacity.ended

    def settled(self, claimed: SlotsClaimed) -> Mapping[str, int]:
        """What became of a claim, or of a part of it. Returns the places of which nothing came, by key."""
        if claimed.claim_id not in self._open:
            return {}
        self._started += claimed.started
        self._places[claimed.claim_id].subtract(claimed.places)
        self._open[claimed.claim_id] -= claimed.settled
        if self._open[claimed.claim_id] > 0:
            return {}
        del self._open[claimed.claim_id]
        return +self._places.pop(claimed.claim_id)
