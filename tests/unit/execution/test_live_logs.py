"""Lines of running attempts in batches, within a rate, from any thread."""

import asyncio
from typing import Any

import pytest

from aico_sched.clock import SystemClock
from aico_sched.execution import live_logs
from aico_sched.execution.attempt import Attempt
from aico_sched.execution.live_logs import LiveLogs
from aico_sched.topics import names
from aico_sched.topics.internal import AttemptLines, AttemptsLogged, AttemptStart


class Told:
    """What was posted."""

    def __init__(self) -> None:
        self.messages: list[AttemptsLogged] = []
        self.live = LiveLogs(SystemClock(), self.post)
        self.came = asyncio.Event()

    def post(self, topic: str, message: Any) -> None:
        assert topic == names.ATTEMPTS_LOGGED
        self.messages.append(message)
        self.came.set()

    @property
    def rows(self) -> list[AttemptLines]:
        return [row for message in self.messages for row in message.runs]

    def attempt(self, number: int) -> Attempt:
        start = AttemptStart(f"e{number}", "user.x", 1, "user.x", {}, 0, 0, 5.0, None, "manual", "admin", "admin")
        made = Attempt(start)
        made.logs.reader = Follower(self.live, made)
        return made


class Follower:
    def __init__(self, live: LiveLogs, attempt: Attempt) -> None:
        self._live, self._attempt = live, attempt

    def logged(self) -> None:
        self._live.noted(self._attempt)


def line(n: int) -> dict[str, Any]:
    return {"at": "", "level": "info", "message": str(n), "fields": {}}


async def test_lines_of_a_while_travel_together_and_each_once() -> None:
    told = Told()
    first, second = told.attempt(1), told.attempt(2)
    for n in range(3):
        first.logs.add(line(n))
    second.logs.add(line(0))
    await asyncio.wait_for(told.came.wait(), 5)
    assert [(row.execution_id, len(row.lines), row.total) for row in told.rows] == [("e1", 3, 3), ("e2", 1, 1)]
    assert len(told.messages) == 1
    told.came.clear()
    first.logs.add(line(3))
    await asyncio.wait_for(told.came.wait(), 5)
    assert [row["message"] for row in told.rows[-1].lines] == ["3"]


async def test_last_words_leave_at_once_and_later_ones_never() -> None:
    told = Told()
    attempt = told.attempt(1)
    attempt.logs.add(line(0))
    told.live.over(attempt)
    await asyncio.sleep(0)
    assert [row.total for row in told.rows] == [1]
    attempt.logs.add(line(1))
    told.live.over(attempt)
    await asyncio.sleep(0)
    assert len(told.rows) == 1


async def test_a_thread_that_floods_asks_the_loop_once() -> None:
    told = Told()
    attempt = told.attempt(1)

    def flood() -> None:
        for n in range(10_000):
            attempt.logs.add(line(n))

    await asyncio.to_thread(flood)
    await asyncio.wait_for(told.came.wait(), 5)
    told.live.over(attempt)
    await asyncio.sleep(0)
    assert told.rows[-1].total == 10_000
    assert len(told.rows) <= 20


async def test_beyond_the_rate_lines_wait_or_are_left_to_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_logs, "LINES_PER_SECOND", 10)
    told = Told()
    attempts = [told.attempt(number) for number in range(100)]
    for attempt in attempts:
        attempt.logs.add(line(0))
    await asyncio.wait_for(told.came.wait(), 5)
    assert len(told.rows) == 10
    for attempt in attempts:
        told.live.over(attempt)
    await asyncio.sleep(0)
    assert len(told.rows) == 10
