"""Far more work at one instant than the mailboxes hold."""

import asyncio
from collections import Counter
from pathlib import Path

from aico_sched.client import SchedulerClient
from aico_sched.schedule import format_rfc3339, parse_rfc3339
from aico_sched.service import SchedulerService
from aico_sched.settings import Settings
from aico_sched.topics import names

TASKS = 10_000


async def test_ten_thousand_tasks_due_at_once_do_not_block_each_other(tmp_path: Path) -> None:
    settings = Settings.load(
        environ={"AICO_SCHED_DATA_DIR": str(tmp_path / "data")},
        scheduler__max_cpu_percent=100,
        scheduler__max_memory_percent=100,
        scheduler__max_concurrent_tasks=1_000,
        scheduler__mailbox_limit=500,
        # A horizon smaller than the burst: it has to be worked through in several windows.
        scheduler__cache_size=2_000,
        # No task of the service's own: it would be counted if it came due just then.
        scheduler__task_modules=["aico_sched.tasks.demo"],
        bus__publish_port=0,
        bus__subscribe_port=0,
    )
    async with (
        asyncio.timeout(280),
        SchedulerService(settings) as service,
        SchedulerClient.discover(settings.data_dir, timeout=200.0) as client,
    ):
        due_us = service._clock.now_us() + 1_000_000
        schedule = f"at:{format_rfc3339(due_us)}"
        options = {"task_class": "demo.echo", "catchup_window": 3_600.0}
        seen = asyncio.create_task(count_succeeded(client))
        await asyncio.gather(*(client.create(f"user.t{n:05}", schedule, **options) for n in range(TASKS)))
        succeeded = await seen
        page = await client.executions(limit=1_000, status="succeeded")
        stats = await client.stats()

    assert succeeded == Counter({f"user.t{n:05}": 1 for n in range(TASKS)})
    assert all(parse_rfc3339(row.started_at or "") >= due_us for row in page.executions)
    assert stats.actors["executor"]["succeeded"] == TASKS
    assert all(actor["restarts"] == 0 for actor in stats.actors.values())


async def count_succeeded(client: SchedulerClient) -> Counter[str]:
    """How often each task succeeded, until all have."""
    counts: Counter[str] = Counter()
    async for event in client.events(names.EXECUTION_SUCCEEDED, resume=True):
        counts[event.payload["task_id"]] += 1
        if counts.total() >= TASKS:
            break
    return counts
