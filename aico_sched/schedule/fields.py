"""The five fields of a cron expression, read with regular expressions into bit masks.

Grammar: Debian's crontab(5), and `L`, `LW`, `5L`, `MON#2` as cronsim 2.8 reads them. A field is an `int`: bit
v is set when the value v is selected. The two day fields keep their special forms in bits above the values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from aico_sched.schedule.errors import ScheduleError

# Day of month: bits 1-31, then these two.
LAST_DAY: Final = 1 << 32
LAST_WORKDAY: Final = 1 << 33
# Day of week: bits 0-6 with 0 for Sunday, then seven bits for each of "the first" to "the fifth", then "the
# last".
NTH_SHIFT: Final = 8
LAST_WEEKDAY_SHIFT: Final = NTH_SHIFT + 7 * 5

ALL_WEEKDAYS: Final = 0x7F

_WEEKDAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_FIFTH: Final = 5
_MAX_STEP: Final = 64

_TERM = re.compile(r"(?:\*|([0-9]+|[A-Z]{3})(?:-([0-9]+|[A-Z]{3}))?)(?:/([0-9]+))?")
_LAST_OF_MONTH = re.compile(r"(LW?)(?:/([0-9]+))?")
_LAST_WEEKDAY = re.compile(r"([0-9]+)L")
_NTH_WEEKDAY = re.compile(r"([0-9]+|[A-Z]{3})#([0-9]+)")


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """What one field may hold: its name in messages, range, names of values, and all values as a mask."""

    name: str
    low: int
    high: int
    names: dict[str, int]
    full: int


def _spec(name: str, low: int, high: int, names: dict[str, int] | None = None) -> FieldSpec:
    return FieldSpec(name, low, high, names or {}, sum(1 << value for value in range(low, high + 1)))


MINUTE: Final = _spec("minute", 0, 59)
HOUR: Final = _spec("hour", 0, 23)
DAY_OF_MONTH: Final = _spec("day-of-month", 1, 31)
MONTH: Final = _spec("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)})
# 7 is Sunday too; `parse_weekdays` folds it onto 0 after steps were counted, because `*/2` counts 0, 2, 4, 6.
DAY_OF_WEEK: Final = _spec("day-of-week", 0, 7, {name: number for number, name in enumerate(_WEEKDAYS)})
FIELDS: Final = (MINUTE, HOUR, DAY_OF_MONTH, MONTH, DAY_OF_WEEK)


def parse_values(spec: FieldSpec, text: str, expression: str) -> int:
    """Read a field of plain values (minute, hour, month), given in upper case, into its mask.

    Raises:
        ScheduleError: names the field, the offending term and what to write instead.
    """
    if text == "*":
        return spec.full
    if text.isdigit():
        return 1 << _number(spec, text, text, expression)
    mask = 0
    for term in text.split(","):
        mask |= _parse_term(spec, term, expression)
    return mask


def parse_month_days(text: str, expression: str) -> int:
    """Read the day-of-month field: values, `L` and `LW`. Raises as `parse_values` does."""
    if text == "*":
        return DAY_OF_MONTH.full
    if text.isdigit():
        return 1 << _number(DAY_OF_MONTH, text, text, expression)
    mask = 0
    for term in text.split(","):
        last = _LAST_OF_MONTH.fullmatch(term)
        if last is None:
            mask |= _parse_term(DAY_OF_MONTH, term, expression)
        elif last[2] is not None and not int(last[2]):
            raise _zero_step(DAY_OF_MONTH, term, expression)
        else:
            mask |= LAST_DAY if last[1] == "L" else LAST_WORKDAY
    return mask


def parse_weekdays(text: str, expression: str) -> int:
    """Read the day-of-week field: values, `5L` (last Friday) and `MON#2`. Raises as `parse_values`."""
    if text == "*":
        return ALL_WEEKDAYS
    mask = 0
    for term in text.split(","):
        if nth := _NTH_WEEKDAY.fullmatch(term):
            weekday = _number(DAY_OF_WEEK, nth[1], term, expression) % 7
            if not 1 <= int(nth[2]) <= _FIFTH:
                usable = "Write #1 to #5, or L for the last: 5L."
                raise _error(DAY_OF_WEEK, term, expression, "counts beyond a month", usable)
            mask |= 1 << (NTH_SHIFT + 7 * (int(nth[2]) - 1) + weekday)
        elif last := _LAST_WEEKDAY.fullmatch(term):
            weekday = _number(DAY_OF_WEEK, last[1], term, expression) % 7
            mask |= 1 << (LAST_WEEKDAY_SHIFT + weekday)
        else:
            values = _parse_term(DAY_OF_WEEK, term, expression)
            mask |= values & ALL_WEEKDAYS | values >> 7
    return mask


def _parse_term(spec: FieldSpec, term: str, expression: str) -> int:
    """One item of a list: `*`, a value or a range, each with an optional step."""
    match = _TERM.fullmatch(term)
    if match is None:
        raise _unreadable(spec, term, expression)
    first, last, step = match.groups()
    if first is None:
        low, high = spec.low, spec.high
    else:
        low = high = _number(spec, first, term, expression)
        if last is not None:
            high = _number(spec, last, term, expression)
            if high < low:
                raise _backwards(spec, term, expression, low, high)
    if step is None:
        return (2 << high) - (1 << low)
    # One value with a step runs on to the end of the field; cronsim treats 5-5/2 as 5/2.
    return _stepped(low, spec.high if low == high else high, _step(spec, step, term, expression))


def _number(spec: FieldSpec, text: str, term: str, expression: str) -> int:
    """A value as digits or as a three-letter name."""
    if not text.isdigit():
        if text not in spec.names:
            raise _unreadable(spec, term, expression)
        return spec.names[text]
    value = int(text)
    if not spec.low <= value <= spec.high:
        reason = f"is out of range {spec.low}-{spec.high}"
        raise _error(spec, term, expression, reason, f"Use values from {spec.low} to {spec.high}.")
    return value


def _step(spec: FieldSpec, text: str, term: str, expression: str) -> int:
    """A step; beyond the width of any field its size no longer matters, and a huge one must cost nothing."""
    step = int(text)
    if step == 0:
        raise _zero_step(spec, term, expression)
    return min(step, _MAX_STEP)


def _stepped(low: int, high: int, step: int) -> int:
    """Every step-th bit from low to high, as the closed form of a geometric series."""
    count = (high - low) // step + 1
    return ((1 << step * count) - 1) // ((1 << step) - 1) << low


def _error(spec: FieldSpec, term: str, expression: str, reason: str, suggestion: str) -> ScheduleError:
    # Parsing happens in upper case, but people look for what they typed.
    place = expression.upper().find(term)
    return ScheduleError(expression, spec.name, expression[place : place + len(term)], reason, suggestion)


def _zero_step(spec: FieldSpec, term: str, expression: str) -> ScheduleError:
    start = term.partition("/")[0]
    return _error(spec, term, expression, "has a step of zero", f"Use a step of 1 or more: {start}/1.")


def _backwards(spec: FieldSpec, term: str, expression: str, low: int, high: int) -> ScheduleError:
    # Sunday closes the week as 7 and opens it as 0.
    top = 6 if spec is DAY_OF_WEEK and high > 0 else spec.high
    parts = f"{low}-{top}" if spec is DAY_OF_WEEK and high == 0 else f"{low}-{top},{spec.low}-{high}"
    return _error(spec, term, expression, "runs backwards", f"Cut it at the end of the field: {parts}.")


def _unreadable(spec: FieldSpec, term: str, expression: str) -> ScheduleError:
    """Tell the usual slips apart, so that the suggestion fits."""
    if term == "":
        return _error(spec, term, expression, "is empty", "Remove the extra comma.")
    if term.isalpha() and term[:3] in spec.names:
        return _error(spec, term, expression, "is a full name", f"Use its first three letters: {term[:3]}.")
    if spec is DAY_OF_MONTH and term.startswith("L"):
        return _error(spec, term, expression, "is not a form this field knows", "Use L or LW.")
    if spec is DAY_OF_WEEK and ("#" in term or term.endswith("L")):
        usable = "Use forms like 5L (the last Friday) or MON#2 (the second Monday)."
        return _error(spec, term, expression, "is not a form this field knows", usable)
    if spec.names and term.isalpha():
        names = ", ".join(spec.names)
        return _error(spec, term, expression, "is not a name of this field", f"Use one of {names}.")
    values = f"a value from {spec.low} to {spec.high}"
    form = f"Use *, {values}, a range a-b, a step */n or a-b/n, or a comma list of these."
    return _error(spec, term, expression, "is not readable", form)
