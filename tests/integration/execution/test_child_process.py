"""A run in a process of its own: what goes in, what comes out, and how it ends whatever its code does."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aico_sched.execution.environments import RemoteFailure
from aico_sched.tasks.base import TaskResult
from tests.integration.execution.support import Bench, bench

DEADLINE = 20.0


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path) as made:
        yield made


async def failure(here: Bench, body: str, **start: Any) -> RemoteFailure:
    with pytest.raises(RemoteFailure) as raised:
        await here.run(body, **start)
    return raised.value


async def gone(pid: int) -> None:
    """Until there is no process `pid`."""
    async with asyncio.timeout(DEADLINE):
        while Path(f"/proc/{pid}").exists():
            await asyncio.sleep(0.01)


async def test_a_run_gets_its_facts_and_gives_back_its_result(here: Bench) -> None:
    result = await here.run(
        """
        await context.progress(0.5, "half", rows=[1, 2])
        await context.publish("mine.news", {"a": 1})
        reply = await context.request("mine.question", {"b": 2}, 5)
        try:
            await context.request("silent", {}, 0.1)
        except TimeoutError as error:
            silent = str(error)
        return TaskResult.ok("done", pid=os.getpid(), reply=reply, silent=silent, config=context.config.model_dump(),
            slot=context.scheduled_for.isoformat(), attempt=context.attempt, trigger=context.trigger)
        """,
        attempt=2,
    )
    assert isinstance(result, TaskResult)
    assert result.data.pop("pid") != os.getpid()
    assert result == TaskResult(
        True,
        "done",
        {
            "reply": {"echo": {"b": 2}},
            "silent": "no reply on silent within 0.1 s",
            "config": {},
            "slot": "2023-11-14T22:13:20+00:00",
            "attempt": 2,
            "trigger": "manual",
        },
    )
    assert here.progress == [{"fraction": 0.5, "message": "half", "data": {"rows": [1, 2]}}]
    assert here.published == [("mine.news", {"a": 1})]
    assert here.usage["cpu_seconds"] > 0
    assert here.usage["memory_mb"] > 5


async def test_the_checks_of_a_task_in_the_loop_hold_here_too(here: Bench) -> None:
    for topic in ("scheduler.task.delete", "a b"):
        refused = await failure(here, f"await context.publish({topic!r}, {{}})")
        assert (refused.error_type, refused.permanent) == ("ValueError", True)
    assert here.published == []


@pytest.mark.parametrize(
    ("body", "kind", "words", "permanent"),
    [
        ("raise ValueError('bad value')", "ValueError", "bad value", True),
        ("raise OSError('disk')", "OSError", "disk", False),
        ("sys.exit(3)", "SystemExit", "3", False),
        ("return 7", "TypeError", "not int", True),
        ("os._exit(3)", "ProcessCrashed", "exit code 3", False),
        ("ctypes.string_at(0)", "ProcessCrashed", "SIGSEGV", False),
        ("os.abort()", "ProcessCrashed", "SIGABRT", False),
        ("os.kill(os.getpid(), 9)", "KilledBySystem", "killed from outside", False),
    ],
    ids=["value", "transient", "exit", "no-result", "os-exit", "segfault", "abort", "killed"],
)
async def test_every_end_is_a_typed_failure(here: Bench, body: str, kind: str, words: str, permanent: bool) -> None:
    failed = await failure(here, body)
    assert failed.error_type.rpartition(".")[2] == kind
    assert words in str(failed)
    assert failed.permanent is permanent
    if kind == "ValueError":
        assert "task.py" in failed.traceback
    if words == "SIGSEGV":
        assert "Segmentation fault" in failed.traceback


async def test_what_json_cannot_say_and_what_is_too_long_is_said_so(here: Bench) -> None:
    assert "not JSON" in str((await here.run("return {'a': object()}")).data["unprintable"])
    long = await here.run("return {'a': 'x' * 3_000_000}")
    assert (long.success, long.data) == (True, {})
    assert "left out" in long.message


async def test_code_that_cannot_be_imported_fails_the_run_only(here: Bench) -> None:
    with pytest.raises(RemoteFailure, match="ZeroDivisionError"):
        await here.runner.run(here.job("", head="1 / 0\nclass Task(BaseTask):\n    name = 'user.task'\n"))


async def test_limits_end_a_run_and_say_which(here: Bench) -> None:
    failed = await failure(here, "while True: pass", limits={"cpu_seconds": 1})
    assert failed.error_type.endswith("CpuLimitExceeded")
    assert "1 s of processor time" in str(failed)
    assert failed.permanent
    assert 0.5 < here.usage["cpu_seconds"] < 5
    failed = await failure(here, "x = bytearray(200_000_000)", limits={"memory_mb": 64})
    assert failed.error_type.endswith("MemoryLimitExceeded")
    assert "64 MB" in str(failed)


async def cancelled(here: Bench, body: str) -> int:
    """Cancel a run once it has reported progress; returns its process's id once that is gone."""
    running = asyncio.create_task(here.run(body))
    async with asyncio.timeout(DEADLINE):
        await here.progressed.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    pid = int(here.progress[0]["data"]["pid"])
    assert not Path(f"/proc/{pid}").exists()
    return pid


async def test_a_cancelled_run_may_clean_up(here: Bench) -> None:
    await cancelled(
        here,
        """
        await context.progress(0.1, pid=os.getpid())
        try:
            await asyncio.Event().wait()
        finally:
            (context.data_dir / "cleaned").touch()
        """,
    )
    assert (here.data / "user.task" / "cleaned").exists()


@pytest.mark.parametrize(
    "deaf",
    [
        "while True: pass",
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(0.1)",
        "os.kill(os.getpid(), 19)",
    ],
    ids=["busy", "ignores-sigterm", "stopped"],
)
async def test_one_that_does_not_listen_is_killed(tmp_path: Path, deaf: str) -> None:
    async with bench(tmp_path, grace=0.2) as here:
        await cancelled(here, "await context.progress(0.1, pid=os.getpid())\nawait asyncio.sleep(0.2)\n" + deaf)


async def test_what_a_run_started_ends_with_it(here: Bench) -> None:
    result = await here.run(
        """
        import subprocess
        return {"pid": subprocess.Popen(["sleep", "60"]).pid}
        """
    )
    await gone(result.data["pid"])


async def test_a_process_left_behind_does_not_hold_the_run_up(here: Bench) -> None:
    failed = await failure(here, "if os.fork():\n    os._exit(4)\ntime.sleep(60)")
    assert "exit code 4" in str(failed)


async def test_no_secret_is_inherited(here: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AICO_SCHED_DATABASE_KEY", "x" * 32)
    monkeypatch.setenv("MINE", "kept")
    descriptor = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(descriptor, True)
    try:
        result = await here.run(
            """
            open_files = {}
            for name in os.listdir("/proc/self/fd"):
                try:
                    open_files[name] = os.readlink(f"/proc/self/fd/{name}")
                except OSError:
                    pass
            return {"environ": dict(os.environ), "files": open_files}
            """
        )
    finally:
        os.close(descriptor)
    assert "AICO_SCHED_DATABASE_KEY" not in result.data["environ"]
    assert result.data["environ"]["MINE"] == "kept"
    devices = [name for name in result.data["files"].values() if name == "/dev/null"]
    assert devices == ["/dev/null"], "its input, and not the descriptor that was inheritable here"


async def test_the_service_that_is_killed_takes_its_children_along(tmp_path: Path) -> None:
    script = textwrap.dedent(
        f"""
        import asyncio, sys
        from pathlib import Path
        from tests.integration.execution.support import bench

        async def main():
            async with bench(Path({str(tmp_path)!r})) as here:
                body = "await context.progress(0.1, pid=os.getpid())\\nwhile 1: pass"
                running = asyncio.create_task(here.run(body))
                await here.progressed.wait()
                print(here.progress[0]["data"]["pid"], flush=True)
                await running

        asyncio.run(main())
        """
    )
    service = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=Path.cwd())
    assert service.stdout is not None
    try:
        pid = next(int(line) for line in service.stdout if line.strip().isdigit())
        assert Path(f"/proc/{pid}").exists()
    finally:
        service.send_signal(signal.SIGKILL)
        service.communicate()
    await gone(pid)


async def test_one_that_floods_its_output_and_its_pipe_holds_nobody_up(here: Bench) -> None:
    running = asyncio.create_task(
        here.run(
            """
            async def flood():
                while True:
                    print("x" * 10_000)
                    await asyncio.sleep(0)
            flooding = asyncio.create_task(flood())
            for number in range(100):
                await context.progress(None, str(number))
                await context.publish("mine.flood", {})
            flooding.cancel()
            return {}
            """
        )
    )
    loop = asyncio.get_running_loop()
    longest = 0.0
    while not running.done():
        before = loop.time()
        await asyncio.sleep(0.01)
        longest = max(longest, loop.time() - before)
    assert (await running).success
    assert len(here.published) == 100
    assert longest < 1.0


async def test_one_that_writes_nonsense_into_its_pipe_fails(here: Bench) -> None:
    for nonsense in (b"\\xff\\xff\\xff\\xff", b"\\x00\\x00\\x00\\x01\\xc1", b"\\x00\\x00\\x00\\x01\\x80"):
        failed = await failure(
            here,
            f"""
            for number in range(3, 256):
                try:
                    socket.socket(fileno=os.dup(number)).send(b"{nonsense.decode()}")
                except OSError:
                    pass
            await asyncio.sleep(60)
            """,
        )
        assert failed.error_type.endswith("ProtocolBroken")


async def test_the_next_child_waits_already(here: Bench) -> None:
    first = await here.run("return {'pid': os.getpid()}")
    async with asyncio.timeout(DEADLINE):
        while here.runner._nursery._spare is None:
            await asyncio.sleep(0.01)
    spare = here.runner._nursery._spare.pid
    second = await here.run("return {'pid': os.getpid()}")
    assert second.data["pid"] == spare != first.data["pid"]


async def test_a_child_that_died_while_it_waited_is_replaced(here: Bench) -> None:
    await here.run("return {}")
    async with asyncio.timeout(DEADLINE):
        while here.runner._nursery._spare is None:
            await asyncio.sleep(0.01)
    spare = here.runner._nursery._spare
    os.kill(spare.pid, signal.SIGKILL)
    await spare.ended
    assert (await here.run("return {}")).success


async def test_a_run_that_is_cancelled_at_once_never_begins(here: Bench) -> None:
    running = asyncio.create_task(here.run("Path(context.data_dir, 'begun').touch()"))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not (here.data / "user.task" / "begun").exists()


async def test_a_blocking_task_has_its_thread_in_the_child(here: Bench) -> None:
    head = (
        "import os, threading\nfrom aico_sched.tasks.blocking import BlockingTask\n"
        "class Task(BlockingTask):\n    name = 'user.task'\n    def run(self, context):\n"
    )
    body = "context.progress(0.5)\nreturn {'main': threading.current_thread() is threading.main_thread()}"
    result = await here.runner.run(here.job(body, head=head))
    assert result.data == {"main": False}
    assert [each["fraction"] for each in here.progress] == [0.5]


async def open_files() -> list[str]:
    """What this process has open, once the loop has closed what it was told to close."""
    for _ in range(3):
        await asyncio.sleep(0)
    return sorted(str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink())


async def test_nothing_is_left_open_by_a_run(here: Bench) -> None:
    await here.run("return {}")
    await here.runner.close()
    before = await open_files()
    for _ in range(3):
        await here.run("return {}")
    await failure(here, "os._exit(1)")
    await here.runner.close()
    assert len(await open_files()) <= len(before)
