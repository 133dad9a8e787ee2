"""What every kind of schedule can be asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

ScheduleKind = Literal["cron", "interval", "at", "reboot", "after", "failure"]


class Schedule(ABC):
    """When a task is due: a fixed set of instants ("fires"), asked for with the time as an argument.

    Implementations are immutable, safe to share between threads, and compare by identity; `parse_schedule`
    hands out the same object for the same text and zone while it is cached.

    Attributes:
        kind: which kind it is.
        expression: the text as it was given.
        timezone: the IANA name its wall-clock time is read in.
    """

    __slots__ = ()

    kind: ClassVar[ScheduleKind]
    expression: str
    timezone: str

    @property
    def timed(self) -> bool:
        """Whether time alone says when it fires; the others fire by what happens in the service."""
        return self.kind in ("cron", "interval", "at")

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about parts that are valid but rarely meant; usually empty."""
        return ()

    @property
    def period_us(self) -> int | None:
        """The smallest usual distance between two fires, in us; None where there is at most one fire."""
        return None

    @abstractmethod
    def next_after(self, after_us: int, anchor_us: int | None = None) -> int | None:
        """The first fire strictly after `after_us`, or None if there is none.

        Args:
            after_us: an instant in us.
            anchor_us: where an interval counts from; ignored by the other kinds.
        """

    @abstractmethod
    def latest_at_or_before(self, now_us: int, after_us: int, anchor_us: int | None = None) -> int | None:
        """The newest fire in (after_us, now_us], or None; its cost does not grow with the number of fires."""

    def count_between(self, after_us: int, until_us: int, anchor_us: int | None = None, limit: int = 10_000) -> int:
        """How many fires lie in (after_us, until_us]: exact up to `limit`, and `limit` if there are more."""
        count = 0
        fire = self.next_after(after_us, anchor_us)
        while fire is not None and fire <= until_us and count < limit:
            count += 1
            fire = self.next_after(fire, anchor_us)
        return count
