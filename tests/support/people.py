"""Users made up by a seeded generator: when they are at their machine, and the bus events that come of it."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

Habit = Callable[[datetime], float]
"""The probability that a user does something in the hour that begins at a moment."""


def office(at: datetime) -> float:
    """Before and after work on working days; from late morning into the night at the weekend."""
    if at.weekday() >= 5:
        return 0.85 if at.hour >= 10 or at.hour < 1 else 0.02
    return 0.9 if at.hour in (7, 8) or 17 <= at.hour < 23 else 0.06 if 9 <= at.hour < 17 else 0.02


def night_shift(at: datetime) -> float:
    """Up from the evening until the morning, four nights a week; otherwise as other people. The default quiet window
    is wrong for this user."""
    working = at.weekday() in (0, 1, 2, 3)
    if working:
        return 0.85 if at.hour >= 21 or at.hour < 6 else 0.02 if 8 <= at.hour < 16 else 0.3
    return 0.7 if at.hour >= 12 else 0.05


def events(habit: Habit, start: datetime, days: int, seed: int) -> list[dict[str, Any]]:
    """Rows of AICO's `events` table: some of the user's doing, some of the machine's."""
    draw = random.Random(seed)
    rows = []
    for hour in range(days * 24):
        at = start + timedelta(hours=hour)
        rows.append({"timestamp": _stamp(at + timedelta(minutes=1)), "topic": "system.heartbeat"})
        if draw.random() < habit(at):
            moments = sorted(draw.uniform(0, 3_599) for _ in range(draw.randint(1, 4)))
            topic = draw.choice(("conversation.message", "user.presence"))
            rows += [{"timestamp": _stamp(at + timedelta(seconds=moment)), "topic": topic} for moment in moments]
    return sorted(rows, key=lambda row: row["timestamp"])


def active_hours(rows: list[dict[str, Any]]) -> set[datetime]:
    """The hours in which the user did something."""
    stamps = [datetime.fromisoformat(row["timestamp"]) for row in rows if not row["topic"].startswith("system.")]
    return {stamp.replace(minute=0, second=0, microsecond=0) for stamp in stamps}


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
