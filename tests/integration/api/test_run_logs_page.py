"""What a run has logged, in the dashboard."""

from typing import Any

import pytest
from playwright.async_api import expect

from tests.integration.api.browser import Dashboard
from tests.integration.api.test_dashboard import FAR, MARKUP, browser, seen

__all__ = ["browser", "seen"]


@pytest.mark.parametrize("lines", [2, 150])
async def test_the_lines_of_a_run_are_shown_as_text(web: Any, seen: Dashboard, lines: int) -> None:
    await web.run.client.create("user.says", FAR, config={"lines": lines, "text": MARKUP})
    await web.run.ran("user.says")
    await seen.open(web, "runs")
    await seen.row("user.says").click()
    await seen.page.locator("dialog summary").click()
    shown = seen.page.locator("dialog pre.logs")
    await expect(shown).to_contain_text(f"warning  {MARKUP} n={lines - 1}")
    await expect(shown).to_contain_text("info" if lines == 2 else "50 earlier lines are not kept")
    assert seen.problems == []
