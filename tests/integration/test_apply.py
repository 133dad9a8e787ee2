"""`aico-sched apply` against a service in a process of its own."""

import json
from pathlib import Path

from tests.integration.support.process import command, server

FIRST = """
name: home
tasks:
  - task_id: user.morning
    schedule: 0 7 * * *
    task_class: demo.echo
    timezone: Europe/Berlin
    config: {hello: world}
  - task_id: user.evening
    schedule: 0 19 * * *
    task_class: demo.echo
"""
SECOND = """
name: home
tasks:
  - task_id: user.morning
    schedule: 30 6 * * *
    task_class: demo.echo
    enabled: false
  - task_id: user.broken
    schedule: 61 * * * *
    task_class: demo.echo
  - task_id: user.noon
    schedule: 0 12 * * *
    task_class: demo.echo
"""


async def test_a_file_is_applied_changed_and_pruned(tmp_path: Path) -> None:
    file = tmp_path / "tasks.yaml"
    file.write_text(FIRST)
    async with server(tmp_path, "run") as service:
        await service.says("service_started")

        shown = await command(tmp_path, "apply", "-f", str(file), "--dry-run")
        assert shown.code == 0
        assert "+ user.morning" in shown.output
        assert (await command(tmp_path, "list", "user.", "--json")).json["tasks"] == []

        assert (await command(tmp_path, "apply", "-f", str(file))).code == 0
        again = await command(tmp_path, "apply", "-f", str(file), "--json")
        assert [step["action"] for step in again.json["steps"]] == ["keep", "keep"]

        file.write_text(SECOND)
        changed = await command(tmp_path, "apply", "-f", str(file), "--prune")
        assert changed.code == 1
        assert "~ user.morning" in changed.output
        assert "schedule: 0 7 * * * → 30 6 * * *" in changed.output
        assert "user.broken was refused" in changed.errors
        tasks = {task["task_id"]: task for task in (await command(tmp_path, "list", "user.", "--json")).json["tasks"]}
        assert sorted(tasks) == ["user.morning", "user.noon"]
        assert tasks["user.morning"]["state"] == "disabled"
        assert tasks["user.morning"]["config"] == {"hello": "world"}
        assert await service.stop() == 0


async def test_a_file_that_cannot_be_right_changes_nothing_and_says_where(tmp_path: Path) -> None:
    file = tmp_path / "tasks.json"
    file.write_text(json.dumps({"name": "home", "tasks": [{"task_id": "user.a", "shedule": "@daily"}]}))
    async with server(tmp_path, "run") as service:
        await service.says("service_started")
        done = await command(tmp_path, "apply", "-f", str(file), "--json")
        assert done.code == 1
        assert done.json["error"]["code"] == "invalid_manifest"
        problems = done.json["error"]["details"]["problems"]
        assert any(problem.startswith("tasks[0].shedule") for problem in problems)
        assert await service.stop() == 0
    assert (await command(tmp_path, "apply", "-f", str(tmp_path / "absent"))).code in (2, 3)


async def test_a_file_with_a_secret_says_that_it_is_sent_again(tmp_path: Path) -> None:
    file = tmp_path / "tasks.yaml"
    file.write_text(FIRST.replace("{hello: world}", "{hello: world, api_key: k-123}"))
    async with server(tmp_path, "run") as service:
        await service.says("service_started")
        assert (await command(tmp_path, "apply", "-f", str(file))).code == 0
        again = (await command(tmp_path, "apply", "-f", str(file))).output
        assert 'config: {"hello":"world","api_key":"********"}, its secrets are sent again' in again
        assert "k-123" not in again
        assert await service.stop() == 0
