"""History, dead letters, registry, events, health: asked for and shown."""

import json
from typing import Any

import pytest

from aico_sched.topics import names


def test_logs_are_oldest_first(aico: Any, service: Any, execution: dict[str, Any]) -> None:
    older = execution | {"execution_id": "e-0", "status": "dead", "error_message": "no\nsuch file"}
    service.answers[names.EXECUTION_LIST] = {"executions": [execution, older], "next_cursor": None}
    result = aico("logs", "user.backup", "-n", "2", "--status", "dead")
    rows = [line.split()[0] for line in result.stdout.splitlines()]
    assert rows == ["EXECUTION", "e-0", "e-1"]
    assert "no such file" in result.stdout
    assert service.requests[0][1] == {"task_id": "user.backup", "status": "dead", "limit": 2}
    shown = json.loads(aico("logs", "--json").stdout)
    assert [each["execution_id"] for each in shown["executions"]] == ["e-0", "e-1"]


def test_logs_can_show_every_attempt(aico: Any, service: Any, execution: dict[str, Any]) -> None:
    attempt = {
        "attempt": 1,
        "outcome": "failed",
        "started_at": "2026-01-01T02:00:00Z",
        "completed_at": "2026-01-01T02:00:01Z",
        "error_type": "OSError",
        "error_message": "gone",
        "traceback": "Traceback: …\n",
    }
    service.answers[names.EXECUTION_LIST] = {"executions": [execution | {"attempts": [attempt]}], "next_cursor": None}
    text = aico("logs", "--attempts").stdout
    assert "e-1 attempt 1 2026-01-01 02:00:00.000 failed OSError: gone\nTraceback: …\n" in text


def test_logs_can_follow(aico: Any, service: Any, execution: dict[str, Any], make_event: Any) -> None:
    service.answers[names.EXECUTION_LIST] = {"executions": [execution], "next_cursor": None}
    at = "2026-01-01T00:00:00.25Z"
    service.published = [
        make_event(names.EXECUTION_STARTED, task_id="user.backup", execution_id="e-2", at=at),
        make_event(names.EXECUTION_STARTED, task_id="user.other", execution_id="e-3", at=at),
        make_event(names.TASK_PAUSED, task_id="user.backup", at=at),
        KeyboardInterrupt(),
    ]
    result = aico("logs", "user.backup", "-f")
    assert result.exit_code == 130
    assert result.stdout.splitlines()[-1] == "2026-01-01 00:00:00.250  execution.started      user.backup  e-2"
    assert "e-3" not in result.stdout
    lines = [json.loads(line) for line in aico("logs", "-f", "--json").stdout.splitlines()]
    assert [line.get("execution_id") or line["payload"]["execution_id"] for line in lines] == ["e-1", "e-2", "e-3"]


def test_watch_shows_events_and_stops_after_a_count(aico: Any, service: Any, make_event: Any) -> None:
    service.published = [
        make_event(names.TASK_CREATED, 1, task_id="a", at="2026-01-01T00:00:00Z", next_run="2026-01-02T00:00:00Z"),
        make_event(names.EXECUTION_FAILED, 2, task_id="a", attempt=2, error_message="boom", duration_seconds=0.25),
        make_event(names.ALERT, 3, severity="critical", message="disk full"),
    ]
    lines = aico("watch", "-n", "2").stdout.splitlines()
    assert lines[0].endswith("task.created           a  next 2026-01-02 00:00:00")
    assert lines[1].endswith("execution.failed       a  attempt 2  250 ms  boom")
    assert len(lines) == 2
    (only,) = aico("watch", "alert", "--json").stdout.splitlines()
    assert json.loads(only) == {
        "topic": names.ALERT,
        "seq": 3,
        "timestamp": "2026-01-01T00:00:00Z",
        "payload": {"severity": "critical", "message": "disk full"},
    }


def test_cancel_tells_what_became_of_it(aico: Any, service: Any) -> None:
    answer = {"execution_id": "e-1", "status": "cancelling"}
    service.answers[names.EXECUTION_CANCEL] = answer
    assert aico("cancel", "e-1", "--reason", "why").stdout == "cancelling e-1\n"
    assert service.requests == [(names.EXECUTION_CANCEL, {"execution_id": "e-1", "reason": "why"})]
    assert json.loads(aico("cancel", "e-1", "--json").stdout) == answer


def test_dead_letters_are_listed_requeued_and_discarded(aico: Any, service: Any) -> None:
    letter = {
        "execution_id": "e-1",
        "task_id": "user.backup",
        "died_at": "2026-01-01T00:00:00Z",
        "reason": "gone",
        "config": {},
        "attempts": [{}, {}],
    }
    service.answers[names.DEAD_LIST] = {"dead": [letter], "next_cursor": None}
    assert aico("dead", "list").stdout.splitlines()[1].split()[-2:] == ["2", "gone"]
    assert json.loads(aico("dead", "list", "--json").stdout)["dead"] == [letter]
    started = {"execution_id": "e-2", "task_id": "user.backup"}
    service.answers[names.DEAD_REQUEUE] = service.answers[names.DEAD_DISCARD] = started
    assert "again as execution e-2" in aico("dead", "requeue", "e-1").stdout
    assert aico("dead", "discard", "e-1").stdout.startswith("discarded")
    for command in ("requeue", "discard"):
        assert json.loads(aico("dead", command, "e-1", "--json").stdout) == started


def test_a_dead_letter_is_shown_with_every_attempt(aico: Any, service: Any) -> None:
    attempt = {"attempt": 1, "outcome": "failed", "started_at": "2026-01-01T00:00:00Z", "completed_at": None}
    letter = {
        "execution_id": "e-1",
        "task_id": "user.backup",
        "task_class": "user.copy",
        "trigger": "schedule",
        "scheduled_for": "2026-01-01T00:00:00Z",
        "died_at": "2026-01-01T00:00:01Z",
        "reason": "gone",
        "config": {"to": "/mnt"},
        "attempts": [attempt | {"error_type": "OSError", "error_message": "gone", "traceback": "Traceback: one"}],
    }
    service.answers[names.DEAD_LIST] = {"dead": [letter], "next_cursor": None}
    shown = aico("dead", "show", "e-1").stdout
    for part in ("user.backup", "user.copy", '{"to": "/mnt"}', "attempt 1", "OSError: gone", "Traceback: one"):
        assert part in shown
    assert service.requests == [(names.DEAD_LIST, {"execution_id": "e-1", "limit": 1})]
    assert json.loads(aico("dead", "show", "e-1", "--json").stdout) == letter
    service.answers[names.DEAD_LIST] = {"dead": [], "next_cursor": None}
    result = aico("dead", "show", "e-9")
    assert (result.exit_code, "there is no dead letter e-9" in result.stderr) == (1, True)


def test_the_registry_is_listed_and_reloaded(aico: Any, service: Any) -> None:
    known = {
        "name": "user.x",
        "description": "does x",
        "module": "m",
        "category": "user",
        "source": "user_folder",
        "available": False,
        "problem": "SyntaxError",
        "config_schema": None,
    }
    service.answers[names.REGISTRY_LIST] = {"classes": [known]}
    assert aico("registry", "list").stdout.splitlines()[1].split() == [
        "user.x",
        "unavailable",
        "user_folder",
        "SyntaxError",
    ]
    assert json.loads(aico("registry", "list", "--json").stdout) == {"classes": [known]}
    changes: dict[str, Any] = {"added": ["a"], "removed": [], "changed": ["b"], "problems": {"c": "broken"}}
    service.answers[names.REGISTRY_RELOAD] = changes
    result = aico("registry", "reload")
    assert (result.stdout, result.stderr) == ("added a\nchanged b\n", "problem in c: broken\n")
    service.answers[names.REGISTRY_RELOAD] = {"added": [], "removed": [], "changed": [], "problems": {}}
    assert aico("registry", "reload").stdout == "Nothing has changed.\n"


@pytest.mark.parametrize(("status", "code"), [("healthy", 0), ("degraded", 0), ("critical", 1)])
def test_health_is_an_exit_code_too(status: str, code: int, aico: Any, service: Any) -> None:
    found = {
        "status": status,
        "live": True,
        "ready": True,
        "reasons": ["slow disk"],
        "checks": {"database": {"ok": True, "latency_ms": 3, "lag": 0.00012345}, "load": {"ok": False, "silent": []}},
        "version": "0.1.0",
    }
    service.answers[names.HEALTH] = found
    result = aico("health")
    assert result.exit_code == code
    assert result.stdout.splitlines()[:2] == [f"{status}, ready, version 0.1.0", "  slow disk"]
    rows = [line.split() for line in result.stdout.splitlines()[3:]]
    assert rows == [["database", "ok", "latency_ms", "3", "lag", "0.0001234"], ["load", "failed"]]
    result = aico("health", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (code, found)


def test_the_load_of_the_last_hour_is_a_table(aico: Any, service: Any) -> None:
    sample = {"at": "2026-01-01T00:00:15Z", "cpu_percent": 12.4, "memory_percent": 40.0, "loop_lag_ms": 1.25,
              "running": 2, "due": 3, "ended_per_second": 0.5}  # fmt: skip
    service.answers[names.STATS_HISTORY] = found = {"interval_seconds": 15.0, "samples": [sample]}
    text = aico("stats", "--history").stdout
    assert " ".join(text.splitlines()[1].split()) == "2026-01-01 00:00:15 12 % 40 % 1.2 ms 2 3 0.50/s"
    assert json.loads(aico("stats", "--history", "--json").stdout) == found


def test_stats_are_shown_by_group(aico: Any, service: Any) -> None:
    found = {
        "uptime_seconds": 125.0,
        "actors": {"store": {"commits": 0, "batch": {"p50": 0.25}}},
        "executions": {"running": 2},
        "caches": {"schedules": {"hits": 1, "misses": 2, "size": 2, "maxsize": 10}},
        "host": {"cpu_percent": 1.5},
    }
    service.answers[names.STATS] = found
    text = aico("stats").stdout
    for line in ("up 2 min 5 s", "actor store", "  commits    0", "  batch.p50  0.25", "host"):
        assert f"{line}\n" in text
    assert text.splitlines()[-1].split() == ["schedules", "2", "1", "2"]
    assert json.loads(aico("stats", "--json").stdout) == found
