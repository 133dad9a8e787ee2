"""Every command of the contract, over the bus: one answer of the promised form, the events it causes, and no second
effect when it comes twice. The registry is walked, so that a command without a case fails here."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from aico_sched.topics import names
from aico_sched.topics.errors import ErrorCode
from aico_sched.topics.registry import COMMANDS, EVENTS
from tests.integration.support.running import Running
from tests.integration.support.tasks import Gate
from tests.integration.support.wire import Wire

FAR = "interval:86400"
PATIENT = {"retry": {"delay": 3600, "max_delay": 3600}}

Prepare = Callable[[Running, Gate], Awaitable[dict[str, Any]]]


async def echo(run: Running, gate: Gate) -> dict[str, Any]:
    await run.client.create("user.a", FAR, task_class="demo.echo", config={"x": 1})
    return {"task_id": "user.a"}


async def new(run: Running, gate: Gate) -> dict[str, Any]:
    return {"task_id": "user.a", "schedule": FAR, "task_class": "demo.echo", "config": {"x": [1, None, "é"]}}


async def changed(run: Running, gate: Gate) -> dict[str, Any]:
    return {**await echo(run, gate), "schedule": "*/7 * * * *", "tags": ["b", "a"]}


async def disabled(run: Running, gate: Gate) -> dict[str, Any]:
    await echo(run, gate)
    await run.client.disable("user.a")
    return {"task_id": "user.a"}


async def paused(run: Running, gate: Gate) -> dict[str, Any]:
    await echo(run, gate)
    await run.client.pause("user.a")
    return {"task_id": "user.a"}


async def noted(run: Running, gate: Gate) -> dict[str, Any]:
    return {**await echo(run, gate), "note": "on holiday"}


async def past(run: Running, gate: Gate) -> dict[str, Any]:
    """An interval's slots count from its creation; the hours of a cron task are there already."""
    await run.client.create("user.a", "0 * * * *", task_class="demo.echo")
    now = datetime.now(UTC)
    return {"task_id": "user.a", "start": (now - timedelta(hours=3)).isoformat(), "end": now.isoformat()}


async def waiting(run: Running, gate: Gate) -> dict[str, Any]:
    """A run that waits for the one before it."""
    await run.client.create("user.a", FAR, task_class="user.gated", config={"gate": gate.name})
    await run.client.trigger("user.a")
    return {"execution_id": (await run.client.trigger("user.a")).execution_id}


async def dead(run: Running, gate: Gate) -> dict[str, Any]:
    await run.client.create("user.a", FAR, task_class="user.raises", config={"kind": "ValueError"})
    return {"execution_id": (await run.ran("user.a")).execution_id}


async def nothing(run: Running, gate: Gate) -> dict[str, Any]:
    return {}


async def expression(run: Running, gate: Gate) -> dict[str, Any]:
    return {"schedule": "0 3 * * *", "timezone": "Europe/Berlin", "count": 2}


async def created_events(run: Running, gate: Gate) -> dict[str, Any]:
    await echo(run, gate)
    return {"topic": names.TASK_CREATED}


async def a_file(run: Running, gate: Gate) -> dict[str, Any]:
    return {"file": str(run.settings.data_dir / "copy.backup")}


class Case(NamedTuple):
    prepare: Prepare
    causes: tuple[str, ...] = ()


CASES = {
    names.TASK_CREATE: Case(new, (names.TASK_CREATED,)),
    names.TASK_UPDATE: Case(changed, (names.TASK_UPDATED,)),
    names.TASK_DELETE: Case(echo, (names.TASK_DELETED,)),
    names.TASK_ENABLE: Case(disabled, (names.TASK_ENABLED,)),
    names.TASK_DISABLE: Case(echo, (names.TASK_DISABLED,)),
    names.TASK_PAUSE: Case(noted, (names.TASK_PAUSED,)),
    names.TASK_RESUME: Case(paused, (names.TASK_RESUMED,)),
    names.TASK_TRIGGER: Case(echo, (names.EXECUTION_STARTED, names.EXECUTION_SUCCEEDED)),
    names.TASK_BACKFILL: Case(past, (names.EXECUTION_STARTED, names.EXECUTION_SUCCEEDED)),
    names.TASK_STATUS: Case(echo),
    names.TASK_LIST: Case(nothing),
    names.EXECUTION_LIST: Case(nothing),
    names.EXECUTION_CANCEL: Case(waiting, (names.EXECUTION_CANCELLED,)),
    names.DEAD_LIST: Case(nothing),
    names.DEAD_REQUEUE: Case(dead, (names.EXECUTION_STARTED, names.EXECUTION_FAILED, names.EXECUTION_DEAD)),
    names.DEAD_DISCARD: Case(dead),
    names.SCHEDULE_EXPLAIN: Case(expression),
    names.REGISTRY_LIST: Case(nothing),
    names.REGISTRY_RELOAD: Case(nothing),
    names.EVENT_LIST: Case(created_events),
    names.AUDIT_LIST: Case(nothing),
    names.STORE_VACUUM: Case(nothing),
    names.STORE_CHECK: Case(nothing),
    names.STORE_BACKUP: Case(a_file),
    names.STORE_REKEY: Case(nothing),
    names.STATS: Case(nothing),
    names.STATS_HISTORY: Case(nothing),
    names.HEALTH: Case(nothing),
}


def test_every_command_has_a_case() -> None:
    assert CASES.keys() == COMMANDS.keys()


@pytest.mark.parametrize("topic", COMMANDS)
async def test_a_good_command_gets_one_answer_of_the_promised_form(
    run: Running, wire: Wire, gate: Gate, topic: str
) -> None:
    payload = await CASES[topic].prepare(run, gate)
    await run.barrier()
    correlation_id = await wire.send(topic, payload)
    answer = await wire.answer(correlation_id)
    await wire.barrier()

    assert wire.answers(correlation_id) == [answer]
    assert answer.keys() == {"ok", "result"}, answer
    assert answer["ok"] is True
    COMMANDS[topic].result.model_validate(answer["result"])
    assert not [line for line in run.audit() if line["outcome"] not in ("ok",)]
    gate.open()


@pytest.mark.parametrize("topic", [topic for topic, command in COMMANDS.items() if command.mutates])
async def test_a_change_is_told_once_and_a_repeat_changes_nothing(
    run: Running, wire: Wire, gate: Gate, topic: str
) -> None:
    payload, causes = await CASES[topic].prepare(run, gate), CASES[topic].causes
    await run.barrier()
    before = len(run.events.seen)
    message_id = f"once-{topic}"
    attributes = {"reply_to": wire.reply_to}
    first = await wire.ask(topic, payload, message_id=message_id, attributes=attributes)
    assert first["ok"] is True, first
    gate.open()
    for cause in causes:
        await run.events.until(lambda cause=cause: any(e.topic == cause for e in run.events.seen[before:]), cause)
    runs = len(first["result"].get("execution_ids", ()))
    await run.events.until(
        lambda: sum(event.topic == names.EXECUTION_SUCCEEDED for event in run.events.seen[before:]) >= runs,
        f"{runs} runs",
    )
    await run.barrier()
    content, told = run.content(), [e.topic for e in run.events.seen if e.seq]

    await wire.send(topic, payload, message_id=message_id, attributes=attributes)
    await wire.barrier()
    assert wire.answers(message_id) == [first, first]
    assert run.content() == content
    assert [e.topic for e in run.events.seen if e.seq] == told
    if topic.startswith("scheduler.task.") and topic not in (names.TASK_TRIGGER, names.TASK_BACKFILL):
        assert told[before:].count(causes[0]) == 1


async def test_a_repeat_of_a_refused_command_gets_the_first_refusal(run: Running, wire: Wire) -> None:
    payload = {"task_id": "user.a"}
    first = await wire.ask(names.TASK_TRIGGER, payload, message_id="m1")
    assert first["error"]["code"] == "task_not_found"
    await run.client.create("user.a", FAR, task_class="demo.echo")
    assert await wire.ask(names.TASK_TRIGGER, payload, message_id="m1") == first
    assert (await wire.ask(names.TASK_TRIGGER, payload, message_id="m2"))["ok"] is True


NOT_THERE = {"task_id": "user.nobody"}
NO_EXECUTION = {"execution_id": "nobody"}
GOOD = {"task_id": "user.b", "schedule": FAR, "task_class": "demo.echo"}


REFUSALS: list[tuple[str, dict[str, Any], str, str]] = [
    (names.TASK_CREATE, {**GOOD, "task_id": "user.a"}, "task_exists", "task_id"),
    (names.TASK_CREATE, {**GOOD, "schedule": "61 * * * *"}, "invalid_schedule", "schedule"),
    (names.TASK_CREATE, {**GOOD, "schedule": "0 0 30 2 *"}, "invalid_schedule", "schedule"),
    (names.TASK_CREATE, {**GOOD, "schedule": "at:2020-01-01T00:00:00Z"}, "invalid_schedule", "schedule"),
    (names.TASK_CREATE, {**GOOD, "timezone": "Mars/Olympus"}, "invalid_schedule", "timezone"),
    (names.TASK_CREATE, {**GOOD, "schedule": "@daily", "fixed_delay": True}, "invalid_schedule", "fixed_delay"),
    (names.TASK_CREATE, {**GOOD, "task_class": "demo.ecoh"}, "unknown_task_class", "task_class"),
    (names.TASK_CREATE, {"task_id": "user.b", "schedule": FAR}, "unknown_task_class", "task_class"),
    (
        names.TASK_CREATE,
        {**GOOD, "task_class": "demo.sleep", "config": {"steps": "x"}},
        "invalid_message",
        "config.steps",
    ),
    (
        names.TASK_CREATE,
        {**GOOD, "task_class": "demo.sleep", "config": {"stepz": 1}},
        "invalid_message",
        "config.stepz",
    ),
    (names.TASK_UPDATE, {"task_id": "user.a", "revision": 7}, "conflict", "revision"),
    (names.TASK_UPDATE, {"task_id": "user.a", "schedule": "nonsense"}, "invalid_schedule", "schedule"),
    (names.TASK_UPDATE, {"task_id": "user.a", "task_class": "no.such"}, "unknown_task_class", "task_class"),
    (names.TASK_DELETE, {"task_id": "maintenance.log_cleanup"}, "protected_task", "task_id"),
    (names.TASK_DELETE, {"task_id": "user.a", "remove_code": True}, "invalid_message", "remove_code"),
    *(
        (topic, NOT_THERE, "task_not_found", "task_id")
        for topic in (
            names.TASK_UPDATE,
            names.TASK_DELETE,
            names.TASK_ENABLE,
            names.TASK_DISABLE,
            names.TASK_PAUSE,
            names.TASK_RESUME,
            names.TASK_TRIGGER,
            names.TASK_STATUS,
        )
    ),
    (
        names.TASK_BACKFILL,
        {**NOT_THERE, "start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"},
        "task_not_found",
        "task_id",
    ),
    (
        names.TASK_BACKFILL,
        {"task_id": "user.hourly", "start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z", "max_runs": 3},
        "invalid_message",
        "max_runs",
    ),
    *(
        (topic, NO_EXECUTION, "execution_not_found", "execution_id")
        for topic in (names.EXECUTION_CANCEL, names.DEAD_REQUEUE, names.DEAD_DISCARD)
    ),
    (names.EXECUTION_LIST, {"cursor": "nonsense"}, "invalid_message", "cursor"),
    (names.SCHEDULE_EXPLAIN, {"schedule": "* * * *"}, "invalid_schedule", "schedule"),
    (names.SCHEDULE_EXPLAIN, {"schedule": "@daily", "timezone": "Nowhere"}, "invalid_schedule", "timezone"),
]


async def test_a_refused_command_says_why_and_changes_nothing(run: Running, wire: Wire) -> None:
    await run.client.create("user.a", FAR, task_class="demo.echo")
    await run.client.create("user.hourly", "0 * * * *", task_class="demo.echo")
    await run.events.first(names.TASK_CREATED, task_id="user.hourly")
    before, told = run.content(), len(run.events.seen)
    wrong = []
    for topic, payload, code, field in REFUSALS:
        correlation_id = await wire.send(topic, payload)
        answer = await wire.answer(correlation_id)
        await wire.barrier()
        error = answer.get("error", {})
        found = (answer["ok"], error.get("code"), error.get("details", {}).get("field"), error.get("retryable"))
        shape = (answer.keys(), error.keys(), len(wire.answers(correlation_id)))
        expected_shape = ({"ok", "error"}, {"code", "message", "retryable", "details"}, 1)
        if (found, shape) != ((False, code, field, False), expected_shape) or len(error["message"]) < 10:
            wrong.append((topic, payload, answer))
        if run.content() != before:
            wrong.append((topic, payload, "it changed something"))
            before = run.content()
    assert wrong == []
    assert [event for event in run.events.seen[told:] if event.topic != names.AVAILABILITY] == []


async def test_an_execution_that_has_ended_cannot_be_cancelled(run: Running, wire: Wire, gate: Gate) -> None:
    await echo(run, gate)
    execution = await run.ran("user.a")
    answer = await wire.ask(names.EXECUTION_CANCEL, {"execution_id": execution.execution_id})
    assert answer["error"]["code"] == "conflict"
    assert answer["error"]["details"] == {"field": "execution_id", "status": "succeeded"}


@pytest.mark.parametrize(
    ("role", "task_id", "task_class", "code"),
    [
        ("module", "user.m", "demo.echo", None),
        ("module", "maintenance.m", "demo.echo", "permission_denied"),
        ("module", "user.m", "maintenance.health_check", "permission_denied"),
        ("module", "agency.m", "demo.echo", "permission_denied"),
        ("operator", "agency.m", "demo.echo", None),
        ("operator", "security.m", "demo.echo", "permission_denied"),
    ],
)
async def test_a_task_s_namespace_says_who_may_create_it(
    start: Any, wire_to: Any, role: str, task_id: str, task_class: str, code: str | None
) -> None:
    run = await start(roles={"someone": role})
    wire = await wire_to(run, "someone")
    answer = await wire.ask(names.TASK_CREATE, {"task_id": task_id, "schedule": FAR, "task_class": task_class})
    line = run.audit()[-1]
    assert (line["source"], line["role"], line["target"]) == ("someone", role, task_id)
    if code is None:
        assert answer["result"]["created_by"] == "someone"
        assert line["outcome"] == "ok"
    else:
        assert (answer["error"]["code"], answer["error"]["details"]["field"]) == (code, "task_id")
        assert line["outcome"] == code


async def test_a_module_may_not_change_the_system_s_tasks(start: Any, wire_to: Any) -> None:
    run = await start(roles={"someone": "module"})
    wire = await wire_to(run, "someone")
    before = run.content()
    payload = {"task_id": "maintenance.health_check"}
    for topic in (names.TASK_UPDATE, names.TASK_DELETE):
        answer = await wire.ask(topic, payload)
        assert answer["error"]["code"] == "permission_denied"
    assert run.content() == before


def test_every_error_code_is_known_to_these_tests() -> None:
    """Codes with a test here or in test_bad_input.py (`too_large`), test_limits.py (`rate_limited`); `unavailable` and
    `internal` stand for troubles of the machine's and ours."""
    assert set(ErrorCode) == {
        "invalid_message", "invalid_schedule", "unknown_task_class", "task_exists", "task_not_found",
        "execution_not_found", "permission_denied", "protected_task", "too_large", "rate_limited", "conflict",
        "unavailable", "internal",
    }  # fmt: skip


async def test_every_event_s_payload_is_as_the_contract_has_it(run: Running, gate: Gate) -> None:
    """A tour through most of what can happen; each message is checked against its model, and counted."""
    client = run.client
    await echo(run, gate)
    await client.update("user.a", tags=["x"])
    await client.pause("user.a", note="why")
    await client.resume("user.a")
    await client.disable("user.a")
    await client.enable("user.a")
    await client.create("user.p", FAR, task_class="user.progresses")
    await run.ran("user.p")
    await client.create("user.f", FAR, task_class="demo.fail", config={"times": 1}, retry={"delay": 0.01})
    assert (await run.ran("user.f")).status == "succeeded"
    await client.create("user.d", FAR, task_class="user.raises", config={"kind": "ValueError"})
    assert (await run.ran("user.d")).status == "dead"
    await client.create("user.t", FAR, task_class="user.gated", config={"gate": gate.name}, timeout=0.02,
                        retry={"max_attempts": 1})  # fmt: skip
    assert (await run.ran("user.t")).status == "dead"
    await client.delete("user.a")
    await run.events.first(names.TASK_DELETED)

    for event in run.events.seen:
        EVENTS[event.topic].payload.model_validate(event.payload)
    seen = {event.topic for event in run.events.seen}
    expected = {names.TASK_CREATED, names.TASK_UPDATED, names.TASK_PAUSED, names.TASK_RESUMED, names.TASK_DISABLED,
                names.TASK_ENABLED, names.TASK_DELETED, names.EXECUTION_STARTED, names.EXECUTION_PROGRESS,
                names.EXECUTION_SUCCEEDED, names.EXECUTION_FAILED, names.EXECUTION_RETRYING,
                names.EXECUTION_TIMED_OUT, names.EXECUTION_DEAD}  # fmt: skip
    assert expected <= seen
    for topic in seen - {names.AVAILABILITY}:
        numbers = [event.seq for event in run.events.of(topic)]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), topic
