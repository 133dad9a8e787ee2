"""Why a task does not run, in words."""

from datetime import UTC, datetime
from typing import Any

import pytest

from aico_sched.client.why import Facts, why

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
PAST, FUTURE = "2026-01-01T11:59:00.000000Z", "2026-01-01T15:00:00.000000Z"


def facts(executions: list[dict[str, Any]] | None = None, **more: Any) -> Facts:
    task = {"task_id": "user.a", "state": "active", "note": None, "next_run": FUTURE, "schedule": "@daily"}
    health = {"reasons": [], "checks": {"load": {"ok": True}}}
    parts = {"deferrals": [], "health": health, "executor": {"running": 0, "limit": 10}} | more
    task |= parts.pop("task", {})
    return Facts(task, executions or [], now=NOW, **parts)


def run(status: str, **more: Any) -> dict[str, Any]:
    known = {
        "execution_id": "e-1",
        "status": status,
        "attempt": 1,
        "scheduled_for": PAST,
        "started_at": PAST,
        "run_at": None,
        "reason": None,
        "error_message": None,
        "missed_count": None,
    }
    return known | more


def sentences(given: Facts) -> list[str]:
    return [finding.sentence for finding in why(given)]


@pytest.mark.parametrize(
    ("task", "first"),
    [
        ({"state": "paused", "note": "holidays"}, "it is paused: holidays"),
        ({"state": "disabled", "note": None}, "it is disabled"),
        ({"state": "unavailable", "note": "no module"}, "its code is not available: no module"),
        ({"state": "finished", "next_run": None}, "its schedule has no further run"),
        ({}, "it is due then, not before"),
        ({"next_run": None, "schedule": "after:user.b"}, "it runs each time user.b succeeds"),
        ({"next_run": None, "schedule": "failure:*"}, "it runs each time a run of * fails for good"),
        ({"next_run": None, "schedule": "@reboot"}, "it runs once at each start of the service"),
        ({"next_run": None, "schedule": "interval:5"}, "its next run is counted from the end of the one under way"),
        ({"next_run": PAST}, "its slot is due and has not started"),
    ],
)
def test_the_state_and_the_schedule_tell(task: dict[str, Any], first: str) -> None:
    assert sentences(facts(task=task))[0] == first


def test_why_a_run_that_is_no_slot_waits() -> None:
    deferred = {"execution_id": "e-1", "scheduled_for": PAST, "reason": "CPU load 91 % is over it", "at": PAST}
    other = {**deferred, "execution_id": "e-2", "reason": "another run's"}
    waits = run("queued", run_at=PAST)
    assert sentences(facts([waits], deferrals=[deferred, other]))[:2] == [
        "a run waits for a place",
        "it was put off: CPU load 91 % is over it",
    ]
    busy = {"health": {"reasons": ["CPU load 95 %"], "checks": {"load": {"ok": False}}}}
    assert "right now: CPU load 95 %" in sentences(facts([waits], **busy))
    assert "right now: CPU load 95 %" not in sentences(facts([run("retrying", run_at=FUTURE)], **busy))
    assert sentences(facts([waits], task={"next_run": PAST}, **busy)).count("right now: CPU load 95 %") == 1


def test_what_holds_a_due_slot_back() -> None:
    deferred = {"execution_id": "", "scheduled_for": PAST, "reason": "CPU load 91 % is over it", "at": PAST}
    other = {**deferred, "scheduled_for": FUTURE, "reason": "an older one"}
    health = {"reasons": ["CPU load 95 %"], "checks": {"load": {"ok": False}}}
    found = sentences(
        facts(
            task={"next_run": PAST}, deferrals=[deferred, other], health=health, executor={"running": 10, "limit": 10}
        )
    )
    assert found == [
        "its slot is due and has not started",
        "it was put off: CPU load 91 % is over it",
        "right now: CPU load 95 %",
        "all 10 places are taken",
    ]


def test_what_is_under_way_comes_first() -> None:
    assert sentences(facts([run("running", attempt=2)]))[0] == "it is running now (attempt 2)"
    retrying = run("retrying", run_at=FUTURE, error_message="no network")
    assert sentences(facts([retrying]))[0] == "it waits for attempt 2; it failed with no network"
    assert sentences(facts([run("queued")]))[0] == "a run waits until the one before it has ended"
    assert sentences(facts([run("queued", run_at=PAST)]))[0] == "a run waits for a place"


def test_the_newest_slots_that_did_not_run_are_told_with_their_reasons() -> None:
    found = why(
        facts(
            [
                run("skipped", reason="the run e-0 has not finished"),
                run("missed", reason="3 slots passed unserved", missed_count=3),
                run("dead", error_message="boom", execution_id="e-9"),
                run("cancelled"),
                run("succeeded"),
            ]
        )
    )
    assert [finding.sentence for finding in found] == [
        "it is due then, not before",
        "the slot was skipped: the run e-0 has not finished",
        "the slot was missed (3 slots): 3 slots passed unserved",
        "the slot failed for good: boom",
        "its last run succeeded",
    ]
    assert found[3].hint == "dead show e-9"


def test_there_is_always_an_answer() -> None:
    assert sentences(facts(task={"state": "new"})) == ["nothing keeps it from running; it has not been due yet"]
