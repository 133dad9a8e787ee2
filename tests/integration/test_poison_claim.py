"""A slot that no store survives costs itself: neither those claimed with it, nor the places they were to run in."""

import asyncio

import pytest

from aico_sched.schedule import format_rfc3339
from aico_sched.store.bulk_claim import BulkClaim
from aico_sched.store.slots import Slots
from aico_sched.topics import names
from aico_sched.topics.internal import Slot
from tests.integration.conftest import Start

TASKS = 6


async def test_a_slot_that_cannot_be_claimed_holds_up_no_other(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    claim, claim_all = Slots.claim, BulkClaim.claim

    def one(self: Slots, slot: Slot) -> bool:
        if slot.task_id == "user.bad":
            raise ValueError("bad")
        return claim(self, slot)

    def several(self: BulkClaim, slots: list[Slot]) -> int:
        if any(slot.task_id == "user.bad" for slot in slots):
            raise ValueError("bad")
        return claim_all(self, slots)

    monkeypatch.setattr(Slots, "claim", one)
    monkeypatch.setattr(BulkClaim, "claim", several)
    run = await start(scheduler__max_concurrent_tasks=TASKS, scheduler__restart_budget=100)
    due = format_rfc3339(run.service._clock.now_us() + 500_000)
    for name in ("bad", *(f"good{number}" for number in range(TASKS))):
        await run.client.create(f"user.{name}", f"at:{due}", task_class="demo.echo")
    for number in range(TASKS):
        await run.events.first(names.EXECUTION_SUCCEEDED, task_id=f"user.good{number}")
    async with asyncio.timeout(30):
        # Once the bad one has been given up alone, every place is free again.
        while (stats := await run.client.stats()).actors["scheduler"]["free"] < TASKS:
            pass
    assert stats.actors["store"]["dropped"] >= 1
    await run.client.create("user.after", "interval:3600", task_class="demo.echo")
    assert (await run.ran("user.after")).status == "succeeded"
    assert not run.query("SELECT 1 FROM task_executions WHERE task_id = 'user.bad'")
