"""`after:` and `failure:`: schedules that go by what happens, not by time."""

import pytest

from aico_sched.schedule import AfterSchedule, FailureSchedule, ScheduleError, explain, parse_schedule


def test_after_names_one_task() -> None:
    schedule = parse_schedule("  After: user.backup ", "UTC")
    assert isinstance(schedule, AfterSchedule)
    assert (schedule.task_id, schedule.expression, schedule.timed) == ("user.backup", "after:user.backup", False)


@pytest.mark.parametrize(
    ("pattern", "named", "others"),
    [
        ("*", ["a", "user.x"], []),
        ("user.*", ["user.x", "user.x.y"], ["user", "users.x", "agency.user.x"]),
        ("user.x", ["user.x"], ["user.xy", "user.x.y", "user"]),
    ],
)
def test_failure_names_a_task_a_namespace_or_all(pattern: str, named: list[str], others: list[str]) -> None:
    schedule = parse_schedule(f"failure:{pattern}", "UTC")
    assert isinstance(schedule, FailureSchedule)
    assert [task_id for task_id in [*named, *others] if schedule.names(task_id)] == named


@pytest.mark.parametrize("text", ["after:user.x", "failure:*"])
def test_time_never_fires_them(text: str) -> None:
    schedule = parse_schedule(text, "UTC")
    assert schedule.next_after(0) is None
    assert schedule.latest_at_or_before(2**60, 0) is None
    assert schedule.count_between(0, 2**60) == 0
    assert explain(text, "UTC", 0, 5).next == ()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("after:user.x", "Each time a run of user.x succeeds"),
        ("failure:*", "Each time a run of any task fails for good"),
        ("failure:user.*", "Each time a run of a task below user fails for good"),
        ("failure:user.x", "Each time a run of user.x fails for good"),
    ],
)
def test_they_are_explained(text: str, sentence: str) -> None:
    assert explain(text, "UTC", 0, 1).description == sentence


@pytest.mark.parametrize("text", ["after:", "after:*", "after:a..b", "after:ü", "failure:", "failure:a*", "failure:.*"])
def test_what_names_no_task_is_refused_with_a_way_out(text: str) -> None:
    with pytest.raises(ScheduleError) as raised:
        parse_schedule(text, "UTC")
    assert raised.value.suggestion
