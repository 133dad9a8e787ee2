"""How long a run has gone on beyond its time: what the health check calls hanging."""

import asyncio
from contextlib import suppress

from aico_sched.execution.deadline import Deadline
from aico_sched.testing import VirtualClock


async def test_time_that_stood_still_is_not_overdue_and_time_beyond_the_deadline_is() -> None:
    clock = VirtualClock()
    deadline = Deadline(clock, 10.0)
    found: list[float] = []

    async def deaf() -> None:
        with deadline:
            with deadline.standing_still(1_000.0):
                await clock.sleep(500.0)
                found.append(deadline.overdue())
            for _ in range(3):
                with suppress(asyncio.CancelledError):
                    await clock.sleep(60.0)
                found.append(deadline.overdue())

    running = asyncio.create_task(deaf())
    await clock.advance(700.0)
    with suppress(TimeoutError):
        await running
    # The deadline cancels the first sleep, after ten seconds; the two others go on beyond it.
    assert found == [0.0, 0.0, 60.0, 120.0]
    assert deadline.expired()
