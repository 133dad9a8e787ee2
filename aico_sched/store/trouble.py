"""What becomes of a store whose database cannot be written: it refuses changes, and says why, until that is over."""

from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Final

from aico_sched.store.errors import StoreCorrupt, StoreError, StoreFull, StoreReadOnly
from aico_sched.store.room import FULL, READ_ONLY, shortage
from aico_sched.topics.errors import CommandError, ErrorCode

TRY_INTERVAL: Final = 2.0
"""Seconds between two tries whether the database can be written again."""

_STATES: Final[dict[type[StoreError], str]] = {
    StoreFull: FULL,
    StoreReadOnly: READ_ONLY,
    StoreCorrupt: "damaged",
}

_ADVICE: Final = {
    "full": "the scheduler's disk is full (or its quota, or the disk fails) and nothing can be changed. Make room: it "
    "goes on by itself, then try again",
    "read_only": "the scheduler's database cannot be written and nothing can be changed. Let its user write to the "
    "database and its folder: it goes on by itself, then try again",
    "damaged": "the scheduler's database is damaged and nothing is changed in it any more. Stop the service and run: "
    "aico-sched restore FILE",
}


@dataclass(slots=True)
class Trouble:
    """Empty `state`: none. `trying`: the next turn shows whether it is over. `told`: the others know of it.
    `unaudited` lines of the audit trail found no room in memory."""

    state: str = ""
    detail: str = ""
    trying: bool = False
    told: bool = True
    next_try: float = inf
    unaudited: int = 0

    @property
    def refusing(self) -> bool:
        """Whether changes are refused now."""
        return bool(self.state) and not self.trying

    @property
    def advice(self) -> str:
        """What it is and what to do."""
        return _ADVICE[self.state]

    def enter(self, error: StoreError, now: float) -> bool:
        """`error` has come of a turn at `now`. Returns whether it is one that this is about. Damage is for good: what
        is damaged must not be written to."""
        state = next((state for kind, state in _STATES.items() if isinstance(error, kind)), "")
        if not state:
            return False
        if self.state not in ("damaged", state):
            self.state, self.detail, self.told = state, str(error), False
        self.trying = False
        self.next_try = inf if self.state == "damaged" else now + TRY_INTERVAL
        return True

    def found_damage(self, detail: str) -> None:
        """A check has found damage, and everybody has been told."""
        self.state, self.detail, self.told, self.next_try = "damaged", detail, True, inf

    def try_at(self, now: float, database: Path) -> bool:
        """Whether the next turn is to try, which it is when it is time and there is room."""
        if self.refusing and now >= self.next_try:
            self.next_try = now + TRY_INTERVAL
            self.trying = not shortage(database)
        return self.trying

    def refusal(self) -> CommandError:
        """What the sender of a change is told."""
        return CommandError(ErrorCode.UNAVAILABLE, self.advice, state=self.state)
