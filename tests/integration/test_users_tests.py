"""The helpers for users' tests: the assertions, and the pytest plugin in a pytest of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aico_sched.testing import Simulation, assert_not_scheduled, assert_ran, assert_scheduled
from tests.integration.support.process import ROOT


async def test_the_assertions_say_what_is_there_instead(scheduler_simulation: Callable[..., Simulation]) -> None:
    async with scheduler_simulation() as simulation:
        client = simulation.client
        with pytest.raises(AssertionError, match=r"user\.a is not scheduled; there is no task but the system's"):
            await assert_scheduled(client, "user.a")
        await assert_not_scheduled(client, "user.a")
        await client.create("user.a", "@hourly", task_class="demo.echo", config={"x": 1}, timeout=9.0)

        task = await assert_scheduled(client, "user.a", schedule="@hourly", config={"x": 1}, timeout=9.0)
        assert task.task_id == "user.a"
        with pytest.raises(AssertionError, match=r"its schedule is '@hourly', not '@daily'; its timeout is 9\.0"):
            await assert_scheduled(client, "user.a", schedule="@daily", timeout=8.0)
        with pytest.raises(AssertionError, match=r"user\.b is not scheduled; there are user\.a"):
            await assert_scheduled(client, "user.b")
        with pytest.raises(AssertionError, match="is scheduled: @hourly, active"):
            await assert_not_scheduled(client, "user.a")
        with pytest.raises(AssertionError, match="should have succeeded at least once, not 0"):
            await assert_ran(client, "user.a")

        await simulation.clock.advance(2 * 3_600)
        assert len(await assert_ran(client, "user.a", times=2)) == 2
        with pytest.raises(AssertionError, match="should have succeeded 3 times, not 2"):
            await assert_ran(client, "user.a", times=3)
        await client.pause("user.a")
        with pytest.raises(AssertionError, match="its state is 'paused', not 'active'"):
            await assert_scheduled(client, "user.a")


def test_the_plugin_is_there_once_the_package_is_installed(tmp_path: Path) -> None:
    (tmp_path / "test_users.py").write_text(
        "from aico_sched.testing import assert_ran, run_task\n"
        "from aico_sched.tasks.demo import DemoEcho\n"
        "import asyncio\n"
        "def test_a_week(scheduler_simulation):\n"
        "    async def week():\n"
        "        async with scheduler_simulation() as simulation:\n"
        "            await simulation.client.create('user.daily', '0 7 * * *', task_class='demo.echo')\n"
        "            await simulation.clock.advance(7 * 86_400)\n"
        "            await assert_ran(simulation.client, 'user.daily', times=7)\n"
        "    asyncio.run(week())\n"
        "def test_a_task(virtual_clock):\n"
        "    run = asyncio.run(run_task(DemoEcho, {'x': 1}, clock=virtual_clock))\n"
        "    assert run.result.data == {'x': 1}\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
