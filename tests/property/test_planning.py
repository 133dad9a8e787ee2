"""Rules that hold for whatever schedule, options and delay: no slot early, none twice, none lost without a count."""

from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aico_sched.planning import COUNT_LIMIT, SECOND, first_slot, jitter_offset, plan_slot
from aico_sched.schedule import Schedule, format_rfc3339, parse_schedule
from aico_sched.topics.internal import DueTask, Slot

START = 1_772_452_800 * SECOND
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]
schedules = st.sampled_from(
    ["interval:5", "interval:0.25", "interval:3600", "* * * * *", "*/7 * * * *", "30 2 * * *", "0 9 * * 1-5", "@hourly"]
)
waits = st.one_of(st.integers(0, 10 * SECOND), st.integers(0, 3_600 * SECOND), st.integers(0, 40 * 86_400 * SECOND))


@st.composite
def options(draw: st.DrawFn) -> dict[str, Any]:
    chosen: dict[str, Any] = {"misfire": draw(st.sampled_from(["latest", "all", "skip"]))}
    if draw(st.booleans()):
        chosen["catchup_window"] = draw(st.sampled_from([0.0, 1.0, 60.0, 3_600.0, 86_400.0]))
    if draw(st.booleans()):
        chosen["jitter"] = draw(st.sampled_from([0.5, 30.0, 7_200.0]))
    if draw(st.booleans()):
        chosen["start_at"] = format_rfc3339(START + draw(waits))
    if draw(st.booleans()):
        chosen["end_at"] = format_rfc3339(START + draw(waits))
    if draw(st.booleans()):
        chosen["max_runs"] = draw(st.integers(1, 5))
    return chosen


@st.composite
def tasks(draw: st.DrawFn) -> tuple[DueTask, Schedule]:
    text, zone, given_options = draw(schedules), draw(st.sampled_from(ZONES)), draw(options())
    schedule = parse_schedule(text, zone)
    first = first_slot(schedule, given_options, START, START)
    assume(first is not None)
    assert first is not None
    return DueTask("user.x", 1, first, text, zone, START, 30, given_options, 0), schedule


def slots_between(schedule: Schedule, start: int, end: int) -> list[int]:
    """Every slot in [start, end], walked one by one; at most some thousands."""
    found: list[int] = []
    slot: int | None = start
    while slot is not None and slot <= end and len(found) < 20 * COUNT_LIMIT:
        found.append(slot)
        slot = schedule.next_after(slot, START)
    return found


def check(task: DueTask, schedule: Schedule, slot: Slot, now: int) -> None:
    offset = jitter_offset(task.task_id, task.options)
    assert slot.due_us == task.next_run_us <= slot.scheduled_for_us
    assert slot.scheduled_for_us + offset <= now, "never before its time"
    assert slot.next_run_us == 0 or slot.next_run_us > slot.scheduled_for_us, "always forward"
    runs = slot.action != "none"
    due = slots_between(schedule, task.next_run_us, slot.scheduled_for_us)
    assert due[-1] == slot.scheduled_for_us, "what runs is a slot of the schedule"
    if task.schedule.startswith("interval") or len(due) < COUNT_LIMIT:
        if len(due) < 20 * COUNT_LIMIT:
            assert slot.missed == len(due) - runs, "missed and run partition what was due"
    else:
        assert COUNT_LIMIT - 1 <= slot.missed <= len(due)
    if slot.next_run_us:
        assert schedule.next_after(slot.scheduled_for_us, START) == slot.next_run_us, "no slot is stepped over"


@settings(deadline=None, max_examples=300)
@given(tasks(), waits)
def test_one_plan(given_task: tuple[DueTask, Schedule], wait: int) -> None:
    task, schedule = given_task
    # Walking the slots is the oracle, so there must not be millions of them.
    period = schedule.period_us or SECOND
    now = task.next_run_us + min(wait, 10 * COUNT_LIMIT * period)
    slot = plan_slot(task, schedule, now)
    if slot is None:
        assert now < task.next_run_us + jitter_offset(task.task_id, task.options)
    else:
        check(task, schedule, slot, now)


@settings(deadline=None, max_examples=100)
@given(tasks(), st.lists(waits, min_size=1, max_size=8))
def test_a_life(given_task: tuple[DueTask, Schedule], delays: list[int]) -> None:
    """Over any series of delays every slot is run or counted, none twice, and catching up comes to an end."""
    task, schedule = given_task
    now, served, runs = START, -1, 0
    for delay in delays:
        now += delay
        for _ in range(1_100):
            slot = plan_slot(task, schedule, now)
            if slot is None:
                break
            assert slot.scheduled_for_us > served
            assert slot.due_us > served
            served = slot.scheduled_for_us
            runs += slot.action != "none"
            assert runs <= (task.options.get("max_runs") or runs)
            end = task.options.get("end_at")
            assert end is None or format_rfc3339(served) <= end
            start = task.options.get("start_at")
            assert start is None or format_rfc3339(served) >= start
            if not slot.next_run_us:
                return
            task = task._replace(next_run_us=slot.next_run_us, run_count=runs)
        else:
            raise AssertionError("catching up does not end")
