"""What runs in a process of its own comes after the service."""

import os
from typing import Any

from aico_sched.execution.courtesy import NICE
from tests.integration.execution.conftest import FAR


async def test_a_run_in_a_process_of_its_own_has_a_lower_priority(begin: Any) -> None:
    run = await begin()
    await run.client.create("maintenance.nice", FAR, environment="process")
    data = (await run.ran("maintenance.nice")).result["data"]
    assert data["pid"] != os.getpid()
    assert data["nice"] == min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICE)
