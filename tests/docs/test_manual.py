"""The manual builds without a warning, and its examples do what they say, on a running service."""

import asyncio
import inspect
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from aico_sched.topics.registry import COMMANDS, EVENTS
from tests.integration.support.process import DEADLINE, ROOT, Ended, environment, server

DOCS = ROOT / "docs"
BLOCK = re.compile(r'^```(python|console|yaml)(?: title="([^"]+)")?\n(.*?)^```', re.DOTALL | re.MULTILINE)
TOP_LEVEL_AWAIT = 0x2000


class Block(NamedTuple):
    language: str
    file: str
    text: str


def blocks(page: Path) -> list[Block]:
    return [Block(*found) for found in BLOCK.findall(page.read_text(encoding="utf-8"))]


PAGES = [page for page in sorted(DOCS.rglob("*.md")) if any(b.language != "yaml" for b in blocks(page))]


def commands(block: Block) -> Iterator[list[str]]:
    for line in block.text.splitlines():
        if line.startswith("$ "):
            yield shlex.split(line[2:])


async def shell(words: list[str], folder: Path) -> Ended:
    """A command of the manual, `aico-sched` being the one of this tree."""
    assert words[0] == "aico-sched", "the manual shows no other command"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "aico_sched.cli.app", *words[1:], cwd=folder, env=environment(folder),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(DEADLINE):
        output, errors = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, output.decode(), errors.decode())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
async def test_the_examples_of_a_page_work(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith(("AICO_", "XDG_"))]:
        monkeypatch.delenv(name)
    async with server(tmp_path, "run") as service:
        await service.says("service_started")
        for block in blocks(page):
            if block.language == "yaml" and block.file:
                (tmp_path / block.file).write_text(block.text)
            elif block.language == "console":
                for words in commands(block):
                    ended = await shell(words, tmp_path)
                    assert ended.code == 0, f"{words} failed: {ended.output}\n{ended.errors}"
            elif block.language == "python":
                await run_python(block.text, page, tmp_path, monkeypatch)
        assert await service.stop() == 0


async def run_python(source: str, page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of the manual; an application that it makes is started and asked how it is."""
    namespace: dict[str, Any] = {"__name__": page.stem}
    code = compile(source, str(page), "exec", flags=TOP_LEVEL_AWAIT)
    if "EmbeddedScheduler" in source:
        # Beside the service of the page, not in its place.
        monkeypatch.setenv("AICO_SCHED_DATA_DIR", str(folder / "embedded"))
        monkeypatch.setenv("AICO_SCHED_BUS__PUBLISH_PORT", "0")
        monkeypatch.setenv("AICO_SCHED_BUS__SUBSCRIBE_PORT", "0")
    running = eval(code, namespace)
    if inspect.isawaitable(running):
        async with asyncio.timeout(DEADLINE):
            await running
    if "app" in namespace:
        app, token = namespace["app"], (folder / "embedded" / "keys" / "api.token").read_text().strip()
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                answer = await client.get("/api/v1/scheduler/health", headers={"Authorization": f"Bearer {token}"})
                assert answer.status_code == 200, answer.text
                assert (await client.get("/api/v1/scheduler/health")).status_code == 401


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manual, built; any warning fails it."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_reference_is_whole(site: Path) -> None:
    topics = (site / "reference" / "topics" / "index.html").read_text()
    assert all(topic in topics for topic in (*COMMANDS, *EVENTS))
    assert "max_concurrent_tasks" in (site / "reference" / "configuration" / "index.html").read_text()
    assert "aico-sched dead requeue" in (site / "reference" / "command-line" / "index.html").read_text()


def test_the_manual_fetches_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        fetched = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?://[^"]+)"', page.read_text())
        assert fetched == [], page
