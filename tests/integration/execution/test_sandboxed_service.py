"""A service whose users' tasks run in the sandbox: hostile ones fail with a reason, everybody else notices nothing."""

import asyncio
import os
import textwrap
from pathlib import Path
from typing import Any

import pytest

from aico_sched.client.errors import InvalidMessage, UnknownTaskClass
from aico_sched.topics.views import ExecutionView
from tests.integration.support.running import Running

FAR = "interval:86400"
ONCE = {"max_attempts": 1}

HEAD = """
import asyncio, os, socket, time
from pathlib import Path
from aico_sched.tasks import BaseTask, TaskContext, TaskResult

class Task(BaseTask):
    name = "{name}"
    async def execute(self, context):
"""


def write(run: Running, name: str, body: str) -> None:
    folder = run.settings.user_task_folder
    folder.mkdir(mode=0o700, exist_ok=True)
    code = HEAD.format(name=name) + textwrap.indent(textwrap.dedent(body), " " * 8)
    (folder / f"{name.partition('.')[2]}.py").write_text(code)


async def ran(run: Running, name: str, body: str, **options: Any) -> ExecutionView:
    """The one run of a new task with this body."""
    write(run, name, body)
    await run.client.reload()
    await run.client.create(name, FAR, retry=ONCE, **options)
    execution_id = (await run.client.trigger(name)).execution_id
    # Children are slow to start on a machine that is busy with other tests.
    await run.client.wait(execution_id, 90.0)
    page = await run.client.executions(execution_id=execution_id, attempts=True)
    return page.executions[0]


def kind(execution: ExecutionView) -> str:
    """The class of the error that ended it."""
    assert execution.attempts
    return str(execution.attempts[-1].error_type).rpartition(".")[2]


async def test_hostile_tasks_are_recorded_and_the_service_answers_meanwhile(start: Any) -> None:
    run = await start(sandbox__enabled=True, sandbox__cpu_seconds=1, sandbox__disk_mb=8, execution__processes=4)
    bodies = {
        "user.spins": "while True: pass",
        "user.forks": "while True:\n    try:\n        os.fork()\n    except OSError:\n        pass",
        "user.eats": "kept = []\nwhile len(kept) < 2_000: kept.append(bytearray(1_000_000))",
        "user.fills": "for n in range(50):\n    Path(str(n)).write_bytes(bytes(1_000_000))\n    time.sleep(0.05)",
    }
    running = [asyncio.create_task(ran(run, name, body)) for name, body in bodies.items()]
    slowest, loop = 0.0, asyncio.get_running_loop()
    while not all(task.done() for task in running):
        before = loop.time()
        assert (await run.client.health()).live
        slowest = max(slowest, loop.time() - before)
        await asyncio.sleep(0.02)
    spins, forks, eats, fills = [task.result() for task in running]
    assert [each.status for each in (spins, forks, eats, fills)] == ["dead"] * 4
    assert "processor time" in str(spins.error_message)
    assert "processor time" in str(forks.error_message)
    assert kind(eats) == "MemoryLimitExceeded"
    assert "sandbox.disk_mb = 8 MB" in str(fills.error_message)
    assert slowest < 2.0, "two cores are busy with the attacks, and with other tests"
    assert (await run.client.stats()).actors["executor"]["environments"]["sandbox"]["ended_by_limit"] == 4


async def test_code_of_users_is_never_imported_by_the_service(start: Any, tmp_path: Path) -> None:
    run = await start(sandbox__enabled=True)
    folder = run.settings.user_task_folder
    folder.mkdir(mode=0o700, exist_ok=True)
    witness = tmp_path / "witness"
    text = f"from pathlib import Path\nPath({str(witness)!r}).write_text('x')\n"
    (folder / "bad.py").write_text(text + HEAD.format(name="user.bad") + "        return {}\n")
    (folder / "good.py").write_text(
        HEAD.format(name="user.good").replace("    async", "    default_options = {'timeout': 7}\n    async")
        + "        return {'pid': os.getpid()}\n"
    )
    await run.client.reload()
    with pytest.raises(UnknownTaskClass, match="PermissionError"):
        await run.client.create("user.bad", FAR, config={"any": 1})
    # Nothing has to be asked about an empty configuration of a class without a model.
    await run.client.create("user.bad", FAR, retry=ONCE)
    assert "PermissionError" in str((await run.ran("user.bad")).error_message)
    assert not witness.exists()
    await run.client.create("user.good", FAR)
    done = await run.ran("user.good")
    assert done.status == "succeeded"
    assert done.result["data"]["pid"] != os.getpid()
    assert done.usage is not None
    assert (done.usage["environment"], done.usage["sandbox"]) == ("sandbox", "full")
    assert float(str(done.usage["memory_mb"])) > 5
    with pytest.raises(InvalidMessage):
        await run.client.create("user.second", FAR, task_class="user.good", config={"any": 1}, timeout=-1)


async def test_a_timeout_ends_the_process(start: Any) -> None:
    run = await start(sandbox__enabled=True)
    body = "await context.progress(0.1, pid=os.getpid())\ntime.sleep(60)"
    late = await ran(run, "user.sleeps", body, timeout=2.0)
    assert (late.status, kind(late)) == ("dead", "TimeoutError")
    progress = await run.events.first("scheduler.event.execution.progress", task_id="user.sleeps")
    assert not Path(f"/proc/{progress.payload['progress']['data']['pid']}").exists()


@pytest.mark.parametrize("allowed", [[], ["user.calls"], ["*"]], ids=["none", "this", "all"])
async def test_the_network_is_for_those_who_are_named(start: Any, allowed: list[str]) -> None:
    run = await start(sandbox__enabled=True, sandbox__allow_network=allowed)
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        tried = await ran(run, "user.calls", f"socket.create_connection(('127.0.0.1', {port}), 5).close()")
    assert tried.status == ("succeeded" if allowed else "dead")
    if not allowed:
        assert kind(tried) == "PermissionError"


async def test_a_folder_that_is_full_already_is_said_before_the_run(start: Any) -> None:
    run = await start(sandbox__enabled=True, sandbox__max_files=3)
    folder = run.settings.data_dir / "task_data" / "user.full"
    folder.mkdir(parents=True)
    for number in range(4):
        (folder / str(number)).touch()
    full = await ran(run, "user.full", "return {}")
    assert "sandbox.max_files = 3" in str(full.error_message)
    assert str(folder) in str(full.error_message)


async def test_no_more_run_at_once_than_there_are_places(start: Any) -> None:
    run = await start(sandbox__enabled=True, execution__processes=1)
    body = "began = time.monotonic()\nawait asyncio.sleep(0.3)\nreturn {'began': began, 'ended': time.monotonic()}"
    one, two = await asyncio.gather(ran(run, "user.one", body), ran(run, "user.two", body))
    first, second = sorted((one.result["data"], two.result["data"]), key=lambda data: data["began"])
    assert first["ended"] <= second["began"]


async def test_without_a_sandbox_the_code_runs_here(start: Any) -> None:
    run = await start(sandbox__enabled=False)
    done = await ran(run, "user.here", "return {'pid': os.getpid()}")
    assert done.result["data"]["pid"] == os.getpid()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("uid", [4_711, None])
async def test_a_child_of_root_becomes_the_user_it_is_told(start: Any, uid: int | None) -> None:
    run = await start(sandbox__enabled=True, sandbox__uid=uid)
    done = await ran(run, "user.who", "Path('mine').touch()\nreturn {'uid': os.getuid()}")
    assert done.result["data"]["uid"] == (uid or 0)
    assert (run.settings.data_dir / "task_data" / "user.who" / "mine").stat().st_uid == (uid or 0)


async def test_what_a_task_says_cannot_hurt_the_service(start: Any) -> None:
    run = await start(sandbox__enabled=True)
    deep = "x = {}\nfor _ in range(200):\n    x = {'x': x}\n"
    bodies = {
        "user.long": "await context.progress(0.5, long='x' * 900_000)\nreturn {}",
        "user.deep": deep + "await context.progress(0.5, deep=x)\nreturn {}",
        "user.wide": "await context.progress(0.5, wide=list(range(100_000)))\nreturn {}",
        "user.message": "await context.progress(0.5, 'm' * 500_000)\nreturn {}",
        "user.result": deep + "return x",
        "user.error": "raise ValueError('e' * 500_000)",
        "user.name": "raise type('E' * 5_000, (Exception,), {})('x')",
        "user.text": "return TaskResult.ok('t' * 300_000, big='d' * 300_000)",
        "user.topic": "await context.publish('a' * 400, {})",
        "user.payload": "await context.publish('mine.big', {'a': 'x' * 500_000})",
    }
    for name, body in bodies.items():
        done = await ran(run, name, body)
        assert done.status in ("succeeded", "dead"), name
    health = await run.client.health()
    assert health.ready
    assert health.checks["actors"]["restarts"] == {}
    assert (await run.client.list(prefix="user.")).tasks
