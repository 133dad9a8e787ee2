"""The REST API does what the bus does, for who has the token, and says no in problem documents."""

import re
from typing import Any

import httpx

from aico_sched.api.operations import OPERATIONS
from aico_sched.api.problems import STATUS
from aico_sched.topics.errors import ErrorCode
from aico_sched.topics.registry import COMMANDS
from tests.integration.support.tasks import Gate

FAR = "interval:86400"

NOT_OVER_HTTP = "scheduler.store."
"""They touch files and keys of the machine; operations.py says why they are left out."""


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    found: dict[str, Any] = answer.json()
    assert (found["status"], found["code"], found["type"]) == (status, code, f"urn:aico-sched:error:{code}")
    return found


async def test_a_task_from_its_creation_to_its_end(web: Any) -> None:
    http = web.http
    task = {"task_id": "user.a", "schedule": FAR, "task_class": "demo.echo", "config": {"n": 1}, "tags": ["x"]}
    made = await http.post("tasks", json=task)
    assert (made.status_code, made.json()["config"], made.json()["state"]) == (201, {"n": 1}, "active")
    page = (await http.get("tasks", params={"prefix": "user.", "limit": 5, "tag": "x"})).json()
    assert [each["task_id"] for each in page["tasks"]] == ["user.a"]
    for method in (http.put, http.patch):
        changed = await method("tasks/user.a", json={"config": {"n": 2}, "timeout": 5})
        assert (changed.status_code, changed.json()["config"]) == (200, {"n": 2})
    assert (await http.get("tasks/user.a")).json()["options"]["timeout"] == 5
    for verb, state in (("pause", "paused"), ("resume", "active"), ("disable", "disabled"), ("enable", "active")):
        assert (await http.post(f"tasks/user.a/{verb}")).json()["state"] == state
    assert (await http.post("tasks/user.a/pause", json={"note": "for now"})).json()["note"] == "for now"
    started = await http.post("tasks/user.a/trigger")
    assert started.status_code == 202
    run = await web.run.finished(started.json()["execution_id"])
    one = (await http.get(f"executions/{run.execution_id}")).json()
    assert (one["status"], one["result"]["data"], len(one["attempts"])) == ("succeeded", {"n": 2}, 1)
    status = (await http.get("tasks/user.a/status")).json()
    history = (await http.get("tasks/user.a/history")).json()
    assert status["task"]["run_count"] == 0
    assert [each["execution_id"] for each in status["executions"]] == [run.execution_id]
    assert [each["execution_id"] for each in history["executions"]] == [run.execution_id]
    assert (await http.delete("tasks/user.a")).status_code == 200
    problem(await http.get("tasks/user.a"), 404, "task_not_found")


async def test_a_run_is_cancelled_and_a_backfill_made(web: Any, gate: Gate) -> None:
    await web.http.post("tasks", json={"task_id": "user.g", "schedule": FAR, "task_class": "user.gated",
                                       "config": {"gate": gate.name}})  # fmt: skip
    run = (await web.http.post("tasks/user.g/trigger")).json()["execution_id"]
    await gate.has_entered()
    cancelled = await web.http.post(f"executions/{run}/cancel", json={"reason": "enough"})
    assert cancelled.json() == {"execution_id": run, "status": "cancelling"}
    assert (await web.run.finished(run)).status == "cancelled"
    gate.open()
    range_ = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-01T00:00:05Z"}
    await web.http.post("tasks", json={"task_id": "user.b", "schedule": "0 0 * * *", "task_class": "demo.echo"})
    assert len((await web.http.post("tasks/user.b/backfill", json=range_)).json()["execution_ids"]) == 1


async def test_dead_letters_are_listed_requeued_and_discarded(web: Any) -> None:
    dead = []
    for name in ("user.d", "user.e"):
        await web.http.post("tasks", json={"task_id": name, "schedule": FAR, "task_class": "demo.fail",
                                           "config": {"kind": "permanent", "times": 100}})  # fmt: skip
        dead.append((await web.run.ran(name)).execution_id)
    listed = (await web.http.get("dead-letters", params={"task_id": "user.d"})).json()["dead"]
    assert [each["execution_id"] for each in listed] == [dead[0]]
    assert listed[0]["attempts"][0]["error_message"] == "attempt 1 fails as it was asked to"
    again = await web.http.post(f"dead-letters/{dead[0]}/requeue")
    assert again.status_code == 202
    assert (await web.run.finished(dead[0])).status == "dead", "it was told to fail"
    assert again.json() == {"execution_id": dead[0], "task_id": "user.d"}
    assert (await web.http.post(f"dead-letters/{dead[1]}/discard")).status_code == 200
    assert (await web.http.get("dead-letters", params={"task_id": "user.e"})).json()["dead"] == []


async def test_what_is_asked_of_the_service_as_a_whole(web: Any) -> None:
    assert (await web.http.get("status")).json()["ready"] is True
    assert (await web.http.get("health")).json()["live"] is True
    figures = await web.http.get("metrics")
    assert figures.headers["content-type"].startswith("application/openmetrics-text")
    assert figures.text.endswith("# EOF\n")
    assert "aico_sched_running" in figures.text
    assert "scheduler" in (await web.http.get("stats")).json()["actors"]
    assert "demo.echo" in [each["name"] for each in (await web.http.get("registry")).json()["classes"]]
    assert (await web.http.post("registry/reload")).json()["added"] == []
    told = (await web.http.get("explain", params={"schedule": "0 3 * * *", "timezone": "UTC", "count": 2})).json()
    assert len(told["next"]) == 2
    await web.run.client.create("user.a", FAR, task_class="demo.echo")
    rows = (await web.http.get("events", params={"topic": "scheduler.event.task.created", "after_seq": 0})).json()
    assert rows["events"][-1]["payload"]["task_id"] == "user.a"


REFUSED: list[tuple[str, str, Any, int, str, str | None]] = [
    ("POST", "tasks", {"task_id": "user.a"}, 422, "invalid_message", "schedule"),
    ("POST", "tasks", {"task_id": "user.a", "schedule": FAR, "colour": 1}, 422, "invalid_message", "colour"),
    ("POST", "tasks", {"task_id": "user.a", "task_class": "demo.echo", "schedule": "61 * * * *"}, 422,
     "invalid_schedule", "schedule"),
    ("POST", "tasks", {"task_id": "user.a", "schedule": FAR, "task_class": "no.such"}, 422, "unknown_task_class",
     "task_class"),
    ("PATCH", "tasks/user.a", {"timeout": -1}, 422, "invalid_message", "timeout"),
    ("POST", "tasks/-/pause", None, 422, "invalid_message", "task_id"),
    ("GET", "tasks?limit=0", None, 422, "invalid_message", "limit"),
    ("GET", "tasks?limit=5&limit=6", None, 422, "invalid_message", "limit"),
    ("POST", "tasks/user.a/pause?note=x", None, 422, "invalid_message", "note"),
    ("GET", "tasks?colour=red", None, 422, "invalid_message", "colour"),
    ("GET", "executions/none", None, 404, "execution_not_found", None),
    ("POST", "executions/none/cancel", None, 404, "execution_not_found", None),
    ("DELETE", "tasks/maintenance.health_check", None, 403, "protected_task", None),
    ("GET", "explain?schedule=x", None, 422, "invalid_schedule", "schedule"),
    ("GET", "nowhere", None, 404, "invalid_message", None),
    ("POST", "tasks", [1], 422, "invalid_message", "body"),
    ("DELETE", "stats", None, 405, "invalid_message", None),
]  # fmt: skip


async def test_a_refusal_is_a_problem_with_the_code_and_the_field(web: Any) -> None:
    for method, path, body, status, code, field in REFUSED:
        found = problem(await web.http.request(method, path, json=body), status, code)
        assert found["detail"]
        if field is not None:
            assert field in [each["field"] for each in found["errors"]], found


async def test_the_second_of_two_is_told_it_exists_and_a_stale_revision_conflicts(web: Any) -> None:
    task = {"task_id": "user.a", "schedule": FAR, "task_class": "demo.echo"}
    await web.http.post("tasks", json=task)
    problem(await web.http.post("tasks", json=task), 409, "task_exists")
    problem(await web.http.patch("tasks/user.a", json={"revision": 7, "timeout": 1}), 409, "conflict")


async def test_an_idempotency_key_does_it_once(web: Any) -> None:
    await web.http.post("tasks", json={"task_id": "user.a", "schedule": FAR, "task_class": "demo.echo"})
    key = {"Idempotency-Key": "0123456789abcdef-of-this-test"}
    runs = {(await web.http.post("tasks/user.a/trigger", headers=key)).json()["execution_id"] for _ in range(3)}
    assert len(runs) == 1
    assert len((await web.run.client.executions(task_id="user.a")).executions) == 1


BODIES = [
    (b"{", "application/json", 422),
    (b"\xff\xfe", "application/json", 422),
    (b"[" * 100_000, "application/json", 400),
    (b'{"task_id":"user.a","schedule":"interval:60","config":{"n":NaN}}', "application/json", 422),
    (b'{"task_id":"user.a","schedule":"interval:60","config":{"n":1' + b"0" * 400 + b"}}", "application/json", 422),
    (b'{"task_id":"user.a","schedule":"interval:60","config":{"n":"\\ud800"}}', "application/json", 422),
    (b'{"task_id":"user.a","schedule":"\\ud800"}', "application/json", 422),
    (b"task_id=user.a&schedule=interval:60", "application/x-www-form-urlencoded", 422),
    (b"x" * 300_000, "application/json", 413),
    (b"", "application/json", 422),
]


async def test_a_body_that_cannot_be_is_refused_and_changes_nothing(web: Any) -> None:
    before = web.run.content()
    for content, kind, status in BODIES:
        answer = await web.http.post("tasks", content=content, headers={"Content-Type": kind})
        got = (answer.status_code, answer.headers["content-type"])
        assert got == (status, "application/problem+json"), (content[:60], answer.text)
    assert web.run.content() == before


async def test_a_body_of_unknown_length_is_cut_off_too(web: Any) -> None:
    async def endless() -> Any:
        for _ in range(10):
            yield b" " * 64_000

    problem(await web.http.post("tasks", content=endless()), 413, "too_large")


async def test_a_service_that_is_gone_is_unavailable(serve: Any) -> None:
    web = await serve(patience=1.0)
    assert (await web.http.get("stats")).status_code == 200
    await web.run.service.stop()
    found = await web.http.get("stats", timeout=30)
    assert problem(found, 503, "unavailable")["retryable"] is True
    assert found.headers["retry-after"] == "1"


def test_every_code_has_a_status_and_every_command_a_route() -> None:
    assert set(STATUS) == set(ErrorCode)
    offered = {topic for topic in COMMANDS if not topic.startswith(NOT_OVER_HTTP)}
    assert {operation.topic for operation in OPERATIONS} == offered
    assert all(re.fullmatch(r"(/[a-z-]+|/\{[a-z_]+\})+", operation.path) for operation in OPERATIONS)


async def test_an_idempotency_key_is_another_one_at_another_address(web: Any) -> None:
    key = {"Idempotency-Key": "0123456789abcdef-of-this-test"}
    body = {"task_id": "user.a", "schedule": FAR, "task_class": "no.such"}
    refused = await web.http.post("tasks", json=body, headers=key)
    assert refused.json()["code"] == "unknown_task_class"
    missing = await web.http.delete("tasks/user.a", headers=key)
    assert (missing.status_code, missing.json()["code"]) == (404, "task_not_found")
