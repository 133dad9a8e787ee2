"""What becomes of due slots under each rule, case by case."""

from typing import Any

import pytest

from aico_sched.planning import (
    BACKLOG_LIMIT,
    COUNT_LIMIT,
    DAY,
    LATE,
    ON_TIME,
    SECOND,
    catchup_window,
    check_options,
    checked_schedule,
    first_slot,
    jitter_offset,
    plan_slot,
    priority_of,
)
from aico_sched.schedule import format_rfc3339, parse_rfc3339
from aico_sched.topics.errors import CommandError, ErrorCode
from aico_sched.topics.internal import AFTER_RUN, NEVER, DueTask, Slot

NOW = parse_rfc3339("2026-03-02T12:00:00Z")
HOUR = 3_600 * SECOND


def due(schedule: str, next_run: int, *, run_count: int = 0, anchor: int = 0, **options: Any) -> DueTask:
    return DueTask("user.x", 3, next_run, schedule, "UTC", anchor, 30, options, run_count)


def plan(task: DueTask, now: int = NOW) -> Slot:
    slot = plan_slot(task, checked_schedule(task.schedule, task.timezone), now)
    assert slot is not None
    return slot


def test_what_is_not_due_is_left_alone() -> None:
    task = due("* * * * *", NOW + 1)
    assert plan_slot(task, checked_schedule(task.schedule, "UTC"), NOW) is None


def test_a_slot_on_time_runs_and_the_next_one_follows() -> None:
    slot = plan(due("*/5 * * * *", NOW))
    assert slot == Slot("user.x", 3, NOW, NOW, NOW + 300 * SECOND, NOW + 300 * SECOND, "run", "", 0, NOW)


@pytest.mark.parametrize(
    ("options", "late", "action", "scheduled_for", "missed"),
    [
        # An hourly schedule that was last looked at three slots ago; `late` after the newest of them.
        ({}, 0, "run", 0, 3),
        ({}, HOUR - 1, "run", 0, 3),
        ({"misfire": "skip"}, ON_TIME, "run", 0, 3),
        ({"misfire": "skip"}, ON_TIME + 1, "none", 0, 4),
        ({"catchup_window": 600}, 600 * SECOND, "run", 0, 3),
        ({"catchup_window": 600}, 600 * SECOND + 1, "none", 0, 4),
        ({"catchup_window": 0}, LATE, "run", 0, 3),
        ({"catchup_window": 0}, LATE + 1, "none", 0, 4),
        ({"misfire": "all"}, 0, "catchup", -1, 2),
        ({"misfire": "all", "catchup_window": 7_200}, 0, "catchup", -2, 1),
        ({"misfire": "all", "catchup_window": 86_400}, 5, "catchup", -3, 0),
    ],
)
def test_after_an_outage(options: dict[str, Any], late: int, action: str, scheduled_for: int, missed: int) -> None:
    slot = plan(due("0 * * * *", NOW - 3 * HOUR, **options), NOW + late)
    assert (slot.action, slot.missed) == (action, missed)
    assert slot.scheduled_for_us == NOW + scheduled_for * HOUR
    assert slot.missed_from_us == slot.due_us == NOW - 3 * HOUR
    following = slot.scheduled_for_us if options.get("misfire") == "all" else NOW
    assert slot.next_run_us == following + HOUR


def test_all_runs_every_slot_in_order_and_then_waits() -> None:
    task, served = due("0 * * * *", NOW - 3 * HOUR, misfire="all", catchup_window=86_400), []
    while True:
        slot = plan(task, NOW + 10 * SECOND)
        served.append((slot.scheduled_for_us - NOW) // HOUR)
        task = task._replace(next_run_us=slot.next_run_us)
        if task.next_run_us > NOW + 10 * SECOND:
            break
    assert served == [-3, -2, -1, 0]


def test_all_is_bounded() -> None:
    task = due("interval:1", NOW - 14 * DAY, misfire="all", catchup_window=30 * 86_400, anchor=NOW - 30 * DAY)
    slot = plan(task)
    runs = (NOW - slot.scheduled_for_us) // SECOND + 1
    assert BACKLOG_LIMIT - 1 <= runs <= BACKLOG_LIMIT
    assert slot.missed == 14 * 86_400 + 1 - runs


@pytest.mark.parametrize("schedule", ["interval:5", "* * * * *", "0 3 * * 1-5", "0 0 29 2 *"])
def test_fourteen_days_off_cost_one_run_and_little_work(schedule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = checked_schedule(schedule, "Europe/Berlin")
    start = parsed.next_after(NOW - 14 * DAY, NOW - 20 * DAY)
    assert start is not None
    now = max(NOW, start) + 1
    steps, step = [0], type(parsed).next_after

    def counted(self: Any, *given: Any) -> Any:
        steps[0] += 1
        return step(self, *given)

    monkeypatch.setattr(type(parsed), "next_after", counted)
    slot = plan_slot(due(schedule, start, anchor=NOW - 20 * DAY), parsed, now)
    assert steps[0] <= (2 if schedule == "interval:5" else COUNT_LIMIT + 100)
    assert slot is not None
    assert slot.action == "run"
    assert slot.next_run_us > now
    if schedule == "interval:5":
        assert slot.missed == 14 * 86_400 // 5 - 1
    assert slot.missed <= max(COUNT_LIMIT, 14 * 86_400 // 5)


def test_the_count_of_missed_cron_slots_says_at_least() -> None:
    assert plan(due("* * * * *", NOW - 14 * DAY)).missed == COUNT_LIMIT


def test_no_slot_is_after_the_end() -> None:
    end = format_rfc3339(NOW - HOUR)
    slot = plan(due("0 * * * *", NOW - 3 * HOUR, end_at=end), NOW + 5)
    assert (slot.action, slot.scheduled_for_us, slot.next_run_us, slot.missed) == ("none", NOW - HOUR, NEVER, 3)
    slot = plan(due("0 * * * *", NOW - 3 * HOUR, end_at=end, catchup_window=86_400), NOW + 5)
    assert (slot.action, slot.scheduled_for_us, slot.next_run_us, slot.missed) == ("run", NOW - HOUR, NEVER, 2)


def test_the_last_of_max_runs_ends_the_schedule_and_a_slot_given_up_does_not_count() -> None:
    assert plan(due("0 * * * *", NOW, max_runs=2)).next_run_us == NOW + HOUR
    assert plan(due("0 * * * *", NOW, max_runs=2, run_count=1)).next_run_us == NEVER
    late = plan(due("0 * * * *", NOW, max_runs=1, misfire="skip"), NOW + 2 * ON_TIME)
    assert (late.action, late.next_run_us) == ("none", NOW + HOUR)


def test_a_fixed_delay_waits_for_the_end_of_its_run() -> None:
    task = due("interval:60", NOW, anchor=NOW - HOUR, fixed_delay=True)
    assert plan(task).next_run_us == plan(task).next_due_us == AFTER_RUN
    late = plan(
        task._replace(options={**task.options, "misfire": "skip"}, schedule="interval:3600"), NOW + 120 * SECOND
    )
    assert (late.action, late.next_run_us) == ("none", NOW + HOUR), "what does not run has no end to wait for"
    with pytest.raises(CommandError) as caught:
        check_options(checked_schedule("* * * * *", "UTC"), {"fixed_delay": True})
    assert caught.value.details["field"] == "fixed_delay"


def test_a_one_time_task_runs_once_and_late_only_inside_its_window() -> None:
    schedule = f"at:{format_rfc3339(NOW)}"
    slot = plan(due(schedule, NOW), NOW + HOUR)
    assert (slot.action, slot.next_run_us, slot.missed) == ("run", NEVER, 0)
    slot = plan(due(schedule, NOW, catchup_window=60), NOW + HOUR)
    assert (slot.action, slot.next_run_us, slot.missed) == ("none", NEVER, 1)


def test_jitter_is_stable_spread_and_never_moves_the_slot() -> None:
    options = {"jitter": 60.0}
    offset = jitter_offset("user.x", options)
    assert offset == jitter_offset("user.x", dict(options)) > 0
    offsets = [jitter_offset(f"user.t{number}", options) for number in range(2_000)]
    assert 0 <= min(offsets) < 2 * SECOND
    assert 58 * SECOND < max(offsets) < 60 * SECOND
    task = due("0 * * * *", NOW, jitter=60.0)
    assert plan_slot(task, checked_schedule(task.schedule, "UTC"), NOW + offset - 1) is None
    slot = plan(task, NOW + offset)
    assert (slot.scheduled_for_us, slot.next_run_us) == (NOW, NOW + HOUR)
    assert slot.next_due_us == NOW + HOUR + offset


def test_jitter_longer_than_the_period_keeps_every_slot() -> None:
    task = due("interval:5", NOW, anchor=NOW - 5 * SECOND, jitter=60.0)
    offset = jitter_offset(task.task_id, task.options)
    for step in range(5):
        slot = plan(task, task.next_run_us + offset)
        assert (slot.scheduled_for_us, slot.missed) == (NOW + step * 5 * SECOND, 0)
        task = task._replace(next_run_us=slot.next_run_us)


@pytest.mark.parametrize(
    ("schedule", "options", "expected"),
    [
        ("0 * * * *", {}, NOW + HOUR),
        ("0 * * * *", {"start_at": format_rfc3339(NOW - DAY)}, NOW + HOUR),
        ("0 * * * *", {"start_at": format_rfc3339(NOW + 5 * HOUR)}, NOW + 5 * HOUR),
        ("0 * * * *", {"start_at": format_rfc3339(NOW + 5 * HOUR + 1)}, NOW + 6 * HOUR),
        ("0 * * * *", {"end_at": format_rfc3339(NOW + HOUR)}, NOW + HOUR),
        ("0 * * * *", {"end_at": format_rfc3339(NOW + HOUR - 1)}, None),
        ("interval:5", {}, NOW + 5 * SECOND),
        ("@reboot", {}, None),
        (f"at:{format_rfc3339(NOW + 1)}", {}, NOW + 1),
        (f"at:{format_rfc3339(NOW - DAY)}", {}, NOW - DAY),
        (f"at:{format_rfc3339(NOW - DAY - 1)}", {}, None),
        (f"at:{format_rfc3339(NOW - HOUR)}", {"catchup_window": 60}, None),
        (f"at:{format_rfc3339(NOW - HOUR)}", {"start_at": format_rfc3339(NOW)}, None),
    ],
)
def test_the_first_slot(schedule: str, options: dict[str, Any], expected: int | None) -> None:
    assert first_slot(checked_schedule(schedule, "UTC"), options, NOW, NOW) == expected


@pytest.mark.parametrize("schedule", ["interval:5", "interval:315576000", "* * * * *", "0 0 29 2 *"])
@pytest.mark.parametrize("start", ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:00"])
def test_the_ends_of_the_calendar_are_no_trap(schedule: str, start: str) -> None:
    slot = first_slot(checked_schedule(schedule, "UTC"), {"start_at": start}, NOW, NOW)
    if slot is not None:
        format_rfc3339(slot + 366 * DAY)


def test_windows_default_to_the_period_and_at_most_a_day() -> None:
    assert catchup_window(checked_schedule("interval:5", "UTC"), {}) == 5 * SECOND
    assert catchup_window(checked_schedule("0 0 1 * *", "UTC"), {}) == DAY
    assert catchup_window(checked_schedule(f"at:{format_rfc3339(NOW)}", "UTC"), {}) == DAY
    assert catchup_window(checked_schedule("interval:5", "UTC"), {"catchup_window": 0.0}) == LATE


@pytest.mark.parametrize(
    ("task_id", "options", "priority"),
    [
        ("maintenance.x", {}, 80),
        ("security.x", {}, 80),
        ("agency.x", {}, 50),
        ("user.x", {}, 30),
        ("x", {"priority": None}, 30),
        ("maintenance.x", {"priority": 0}, 0),
    ],
)
def test_priorities_go_by_namespace_unless_given(task_id: str, options: dict[str, Any], priority: int) -> None:
    assert priority_of(task_id, options) == priority


def test_a_bad_schedule_is_refused_by_name() -> None:
    with pytest.raises(CommandError) as caught:
        checked_schedule("61 * * * *", "UTC")
    assert caught.value.code is ErrorCode.INVALID_SCHEDULE
    assert (caught.value.details["field"], caught.value.details["part"]) == ("schedule", "minute")
    with pytest.raises(CommandError) as caught:
        checked_schedule("* * * * *", "Mars/Olympus")
    assert caught.value.details["field"] == "timezone"
