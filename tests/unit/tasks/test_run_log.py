"""What is kept of what a task logs: plain, bounded, without secrets, and nothing twice."""

import asyncio
import json
import threading
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from aico_sched.execution.log_relay import BURST, MAX_WRITTEN, LogRelay, received
from aico_sched.run_lines import Line, RunLog
from aico_sched.tasks.run_log import line_of, run_logger
from aico_sched.testing import run_task
from aico_sched.topics import limits
from aico_sched.topics.views import AttemptLogs


def logger(log: RunLog) -> Any:
    return run_logger(log.add, lambda: 0, task_id="user.x", execution_id="e1", attempt=1)


def line(number: int) -> Line:
    return line_of("info", {"event": str(number)}, 0)


def numbers(log: RunLog) -> list[int]:
    return [int(each["message"]) for each in log.since(0)]


class Unwritable:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


def test_a_line_goes_into_the_services_log_and_is_kept() -> None:
    log = RunLog()
    with capture_logs() as written:
        logger(log).bind(part=1).warning("half way", rows=[1, {"a": 2}], api_key="abc", nested={"password": "x"})
    assert (written[0]["event"], written[0]["log_level"], written[0]["task_id"]) == ("half way", "warning", "user.x")
    hidden = "********"
    given_fields = {"part": 1, "rows": [1, {"a": 2}], "api_key": hidden, "nested": {"password": hidden}}
    assert {name: written[0][name] for name in given_fields} == given_fields
    fields = {"part": 1, "rows": '[1,{"a":2}]', "api_key": "********", "nested": '{"password":"********"}'}
    kept = {"at": "1970-01-01T00:00:00.000000Z", "level": "warning", "message": "half way", "fields": fields}
    assert log.plain() == {"lines": [kept], "dropped": 0}


def test_debugging_is_not_kept_and_an_exception_is_as_text() -> None:
    log = RunLog()
    with capture_logs():
        logger(log).debug("detail")
        assert log.plain() is None
        try:
            raise KeyError("gone")
        except KeyError:
            logger(log).exception("it failed")
        logger(log).error("as given", exc_info=ValueError("bad"))
    first, second = log.since(0)
    assert (first["level"], first["message"]) == ("error", "it failed")
    assert first["fields"]["exc_info"].endswith("KeyError: 'gone'\n")
    assert second["fields"]["exc_info"] == "ValueError: bad\n"


def test_what_cannot_be_written_makes_no_task_fail() -> None:
    shown = line_of("info", {"event": Unwritable(), "a": Unwritable(), "b": float("nan"), "c": 2**80, "d": "\ud800"}, 0)
    assert "RuntimeError" in shown["message"]
    assert "RuntimeError" in shown["fields"]["a"]
    assert (shown["fields"]["b"], shown["fields"]["c"], shown["fields"]["d"]) == ("nan", str(2**80), "\\ud800")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=80), anything, max_size=30), st.text(max_size=700))
def test_any_line_is_one_that_the_contract_allows(fields: dict[str, Any], message: str) -> None:
    kept = line_of("error", {**fields, "event": message}, 0)
    assert len(kept["message"]) <= limits.MAX_LOG_CHARS
    assert len(kept["fields"]) <= limits.MAX_LOG_FIELDS + 1
    assert len(json.dumps(kept["fields"], ensure_ascii=False)) < limits.MAX_LOG_FIELD_CHARS * 3
    AttemptLogs(lines=[json.loads(json.dumps(kept, allow_nan=False))], dropped=0)
    assert msgpack.unpackb(msgpack.packb(kept)) == kept


@given(st.integers(0, 400), st.integers(1, 3_000))
def test_the_newest_lines_are_kept_and_the_others_counted(count: int, length: int) -> None:
    log = RunLog()
    for number in range(count):
        log.add(line_of("info", {"event": f"{number}" + " " * length}, 0))
    kept = log.plain() or {"lines": [], "dropped": 0}
    assert len(kept["lines"]) + kept["dropped"] == count
    assert [int(each["message"].rstrip(" …")) for each in kept["lines"]] == list(range(kept["dropped"], count))
    assert len(kept["lines"]) <= limits.MAX_LOG_LINES
    assert len(json.dumps(kept["lines"], separators=(",", ":"))) <= limits.MAX_LOG_BYTES + limits.MAX_LOG_LINES
    assert not count or kept["lines"]


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=12), st.integers(1, 60))
def test_what_comes_from_another_process_is_taken_once_in_whatever_order(batches: Any, last: int) -> None:
    """Each batch is (first, last) of the lines it holds; the answer at the end holds all that there were."""
    log = RunLog()
    for first, end in [*((min(batch), min(max(batch), last)) for batch in batches), (0, last)]:
        log.take([line(number) for number in range(first, end)], end)
    seen = numbers(log)
    assert seen == sorted(set(seen))
    assert log.total == last
    assert len(seen) + (log.plain() or {"dropped": 0})["dropped"] == last


async def test_the_first_lines_leave_at_once_and_a_flood_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: 0.0)
    sent: list[tuple[list[Line], int]] = []
    arrived = RunLog()
    relay = LogRelay(lambda lines, total: sent.append((lines, total)), RunLog())
    for number in range(3):
        relay.add(line(number))
    assert [total for _, total in sent] == [1, 2, 3]
    for number in range(3, 5_000):
        relay.add(line(number))
    assert len(sent) == BURST
    relay.flush()
    relay.flush()
    assert len(sent) == BURST + 1
    with capture_logs() as written:
        for lines, total in sent:
            received(arrived, lines, total, task_id="user.x")
    assert numbers(arrived) == list(range(4_900, 5_000))
    assert (arrived.plain() or {})["dropped"] == 4_900
    assert len(written) <= MAX_WRITTEN
    assert [each["after_lines"] for each in written if each["event"] == "task_log_cut"] == [5_000]


async def test_lines_of_threads_are_sent_by_the_loop() -> None:
    sent: list[int] = []
    threads: set[int] = set()
    done = asyncio.Event()

    def send(lines: list[Line], total: int) -> None:
        sent.extend(int(each["message"]) for each in lines)
        threads.add(threading.get_ident())
        if total == 40:
            done.set()

    relay = LogRelay(send, RunLog())
    await asyncio.to_thread(lambda: [relay.add(line(number)) for number in range(40)])
    async with asyncio.timeout(5):
        await done.wait()
    assert sent == list(range(40))
    assert threads == {threading.get_ident()}


def test_a_hostile_line_harms_no_log() -> None:
    log = RunLog()
    hostile = {"at": "x", "level": "info", "message": "\x1b[2Jgone\nforged", "fields": {
        "self": 1, "event": "forged", "exc_info": True, "task_id": "user.other", "level": "critical"}}  # fmt: skip
    with capture_logs() as written:
        received(log, [hostile], 1, task_id="user.x")
    assert (written[0]["event"], written[0]["task_id"]) == ("\\x1b[2Jgone\\nforged", "user.x")
    assert written[0]["log_level"] == "info"


async def test_a_test_of_a_task_sees_what_it_logged() -> None:
    from tests.integration.execution.log_tasks import Logs

    with capture_logs():
        run = await run_task(Logs, {"lines": 2})
    assert [(each["level"], each["message"], each["fields"]) for each in run.logs] == [
        ("info", "line", {"n": 0, "token": "********"}),
        ("info", "line", {"n": 1, "token": "********"}),
    ]


def test_the_processs_own_log_holds_no_secret_either() -> None:
    loop: dict[str, Any] = {"api_key": "very secret"}
    loop["itself"] = loop
    with capture_logs() as written:
        log = run_logger(lambda line: False, lambda: 0, task_id="user.x")
        log.info("given", token="very secret", inner={"password": "very secret", "port": 1}, plain=object)
        log.info("in a circle", around=loop)
    assert "very secret" not in repr(written)
    assert (written[0]["inner"], written[0]["plain"]) == ({"password": "********", "port": 1}, object)
    assert (written[1]["event"], written[1]["task_id"]) == ("in a circle", "user.x")
