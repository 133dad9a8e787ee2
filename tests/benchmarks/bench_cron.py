"""Next fire and parse, side by side with cronsim, croniter and APScheduler 3's CronTrigger.

Run `python tests/benchmarks/bench_cron.py [--json] [--rounds N] [--chain N]`. The contestants take turns in every
round, so that a busy machine slows all of them alike; the figures are medians over the rounds, in nanoseconds.

- next: a chain of successive fires from one compiled expression.
- parse: from text to a compiled expression, with our caches switched off (their constructors have none).
- cached: the same text again, with our caches on, as the scheduler uses it.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from aico_sched.schedule import configure_caches, from_datetime, parse_schedule

BERLIN = "Europe/Berlin"
# Name, expression, zone, start in UTC. The two near changes of offset start an hour before them.
CASES = (
    ("every minute", "* * * * *", BERLIN, "2026-11-23T00:00:00"),
    ("every 5 minutes", "*/5 * * * *", BERLIN, "2026-11-23T00:00:00"),
    ("every 5 minutes, UTC", "*/5 * * * *", "UTC", "2026-11-23T00:00:00"),
    ("working hours", "0 9-17 * * MON-FRI", BERLIN, "2026-11-23T00:00:00"),
    ("daily", "30 2 * * *", BERLIN, "2026-11-23T00:00:00"),
    ("weekly", "0 0 * * 0", "America/New_York", "2026-11-23T00:00:00"),
    ("monthly", "0 0 1 * *", BERLIN, "2026-11-23T00:00:00"),
    ("yearly", "0 0 1 1 *", BERLIN, "2026-11-23T00:00:00"),
    ("far month", "15 3 28 2 *", BERLIN, "2026-03-01T00:00:00"),
    ("leap day", "0 0 29 2 *", BERLIN, "2026-11-23T00:00:00"),
    ("last day", "0 0 L * *", BERLIN, "2026-11-23T00:00:00"),
    ("gap", "*/10 1-3 * 3 *", BERLIN, "2026-03-29T00:00:00"),
    ("gap, fixed time", "10,20,30 2 29 3 *", BERLIN, "2026-03-28T00:00:00"),
    ("overlap", "*/10 * 25 10 *", BERLIN, "2026-10-24T23:00:00"),
    ("half-hour zone", "*/15 1-3 * * *", "Australia/Lord_Howe", "2026-10-03T10:00:00"),
)

Chain = Callable[[int], None]
# Makes the chain and the parser of one case; None where the library cannot read the expression.
Maker = Callable[[str, str, datetime], tuple[Chain, Callable[[], object]]]


def ours(expression: str, zone: str, start: datetime) -> tuple[Chain, Callable[[], object]]:
    schedule = parse_schedule(expression, zone)
    now = from_datetime(start)

    def chain(count: int) -> None:
        us: int | None = now
        for _ in range(count):
            assert us is not None
            us = schedule.next_after(us)

    return chain, lambda: parse_schedule(expression, zone)


def cronsim(expression: str, zone: str, start: datetime) -> tuple[Chain, Callable[[], object]]:
    make: Any = importlib.import_module("cronsim").CronSim
    local = start.astimezone(ZoneInfo(zone))

    def chain(count: int) -> None:
        fires: Iterator[datetime] = make(expression, local)
        for _ in range(count):
            next(fires)

    return chain, lambda: make(expression, local)


def croniter(expression: str, zone: str, start: datetime) -> tuple[Chain, Callable[[], object]]:
    make: Any = importlib.import_module("croniter").croniter
    local = start.astimezone(ZoneInfo(zone))

    def chain(count: int) -> None:
        fires = make(expression, local)
        for _ in range(count):
            fires.get_next(datetime)

    return chain, lambda: make(expression, local)


def apscheduler(expression: str, zone: str, start: datetime) -> tuple[Chain, Callable[[], object]]:
    trigger_class: Any = importlib.import_module("apscheduler.triggers.cron").CronTrigger
    # APScheduler spells the last day differently, and numbers weekdays from Monday.
    text = expression.replace("L", "last").replace("* * 0", "* * sun")
    trigger = trigger_class.from_crontab(text, timezone=ZoneInfo(zone))
    local = start.astimezone(ZoneInfo(zone))

    def chain(count: int) -> None:
        previous, now = None, local
        for _ in range(count):
            now = previous = trigger.get_next_fire_time(previous, now)

    return chain, lambda: trigger_class.from_crontab(text, timezone=ZoneInfo(zone))


PEERS: dict[str, Maker] = {"cronsim": cronsim, "croniter": croniter, "apscheduler": apscheduler}


def installed() -> tuple[list[str], list[str]]:
    found, missing = [], []
    for name in PEERS:
        try:
            importlib.import_module("apscheduler.triggers.cron" if name == "apscheduler" else name)
            found.append(name)
        except ImportError:
            missing.append(name)
    return found, missing


def per_call(call: Callable[[], object], calls: int) -> float:
    started = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - started) / calls


def repeat(call: Callable[[], object], count: int) -> None:
    for _ in range(count):
        call()


def measure(case: tuple[str, str, str, str], peers: list[str], rounds: int, length: int) -> dict[str, Any]:
    """Median nanoseconds of each contestant for one case."""
    name, expression, zone, text = case
    start = datetime.fromisoformat(text).replace(tzinfo=UTC)
    makers: dict[str, Maker] = {"ours": ours} | {peer: PEERS[peer] for peer in peers}
    contestants = {who: maker(expression, zone, start) for who, maker in makers.items()}
    samples: dict[str, dict[str, list[float]]] = {
        kind: {who: [] for who in contestants} for kind in ("next", "parse", "cached")
    }
    for _ in range(rounds):
        for who, (chain, parse) in contestants.items():
            samples["next"][who].append(per_call(lambda chain=chain: chain(length), length))  # type: ignore[misc]
            if who == "ours":
                samples["cached"][who].append(per_call(lambda parse=parse: repeat(parse, 100), 100))  # type: ignore[misc]
                configure_caches(0)
            samples["parse"][who].append(per_call(lambda parse=parse: repeat(parse, 100), 100))  # type: ignore[misc]
            configure_caches(4096)
    medians = {
        kind: {who: statistics.median(times) for who, times in by.items() if times} for kind, by in samples.items()
    }
    return {"case": name, "expression": expression, "zone": zone} | medians


def ratio(figures: dict[str, float]) -> float | None:
    """How many times the fastest peer's time is ours."""
    peers = [value for who, value in figures.items() if who != "ours"]
    return min(peers) / figures["ours"] if peers else None


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--chain", type=int, default=60, help="successive fires in one measurement")
    options = arguments.parse_args()
    peers, missing = installed()
    rows = [measure(case, peers, options.rounds, options.chain) for case in CASES]
    summary: dict[str, Any] = {"missing": missing, "rows": rows}
    for kind in ("next", "parse"):
        ratios = [value for row in rows if (value := ratio(row[kind])) is not None]
        if ratios:
            summary[kind] = {"median_ratio": statistics.median(ratios), "worst_ratio": min(ratios)}
    if options.json:
        print(json.dumps(summary, indent=2))
        return 0
    for kind in ("next", "parse"):
        print(f"\n{kind} (ns, median of {options.rounds} rounds; ratio: fastest peer / ours)")
        print(f"{'case':22}{'ours':>9}" + "".join(f"{peer:>13}" for peer in peers) + f"{'ratio':>8}")
        for row in rows:
            figures, factor = row[kind], ratio(row[kind])
            cells = "".join(f"{figures[peer]:13.0f}" for peer in peers)
            print(f"{row['case']:22}{figures['ours']:9.0f}{cells}" + (f"{factor:8.1f}" if factor else ""))
        if kind in summary:
            print("median ratio {median_ratio:.1f}, worst {worst_ratio:.1f}".format(**summary[kind]))
    print(f"\nparse from our cache: {statistics.median(row['cached']['ours'] for row in rows):.0f} ns")
    for name in missing:
        print(f"missing: {name} is not installed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
