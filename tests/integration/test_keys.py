"""Keys made and revoked while the service runs, and joining a bus that another aico-sched process hosts."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from aico_sched.client import SchedulerClient
from aico_sched.client.errors import SchedulerError
from aico_sched.security.keys import KeyRing
from aico_sched.service import SchedulerService
from aico_sched.settings import Settings


def settings_for(folder: Path, **more: Any) -> Settings:
    return Settings.load(
        environ={"AICO_SCHED_DATA_DIR": str(folder)},
        scheduler__max_cpu_percent=100,
        scheduler__max_memory_percent=100,
        bus__publish_port=0,
        bus__subscribe_port=0,
        **more,
    )


async def keys_seen(service: SchedulerService) -> None:
    """Until the service has looked at its key folder."""
    assert service._bus._watch is not None
    await service._bus._watch.look()


async def test_a_key_made_while_the_service_runs_is_let_in_and_a_revoked_one_is_out(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    async with asyncio.timeout(60), SchedulerService(settings) as service:
        keys = KeyRing(tmp_path / "keys")
        keys.reload()
        keys.create("bob", "operator")
        await keys_seen(service)
        async with SchedulerClient.discover(tmp_path, name="bob") as bob:
            view = await bob.create("user.bobs", "@daily", task_class="demo.echo")
            assert view.created_by == "bob"
            keys.revoke("bob")
            await keys_seen(service)
            with pytest.raises(SchedulerError):
                await bob.request("scheduler.task.status", {"task_id": "user.bobs"}, timeout=3.0)
        async with SchedulerClient.discover(tmp_path) as admin:
            assert (await admin.status("user.bobs")).task.task_id == "user.bobs"


async def test_the_service_goes_by_another_name(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, bus__name="night-watch")
    async with asyncio.timeout(60), SchedulerService(settings), SchedulerClient.discover(tmp_path) as client:
        assert (await client.health()).ready


async def test_a_service_joins_the_bus_of_another_process(tmp_path: Path) -> None:
    """As the two containers of docker-compose.yml do: the bus here, the scheduler there, the key folder shared."""
    bus_dir = tmp_path / "bus"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "aico_sched.cli.app",
        "bus",
        env={
            "PYTHONPATH": ":".join(filter(None, sys.path)),
            "AICO_SCHED_DATA_DIR": str(bus_dir),
            "AICO_SCHED_BUS__PUBLISH_PORT": "0",
            "AICO_SCHED_BUS__SUBSCRIBE_PORT": "0",
            "AICO_SCHED_SCHEDULER__LOG_FORMAT": "json",
        },
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            address = await bus_address(process)
            settings = settings_for(tmp_path / "data", bus__connect=address, bus__keys=bus_dir / "keys")
            client = SchedulerClient.discover(bus_dir, bus=address)
            async with SchedulerService(settings), client:
                assert (await client.health()).ready
                started = await client.trigger("maintenance.health_check")
                assert (await client.wait(started.execution_id)).status == "succeeded"
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def bus_address(process: asyncio.subprocess.Process) -> str:
    """Where the bus process says that it listens."""
    import json

    assert process.stderr is not None
    async for line in process.stderr:
        entry = json.loads(line)
        if entry["event"] == "bus_started":
            return str(entry["bus"])
    raise AssertionError("the bus process ended before it had started")
