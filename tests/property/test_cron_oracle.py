"""Random expressions, zones and starts against cronsim, the oracle of cron in this project.

cronsim is followed to the minute, with two exceptions that the tests verify instead of skipping:

- From a start inside the second pass of an overlap it can answer with the first pass, which lies in the past. We
  answer with the first of its fires that is later than the start.
- For a wildcard job around a change of offset it sometimes answers with a time that no clock shows (the midnight
  of a day that starts at 01:00), steps over matching times (it walks in whole hours, also over changes of half an
  hour), or goes round in circles for ever (Newfoundland, back from 00:01 to 23:01). A fire must then match, or
  miss, cronsim's own fields by the clock of `zoneinfo`; where cronsim circles, the comparison ends.

`AICO_FUZZ_CRON_EXAMPLES` sets the number of triples (20,000 by default).
"""

from __future__ import annotations

import os
import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from aico_sched.schedule import ScheduleError, format_local, from_datetime, parse_schedule, to_datetime

TRIPLES = int(os.environ.get("AICO_FUZZ_CRON_EXAMPLES", "20000"))
BATCH = 100
FIRES = 3
ZONES = sorted(available_timezones())
FIRST = datetime(1990, 1, 1, tzinfo=UTC)
SECONDS = int((datetime(2060, 1, 1, tzinfo=UTC) - FIRST).total_seconds())
# cronsim gives up after 50 years.
PATIENCE = timedelta(days=50 * 365)
REFERENCE = datetime(2026, 1, 1, tzinfo=UTC)

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
# Low, high, names, special forms.
FIELDS: tuple[tuple[int, int, tuple[str, ...], tuple[str, ...]], ...] = (
    (0, 59, (), ()),
    (0, 23, (), ()),
    (1, 31, (), ("L", "LW")),
    (1, 12, MONTHS, ()),
    (0, 7, WEEKDAYS, ("5L", "0L", "7L", "MON#2", "7#5", "sat#1", "3#4")),
)


def random_term(source: random.Random, position: int) -> str:
    low, high, names, special = FIELDS[position]
    # Hours around the usual changes of offset, so that those are hit.
    top = 4 if position == 1 and source.random() < 0.5 else high
    kind = source.random()
    if special and kind < 0.2:
        return source.choice(special)
    if names and kind < 0.3:
        return source.choice((str.lower, str.title, str.upper))(source.choice(names))
    if kind < 0.45:
        return f"*/{source.randint(1, high + 5)}"
    if kind < 0.6:
        first, last = sorted((source.randint(low, top), source.randint(low, top)))
        return f"{first}-{last}" + (f"/{source.randint(1, 9)}" if source.random() < 0.4 else "")
    if kind < 0.65:
        return f"{source.randint(low, top)}/{source.randint(1, 20)}"
    return str(source.randint(low, top))


def random_expression(source: random.Random) -> str:
    parts = []
    for position in range(5):
        if source.random() < 0.4:
            parts.append("*")
        else:
            count = source.choice((1, 1, 1, 2, 3))
            parts.append(",".join(random_term(source, position) for _ in range(count)))
    return " ".join(parts)


def random_start(source: random.Random, zone: ZoneInfo) -> datetime:
    """Any time from 1990 to 2060; every other one shortly before or after a change of offset, if there is one."""
    start = FIRST + timedelta(seconds=source.randrange(SECONDS), microseconds=source.choice((0, 0, 1, 999_999)))
    if source.random() < 0.5:
        later = start + timedelta(days=190)
        if start.astimezone(zone).utcoffset() != later.astimezone(zone).utcoffset():
            while later - start > timedelta(minutes=1):
                middle = start + (later - start) / 2
                if start.astimezone(zone).utcoffset() == middle.astimezone(zone).utcoffset():
                    start = middle
                else:
                    later = middle
            start = later + timedelta(seconds=source.randint(-90_000, 10_000))
    return start


class CronSimStuckError(Exception):
    """cronsim goes round in circles."""


class BoundedSim(CronSim):
    """cronsim, made to give up where it would loop for ever; 50 years of days are under 40,000 rounds."""

    rounds = 0

    def advance_month(self) -> None:
        self.rounds += 1
        if self.rounds > 40_000:
            raise CronSimStuckError
        super().advance_month()

    def __next__(self) -> datetime:
        self.rounds = 0
        return super().__next__()


def is_shown(sim: CronSim, moment: datetime, zone: ZoneInfo) -> bool:
    """Whether the clock of the zone matches cronsim's own fields at an instant."""
    wall = moment.astimezone(UTC).astimezone(zone)
    fits = wall.minute in sim.minutes and wall.hour in sim.hours and wall.month in sim.months
    return fits and wall.second == 0 and sim.match_day(wall.date())


def near_change(us: int, zone: ZoneInfo) -> bool:
    day = 26 * 3600 * 1_000_000
    return to_datetime(us - day, zone).utcoffset() != to_datetime(us + day, zone).utcoffset()


class Oracle:
    """cronsim's fires after a start as us, without those that no clock shows."""

    def __init__(self, expression: str, start: datetime, zone: ZoneInfo) -> None:
        self.sim = BoundedSim(expression, start.astimezone(zone))
        minute, hour = expression.split()[:2]
        self.wildcard = minute.startswith("*") or hour.startswith("*")
        self.zone = zone
        self.quirks = 0

    def next_after(self, us: int) -> int | None:
        """cronsim's next fire, None when it gives up; raises CronSimStuckError."""
        past = 0
        while (moment := next(self.sim, None)) is not None:
            if self.wildcard and not is_shown(self.sim, moment, self.zone):
                assert near_change(from_datetime(moment), self.zone)
                self.quirks += 1
            elif from_datetime(moment) > us:
                return from_datetime(moment)
            past += 1
            if past > 2000:
                raise CronSimStuckError
        return None


def check_refused(expression: str, zone: ZoneInfo) -> None:
    """What we refuse, cronsim refuses too, or it never fires."""
    try:
        assert next(CronSim(expression, REFERENCE.astimezone(zone)), None) is None
    except CronSimError:
        return


def check(expression: str, zone_name: str, start: datetime) -> int:
    """Compare some successive fires; returns how many of cronsim's exceptions were met."""
    zone = ZoneInfo(zone_name)
    try:
        schedule = parse_schedule(expression, zone_name)
    except ScheduleError:
        check_refused(expression, zone)
        return 0
    oracle = Oracle(expression, start, zone)
    now = from_datetime(start)
    try:
        expected = oracle.next_after(now)
        for _ in range(FIRES):
            fire = schedule.next_after(now)
            context = f"{expression!r} in {zone_name} after {format_local(now, zone)}"
            if expected is None:
                assert fire is None or fire > from_datetime(start + PATIENCE), context
                break
            assert fire is not None, context
            if fire != expected:
                shown = f"{context}: {format_local(fire, zone)}, cronsim: {format_local(expected, zone)}"
                assert oracle.wildcard and fire < expected, shown
                assert is_shown(oracle.sim, to_datetime(fire), zone) and near_change(fire, zone), shown
                oracle.quirks += 1
            else:
                expected = oracle.next_after(fire)
            now = fire
    except CronSimStuckError:
        stuck = from_datetime(oracle.sim.dt.astimezone(UTC))
        assert oracle.wildcard and near_change(stuck, zone), f"{expression!r} in {zone_name} near {oracle.sim.dt}"
        oracle.quirks += 1
    return oracle.quirks


@settings(
    max_examples=max(1, TRIPLES // BATCH),
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    # A smaller seed is no simpler case; the message names the triple that failed.
    phases=[Phase.generate],
)
@given(seed=st.integers(0, 2**64))
def test_batches_of_random_triples(seed: int) -> None:
    source = random.Random(seed)
    quirks = 0
    for _ in range(BATCH):
        zone = source.choice(ZONES)
        quirks += check(random_expression(source), zone, random_start(source, ZoneInfo(zone)))
    assert quirks < BATCH


@st.composite
def expressions(draw: st.DrawFn) -> str:
    def field(position: int) -> str:
        low, high, names, special = FIELDS[position]
        value = st.integers(low, high).map(str)
        bounds = st.tuples(st.integers(low, high), st.integers(low, high)).map(sorted)
        span = bounds.map(lambda pair: f"{pair[0]}-{pair[1]}")
        step = st.integers(1, high + 5).map(lambda number: f"/{number}")
        stepped = st.builds(str.__add__, st.one_of(st.just("*"), span, value), step)
        words = [st.sampled_from(group) for group in (names, special) if group]
        term = st.one_of(st.just("*"), value, span, stepped, *words)
        return ",".join(draw(st.lists(term, min_size=1, max_size=3)))

    return " ".join(field(position) for position in range(5))


@settings(max_examples=300, deadline=None, database=None)
@given(
    expression=expressions(),
    zone=st.sampled_from(ZONES),
    seconds=st.integers(0, SECONDS),
)
def test_triples_that_shrink(expression: str, zone: str, seconds: int) -> None:
    check(expression, zone, FIRST + timedelta(seconds=seconds))


@settings(max_examples=500, deadline=None, database=None)
@given(
    fields=st.lists(st.text(alphabet="0123456789*,-/L#WMONFRIJAN+_.", min_size=1, max_size=6), min_size=1, max_size=7),
    position=st.integers(0, 4),
)
def test_what_is_readable(fields: list[str], position: int) -> None:
    """A field of noise is accepted or refused as cronsim does, alone among stars and in company."""
    alone = ["*"] * 5
    alone[position] = fields[0]
    for parts in (alone, fields):
        expression = " ".join(parts)
        try:
            schedule = parse_schedule(expression, "UTC")
        except ScheduleError:
            # Six fields are cronsim's form with seconds, which we refuse.
            if len(parts) == 5:
                check_refused(expression, ZoneInfo("UTC"))
            continue
        assert schedule.next_after(from_datetime(REFERENCE)) == Oracle(
            expression, REFERENCE, ZoneInfo("UTC")
        ).next_after(from_datetime(REFERENCE))
