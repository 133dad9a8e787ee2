"""The command line against a service in another process, as a user has them."""

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from aico_sched.cli.app import app
from aico_sched.client import SchedulerClient
from tests.integration.support.process import Ended, Server, command, server
from tests.integration.support.running import Running
from tests.integration.support.tasks import Gate

FAR = "interval:86400"


def leaves(group: Any, above: str = "") -> set[str]:
    found: set[str] = set()
    for name, each in group.commands.items():
        found |= leaves(each, f"{above}{name} ") if hasattr(each, "commands") else {above + name}
    return found


async def test_every_command_works_against_a_running_service(run: Running, gate: Gate, tmp_path: Path) -> None:
    """Each command once with --json, and once for people. The service is this process, every command another one."""
    data = ["--data-dir", str(run.settings.data_dir)]
    used: set[str] = set()

    async def cli(*arguments: str, code: int = 0, plain: bool = False) -> Any:
        words = [word for word in arguments[:2] if word.isalpha()]
        used.update({words[0], " ".join(words)})
        ended = await command(tmp_path, *arguments, *([] if plain else ["--json"]), *data)
        assert ended.code == code, (arguments, ended)
        assert "Traceback" not in ended.errors
        return ended if plain else json.loads(ended.output)

    created = await cli("create", "user.a", FAR, "--task-class", "demo.echo", "--config", "x=1", "--tag", "red")
    assert (created["config"], created["options"]["tags"]) == ({"x": 1}, ["red"])
    await run.client.create("user.g", FAR, task_class="user.gated", config={"gate": gate.name})
    await run.client.create("user.d", FAR, task_class="user.raises", config={"kind": "ValueError"})
    dead = [(await run.ran("user.d")).execution_id for _ in range(2)]
    waiting = [(await run.client.trigger("user.g")).execution_id for _ in range(2)][1]
    await gate.has_entered()

    reads = (
        cli("list", "user.a"), cli("status", "user.a"), cli("health"), cli("stats"), cli("registry", "list"),
        cli("dead", "list"), cli("registry", "reload"), cli("logs", "user.d"), cli("cancel", waiting),
    )  # fmt: skip
    listed, status, health, stats, classes, letters, reloaded, logs, cancelled = await asyncio.gather(*reads)
    assert [task["task_id"] for task in listed["tasks"]] == ["user.a"]
    assert status["task"]["task_id"] == "user.a"
    assert health["ready"] is True
    assert stats["actors"].keys() == {"scheduler", "executor", "store", "health", "bridge"}
    assert "demo.echo" in {each["name"] for each in classes["classes"]}
    assert {letter["execution_id"] for letter in letters["dead"]} == set(dead)
    assert reloaded["added"] == []
    assert [row["execution_id"] for row in logs["executions"]] == dead
    assert cancelled == {"execution_id": waiting, "status": "cancelled"}

    for number in range(7):
        await run.client.create(f"user.x{number}", FAR, task_class="demo.echo", config={"x": 1})
    await run.client.disable("user.x1")
    await run.client.pause("user.x3")
    changes = (
        cli("disable", "user.x0"), cli("enable", "user.x1"), cli("pause", "user.x2", "--note", "why"),
        cli("resume", "user.x3"), cli("update", "user.x4", "--schedule", "@daily"), cli("delete", "user.x5", "--yes"),
        cli("trigger", "user.x6", "--wait"), cli("dead", "requeue", dead[0]), cli("dead", "discard", dead[1]),
    )  # fmt: skip
    *tasks, deleted, done, requeued, discarded = await asyncio.gather(*changes)
    assert [task["state"] for task in tasks] == ["disabled", "active", "paused", "active", "active"]
    assert (tasks[2]["note"], tasks[4]["schedule"], deleted["task_id"]) == ("why", "@daily", "user.x5")
    assert (done["status"], done["result"]["data"]) == ("succeeded", {"x": 1})
    assert (requeued["execution_id"], discarded["execution_id"]) == tuple(dead)
    watching = asyncio.create_task(cli("watch", "task.deleted", "-n", "1"))
    while (await run.client.health()).ready and not watching.done():
        # Until the watcher listens: it takes a while to start, and hears only what comes then.
        await run.client.create("user.w", FAR, task_class="demo.echo")
        await run.client.delete("user.w")
    assert (await watching)["payload"]["task_id"] == "user.w"

    plain = await asyncio.gather(*(cli(*words.split(), plain=True) for words in ("list", "health", "stats", "logs")))
    assert "user.g" in plain[0].output
    assert all(ended.output for ended in plain)
    offline = {"run", "bus", "next", "doctor", "version", "contract", "keys create", "keys list", "keys revoke"}
    tested_elsewhere = {
        "backup",
        "database check",
        "database rekey",
        "database vacuum",
        "dead show",
        "keys rotate",
        "tasks",
        "web",
        "apply",
        "audit",
        "backfill",
        "lint",
        "restore",
        "run-task",
        "top",
        "why",
    }
    assert leaves(get_command(app)) - used - offline <= tested_elsewhere
    gate.open()


async def test_exit_codes_say_how_it_went(run: Running, tmp_path: Path) -> None:
    data = ["--data-dir", str(run.settings.data_dir)]
    calls: dict[tuple[str, ...], tuple[int, str]] = {
        ("status", "user.nobody", *data): (1, "task_not_found"),
        ("create", "user.x", "61 * * * *", "--task-class", "demo.echo", *data): (1, "invalid_schedule"),
        ("create", "user.x", FAR, "--task-class", "demo.ecoh", *data): (1, "unknown_task_class"),
        ("delete", "maintenance.log_cleanup", "--yes", *data): (1, "protected_task"),
        ("status", *data): (2, "usage"),
        ("list", "--as", "nobody", *data): (1, "keys"),
        ("nonsense",): (2, "usage"),
        ("list", "--data-dir", str(tmp_path / "nothing")): (3, "unreachable"),
        ("list", "--bus-connect", "tcp://127.0.0.1:1,2", "--deadline", "0.5"): (3, "unreachable"),
        ("next", "* * *"): (1, "invalid_schedule"),
    }
    ended = await asyncio.gather(*(command(tmp_path, *arguments, "--json") for arguments in calls))
    found = {
        arguments: (each.code, (json.loads(each.output or each.errors))["error"]["code"])
        for arguments, each in zip(calls, ended, strict=True)
    }
    assert found == calls
    person = await command(tmp_path, "status", "user.nobody", *data)
    assert (person.code, person.output) == (1, "")
    assert "user.nobody" in person.errors


async def trigger_and_see_it_run(data: Path) -> str:
    """An execution that is running now, of a task that takes its time."""
    async with SchedulerClient.discover(data) as client:
        events = client.events("scheduler.event.execution.progress")
        config = {"seconds": 3_600.0, "steps": 10_000}
        await client.create("user.s", FAR, task_class="demo.sleep", config=config, delivery="at_most_once")
        execution_id = (await client.trigger("user.s")).execution_id
        async with asyncio.timeout(20):
            await anext(events)
        return execution_id


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_the_service_in_order(tmp_path: Path, number: signal.Signals) -> None:
    data = tmp_path / "data"
    arguments = ("run", "--data-dir", str(data))
    async with server(tmp_path, *arguments, scheduler__shutdown_grace=0) as first:
        await first.says("service_started")
        assert {entry["level"] for entry in first.lines} <= {"info"}, "the log is JSON where it is no terminal"
        execution_id = await trigger_and_see_it_run(data)
        assert await first.stop(number) == 0
    assert not (data / "service.json").exists()
    async with server(tmp_path, *arguments) as second:
        await second.says("service_started")
        ended = await command(tmp_path, "logs", "user.s", "--data-dir", str(data), "--json")
        row = ended.json["executions"][0]
        assert (row["execution_id"], row["status"], row["reason"]) == (
            execution_id, "interrupted", "the service stopped",
        )  # fmt: skip
        assert await second.stop() == 0


def shown(ended: Ended) -> str:
    return ended.output + ended.errors


async def test_a_second_service_on_the_same_data_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with server(tmp_path, "run", "--data-dir", str(data)) as first:
        await first.says("service_started")
        second = await command(tmp_path, "run", "--data-dir", str(data))
        assert second.code == 1
        assert f"another aico-sched service (process {first.process.pid}) is using it" in shown(second)
        assert (await command(tmp_path, "health", "--data-dir", str(data))).code == 0
        assert await first.stop() == 0


async def test_a_service_that_cannot_start_says_why(tmp_path: Path) -> None:
    data = tmp_path / "data"
    bad = await command(tmp_path, "run", "--data-dir", str(data), scheduler__batch_size="many")
    assert bad.code == 2
    assert "scheduler.batch_size" in shown(bad)


async def test_a_wrong_database_key_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with server(tmp_path, "run", "--data-dir", str(data)) as first:
        await first.says("service_started")
        assert await first.stop() == 0
    (data / "keys" / "database.key").write_text("A" * 32 + "\n")
    wrong = await command(tmp_path, "run", "--data-dir", str(data))
    assert wrong.code == 1
    assert "key" in shown(wrong)


async def test_the_log_is_as_the_settings_say(tmp_path: Path) -> None:
    """`scheduler.log_level` and `scheduler.log_format`."""

    async def log_of(**settings: Any) -> str:
        data = tmp_path / "data"
        async with server(tmp_path, "run", "--data-dir", str(data), **settings) as quiet:
            async with asyncio.timeout(30):
                while not (data / "service.json").exists():
                    await asyncio.sleep(0.01)
            quiet.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(30):
                _, errors = await quiet.process.communicate()
            assert quiet.process.returncode == 0
            return errors.decode()

    assert await log_of(scheduler__log_level="error") == ""
    console = await log_of(scheduler__log_format="console")
    assert "service_started" in console
    assert not console.startswith("{")
    assert json.loads((await log_of(scheduler__log_format="json")).splitlines()[0])["event"]


async def test_a_service_joins_the_bus_that_another_process_runs(tmp_path: Path) -> None:
    hub, data = tmp_path / "hub", tmp_path / "data"
    there = ("--data-dir", str(data))

    async def joined(bus: Server) -> None:
        address = (await bus.says("bus_started"))["bus"]
        arguments = ("run", "--data-dir", str(data), "--bus-connect", address)
        async with server(tmp_path, *arguments, bus__keys=hub / "keys") as service:
            await service.says("service_started")
            ended = await command(
                tmp_path, "create", "user.a", FAR, "--task-class", "demo.echo", "--data-dir", str(data)
            )
            assert ended.code == 0, ended
            done = await command(tmp_path, "trigger", "user.a", "--wait", "--json", *there)
            assert done.json["status"] == "succeeded"
            assert await service.stop() == 0

    async with server(tmp_path, "bus", "--data-dir", str(hub)) as bus:
        await joined(bus)
        assert await bus.stop() == 0
