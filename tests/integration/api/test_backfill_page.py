"""Past times of a task are run from the dashboard, by keyboard alone."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from playwright.async_api import expect

from tests.integration.api.browser import Dashboard, browsing, dashboard


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with browsing(tmp_path_factory.mktemp("browser")) as address:
        yield address


@pytest.fixture
async def seen(browser: str) -> AsyncIterator[Dashboard]:
    async with dashboard(browser, timezone_id="America/New_York") as shown:
        yield shown


async def test_past_times_are_run_in_the_zone_of_whoever_looks(web: Any, seen: Dashboard) -> None:
    await web.run.client.create("user.a", "0 * * * *", task_class="demo.echo", timezone="UTC")
    await seen.open(web)
    page = seen.page
    await seen.row("user.a").click()
    await page.get_by_role("button", name="Run past times").focus()
    await seen.press("Enter")
    await expect(page.get_by_label("From", exact=True)).to_be_focused()
    await page.get_by_label("From", exact=True).fill("2025-01-02T00:00")
    await page.get_by_label("To", exact=True).fill("2025-01-01T00:00")
    await seen.press("Enter")
    await expect(page.get_by_role("alert")).to_have_text("the range ends before it starts")
    await page.get_by_label("From", exact=True).fill("2024-01-01T00:00")
    await seen.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("more than 100 slots")
    await page.get_by_label("From", exact=True).fill("2024-12-31T22:00")
    await seen.press("Enter")
    await expect(page.get_by_text("3 runs of user.a queued")).to_be_visible()
    await expect(page.get_by_label("From", exact=True)).to_have_count(0)
    events = await web.run.events.several(3, "scheduler.event.execution.succeeded", task_id="user.a")
    slots = [event.payload["scheduled_for"][:13] for event in events]
    assert slots == ["2025-01-01T03", "2025-01-01T04", "2025-01-01T05"]
    # Refused forms are refused requests, which the browser notes; nothing else may be wrong.
    assert [each for each in seen.problems if "422" not in each] == []
