"""The API where it runs: next to a service, in its process, and inside a FastAPI program."""

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from aico_sched.api import EmbeddedScheduler
from aico_sched.api.app import API
from aico_sched.api.server import AddressInUse, bound
from aico_sched.client import ServiceUnreachable
from tests.integration.support.aico import AicoBroker
from tests.integration.support.process import DEADLINE, command, server

LISTEN = {"web__port": 0}


def client(address: str, token_file: Path) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {token_file.read_text().strip()}"}
    return httpx.AsyncClient(base_url=address.rstrip("/") + API + "/", headers=headers, trust_env=False)


async def test_run_with_web_serves_until_the_signal_with_readers_connected(tmp_path: Path) -> None:
    async with server(tmp_path, "run", "--web", **LISTEN) as process:
        said = await process.says("web_started")
        async with client(said["address"], Path(said["token_file"])) as http:
            assert (await http.get("status")).json()["ready"] is True
            async with http.stream("GET", "events/stream") as events:
                lines = events.aiter_lines()
                assert await anext(lines) == "retry: 1000"
                assert await process.stop() == 0
                rest = [line async for line in lines]
        assert "hello" in "".join(rest)
        assert Path(said["token_file"]).read_text().strip() not in json.dumps(process.lines)


async def test_web_next_to_a_running_service_says_where_it_is(tmp_path: Path) -> None:
    async with server(tmp_path, "run") as service:
        await service.says("service_started")
        async with server(tmp_path, "web", "--port", "0") as process:
            said = await process.says("web_started")
            async with client(said["address"], Path(said["token_file"])) as http:
                assert (await http.get("health")).status_code == 200
            assert await process.stop(signal.SIGINT) == 0


async def test_web_without_a_service_or_with_a_taken_port_ends_with_what_to_do(tmp_path: Path) -> None:
    ended = await command(tmp_path, "web", "--port", "0")
    assert (ended.code, "aico-sched run" in ended.errors) == (3, True)
    with bound("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        ended = await command(tmp_path, "web", "--port", str(port), "--json")
        assert (ended.code, str(port) in ended.json["error"]["message"]) == (2, True)
        with pytest.raises(AddressInUse):
            bound("127.0.0.1", port)


class Config:
    """AICO's configuration manager, as far as it is used."""

    def __init__(self, folder: Path, **scheduler: Any) -> None:
        busy = {"max_cpu_percent": 100, "max_memory_percent": 100, "shutdown_grace": 0}
        self.values = {
            "scheduler": {**busy, **scheduler},
            "bus": {"publish_port": 0, "subscribe_port": 0},
            "paths": {"data_dir": str(folder)},
            "web": {"hosts": ["backend.test"]},
        }

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)


def backend(config: Config) -> tuple[FastAPI, EmbeddedScheduler]:
    scheduler = EmbeddedScheduler(config)
    app = FastAPI(lifespan=scheduler.lifespan)
    app.include_router(scheduler.router(), prefix="/api/v1/scheduler")
    app.include_router(scheduler.dashboard("/api/v1/scheduler"), prefix="/scheduler")
    return app, scheduler


async def test_the_scheduler_starts_and_stops_with_a_fastapi_program(tmp_path: Path) -> None:
    app, scheduler = backend(Config(tmp_path / "data"))
    token = (tmp_path / "data" / "keys" / "api.token").read_text().strip()
    transport = httpx.ASGITransport(app)
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://backend.test", headers=headers) as http:
        assert (await http.get("/api/v1/scheduler/status")).json()["code"] == "unavailable", "not yet"
        async with asyncio.timeout(DEADLINE), scheduler.lifespan(app):
            assert scheduler.scheduler.service.running
            task = {"task_id": "user.a", "schedule": "interval:86400", "task_class": "demo.echo"}
            assert (await http.post("/api/v1/scheduler/tasks", json=task)).status_code == 201
            started = (await http.post("/api/v1/scheduler/tasks/user.a/trigger")).json()
            assert (await scheduler.client.wait(started["execution_id"])).status == "succeeded"
            assert '"/api/v1/scheduler"' in (await http.get("/scheduler/")).text
            wrong = {"Authorization": "Bearer no"}
            assert (await http.get("/api/v1/scheduler/tasks", headers=wrong)).status_code == 401
            assert (await http.get("http://else.test/api/v1/scheduler/tasks")).status_code == 403
        assert not scheduler.scheduler.service.running
        assert (await http.get("/api/v1/scheduler/status")).status_code == 503


async def test_on_the_bus_of_aico_the_program_commands_as_the_admin(tmp_path: Path) -> None:
    with AicoBroker() as broker:
        config = Config(tmp_path / "data")
        config.values["bus"] = {"server_key": broker.public}
        scheduler = EmbeddedScheduler(config, broker.address)
        app = FastAPI(lifespan=scheduler.lifespan)
        app.include_router(scheduler.router(), prefix="/api/v1/scheduler")
        token = (tmp_path / "data" / "keys" / "api.token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        base = "http://backend.test/api/v1/scheduler/"
        async with (
            asyncio.timeout(DEADLINE),
            scheduler.lifespan(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base, headers=headers) as http,
        ):
            task = {"task_id": "user.a", "schedule": "interval:86400", "task_class": "demo.echo"}
            assert (await http.post("tasks", json=task)).json()["created_by"] == "admin"
            assert (await http.post("tasks/user.a/pause")).json()["state"] == "paused"


async def test_a_disabled_scheduler_lets_the_program_run(tmp_path: Path) -> None:
    app, scheduler = backend(Config(tmp_path / "data", enabled=False))
    async with scheduler.lifespan(app):
        with pytest.raises(ServiceUnreachable):
            _ = scheduler.client
    assert [entry.name for entry in (tmp_path / "data").iterdir()] == ["keys"]
