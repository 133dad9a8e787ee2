"""Runs that are no slots (triggered, queued, retrying) and may not start yet: they say so, and their patience ends."""

import pytest

from aico_sched.host import HostSample
from aico_sched.testing import Simulation
from aico_sched.topics import names
from tests.integration.time.conftest import Simulate
from tests.support.simulated import events, executions

FAR = "0 0 1 1 *"
SOON = {"play": 1.0, "scheduler__resource_check_interval": 5}


def busy(simulation: Simulation) -> None:
    simulation.host.sample_now = HostSample(95.0, 10.0, False)


def quiet(simulation: Simulation) -> None:
    simulation.host.sample_now = HostSample(1.0, 10.0, False)


async def test_a_triggered_run_that_waits_says_why_once_and_starts_later(simulate: Simulate) -> None:
    async with simulate(**SOON) as simulation:
        await simulation.client.create("user.t", FAR, task_class="demo.echo")
        busy(simulation)
        await simulation.clock.advance(15)
        started = await simulation.client.trigger("user.t")
        await simulation.clock.advance(60)
        told = await events(simulation, names.EXECUTION_DEFERRED)
        assert [(event["execution_id"], event["trigger"], event["task_id"]) for event in told] == [
            (started.execution_id, "manual", "user.t")
        ]
        assert "CPU load 95 %" in told[0]["reason"]
        assert [run.status for run in await executions(simulation, "user.t")] == ["queued"]
        quiet(simulation)
        await simulation.clock.advance(30)
        assert [run.status for run in await executions(simulation, "user.t")] == ["succeeded"]


@pytest.mark.parametrize(("action", "status"), [("run", "succeeded"), ("skip", "skipped"), ("fail", "dead")])
async def test_the_patience_of_a_triggered_run_ends(simulate: Simulate, action: str, status: str) -> None:
    async with simulate(**SOON) as simulation:
        await simulation.client.create("user.t", FAR, task_class="demo.echo", max_defer=20, on_max_defer=action)
        await simulation.client.create("user.told", "failure:user.t", task_class="demo.echo", priority=90)
        busy(simulation)
        await simulation.clock.advance(15)
        await simulation.client.trigger("user.t")
        await simulation.client.trigger("user.t")
        await simulation.clock.advance(19)
        assert [run.status for run in await executions(simulation, "user.t")] == ["queued", "queued"]
        await simulation.clock.advance(2)
        # The second one waited for the first, and its own patience begins now.
        assert [run.status for run in await executions(simulation, "user.t")] == [status, "queued"]
        await simulation.clock.advance(21)
        runs = await executions(simulation, "user.t")
        assert [run.status for run in runs] == [status, status]
        letters = (await simulation.client.dead_list()).dead
        assert len(letters) == (2 if action == "fail" else 0)
        if action != "run":
            assert all("max_defer" in (run.reason or "") and "CPU load" in (run.reason or "") for run in runs)
        quiet(simulation)
        await simulation.clock.advance(30)
        assert len(await executions(simulation, "user.told", "succeeded")) == (1 if action == "fail" else 0)


async def test_a_retry_that_is_put_off_for_too_long_has_failed(simulate: Simulate) -> None:
    async with simulate(**SOON) as simulation:
        retry = {"max_attempts": 3, "delay": 60}
        await simulation.client.create(
            "user.t", FAR, task_class="demo.fail", retry=retry, max_defer=30, on_max_defer="skip"
        )
        started = await simulation.client.trigger("user.t")
        await simulation.clock.advance(30)
        busy(simulation)
        await simulation.clock.advance(40)
        told = await events(simulation, names.EXECUTION_DEFERRED)
        assert [(event["execution_id"], event["attempt"]) for event in told] == [(started.execution_id, 1)]
        await simulation.clock.advance(30)
        (run,) = await executions(simulation, "user.t")
        assert (run.status, run.attempt) == ("dead", 1)
        (letter,) = (await simulation.client.dead_list()).dead
        assert "max_defer" in letter.reason


async def test_what_is_put_off_is_told_of_again_after_a_restart(simulate: Simulate) -> None:
    async with simulate(**SOON) as simulation:
        await simulation.client.create("user.t", FAR, task_class="demo.echo", max_defer=600, on_max_defer="fail")
        busy(simulation)
        await simulation.clock.advance(15)
        await simulation.client.trigger("user.t")
        await simulation.clock.advance(15)
        await simulation.restart(down=30)
        await simulation.clock.advance(15)
        assert len(await events(simulation, names.EXECUTION_DEFERRED)) == 2
        await simulation.clock.advance(600)
        assert [run.status for run in await executions(simulation, "user.t")] == ["dead"]


async def test_a_run_that_is_cancelled_while_it_is_put_off_stays_cancelled(simulate: Simulate) -> None:
    async with simulate(**SOON) as simulation:
        await simulation.client.create("user.t", FAR, task_class="demo.echo", max_defer=20, on_max_defer="fail")
        busy(simulation)
        await simulation.clock.advance(15)
        started = await simulation.client.trigger("user.t")
        await simulation.clock.advance(5)
        await simulation.client.cancel(started.execution_id)
        await simulation.clock.advance(60)
        assert [run.status for run in await executions(simulation, "user.t")] == ["cancelled"]
        assert (await simulation.client.dead_list()).dead == []


async def test_what_a_task_is_given_later_counts_for_a_run_that_waits_already(simulate: Simulate) -> None:
    async with simulate(**SOON) as simulation:
        for name, options in (("impatient", {"max_defer": 1, "on_max_defer": "fail"}), ("free", {"idle_only": False})):
            task_id = f"user.{name}"
            await simulation.client.create(task_id, FAR, task_class="demo.echo", idle_only=True)
            simulation.host.sample_now = HostSample(60.0, 10.0, False)
            await simulation.clock.advance(15)
            await simulation.client.trigger(task_id)
            await simulation.clock.advance(60)
            assert [run.status for run in await executions(simulation, task_id)] == ["queued"]
            await simulation.client.update(task_id, **options)
            await simulation.clock.advance(15)
        assert [run.status for run in await executions(simulation, "user.impatient")] == ["dead"]
        assert [run.status for run in await executions(simulation, "user.free")] == ["succeeded"]
