"""The screen of `top` with a real service behind it, its keys pressed by a pilot."""

import asyncio
import os
import pty
import sys
from collections.abc import Callable
from pathlib import Path

from textual.widgets import DataTable, Static

from aico_sched.cli.top.screen import TopApp
from aico_sched.topics import names
from tests.integration.support.process import command, environment, server
from tests.integration.support.running import DEADLINE, Running
from tests.integration.support.tasks import Gate

FAR = "interval:86400"
NEVER = 3_600.0


async def until(app: TopApp, condition: Callable[[], bool]) -> None:
    """Look again and again until the screen is as expected."""
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await app.look()


def lines(app: TopApp, table: str) -> list[list[str]]:
    shown = app.query_one(f"#{table}", DataTable)
    return [[str(cell) for cell in shown.get_row_at(row)] for row in range(shown.row_count)]


async def test_keys_act_on_the_chosen_line(run: Running, gate: Gate) -> None:
    await run.client.create("user.g", FAR, task_class="user.gated", config={"gate": gate.name})
    await run.client.create("user.d", FAR, task_class="user.raises", config={"kind": "ValueError"})
    dead = (await run.ran("user.d")).execution_id
    started = (await run.client.trigger("user.g")).execution_id
    await gate.has_entered()

    app = TopApp(run.client, NEVER)
    async with app.run_test(size=(160, 50)) as pilot:
        await until(app, lambda: lines(app, "running") != [])
        assert lines(app, "running")[0][:2] == [started, "user.g"]
        assert [line[1] for line in lines(app, "dead")] == ["user.d"]
        assert {line[2] for line in lines(app, "upcoming")} >= {"user.g", "user.d"}
        assert "running 1/10" in str(app.query_one("#head", Static).content)

        app.query_one("#running").focus()
        await pilot.press("c")
        await run.events.first(names.EXECUTION_CANCELLED, execution_id=started)
        await until(app, lambda: lines(app, "running") == [])

        app.query_one("#dead").focus()
        await pilot.press("r")
        await run.events.several(2, names.EXECUTION_DEAD, execution_id=dead)
        await until(app, lambda: len(lines(app, "dead")) == 1)
        await pilot.press("d")
        await until(app, lambda: lines(app, "dead") == [])

        app.query_one("#newest").focus()
        await pilot.press("p")
        paused = await run.events.first(names.TASK_PAUSED)
        await pilot.press("p")
        await run.events.first(names.TASK_RESUMED, task_id=paused.payload["task_id"])
        await pilot.press("q")
    assert app.return_value is None


async def test_keys_without_a_line_say_what_to_do(run: Running) -> None:
    app = TopApp(run.client, NEVER)
    async with app.run_test(size=(160, 50)) as pilot:
        app.query_one("#running").focus()
        for key in ("c", "r", "t"):
            await pilot.press(key)
        await pilot.pause()
        assert len(app._notifications) == 3
        assert app.is_running


async def test_a_service_that_goes_ends_the_screen(run: Running) -> None:
    app = TopApp(run.client, NEVER)
    async with app.run_test(size=(160, 50)):
        await run.client.close()
        await app.look()
    assert app.return_code == 3
    assert app.return_value


async def test_without_a_terminal_it_says_what_to_use(tmp_path: Path) -> None:
    async with server(tmp_path, "run") as service:
        await service.says("service_started")
        done = await command(tmp_path, "top")
        assert done.code == 2
        assert "stats --json" in done.errors
        assert await service.stop() == 0


async def test_it_starts_in_a_terminal_and_q_ends_it(tmp_path: Path) -> None:
    async with server(tmp_path, "run") as service:
        await service.says("service_started")
        ours, theirs = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "aico_sched.cli.app", "top", cwd=tmp_path,
            env={**environment(tmp_path), "TERM": "xterm-256color"}, stdin=theirs, stdout=theirs, stderr=theirs,
        )  # fmt: skip
        os.close(theirs)
        try:
            async with asyncio.timeout(30):
                while b"RUNNING" not in await asyncio.to_thread(os.read, ours, 65_536):
                    pass
                os.write(ours, b"q")
                drained = asyncio.create_task(asyncio.to_thread(drain, ours))
                assert await process.wait() == 0
                await drained
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            os.close(ours)
        assert await service.stop() == 0


def drain(terminal: int) -> None:
    """Read what is still written, so that the program is not held up; the other end's close is an error on Linux."""
    try:
        while os.read(terminal, 65_536):
            pass
    except OSError:
        return
