"""A client in another language: Node with ZeroMQ and msgpack, against a service in a process of its own."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

from tests.contract.conftest import ROOT
from tests.integration.support.process import server

EXAMPLE = ROOT / "docs" / "examples" / "node" / "create-and-watch.js"


async def test_the_node_example_creates_a_task_and_prints_its_events(
    run_node: Callable[..., str], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    async with server(tmp_path, "run", "--data-dir", str(data)) as service:
        await service.says("service_started")
        printed = await asyncio.to_thread(run_node, EXAMPLE, str(data), "2")
        lines = printed.splitlines()
        assert re.match(r"created user\.from_node, next run 20", lines[0])
        kinds = [line.split()[0] for line in lines[1:]]
        assert kinds.count("started") == 2
        assert kinds.count("succeeded") == 2
        assert await service.stop() == 0


async def test_the_node_example_tells_of_a_refusal(node: Callable[[Path], str], tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with server(tmp_path, "run", "--data-dir", str(data)) as service:
        await service.says("service_started")
        # No task may run less than once.
        process = await asyncio.create_subprocess_exec(
            node(EXAMPLE.parent), str(EXAMPLE), str(data), "0",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(60):
            _, errors = await process.communicate()
        assert process.returncode == 1
        assert b"refused: invalid_message" in errors
