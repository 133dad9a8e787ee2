"""Somebody who does what a page says."""

import asyncio
import inspect
import json
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
import yaml
from fastapi import FastAPI
from typer.testing import CliRunner

from tests.docs.pages import Block, Command, commands
from tests.integration.support.process import ROOT, Server, environment

TOP_LEVEL_AWAIT = 0x2000
PATIENCE = 90.0
"""Seconds for one command or program; a page is a long row of them, on a machine that may be busy."""

STARTED = {"run": "service_started", "web": "web_started"}
"""Commands that go on, and what they say when they are ready."""

PIP = """
import pathlib, re, subprocess, sys
(wheel,) = pathlib.Path({dist!r}).glob("*.whl")
assert sys.argv[1] == "install", sys.argv
what = re.fullmatch(r"(?:aico-sched|[.])(\\[[a-z,]+\\])?", sys.argv[2])
assert what, "the manual installs nothing but this package"
where = ["--target", {target!r}, "--no-deps", "--no-index", "--upgrade", "--disable-pip-version-check"]
done = subprocess.run(
    [sys.executable, "-m", "pip", "install", *where, f"aico-sched{{what[1] or ''}} @ {{wheel.as_uri()}}"],
    capture_output=True, text=True)
print(done.stdout, done.stderr)
sys.exit(done.returncode or "does not provide the extra" in done.stderr)
"""
"""`pip` without an index: it installs the wheel that was built of this tree, and refuses an extra that it lacks."""

CURL = """
import sys, urllib.request
*_, url = words = [word for word in sys.argv[1:] if word not in ("-N", "-H")]
with urllib.request.urlopen(urllib.request.Request(url, headers=dict([words[0].split(": ", 1)]))) as answer:
    for line in answer:
        print(line.decode(), end="", flush=True)
"""
"""For machines without `curl`."""


class Reader:
    """`replaced` are addresses of the manual and those they have here, since no test may use a fixed port."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, replaced: Mapping[str, str], dist: Path) -> None:
        self.home, self._patch, self._replaced = folder / "home", patch, dict(replaced)
        self._tools, self._namespace = folder / "tools", {"__name__": "page"}
        self._running: list[Server] = []
        self._stack = AsyncExitStack()
        self._environment = environment(self.home, web__port=0)
        self._environment["PATH"] = f"{self._tools}{os.pathsep}{self._environment['PATH']}"
        self._environment["PYTHONPATH"] += f"{os.pathsep}{self.home}"
        for made in (self.home, self._tools):
            made.mkdir(exist_ok=True)
        self._tool("aico-sched", f'exec {shlex.quote(sys.executable)} -m aico_sched.cli.app "$@"')
        (folder / "pip.py").write_text(PIP.format(dist=str(dist), target=str(folder / "installed")))
        self._tool("pip", f'exec {shlex.quote(sys.executable)} {folder / "pip.py"} "$@"')
        if shutil.which("curl") is None:
            (folder / "curl.py").write_text(CURL)
            self._tool("curl", f'exec {shlex.quote(sys.executable)} {folder / "curl.py"} "$@"')
        # To run the tests from within a test would have no end: it must be a target, no more.
        self._tool("make", f'exec /usr/bin/env -i PATH=/usr/bin:/bin make -n -C {ROOT} VENV=none PYTHON=no "$@"')

    def _tool(self, name: str, line: str) -> None:
        (self._tools / name).write_text(f"#!/bin/sh\n{line}\n")
        (self._tools / name).chmod(0o755)

    async def __aenter__(self) -> "Reader":
        self._patch.setenv("HOME", str(self.home))
        for name in [name for name in os.environ if name.startswith(("AICO_", "XDG_"))]:
            self._patch.delenv(name)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def follow(self, page: list[Block]) -> None:
        """All of a page, with a service beside it, which is started by the page where it says so."""
        for block in page:
            if block.title:
                self._write(block)
        lines = [command.line for block in page for command in commands(block)]
        if lines and not any(_words(line)[:2] == ["aico-sched", "run"] for line in lines):
            await self._start(["run"])
        for block in page:
            if block.language == "console":
                for command in commands(block):
                    await self._do(command)
            elif block.language == "python":
                await self._python(block.text)
        while self._running:
            assert await self._running.pop().stop() == 0

    def _write(self, block: Block) -> None:
        """A file of the page. Settings of several blocks are one file."""
        text = self._here(block.text)
        title = block.title if block.title != "core.yaml" else "~/.config/aico/scheduler/core.yaml"
        file = self.home / title.removeprefix("~/")
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if block.title == "core.yaml" and file.exists():
            text = yaml.safe_dump(_merged(yaml.safe_load(file.read_text()), yaml.safe_load(text)))
        file.write_text(text)

    def _here(self, text: str) -> str:
        for shown, here in self._replaced.items():
            text = text.replace(shown, here)
        return text

    async def _do(self, command: Command) -> None:
        words = _words(command.line)
        if words[0] == "aico-sched" and words[1] in STARTED:
            await self._start(_words(self._here(command.line))[1:])
            return
        if words[:2] == ["aico-sched", "restore"]:
            # "Stop the service first."
            while self._running:
                assert await self._running.pop().stop() == 0
        process = await asyncio.create_subprocess_exec(
            "/bin/sh", "-c", f"exec {self._here(command.line)}", cwd=self.home, env=self._environment,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(PATIENCE):
                if words[:2] == ["aico-sched", "watch"] or "-N" in words:
                    assert process.stdout is not None
                    first = await process.stdout.readline()
                    assert first.strip(), f"{command.line} showed nothing"
                    return
                output, errors = await process.communicate()
        except TimeoutError:
            process.kill()
            told = b"".join(await process.communicate()).decode()
            raise AssertionError(f"{command.line} does not end; it said: {told}") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()
        said = f"{command.line}\n{output.decode()}\n{errors.decode()}"
        assert process.returncode == 0, said
        if words[0] == "curl":
            assert "tasks" in json.loads(output), said
        if command.shown:
            assert json.loads(output) == json.loads(command.shown), said

    async def _start(self, words: list[str]) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "aico_sched.cli.app", *words, cwd=self.home, env=self._environment,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self._stack.push_async_callback(_ended, process)
        self._running.append(Server(process))
        said = await self._running[-1].says(STARTED[words[0]])
        if words[0] == "web":
            self._replaced["http://127.0.0.1:5567"] = said["address"].rstrip("/")

    async def _python(self, source: str) -> None:
        """A program of the page."""
        code = compile(source, "page", "exec", flags=TOP_LEVEL_AWAIT)
        before = {name: value for name, value in self._namespace.items() if name.startswith("test_")}
        with self._patch.context() as patch:
            if "EmbeddedScheduler" in source or "Settings.load()" in source:
                # Beside the service of the page, not in its place.
                patch.setenv("AICO_SCHED_DATA_DIR", str(self.home / "embedded"))
                patch.setenv("AICO_SCHED_BUS__PUBLISH_PORT", "0")
                patch.setenv("AICO_SCHED_BUS__SUBSCRIBE_PORT", "0")
            if "app.add_typer" in source:
                self._namespace["app"] = typer.Typer()
            async with asyncio.timeout(PATIENCE):
                running = eval(code, self._namespace)
                if inspect.isawaitable(running):
                    await running
                if isinstance(self._namespace.get("app"), FastAPI):
                    await self._ask(self._namespace.pop("app"))
            for name, test in list(self._namespace.items()):
                if name.startswith("test_") and before.get(name) is not test:
                    folder = self.home / name
                    folder.mkdir()
                    await test(folder)
        if isinstance(mounted := self._namespace.pop("app", None), typer.Typer):
            assert CliRunner().invoke(mounted, ["scheduler", "next", "@daily"]).exit_code == 0

    async def _ask(self, app: FastAPI) -> None:
        """An application of the page is started and asked how it is, with its token and without."""
        token = (self.home / "embedded" / "keys" / "api.token").read_text().strip()
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                answer = await client.get("/api/v1/scheduler/health", headers={"Authorization": f"Bearer {token}"})
                assert answer.status_code == 200, answer.text
                assert (await client.get("/api/v1/scheduler/health")).status_code == 401


def _words(line: str) -> list[str]:
    return shlex.split(line, comments=True)


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    both = {**one, **other}
    for key in one.keys() & other.keys():
        if isinstance(one[key], dict) and isinstance(other[key], dict):
            both[key] = _merged(one[key], other[key])
    return both


async def _ended(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.communicate()
