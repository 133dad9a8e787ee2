"""`maintenance.database_vacuum` on a real service's database."""

import pytest

from tests.integration.conftest import Start


@pytest.mark.parametrize(("threshold", "mode"), [(0, "full"), (1, "incremental")])
async def test_it_gives_free_pages_back_and_says_how_many(start: Start, threshold: float, mode: str) -> None:
    run = await start(tasks__maintenance__database_vacuum={"threshold": threshold})
    for number in range(40):
        config = {"note": "x" * 8_000}
        await run.client.create(f"user.t{number}", "@yearly", task_class="demo.echo", config=config)
    run.close()
    done = await run.ran("maintenance.database_vacuum")
    assert done.status == "succeeded", done.error_message
    assert done.result["data"]["mode"] == mode
    assert done.result["data"]["bytes_after"] <= done.result["data"]["bytes_before"]


async def test_a_dry_run_tells_what_is_free_and_changes_nothing(start: Start) -> None:
    run = await start(tasks__maintenance__database_vacuum={"threshold": 0, "dry_run": True})
    done = await run.ran("maintenance.database_vacuum")
    assert done.status == "succeeded", done.error_message
    assert done.result["message"].startswith("would free ") and done.result["data"]["mode"] == "full"
    assert done.result["data"]["dry_run"] and 0 <= done.result["data"]["free_share"] < 1
