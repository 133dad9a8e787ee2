"""Next fire and parse of a cron expression, one library at a time; our own too, in our environment.

Each case is `[name, expression, zone, start in UTC]`. Times are nanoseconds a call.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any
from zoneinfo import ZoneInfo

from common import Result, main

UTC = timezone.utc  # noqa: UP017 - a peer's Python may be 3.10
PARSES = 100

Chain = Callable[[int], None]
Maker = Callable[[str, str, datetime], "tuple[Chain, Callable[[], object]]"]
"""Makes the chain of successive fires and the parser of one case."""


def ours() -> Maker:
    from aico_sched.schedule import configure_caches, from_datetime, parse_schedule

    def make(expression: str, zone: str, start: datetime) -> tuple[Chain, Callable[[], object]]:
        schedule, now = parse_schedule(expression, zone), from_datetime(start)

        def chain(count: int) -> None:
            us: int | None = now
            for _ in range(count):
                assert us is not None
                us = schedule.next_after(us)

        # The peers keep no parsed expressions, so ours must not either.
        configure_caches(0)
        return chain, lambda: parse_schedule(expression, zone)

    return make


def cronsim() -> Maker:
    from cronsim import CronSim

    def make(expression: str, zone: str, start: datetime) -> tuple[Chain, Callable[[], object]]:
        local = start.astimezone(ZoneInfo(zone))

        def chain(count: int) -> None:
            fires = CronSim(expression, local)
            for _ in range(count):
                next(fires)

        return chain, lambda: CronSim(expression, local)

    return make


def croniter() -> Maker:
    from croniter import croniter as make_iterator

    def make(expression: str, zone: str, start: datetime) -> tuple[Chain, Callable[[], object]]:
        local = start.astimezone(ZoneInfo(zone))

        def chain(count: int) -> None:
            fires = make_iterator(expression, local)
            for _ in range(count):
                fires.get_next(datetime)

        return chain, lambda: make_iterator(expression, local)

    return make


def apscheduler() -> Maker:
    from apscheduler.triggers.cron import CronTrigger

    def make(expression: str, zone: str, start: datetime) -> tuple[Chain, Callable[[], object]]:
        # APScheduler spells the last day differently, and numbers weekdays from Monday.
        text, info = expression.replace("L", "last").replace("* * 0", "* * sun"), ZoneInfo(zone)
        trigger, local = CronTrigger.from_crontab(text, timezone=info), start.astimezone(info)

        def chain(count: int) -> None:
            previous, now = None, local
            for _ in range(count):
                now = previous = trigger.get_next_fire_time(previous, now)

        return chain, lambda: CronTrigger.from_crontab(text, timezone=info)

    return make


LIBRARIES: dict[str, Callable[[], Maker]] = {
    "ours": ours,
    "cronsim": cronsim,
    "croniter": croniter,
    "apscheduler": apscheduler,
}


def per_call(call: Callable[[], object], calls: int) -> float:
    started = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - started) / calls


def repeat(call: Callable[[], object], count: int) -> None:
    for _ in range(count):
        call()


def cron(library: str, cases: list[list[str]], length: int) -> Result:
    """Nanoseconds of one next fire and of one parse, by the name of the case: the better of three tries, the first of
    which also warms up."""
    make = LIBRARIES[library]()
    found: dict[str, Any] = {"next": {}, "parse": {}}
    for name, expression, zone, start in cases:
        chain, parse = make(expression, zone, datetime.fromisoformat(start).replace(tzinfo=UTC))
        found["next"][name] = min(per_call(lambda chain=chain: chain(length), length) for _ in range(3))
        found["parse"][name] = min(per_call(lambda parse=parse: repeat(parse, PARSES), PARSES) for _ in range(3))
    return found


if __name__ == "__main__":
    main({"cron": cron})
