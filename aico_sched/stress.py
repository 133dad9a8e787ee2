"""Doing less while the machine is short of resources for long: when that is, and which slots are left out. Pure."""

from dataclasses import dataclass
from typing import Final

CRITICAL_PRIORITY: Final = 80
"""Tasks of this priority and above (maintenance and security, unless they say otherwise) keep their pace."""

LONGEST_STRETCHED_US: Final = 900 * 1_000_000
"""Schedules of a longer period keep their pace too: an hourly run that is left out would be missed."""


@dataclass(slots=True)
class Stress:
    """Whether the load is lasting, and by how much schedules are stretched: 1 is not at all, 2 means every second slot.

    Each constrained look adds a point, each other one takes a point away. With `patience` points the stress begins,
    and each further `patience` points double the stretch, up to `longest`. It is over when no point is left: what
    comes and goes at every look neither begins nor ends it.
    """

    patience: int
    longest: int
    points: int = 0
    lasting: bool = False

    def look(self, constrained: bool) -> None:
        """Take in one look at the machine."""
        most = self.patience * max(1, self.longest.bit_length() - 1)
        self.points = min(most, self.points + 1) if constrained else max(0, self.points - 1)
        self.lasting = self.points >= self.patience or (self.lasting and self.points > 0)

    @property
    def stretch(self) -> int:
        """Of so many slots of a task that is not critical one runs."""
        if not self.lasting:
            return 1
        return min(self.longest, 1 << max(1, self.points // self.patience))


def passed_over(priority: int, period_us: int | None, slot_us: int, anchor_us: int, stretch: int) -> bool:
    """Whether a slot is left out under `stretch`.

    Time since the task's anchor is cut into windows of `stretch` periods; the first slot of a window runs. That needs
    no memory of what ran before, so a restart changes nothing.
    """
    if stretch <= 1 or priority >= CRITICAL_PRIORITY or not period_us or period_us > LONGEST_STRETCHED_US:
        return False
    window = stretch * period_us
    return (slot_us - anchor_us) // window == (slot_us - period_us - anchor_us) // window
