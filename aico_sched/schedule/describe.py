"""One plain-English sentence for a schedule; the wording of cron comes from the `cron-descriptor` library."""

from __future__ import annotations

import re

from aico_sched.schedule import fields
from aico_sched.schedule.base import Schedule
from aico_sched.schedule.cron import CronSchedule
from aico_sched.schedule.instant import SECOND, format_local
from aico_sched.schedule.simple import AfterSchedule, AtSchedule, FailureSchedule, IntervalSchedule
from aico_sched.schedule.zones import load_zone

_STEP = re.compile(r"(?:(\*)|([0-9]+|[A-Z]{3}|LW?)(?:-([0-9]+|[A-Z]{3}))?)/([0-9]+)")
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "last")
_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"))


def describe(schedule: Schedule) -> str:
    """Say in one sentence, without a full stop, when a schedule fires."""
    if isinstance(schedule, CronSchedule):
        return _describe_cron(schedule)
    if isinstance(schedule, IntervalSchedule):
        return f"Every {_duration(schedule.interval_us)}, counted from its first due time"
    if isinstance(schedule, AtSchedule):
        return f"Once, at {format_local(schedule.at_us, load_zone(schedule.timezone).info)}"
    if isinstance(schedule, AfterSchedule):
        return f"Each time a run of {schedule.task_id} succeeds"
    if isinstance(schedule, FailureSchedule):
        pattern = schedule.pattern
        whose = "any task" if pattern == "*" else f"a task below {pattern[:-2]}" if pattern.endswith("*") else pattern
        return f"Each time a run of {whose} fails for good"
    return "Once at every start of the service"


def _duration(us: int) -> str:
    """`5 minutes`, `1 hour`, `1.5 seconds`: the largest unit that divides it."""
    for seconds, unit in _UNITS:
        count, rest = divmod(us, seconds * SECOND)
        if count and not rest:
            return unit if count == 1 else f"{count} {unit}s"
    text = f"{us // SECOND}.{us % SECOND:06d}".rstrip("0").rstrip(".")
    return "second" if text == "1" else f"{text} seconds"


def _describe_cron(schedule: CronSchedule) -> str:
    # Here, because only an explanation needs the library.
    from cron_descriptor import ExpressionDescriptor, FormatError, Options  # noqa: PLC0415

    days = schedule.pattern.days
    parts = schedule.pattern.expression.upper().split()
    plain = [_plain(spec, text) for spec, text in zip(fields.FIELDS, parts, strict=True)]
    extra = []
    if "," in plain[2] and "L" in plain[2]:
        extra.append(_month_day_words(days.month_days))
        plain[2] = "*"
    if "," in plain[4] and ("L" in plain[4] or "#" in plain[4]):
        extra.append(_weekday_words(days.weekdays))
        plain[4] = "*"
    try:
        options = Options(locale_code="en_US", use_24hour_time_format=True)
        sentence = str(ExpressionDescriptor(" ".join(plain), options).get_description())
    except FormatError:
        return f"On the cron schedule {schedule.pattern.expression}"
    if days.both:
        # The library reads two restricted day fields as a choice even where one is led by a star.
        sentence = sentence.replace(", or ", ", and only if it is ")
    return sentence + "".join(f", {words}" for words in extra)


def _plain(spec: fields.FieldSpec, text: str) -> str:
    """Rewrite what the library misreads: a list with a star in it, and steps that never step."""
    terms = [_plain_term(spec, term) for term in text.split(",")]
    return "*" if "*" in terms else ",".join(dict.fromkeys(terms))


def _plain_term(spec: fields.FieldSpec, term: str) -> str:
    match = _STEP.fullmatch(term)
    if match is None:
        return term
    star, first, last, digits = match.groups()
    step = int(digits)
    if first is not None and first.startswith("L"):
        return first
    low = spec.low if first is None else _number(spec, first)
    single = first is not None and last in (None, first)
    high = spec.high if star or single else _number(spec, last)
    if step > high - low:
        return str(low)
    if step == 1:
        return "*" if star else f"{low}-{high}"
    return f"{low}/{step}" if single else term


def _number(spec: fields.FieldSpec, text: str) -> int:
    return spec.names[text] if text in spec.names else int(text)


def _month_day_words(days: int) -> str:
    words = [f"day {day}" for day in range(1, 32) if days >> day & 1]
    if days & fields.LAST_DAY:
        words.append("the last day")
    if days & fields.LAST_WORKDAY:
        words.append("the last weekday")
    return f"on {_listed(words)} of the month"


def _weekday_words(weekdays: int) -> str:
    words = [f"every {_WEEKDAYS[day]}" for day in range(7) if weekdays >> day & 1]
    special = weekdays >> fields.NTH_SHIFT
    for ordinal in _ORDINALS:
        words += [f"the {ordinal} {_WEEKDAYS[day]}" for day in range(7) if special >> day & 1]
        special >>= 7
    return f"on {_listed(words)} of the month"


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
