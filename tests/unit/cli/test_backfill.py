"""`backfill`, and times as people type them."""

import asyncio
import json
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aico_sched.cli.errors import Failure
from aico_sched.cli.moments import moment
from aico_sched.topics import names
from aico_sched.topics.commands import TaskBackfill
from aico_sched.topics.errors import CommandError, ErrorCode
from aico_sched.topics.views import ExecutionView

RANGE = ("--from", "2026-03-01", "--to", "2026-03-02 12:00")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-01", "2026-02-28T23:00:00.000000Z"),
        ("2026-03-01 01:30", "2026-03-01T00:30:00.000000Z"),
        ("2026-07-01T01:30:05.25", "2026-06-30T23:30:05.250000Z"),
        ("2026-03-01T01:30:00Z", "2026-03-01T01:30:00.000000Z"),
        ("2026-03-01T01:30:00-05:00", "2026-03-01T06:30:00.000000Z"),
        # The gap and the overlap of Berlin's year.
        ("2026-03-29 02:30", "2026-03-29T01:30:00.000000Z"),
        ("2026-10-25 02:30", "2026-10-25T00:30:00.000000Z"),
    ],
)
def test_a_time_is_in_the_users_zone(text: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    assert moment(text, "from") == expected


@pytest.mark.parametrize("text", ["", "soon", "2026-02-30", "25:00", "0001-01-01T00:00:00+14:00", "2026-03-01\x00"])
def test_what_is_no_time_is_wrong_usage(text: str) -> None:
    with pytest.raises(Failure, match="--from takes a time such as") as refused:
        moment(text, "from")
    assert (refused.value.code, refused.value.details) == ("usage", {"option": "from"})


def test_it_asks_for_the_range_and_says_what_was_queued(aico: Any, service: Any) -> None:
    service.answers[names.TASK_BACKFILL] = {"task_id": "user.a", "execution_ids": ["e-1", "e-2"]}
    result = aico("backfill", "user.a", *RANGE, "--max-runs", "7")
    assert (result.exit_code, result.stdout) == (
        0,
        "2 runs of user.a queued, 2026-03-01 00:00:00 to 2026-03-02 12:00:00\n",
    )
    topic, payload = service.requests[0]
    assert topic == names.TASK_BACKFILL
    asked = TaskBackfill.model_validate(payload)
    assert (asked.overlap, asked.max_runs) == ("queue", 7)
    assert (payload["start"], payload["end"]) == ("2026-03-01T00:00:00.000000Z", "2026-03-02T12:00:00.000000Z")


def test_without_an_end_the_range_ends_now_and_runs_may_overlap(aico: Any, service: Any) -> None:
    service.answers[names.TASK_BACKFILL] = {"task_id": "user.a", "execution_ids": []}
    result = aico("backfill", "user.a", "--from", "2026-03-01", "--at-once")
    assert result.stdout.startswith("no runs of user.a queued: its schedule has no time there, 2026-03-01 00:00:00 to ")
    assert TaskBackfill.model_validate(service.requests[0][1]).overlap == "allow"


def test_json_is_the_answer_or_with_wait_the_runs(aico: Any, service: Any, execution: dict[str, Any]) -> None:
    answer = {"task_id": "user.a", "execution_ids": ["e-1"]}
    service.answers[names.TASK_BACKFILL] = answer
    service.executions["e-1"] = execution
    assert json.loads(aico("backfill", "user.a", *RANGE, "--json").stdout) == answer
    waited = json.loads(aico("backfill", "user.a", *RANGE, "--json", "--wait").stdout)
    assert [ExecutionView.model_validate(run).status for run in waited["executions"]] == ["succeeded"]


def test_wait_ends_with_1_unless_all_succeed_and_shows_those_that_did_not(
    aico: Any, service: Any, execution: dict[str, Any]
) -> None:
    service.answers[names.TASK_BACKFILL] = {"task_id": "user.a", "execution_ids": ["e-1", "e-2"]}
    failed = {"execution_id": "e-2", "status": "dead", "error_message": "no such folder"}
    service.executions = {"e-1": execution, "e-2": execution | failed}
    result = aico("backfill", "user.a", *RANGE, "--wait")
    assert result.exit_code == 1
    assert "1 of 2 succeeded" in result.stdout
    assert "e-2" in result.stdout and "no such folder" in result.stdout and "e-1" not in result.stdout


def test_wrong_input_asks_the_service_nothing(aico: Any, service: Any) -> None:
    for wrong in (("--from", "soon"), ("--from", "2026-03-01", "--to", "x"), (), (*RANGE, "--max-runs", "1001")):
        assert aico("backfill", "user.a", *wrong).exit_code == 2
    assert service.requests == []


def test_a_refusal_is_told(aico: Any, service: Any) -> None:
    message = "the range holds more than 100 slots; narrow it, or raise max_runs (at most 1000)"
    service.answers[names.TASK_BACKFILL] = CommandError(ErrorCode.INVALID_MESSAGE, message, field="max_runs")
    result = aico("backfill", "user.a", *RANGE)
    assert (result.exit_code, message in result.words) == (1, True)


@pytest.mark.parametrize(("command", "topic"), [("logs", names.EXECUTION_LIST), ("audit", names.AUDIT_LIST)])
def test_since_is_in_the_users_zone_everywhere(command: str, topic: str, aico: Any, service: Any) -> None:
    service.answers[topic] = {"executions": [], "lines": [], "next_cursor": None}
    assert aico(command, "--since", "2026-03-01 12:00").exit_code == 0
    assert service.requests[0][1]["since"] == "2026-03-01T12:00:00.000000Z"


@pytest.fixture
def ctrl_c() -> Iterator[Callable[[], None]]:
    """Ctrl-C as a terminal sends it. asyncio heeds it only where nobody has changed what it does: another test may
    have, and a shell does for what it runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)


def test_to_stop_waiting_ends_no_run_and_says_so(
    aico: Any,
    service: Any,
    execution: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    ctrl_c: Callable[[], None],
) -> None:
    service.answers[names.TASK_BACKFILL] = {"task_id": "user.a", "execution_ids": ["e-1", "e-2", "e-3"]}
    service.executions["e-1"] = execution
    waits = service.wait

    async def wait(execution_id: str) -> ExecutionView:
        if execution_id == "e-2":
            ctrl_c()
            async with asyncio.timeout(10):
                await asyncio.Event().wait()
        view: ExecutionView = await waits(execution_id)
        return view

    monkeypatch.setattr(service, "wait", wait)
    result = aico("backfill", "user.a", *RANGE, "--wait")
    assert result.exit_code == 130
    told = " ".join(result.stderr.split())
    assert "stopped waiting at 1 of 3; the other runs go on" in told
    assert "logs user.a" in told and "cancel EXECUTION_ID" in told
    assert aico("backfill", "user.a", *RANGE, "--wait", "--json").stdout == ""
