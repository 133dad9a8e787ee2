"""What a run has logged, in the dashboard."""

from typing import Any

import pytest
from playwright.async_api import expect

from aico_sched.topics import names
from tests.integration.api.browser import Dashboard
from tests.integration.api.test_dashboard import FAR, MARKUP, browser, seen
from tests.integration.support.tasks import Gate

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


async def test_the_lines_of_a_run_that_goes_on_come_by_themselves(web: Any, seen: Dashboard, gate: Gate) -> None:
    await web.run.client.create("user.g", FAR, task_class="user.gated", config={"gate": gate.name})
    execution_id = (await web.run.client.trigger("user.g")).execution_id
    await gate.has_entered()
    log = gate.contexts[-1].log
    log.info("before it was opened", n=1)
    await web.run.events.first(names.EXECUTION_LOGGED, execution_id=execution_id)
    await seen.open(web, "runs")
    await seen.row("user.g").click()
    shown = seen.page.locator("dialog pre.logs")
    await expect(shown).to_contain_text("before it was opened n=1")
    log.warning(MARKUP, n=2)
    await expect(shown).to_contain_text(f"warning  {MARKUP} n=2")
    assert (await shown.text_content() or "").count("before it was opened") == 1
    gate.open()
    await expect(seen.page.get_by_role("dialog")).to_contain_text("Used")
    await expect(seen.page.locator("dialog h3", has_text="Log so far")).to_have_count(0)
    await expect(seen.page.locator("dialog summary")).to_contain_text("Attempt 1")
    assert seen.problems == []
