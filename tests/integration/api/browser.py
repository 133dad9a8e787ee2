"""Headless Chromium from the system's packages, and the dashboard in it."""

import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Locator, Page, async_playwright, expect

NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = "no Chromium here: `make browser` installs it where it can"
DEADLINE_MS = 20_000
expect.set_options(timeout=DEADLINE_MS)


def chromium() -> str | None:
    """The browser's path. In CI a missing one is no reason to skip."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None and os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(MISSING)
    return found


@contextmanager
def browsing(folder: Path) -> Iterator[str]:
    """A browser; gives the address by which Playwright reaches it."""
    path = chromium()
    if path is None:
        pytest.skip(MISSING)
    flags = [
        "--headless",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-dev-shm-usage",
    ]
    if os.geteuid() == 0:
        flags.append("--no-sandbox")
    process = subprocess.Popen(
        [path, *flags, "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "LANG": "en_GB.UTF-8", "TZ": "UTC"},
    )  # fmt: skip
    with process:
        try:
            assert process.stderr is not None
            listening = (re.search(r"DevTools listening on (ws://\S+)", line) for line in process.stderr)
            yield next(found[1] for found in listening if found)
        finally:
            process.kill()
            process.stderr.close()  # type: ignore[union-attr]


class Dashboard:
    """The page as a person at the keyboard and the mouse has it. `problems` is what it complained of."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", lambda said: said.type == "error" and self.problems.append(said.text))
        page.on("dialog", lambda dialog: self.problems.append(f"dialog: {dialog.message}"))

    async def open(self, web: Any, view: str = "tasks") -> None:
        await self.page.goto(f"{web.address}#token={web.token}")
        await expect(self.page.locator("#connection")).to_have_text("Live")
        await self.see(view)

    async def see(self, view: str) -> None:
        await self.page.locator(f"nav a[data-view={view}]").click()
        await expect(self.page.locator(f"nav a[data-view={view}]")).to_have_attribute("aria-current", "page")

    def row(self, text: str) -> Locator:
        return self.page.locator(".list-space .row").filter(has_text=text)

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.page.keyboard.press(key)


@asynccontextmanager
async def dashboard(address: str, **options: Any) -> AsyncIterator[Dashboard]:
    """A fresh profile of the browser, as `options` say."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.connect_over_cdp(address)
        context = await browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        context.set_default_timeout(DEADLINE_MS)
        try:
            yield Dashboard(await context.new_page())
        finally:
            await context.close()
