"""What the commands about tasks ask of the service, and what they print."""

import json
from pathlib import Path
from typing import Any

import pytest

from aico_sched.cli.options import task_options
from aico_sched.cli.output import distance
from aico_sched.topics import commands, names
from aico_sched.topics.errors import CommandError, ErrorCode


def test_create_sends_what_was_given_and_nothing_else(aico: Any, service: Any, task: dict[str, Any]) -> None:
    service.answers[names.TASK_CREATE] = task
    result = aico("create", "user.backup", "0 3 * * *", "--config", "path=/home", "--config", "deep=true")
    assert result.exit_code == 0
    assert service.requests == [
        (
            names.TASK_CREATE,
            {
                "task_id": "user.backup",
                "schedule": "0 3 * * *",
                "config": {"path": "/home", "deep": True},
                "enabled": True,
            },
        )
    ]
    assert result.stdout == "created user.backup, next run 2026-01-02 02:00:00\n"


ALL_OPTIONS = {
    "--group": ("group", "mail", "mail"),
    "--max-instances": ("max_instances", "2", 2),
    "--description": ("description", "d", "d"),
    "--tz": ("timezone", "Asia/Tokyo", "Asia/Tokyo"),
    "--catchup-window": ("catchup_window", "5", 5.0),
    "--misfire": ("misfire", "all", "all"),
    "--overlap": ("overlap", "queue", "queue"),
    "--jitter": ("jitter", "1", 1.0),
    "--timeout": ("timeout", "9", 9.0),
    "--priority": ("priority", "0", 0),
    "--max-defer": ("max_defer", "7", 7.0),
    "--on-max-defer": ("on_max_defer", "skip", "skip"),
    "--blackout": ("blackout", "22:00-06:00", ["22:00-06:00"]),
    "--on-blackout": ("on_blackout", "skip", "skip"),
    "--delivery": ("delivery", "at_most_once", "at_most_once"),
    "--start-at": ("start_at", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
    "--end-at": ("end_at", "2027-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
    "--max-runs": ("max_runs", "3", 3),
    "--resource": ("resources", "GPU=1", {"GPU": 1.0}),
    "--environment": ("environment", "thread", "thread"),
    "--owner": ("owner", "me", "me"),
    "--tag": ("tags", "a", ["a"]),
}


def test_every_option_of_a_task_can_be_given(aico: Any, service: Any, task: dict[str, Any]) -> None:
    service.answers[names.TASK_CREATE] = task
    arguments = [word for option, (_, text, _) in ALL_OPTIONS.items() for word in (option, text)]
    retry = ["--retry-attempts", "2", "--retry-jitter", "full", "--limit-cpu-seconds", "2", "--limit-memory-mb", "64"]
    assert (
        aico(
            "create", "user.x", "@daily", *arguments, *retry, "--no-idle-only", "--low-activity", "--fixed-delay"
        ).exit_code
        == 0
    )
    _, payload = service.requests[0]
    expected = {field: value for field, _, value in ALL_OPTIONS.values()}
    expected["retry"] = {"max_attempts": 2, "jitter": "full"}
    expected["limits"] = {"cpu_seconds": 2.0, "memory_mb": 64}
    expected["idle_only"] = False
    expected["low_activity"] = True
    expected["fixed_delay"] = True
    assert {key: payload[key] for key in expected} == expected
    assert set(expected) == set(commands.TaskOptions.model_fields)
    commands.TaskCreate.model_validate(payload)


def test_no_option_means_no_field() -> None:
    assert task_options() == {}


@pytest.mark.parametrize(
    ("name", "text"), [("v.json", '{"a": 1, "b": [2]}'), ("v.yaml", "a: 1\nb: [2]\n"), ("v.yml", "{a: 1, b: [2]}")]
)
def test_a_tasks_own_settings_may_come_from_a_file(
    name: str, text: str, aico: Any, service: Any, task: dict[str, Any], tmp_path: Path
) -> None:
    service.answers[names.TASK_CREATE] = task
    (tmp_path / name).write_text(text)
    aico("create", "user.x", "@daily", "-c", f"@{tmp_path / name}", "-c", "a=text = with equals", "-c", "c=null")
    assert service.requests[0][1]["config"] == {"a": "text = with equals", "b": [2], "c": None}


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("path", "KEY=VALUE or @FILE"),
        ("=x", "KEY=VALUE"),
        ("@/none.json", "No such file"),
        ("@{tmp}/list", "a mapping"),
    ],
)
def test_settings_that_make_no_sense_are_wrong_usage(
    given: str, problem: str, aico: Any, service: Any, tmp_path: Path
) -> None:
    (tmp_path / "list").write_text("[]")
    result = aico("create", "user.x", "@daily", "-c", given.format(tmp=tmp_path))
    assert (result.exit_code, service.requests) == (2, [])
    assert problem in result.stderr


def test_update_sends_changes_and_resets(aico: Any, service: Any, task: dict[str, Any]) -> None:
    service.answers[names.TASK_UPDATE] = task
    resets = ("--reset", "retry", "--reset", "--tz", "--reset", "tag", "--reset", "on-max-defer")
    arguments = ("--schedule", "@hourly", "--timeout", "5", *resets, "--revision", "3")
    assert aico("update", "user.x", *arguments).exit_code == 0
    assert service.requests[0][1] == {
        "task_id": "user.x",
        "schedule": "@hourly",
        "timeout": 5.0,
        "retry": None,
        "timezone": None,
        "tags": [],
        "on_max_defer": "run",
        "revision": 3,
    }
    commands.TaskUpdate.model_validate(service.requests[0][1])


@pytest.mark.parametrize("arguments", [(), ("--timeout", "5", "--reset", "timeout"), ("--reset", "nonsense")])
def test_an_update_of_nothing_or_both_ways_or_something_else_is_wrong_usage(
    arguments: tuple[str, ...], aico: Any, service: Any
) -> None:
    assert aico("update", "user.x", *arguments).exit_code == 2
    assert service.requests == []


@pytest.mark.parametrize(
    ("arguments", "topic", "payload"),
    [
        (("enable", "t"), names.TASK_ENABLE, {"task_id": "t"}),
        (("disable", "t"), names.TASK_DISABLE, {"task_id": "t"}),
        (("pause", "t", "--note", "holiday"), names.TASK_PAUSE, {"task_id": "t", "note": "holiday"}),
        (("resume", "t"), names.TASK_RESUME, {"task_id": "t"}),
        (("delete", "t"), names.TASK_DELETE, {"task_id": "t"}),
        (("delete", "t", "--remove-code", "-y"), names.TASK_DELETE, {"task_id": "t", "remove_code": True}),
    ],
)
def test_changes_are_one_command_each(
    arguments: tuple[str, ...], topic: str, payload: dict[str, Any], aico: Any, service: Any, task: dict[str, Any]
) -> None:
    service.answers[topic] = task
    result = aico(*arguments)
    assert (result.exit_code, service.requests) == (0, [(topic, payload)])
    assert result.stdout.startswith(f"{arguments[0].rstrip('e')}")
    assert json.loads(aico(*arguments, "--json").stdout) == task


def test_warnings_stand_on_standard_error(aico: Any, service: Any, task: dict[str, Any]) -> None:
    service.answers[names.TASK_CREATE] = task | {"warnings": ["minute */7 is uneven"]}
    result = aico("create", "user.x", "*/7 * * * *")
    assert result.stderr == "warning: minute */7 is uneven\n"


def test_list_shows_all_pages(aico: Any, service: Any, task: dict[str, Any]) -> None:
    second = task | {"task_id": "user.other", "state": "paused", "next_run": None}
    pages = [{"tasks": [task], "next_cursor": "c1"}, {"tasks": [second], "next_cursor": None}]
    service.answers[names.TASK_LIST] = list(pages)
    result = aico("list", "user.", "--state", "active")
    shown = [line.split() for line in result.stdout.splitlines()[1:]]
    assert [set(line) & {"user.backup", "active", "user.other", "paused"} for line in shown] == [
        {"user.backup", "active"},
        {"user.other", "paused"},
    ]
    assert service.requests[0][1] == {"prefix": "user.", "state": "active", "history": 5, "limit": 1000}
    assert service.requests[1][1]["cursor"] == "c1"
    service.answers[names.TASK_LIST] = list(pages)
    assert json.loads(aico("list", "--json").stdout) == {"tasks": [task, second], "next_cursor": None}


def test_list_stops_at_its_limit(aico: Any, service: Any, task: dict[str, Any]) -> None:
    service.answers[names.TASK_LIST] = {"tasks": [task], "next_cursor": "c1"}
    assert json.loads(aico("list", "-n", "1", "--json").stdout) == {"tasks": [task], "next_cursor": "c1"}
    assert len(service.requests) == 1


def test_an_empty_list_says_so(aico: Any, service: Any) -> None:
    service.answers[names.TASK_LIST] = {"tasks": [], "next_cursor": None}
    assert aico("list").stdout == "No tasks.\n"


def test_status_shows_the_task_and_its_executions(
    aico: Any, service: Any, task: dict[str, Any], execution: dict[str, Any]
) -> None:
    found = {"task": task | {"note": "why"}, "executions": [execution]}
    service.answers[names.TASK_STATUS] = found
    text = aico("status", "user.backup", "-n", "1").stdout
    assert service.requests[0][1] == {"task_id": "user.backup", "history": 1}
    for words in ("0 3 * * * (Europe/Berlin)", '{"path":"/home"}', "2026-01-02 02:00:00", "e-1", "1.5 s", "why"):
        assert words in text
    assert json.loads(aico("status", "user.backup", "--json").stdout) == found


def test_trigger_says_which_execution_it_is(aico: Any, service: Any) -> None:
    started = {"execution_id": "e-1", "task_id": "user.backup"}
    service.answers[names.TASK_TRIGGER] = started
    assert "execution e-1" in aico("trigger", "user.backup").stdout
    assert json.loads(aico("trigger", "user.backup", "--json").stdout) == started


@pytest.mark.parametrize(("status", "code"), [("succeeded", 0), ("dead", 1), ("cancelled", 1)])
def test_trigger_can_wait_for_the_end(
    status: str, code: int, aico: Any, service: Any, execution: dict[str, Any]
) -> None:
    service.answers[names.TASK_TRIGGER] = {"execution_id": "e-1", "task_id": "user.backup"}
    service.executions["e-1"] = execution | {"status": status}
    result = aico("trigger", "user.backup", "--wait")
    assert result.exit_code == code
    assert result.stdout.splitlines()[0] == f"user.backup {status} after 1.5 s"
    result = aico("trigger", "user.backup", "--wait", "--json")
    assert (result.exit_code, json.loads(result.stdout)["status"]) == (code, status)


@pytest.mark.parametrize("code", list(ErrorCode))
def test_a_refusal_is_exit_code_1_with_the_services_own_words(code: ErrorCode, aico: Any, service: Any) -> None:
    service.answers[names.TASK_CREATE] = CommandError(code, "the reason", field="schedule")
    result = aico("create", "user.x", "@daily")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: the reason\n")
    assert "{program}" not in result.stderr
    result = aico("create", "user.x", "@daily", "--json")
    error = {"code": code.value, "message": "the reason", "details": {"field": "schedule"}}
    assert (result.exit_code, json.loads(result.stdout), result.stderr) == (1, {"error": error}, "")


def test_a_task_cannot_make_the_terminal_do_things(aico: Any, service: Any, task: dict[str, Any]) -> None:
    nasty = "\x1b]0;owned\x07[bold]x[/bold]\x9b31m"
    service.answers[names.TASK_STATUS] = {"task": task | {"note": nasty}, "executions": []}
    text = aico("status", "user.backup").stdout
    assert "\\x1b]0;owned\\x07[bold]x[/bold]\\x9b31m" in text


def test_a_list_is_sorted_by_what_comes_next_and_tells_how_it_went(
    aico: Any, service: Any, task: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    late = {**task, "task_id": "user.a", "recent": ["running", "succeeded", "dead"]}
    soon = {**task, "task_id": "user.z", "next_run": "2026-01-01T02:00:00.000000Z", "last_run": task["created_at"]}
    never = {**task, "task_id": "user.0", "next_run": None}
    service.answers[names.TASK_LIST] = {"tasks": [never, late, soon], "next_cursor": None}
    head, *lines = aico("list").stdout.splitlines()
    assert head.split() == ["NEXT", "LEFT", "LAST", "PASSED", "TASK", "STATE", "SCHEDULE", "RESULTS"]
    assert [line.split("user.")[1][0] for line in lines] == ["z", "a", "0"]
    assert "▶✓✗" in lines[1]
    assert service.requests[0][1]["history"] == 5


@pytest.mark.parametrize(
    ("start", "end", "shown"),
    [
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "now"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.9Z", "now"),
        ("2026-01-01T00:00:01Z", "2026-01-01T00:00:00Z", "now"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:01:05Z", "1 min 5 s"),
        ("2026-01-01T00:00:00Z", "2026-01-01T03:00:20Z", "3 h"),
        ("2026-01-01T00:00:00Z", "2026-01-03T05:59:59Z", "2 d 5 h"),
        (None, "2026-01-03T05:59:59Z", None),
    ],
)
def test_a_distance_in_its_two_largest_units(start: str | None, end: str, shown: str | None) -> None:
    assert distance(start, end) == shown


def test_status_tells_what_runs_used(aico: Any, service: Any, task: dict[str, Any], execution: dict[str, Any]) -> None:
    usage = {"cpu_seconds": 0.25, "steps": 12, "longest_step_seconds": 0.004, "memory_mb": 81.4, "environment": "loop"}
    bare = execution | {"execution_id": "e-2", "usage": None}
    executions = [execution | {"usage": usage}, bare, execution | {"usage": {"steps": 1, "abandoned": True}}]
    service.answers[names.TASK_STATUS] = {"task": task, "executions": executions}
    text = aico("status", "user.backup").stdout
    assert "USED" in text
    assert "cpu 250 ms, 12 steps, longest 4 ms, 81 MB" in text
    assert "1 step, abandoned" in text
    service.answers[names.EXECUTION_LIST] = {"executions": executions, "next_cursor": None}
    assert "USED" not in aico("logs").stdout
