"""The dashboard in a real browser, on a real service."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from playwright.async_api import expect

from aico_sched.api.server import bound, serving
from aico_sched.api.tokens import api_token, token_file
from aico_sched.client import SchedulerClient
from aico_sched.load_history import LoadHistory
from tests.integration.api.browser import Dashboard, browsing, dashboard
from tests.integration.support.tasks import Gate

FAR = "interval:86400"
MARKUP = '<img src=x onerror="alert(1)"><script>alert(2)</script>'


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with browsing(tmp_path_factory.mktemp("browser")) as address:
        yield address


@pytest.fixture
async def seen(browser: str) -> AsyncIterator[Dashboard]:
    async with dashboard(browser) as shown:
        yield shown


async def test_a_task_is_created_started_and_watched_to_its_end(web: Any, seen: Dashboard) -> None:
    await seen.open(web)
    page = seen.page
    assert web.token not in page.url, "the token does not stay in the address"
    await page.get_by_role("button", name="New task").click()
    await page.get_by_label("Task", exact=True).fill("user.slow")
    schedule = page.get_by_label("Schedule")
    await schedule.fill("61 * * * *")
    await expect(page.locator("#field-schedule-error")).to_contain_text("61")
    await expect(schedule).to_have_attribute("aria-invalid", "true")
    await schedule.fill("30 2 * * MON")
    await expect(page.locator(".explanation")).to_contain_text("Monday")
    await expect(page.locator("#field-schedule-error")).to_be_empty()
    await page.get_by_label("Class").fill("no.such")
    await page.get_by_role("button", name="Create").click()
    await expect(page.locator("#field-task_class-error")).to_contain_text("no.such")
    await expect(page.get_by_label("Class")).to_be_focused()
    await page.get_by_label("Class").fill("demo.sleep")
    await page.get_by_label("Configuration").fill('{"seconds": 1.5, "steps": 30')
    await page.get_by_role("button", name="Create").click()
    await expect(page.locator("#field-config-error")).to_contain_text("no JSON")
    await page.get_by_label("Configuration").fill('{"seconds": 1.5, "steps": 30}')
    await page.get_by_role("button", name="Create").click()
    await expect(seen.row("user.slow")).to_contain_text("active")
    assert (await web.run.client.status("user.slow")).task.config == {"seconds": 1.5, "steps": 30}
    await page.get_by_role("button", name="Run user.slow now").click()
    await seen.see("runs")
    await expect(seen.row("user.slow")).to_contain_text("running")
    await expect(seen.row("user.slow")).to_contain_text(re.compile(r"step \d+ of 30"))
    await expect(seen.row("user.slow")).to_contain_text("succeeded")
    await seen.row("user.slow").click()
    await expect(page.locator("dialog")).to_contain_text("slept 1.5 s")
    await expect(page.locator("dialog summary")).to_contain_text("Attempt 1")
    # A refused form is a refused request, which the browser notes; nothing else may be wrong.
    assert [each for each in seen.problems if "422" not in each] == []


async def test_a_run_is_cancelled_and_a_dead_letter_requeued(web: Any, seen: Dashboard, gate: Gate) -> None:
    await web.run.client.create("user.g", FAR, task_class="user.gated", config={"gate": gate.name})
    await web.run.client.create("user.d", FAR, task_class="demo.fail", config={"kind": "permanent", "times": 1})
    await seen.open(web, "runs")
    run = (await web.run.client.trigger("user.g")).execution_id
    await seen.page.get_by_role("button", name="Cancel the run of user.g").click()
    await expect(seen.row("user.g")).to_contain_text("cancelled")
    assert (await web.run.finished(run)).reason is not None
    died = (await web.run.ran("user.d")).execution_id
    await expect(seen.page.locator("nav .count")).to_have_text("1")
    await seen.see("dead")
    await expect(seen.row("user.d")).to_contain_text("fails as it was asked to")
    await seen.page.get_by_role("button", name="Discard the run of user.d").click()
    await seen.page.get_by_role("button", name="Keep it").click()
    await seen.page.get_by_role("button", name="Requeue the run of user.d").click()
    await expect(seen.page.get_by_text("user.d runs again")).to_be_visible()
    await web.run.events.several(2, "scheduler.event.execution.started", execution_id=died)
    await web.run.client.create("user.nightly", "0 */6 * * *", task_class="demo.echo")
    await seen.see("timeline")
    await expect(seen.row("user.nightly").locator(".slot")).to_have_count(4)
    await expect(seen.row("user.d").locator(".slot, .band")).to_have_count(1)
    await expect(seen.row("user.g").locator(".run")).to_have_count(1)
    await seen.row("user.g").locator(".run").click()
    await expect(seen.page.get_by_role("dialog")).to_contain_text("cancelled in the dashboard")
    await seen.press("Escape")
    await seen.see("health")
    await expect(seen.page.get_by_role("img", name=re.compile("^CPU: now"))).to_be_visible()
    await expect(seen.page.locator(".checks")).to_contain_text("dead letters")
    assert seen.problems == []


async def test_everything_can_be_done_from_the_keyboard(web: Any, seen: Dashboard) -> None:
    for name in ("user.a", "user.b", "user.c"):
        await web.run.client.create(name, FAR, task_class="demo.echo")
    await seen.open(web)
    page = seen.page
    for key, label in (("5", "Health"), ("4", "Dead letters"), ("3", "Runs"), ("2", "Timeline"), ("1", "Tasks")):
        await seen.press(key)
        await expect(page.locator("main > section")).to_have_attribute("aria-label", label)
    await seen.press("/")
    await page.keyboard.type("user.")
    await expect(page.locator(".list-space .row")).to_have_count(3)
    await seen.press("Escape", "ArrowDown", "ArrowDown")
    await expect(seen.row("user.b")).to_be_focused()
    await seen.press("p")
    await expect(seen.row("user.b")).to_contain_text("paused")
    await expect(seen.row("user.b")).to_be_focused()
    await seen.press("p")
    await expect(seen.row("user.b")).to_contain_text("active")
    await seen.press("r")
    await web.run.events.first("scheduler.event.execution.succeeded", task_id="user.b")
    await seen.press("Enter")
    await expect(page.get_by_role("dialog")).to_contain_text("Newest runs")
    await seen.press("Escape")
    await expect(seen.row("user.b")).to_be_focused()
    await seen.press("e")
    await expect(page.get_by_label("Schedule")).to_be_focused()
    await page.get_by_label("Description").fill("changed")
    await seen.press("Enter")
    await expect(seen.row("user.b")).to_contain_text("changed")
    assert (await web.run.client.status("user.b")).task.options["description"] == "changed"
    await seen.press("?")
    await expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    await seen.press("Escape")
    for _ in range(12):
        await seen.press("Tab")
        focused = page.locator(":focus")
        if await focused.count():
            assert await focused.evaluate("e => e.matches('a, button, input, select, .row, main, body')")
    assert seen.problems == []


async def test_what_others_wrote_is_shown_as_text(web: Any, seen: Dashboard) -> None:
    options: dict[str, Any] = {"description": MARKUP, "tags": [MARKUP[:60]], "owner": MARKUP[:60]}
    await web.run.client.create("user.x", FAR, task_class="demo.echo", config={MARKUP: MARKUP}, **options)
    await web.run.client.pause("user.x", note=MARKUP)
    await web.run.client.create("user.f", FAR, task_class="demo.echo", config={"message": MARKUP})
    await web.run.ran("user.f")
    await seen.open(web)
    page = seen.page
    await expect(seen.row("user.x")).to_contain_text("<img src=x onerror")
    await seen.row("user.x").click()
    await expect(page.locator("dialog pre").first).to_contain_text("<script>alert(2)</script>")
    await expect(page.locator("dialog dd").first).to_contain_text("<img src=x")
    await seen.press("Escape")
    for view in ("timeline", "runs", "dead", "health"):
        await seen.see(view)
        assert await page.locator("img[src=x], main script").count() == 0
    await seen.see("runs")
    await seen.row("user.f").click()
    await expect(page.locator("dialog pre").first).to_contain_text("onerror")
    assert await page.locator("img[src=x]").count() == 0
    assert seen.problems == []


async def test_a_thousand_tasks_do_not_slow_it_down(web: Any, seen: Dashboard) -> None:
    names = [f"user.many{n:04d}" for n in range(1_000)]
    await asyncio.gather(*(web.run.client.create(name, FAR, task_class="demo.echo") for name in names))
    await seen.open(web)
    page = seen.page
    await expect(page.locator(".tools [role=status]")).to_contain_text(re.compile("100[0-9] tasks"))
    rows = page.locator(".list-space .row")
    assert await rows.count() < 60, "only what is in sight is in the document"
    await rows.nth(3).focus()
    began = time.perf_counter()
    await seen.press("End")
    await expect(seen.row("user.many0999")).to_be_focused()
    await seen.press("Home", "/")
    await page.keyboard.type("many0500")
    await expect(rows).to_have_count(1)
    took = time.perf_counter() - began
    assert took < 5, f"{took:.1f} s to jump, return and search"
    longest = await page.evaluate(
        """async () => {
            const scroller = document.querySelector(".list-scroll");
            document.querySelector("input[type=search]").value = "";
            document.querySelector("input[type=search]").dispatchEvent(new Event("input"));
            let worst = 0;
            for (let n = 0; n < 60; n += 1) {
                const began = performance.now();
                scroller.scrollTop = n * 700;
                scroller.dispatchEvent(new Event("scroll"));
                worst = Math.max(worst, performance.now() - began);
                await new Promise(requestAnimationFrame);
            }
            return worst;
        }"""
    )
    print(f"jump, return and search: {took:.2f} s; longest scroll step: {longest:.1f} ms")
    assert longest < 200
    assert seen.problems == []


async def test_a_broken_connection_is_shown_and_mended_without_loss(run: Any, seen: Dashboard) -> None:
    token = api_token(token_file(run.settings))
    listen = bound("127.0.0.1", 0)
    port = listen.getsockname()[1]
    state = seen.page.locator("#connection")
    async with SchedulerClient.discover(run.settings.data_dir) as client:
        with listen:
            async with serving(run.settings, client, listen=listen) as address:
                await seen.page.goto(f"{address}#token={token}")
                await expect(state).to_have_text("Live")
                client.end_streams()
        await expect(state).to_have_text(re.compile("Reconnecting"))
        await client.create("user.meanwhile", FAR, task_class="demo.echo")
        with bound("127.0.0.1", port) as listen:
            async with serving(run.settings, client, listen=listen):
                await expect(state).to_have_text("Live")
                await expect(seen.row("user.meanwhile")).to_be_visible()
                client.end_streams()


async def test_a_scheduler_that_is_gone_shows_though_the_page_is_connected(serve: Any, seen: Dashboard) -> None:
    web = await serve(patience=1.0, scheduler__heartbeat_interval=0.1)
    await seen.open(web)
    await web.run.service.stop()
    await expect(seen.page.locator("#connection")).to_have_text("The scheduler does not answer")
    await seen.row("maintenance.health_check").get_by_role("button").first.click()
    await expect(seen.page.locator(".toast.bad")).to_contain_text("no answer")


async def test_only_the_token_lets_one_in(web: Any, seen: Dashboard) -> None:
    page = seen.page
    await page.goto(web.address)
    await page.get_by_label("Token").fill("guessed")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_contain_text("not the token")
    await page.get_by_label("Token").fill(web.token)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.locator("#connection")).to_have_text("Live")
    await page.reload()
    await expect(seen.row("maintenance.health_check")).to_be_visible()


async def test_it_fits_light_and_dark_and_narrow(web: Any, browser: str) -> None:
    looks: list[tuple[Any, int]] = [("light", 1280), ("dark", 1280), ("dark", 390)]
    for scheme, width in looks:
        async with dashboard(browser, color_scheme=scheme, viewport={"width": width, "height": 800}) as seen:
            await seen.open(web)
            background = await seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
            red = int(re.findall(r"\d+", background)[0])
            assert (red < 60) == (scheme == "dark"), background
            for view in ("tasks", "timeline", "runs", "dead", "health"):
                await seen.see(view)
                wide = await seen.page.evaluate("document.documentElement.scrollWidth")
                assert wide <= width, f"{view} is {wide} wide"
            assert seen.problems == []


async def test_the_charts_reach_back_to_before_the_page_was_opened(
    web: Any, seen: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [
        {"at": f"2026-01-01T00:{minute:02}:00.000000Z", "cpu_percent": 90.0, "memory_percent": 1.0, "loop_lag_ms": 1.0,
         "running": minute, "due": 0, "ended_per_second": 7.0}
        for minute in range(30)
    ]  # fmt: skip
    monkeypatch.setattr(LoadHistory, "view", lambda self: {"interval_seconds": 60.0, "samples": before})
    shift = (
        "const old = Date.parse; Date.parse = (text) => old(text.replace(/^2026-01-01T00:(..)/, (_, m) => "
        "new Date(Date.now() - (31 - m) * 60000).toISOString().slice(0, 16)));"
    )
    await seen.page.add_init_script(shift)
    await seen.open(web, "health")
    chart = seen.page.locator("figure.chart", has_text="Running")
    await expect(chart).to_contain_text("up to 29")
    await expect(chart).to_contain_text(re.compile("3[01] min"))
    assert len((await chart.locator("polyline").get_attribute("points") or "").split()) >= 30
    assert seen.problems == []
