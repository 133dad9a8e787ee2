"""A year of 1,000 mixed schedules in several zones, every fire checked against an independent oracle.

Level: the real scheduler actor with its horizon and its planning, through its messages, in virtual time. The store
behind it is a dictionary that answers as the real one does (`DueLoad`, `SlotsClaim`), so that some 400,000 fires take
seconds; the horizon holds only a part of the tasks, so that it is moved on thousands of times. The real service, its
database included, runs a smaller set for a week in `test_week.py`.
"""

import os
import random
import time
from bisect import bisect_left, bisect_right, insort
from typing import Any

from aico_sched.actors.scheduler import SchedulerActor
from aico_sched.planning import jitter_offset
from aico_sched.quiet import QuietHours
from aico_sched.settings import Settings
from aico_sched.topics import names
from aico_sched.topics.internal import (
    Capacity,
    DueLoad,
    DueLoaded,
    DueTask,
    Slot,
    SlotsClaim,
    SlotsClaimed,
)
from aico_sched.wiring import breaker_rules
from tests.support.oracle import SECOND, fires, us_of
from tests.support.simulated import at

START, END = us_of(at("2026-01-01 00:00")), us_of(at("2027-01-01 00:00"))
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Sydney", "Asia/Kolkata", "America/Sao_Paulo")
CACHE_SIZE = 60
LONG = os.environ.get("AICO_SCHED_LONG") == "1"
"""Also what fires often; without it every kind of schedule is there, the frequent ones in smaller numbers."""
LONGEST_SLEEP = 30.0


class Clock:
    """Time as the test sets it."""

    def __init__(self) -> None:
        self.us = START

    def now_us(self) -> int:
        return self.us

    def monotonic(self) -> float:
        return (self.us - START) / SECOND


SETTINGS = Settings.load(environ={"AICO_SCHED_DATA_DIR": "unused"})


class Ledger:
    """The store's part of the conversation. `fired` is what ran, by task."""

    name = "ledger"
    congested = False

    def __init__(self, tasks: list[DueTask], clock: Clock) -> None:
        self.tasks = {task.task_id: task for task in tasks}
        self.fired: dict[str, list[int]] = {task.task_id: [] for task in tasks}
        self.clock, self.ended, self.known_max = clock, 0, 0
        self.starts = sorted(map(self._start, tasks))
        self.sent: list[tuple[str, Any]] = []

    def send(self, topic: str, message: Any) -> None:
        self.sent.append((topic, message))

    def answer(self, actor: SchedulerActor) -> None:
        """Handle what the actor has sent, as the store and the executor would."""
        while self.sent:
            topic, message = self.sent.pop(0)
            if topic == names.DUE_LOAD:
                actor.loaded(self._due(message))
            elif topic == names.SLOTS_CLAIM:
                self._claim(message, actor)
            elif topic == names.CAPACITY_ASK:
                actor.capacity(Capacity(10_000, 0, 0))

    def _due(self, wanted: DueLoad) -> DueLoaded:
        page = self.starts[: min(wanted.limit, bisect_right(self.starts, (wanted.until_us + 1, "")))]
        horizon = page[-1][0] if len(page) == wanted.limit else wanted.until_us
        return DueLoaded([self.tasks[task_id] for _, task_id in page], [], horizon)

    def _claim(self, claim: SlotsClaim, actor: SchedulerActor) -> None:
        for slot in claim.slots:
            self._run(slot)
        actor.claimed(SlotsClaimed(claim.claim_id, len(claim.slots), len(claim.slots)))
        self.ended += len(claim.slots)
        actor.capacity(Capacity(10_000, self.ended, 0))

    def _run(self, slot: Slot) -> None:
        task = self.tasks[slot.task_id]
        assert slot.due_us == task.next_run_us, f"{slot.task_id} was claimed twice"
        assert (slot.action, slot.missed) == ("run", 0), slot
        # Neither early nor late: virtual time stops at every start.
        assert self.clock.us == slot.scheduled_for_us + jitter_offset(task.task_id, task.options)
        self.fired[slot.task_id].append(slot.scheduled_for_us)
        del self.starts[bisect_left(self.starts, self._start(task))]
        task = task._replace(next_run_us=slot.next_run_us or END * 2, run_count=task.run_count + 1)
        self.tasks[slot.task_id] = task
        insort(self.starts, self._start(task))

    @staticmethod
    def _start(task: DueTask) -> tuple[int, str]:
        return task.next_run_us + jitter_offset(task.task_id, task.options), task.task_id


def mixed(count: int, source: random.Random) -> list[tuple[str, str]]:
    """Schedules and zones as people have them: a few frequent ones, most of them daily or rarer."""

    def one(number: int) -> str:
        minute, hour = source.randrange(60), source.randrange(24)
        kind = number % 50
        if number == 0:
            return "*/15 * * * *"
        if number % (150 if LONG else 500) == 1:
            return f"{minute} * * * *"
        if kind == 2 and (LONG or number % 4 == 2):
            return f"{minute} 8-17 * * MON-FRI"
        if kind < 12:
            return f"interval:{source.randrange(7_200 if LONG else 43_200, 172_800)}"
        if kind < 15:
            return f"interval:{source.randrange(600_000, 900_000)}.{source.randrange(1, 999_999):06}"
        if kind < 30:
            return f"{minute} {hour} * * {source.randrange(7)}"
        if kind < 34:
            day_and_month = source.choice(("1 *", "15 *", "31 *", "L *", "LW *", "29 2", "*/2 6-9"))
            return f"{minute} {hour} {day_and_month} {source.choice(('*', '*', '*/3'))}"
        if kind < 36:
            return f"{minute} {hour} * * {source.choice(('MON#1', 'FRI#2', '5L'))}"
        if not LONG and kind % 3:
            return f"{minute} {hour} * * {source.choice(('MON', 'TUE,FRI'))}"
        return f"{minute} {hour} * * *" if kind % 2 else f"{minute},{(minute + 20) % 60} {source.randrange(5)} * * *"

    return [(one(number), ZONES[number % len(ZONES)]) for number in range(count)]


def stored(schedules: list[tuple[str, str]], source: random.Random) -> tuple[list[DueTask], dict[str, list[int]]]:
    """The tasks as the store would hand them out, and what the oracle says of each."""
    tasks, expected = [], {}
    for number, (schedule, zone) in enumerate(schedules):
        task_id = f"user.t{number}"
        anchor = START - source.randrange(86_400 * SECOND)
        expected[task_id] = fires(schedule, zone, START, END, anchor)
        options = {"jitter": 900.0} if number % 10 == 3 else {}
        first = expected[task_id][0] if expected[task_id] else END * 2
        tasks.append(DueTask(task_id, 1, first, schedule, zone, anchor, 30, options, 0))
    return tasks, expected


def simulate(tasks: list[DueTask]) -> Ledger:
    """A year, from start to start."""
    clock = Clock()
    ledger = Ledger(tasks, clock)
    actor = SchedulerActor(
        clock,  # type: ignore[arg-type]
        timezone="UTC",
        cache_size=CACHE_SIZE,
        longest_sleep=LONGEST_SLEEP,
        priority_aging=SETTINGS.scheduler.priority_aging,
        groups={},
        first_claim_id=0,
        breaker=breaker_rules(SETTINGS),
        default_quiet=QuietHours.of_window(SETTINGS.scheduler.quiet_hours, "UTC"),
    )
    actor.effects = ledger  # type: ignore[assignment]
    ledger.send(names.CAPACITY_ASK, None)
    actor._reload()
    ledger.answer(actor)
    while clock.us <= END:
        actor.take_input()
        ledger.answer(actor)
        due = actor._horizon.next_due_us()
        # With nothing in sight the actor still looks now and then.
        clock.us = max(clock.us, min(due or END + 1, clock.us + 600 * SECOND))
    ledger.known_max = actor.figures["known_max"]
    return ledger


def test_a_year_of_a_thousand_schedules() -> None:
    source = random.Random(2026)
    started = time.perf_counter()
    tasks, expected = stored(mixed(1_000, source), source)
    ledger = simulate(tasks)
    for task in tasks:
        fired = [slot for slot in ledger.fired[task.task_id] if slot <= END]
        # A jittered start of the last slots of the year may lie in the next.
        wanted = [slot for slot in expected[task.task_id] if slot + jitter_offset(task.task_id, task.options) <= END]
        assert fired == wanted, (task.schedule, task.timezone)
    total = sum(map(len, expected.values()))
    spent = time.perf_counter() - started
    print(f"one year, 1,000 schedules, {total:,} fires checked in {spent:.1f} s; {ledger.known_max} tasks in memory")
    assert ledger.known_max <= CACHE_SIZE
    assert total > (300_000 if LONG else 150_000)
