"""The overlap of rotated keys to its end, in a running service whose clock is moved: the old key is accepted, then it
is not, on a connection that stands already either, and everybody who reads the key folder goes on."""

import asyncio
import json
import os
import sys
from typing import Any

import pytest

from aico_sched.client import SchedulerClient
from aico_sched.client.errors import SchedulerError
from aico_sched.demo.clock import MovedClock
from aico_sched.security.keys import CurveIdentity
from tests.integration.conftest import Start
from tests.integration.support.running import Running
from tests.integration.test_key_rotation import TASK, started

OVERLAP_DAYS = 0.01
MINUTE_US = 60_000_000
ON_NO_DAY = "0 0 29 2 *"


async def command_line(run: Running, *arguments: str) -> Any:
    """What `aico-sched` prints, a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "aico_sched.cli.app", *arguments, "--json",
        env={**os.environ, "AICO_SCHED_DATA_DIR": str(run.settings.data_dir)}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0, output
    return json.loads(output)


def with_key(run: Running, key: CurveIdentity, server: str, timeout: float = 20.0) -> SchedulerClient:
    """A client that has this key and reads no folder: a copy on another machine."""
    assert run.service.address is not None
    return SchedulerClient(run.service.address, key, server, timeout=timeout)


async def test_the_old_key_is_accepted_within_the_overlap_and_refused_after_it(start: Start) -> None:
    clock = MovedClock(0)
    run, ring = await started(start, clock=clock, overlap_days=OVERLAP_DAYS, schedule=ON_NO_DAY)
    watch = run.service._bus._watch
    assert watch is not None
    old, server = ring.client("bob"), ring.server().public
    async with (
        SchedulerClient.discover(run.settings.data_dir, name="bob") as at_home,
        with_key(run, old, server, timeout=3.0) as connected,
    ):
        await at_home.create("user.before", "@yearly", task_class="demo.echo")
        await connected.status("user.before")
        done = await run.ran(TASK)
        assert done.status == "succeeded" and "bob" in done.result["data"]["rotated"], done
        ring.reload()
        new = ring.client("bob")
        assert new.public != old.public

        for minute in (0, 13):
            clock.shift_us = minute * MINUTE_US
            await watch.look()
            await connected.create(f"user.connected{minute}", "@yearly", task_class="demo.echo")
            for key in (old, new):
                async with with_key(run, key, server) as fresh:
                    assert (await fresh.status("user.before")).task.task_id == "user.before"

        clock.shift_us = 16 * MINUTE_US
        await watch.look()
        with pytest.raises(SchedulerError, match="refused the key"):
            await connected.create("user.late", "@yearly", task_class="demo.echo")
        with pytest.raises(SchedulerError, match="refused the key"):
            async with with_key(run, old, server, timeout=2.0) as fresh:
                await fresh.status("user.before")
        async with with_key(run, new, server) as fresh:
            await fresh.create("user.after", "@yearly", task_class="demo.echo")
        # Those who read the folder have not noticed.
        await at_home.create("user.home", "@yearly", task_class="demo.echo")
        assert (await run.client.health()).ready
    listed = await command_line(run, "list", "user.")
    names = {task["task_id"] for task in listed["tasks"]}
    assert names == {"user.before", "user.connected0", "user.connected13", "user.after", "user.home"}
    assert (await command_line(run, "status", "user.after", "--as", "bob"))["task"]["created_by"] == "bob"
    # And once more, from where things stand now.
    again = await run.ran(TASK)
    assert again.status == "succeeded" and "bob" in again.result["data"]["rotated"], again
    assert (await run.client.health()).ready
