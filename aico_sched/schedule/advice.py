"""What is valid in a cron expression and yet seldom what its author meant."""

from __future__ import annotations

import re

from aico_sched.schedule import fields

_STEPPED = re.compile(r"(?:\*|([0-9]+|[A-Z]{3})(?:-([0-9]+|[A-Z]{3}))?)/([0-9]+)")
_RESTARTS = ("at each hour", "at each midnight", "on the 1st of each month", "each January", "each Sunday")
# How many values pass before a field starts again; a month has no one length, so any step is uneven there.
_CYCLES = (60, 24, 0, 12, 7)


def cron_warnings(expression: str) -> tuple[str, ...]:
    """Sentences about a valid five-field expression, in the order of its fields; usually none."""
    parts = expression.upper().split()
    found = []
    for position, text in enumerate(parts):
        for term in text.split(","):
            match = _STEPPED.fullmatch(term)
            if match:
                found += _step_warnings(position, match)
    month_day, weekday = parts[2], parts[4]
    if month_day[0] != "*" and weekday[0] != "*":
        either = f"the day of month ({month_day}) or the day of week ({weekday})"
        found.append(f"Runs when either {either} matches.")
    return tuple(found)


def _step_warnings(position: int, match: re.Match[str]) -> list[str]:
    spec, cycle = fields.FIELDS[position], _CYCLES[position]
    first, last, digits = match.groups()
    low = spec.low if first is None else _value(spec, first)
    single = first is not None and (last is None or _value(spec, last) == low)
    high = spec.high if last is None or single else _value(spec, last)
    # `*` in the day of week counts 0 to 7, and 7 is the Sunday that starts the next week.
    whole = first is None or (low == spec.low and high - low + 1 >= cycle > 0)
    step = int(digits)
    term = f"{spec.name} {match[0]}"
    if step > high - low:
        return [f"{term} has a step wider than its range: it acts as {low}."]
    if single:
        return [f"{term} is not portable: other crons may read it as {low} alone. Write {low}-{high}/{step}."]
    if whole and step > 1 and (cycle == 0 or cycle % step):
        return [f"{term} is uneven: the count starts again {_RESTARTS[position]}."]
    return []


def _value(spec: fields.FieldSpec, text: str) -> int:
    return spec.names[text] if text in spec.names else int(text)
