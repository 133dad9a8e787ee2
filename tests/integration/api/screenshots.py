"""The README's pictures of the dashboard: a real service with some days of life, seen by a real browser.

The day they have behind them passes on the virtual clock, in seconds.
"""

import asyncio
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aico_sched.api.server import bound, serving
from aico_sched.api.tokens import api_token, token_file
from aico_sched.client import SchedulerClient
from aico_sched.service import SchedulerService
from aico_sched.testing import Simulation
from tests.integration.api.browser import browsing, dashboard
from tests.integration.support.running import settings_for

IMAGES = Path(__file__).parents[3] / "docs" / "images"
SIZE = {"width": 1120, "height": 620}

TASKS: list[tuple[str, str, str, dict[str, Any], str]] = [
    ("agency.reflect", "0 1 * * *", "demo.sleep", {"seconds": 1200}, "Thinks over the day"),
    ("user.backup", "0 3 * * *", "demo.sleep", {"seconds": 2400}, "Copies the home folder to the other disk"),
    ("user.index", "45 */6 * * *", "demo.sleep", {"seconds": 1500}, "Rebuilds the search index"),
    ("user.mail", "*/15 * * * *", "demo.sleep", {"seconds": 20}, "Looks for new mail"),
    ("user.photos", "0 */4 * * *", "demo.sleep", {"seconds": 700}, "Sorts new photos into albums"),
    ("user.statements", "30 */8 * * *", "demo.fail", {"kind": "permanent", "times": 9}, "Fetches the statements"),
    ("user.weather", "interval:1800", "demo.echo", {}, "Asks for the forecast"),
]


async def live_through(folder: Path) -> None:
    """Tasks, and the day they have behind them."""
    began = datetime.now(UTC) - timedelta(days=1)
    async with Simulation(folder, start=began) as simulation:
        for task_id, schedule, task_class, config, description in TASKS:
            tags = ["nightly"] if schedule.startswith("0 ") else []
            await simulation.client.create(
                task_id,
                schedule,
                task_class=task_class,
                config=config,
                description=description,
                timeout=7200,
                tags=tags,
            )
        await simulation.clock.advance(86_000)
        await simulation.client.pause("agency.reflect", note="until the weekend")


async def draw(address: str, token: str, browser: str) -> None:
    for scheme in ("light", "dark"):
        look: dict[str, Any] = {"color_scheme": scheme, "viewport": SIZE, "locale": "en-GB", "timezone_id": "UTC"}
        async with dashboard(browser, **look) as seen:
            await seen.page.goto(f"{address}#token={token}")
            await seen.row("user.index").wait_for()
            await seen.see("timeline")
            await seen.page.get_by_label("Range").select_option("24")
            for view in ("timeline", "tasks"):
                await seen.see(view)
                await seen.page.wait_for_timeout(800)
                await seen.page.screenshot(path=IMAGES / f"{view}-{scheme}.png")
            if seen.problems:
                sys.exit(f"the page complained: {seen.problems}")


async def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, browsing(Path(folder) / "browser") as browser:
        settings = settings_for(Path(folder) / "data")
        await live_through(settings.data_dir)
        async with SchedulerService(settings), SchedulerClient.discover(settings.data_dir) as client:
            await client.update("user.index", config={"seconds": 600, "steps": 600})
            await client.trigger("user.index")
            with bound("127.0.0.1", 0) as listen:
                async with serving(settings, client, listen=listen) as address:
                    await draw(address, api_token(token_file(settings)), browser)
                    client.end_streams()
    print(f"{datetime.now(UTC):%H:%M} drawn into {IMAGES}")


if __name__ == "__main__":
    asyncio.run(main())
