"""What a run used stands in its record."""

from typing import Any

from tests.integration.execution.conftest import FAR


async def test_a_run_on_the_loop_tells_its_steps_and_one_in_a_thread_its_processor_time(begin: Any) -> None:
    run = await begin(scheduler__default_retry_count=0)
    config = {"times": 3, "seconds": 0.02}
    await run.client.create("maintenance.blocks", FAR, config=config)
    await run.client.create("maintenance.burns", FAR, limits={"cpu_seconds": 0.1})
    await run.client.create("maintenance.burns_loop", FAR, config={"seconds": 0.005}, limits={"cpu_seconds": 0.1})
    on_loop = (await run.ran("maintenance.blocks")).usage
    assert (on_loop["environment"], on_loop["steps"]) == ("loop", 4)
    assert 0.02 <= on_loop["longest_step_seconds"] <= on_loop["loop_seconds"]
    assert on_loop["loop_seconds"] >= 0.06
    assert on_loop["cpu_seconds"] < 0.05
    await run.ran("maintenance.burns")
    (burnt,) = (await run.client.executions(task_id="maintenance.burns", attempts=True)).executions
    assert burnt.usage["environment"] == "thread"
    assert 0.1 <= burnt.usage["cpu_seconds"] < 1
    assert burnt.attempts[0].usage == burnt.usage
    over = await run.ran("maintenance.burns_loop")
    assert (over.status, over.usage["environment"]) == ("dead", "loop")
    assert "limit of 0.1 s of processor time" in over.error_message
    assert over.usage["steps"] >= 10
