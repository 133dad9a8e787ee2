"""What is kept for a while only, and how it goes: a chunk of each kind at a time, so that no turn takes long."""

from dataclasses import dataclass

from aico_sched.store.retention import Retention
from aico_sched.store.unit import Unit

SEEN_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Kept:
    """Events and audit lines by number, remembered message ids by seconds."""

    events: int
    audit: int
    message_ids: float


def step(unit: Unit, retention: Retention, kept: Kept) -> bool:
    """Drop a chunk of all that is too old, in the turn's transaction. Returns whether there may be more."""
    more = unit.outbox.trim(kept.events)
    oldest = unit.now_us - int(kept.message_ids * 1_000_000)
    more = unit.database.change("trim_seen", (oldest, SEEN_CHUNK)) == SEEN_CHUNK or more
    more = unit.audit_trail.trim(kept.audit, unit.now) or more
    return retention.step() or more
