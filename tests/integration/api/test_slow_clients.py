"""Clients that open connections and say nothing, or little by little: they go, everybody else is served."""

import asyncio
from typing import Any
from urllib.parse import urlsplit

import pytest

from aico_sched.api import server
from aico_sched.api.connections import Connections
from tests.integration.support.process import DEADLINE

NEVER, HURRIED = 3_600.0, 0.2
HEAD = b"POST /api/v1/scheduler/tasks HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@pytest.fixture
def bounds(monkeypatch: pytest.MonkeyPatch) -> Connections:
    """Those of the server that is started next. Nobody is hurried unless a test says so, on a busy machine least."""
    made = Connections(256, NEVER)
    monkeypatch.setattr(server, "Connections", lambda *_: made)
    return made


async def connected(web: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    where = urlsplit(web.address)
    return await asyncio.open_connection(where.hostname, where.port)


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What came until the other side ended the connection."""
    async with asyncio.timeout(DEADLINE):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


@pytest.mark.parametrize(
    "said",
    [
        b"",
        HEAD,
        HEAD + b"Authorization: Bearer %(token)b\r\nContent-Length: 400\r\n\r\n{",
        b"GET /api/v1/scheduler/healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /",
    ],
    ids=["nothing", "half a head", "half a body", "half a second request"],
)
async def test_who_does_not_finish_a_request_is_dropped_and_streams_live_on(
    serve: Any, bounds: Connections, said: bytes
) -> None:
    web = await serve()
    async with web.http.stream("GET", "events/stream") as events:
        lines = events.aiter_lines()
        assert await anext(lines) == "retry: 1000"
        bounds.seconds = HURRIED
        reader, writer = await connected(web)
        writer.write(said.replace(b"%(token)b", web.token.encode()))
        await ended(reader)
        writer.close()
        bounds.seconds = NEVER
        task = {"task_id": "user.a", "schedule": "interval:86400", "task_class": "demo.echo"}
        assert (await web.http.post("tasks", json=task)).status_code == 201
        async with asyncio.timeout(DEADLINE):
            assert [line async for line in until(lines, "event: task.created")]


async def until(lines: Any, wanted: str) -> Any:
    async for line in lines:
        if line == wanted:
            yield line
            return


async def test_a_byte_now_and_then_buys_no_time(serve: Any, bounds: Connections) -> None:
    bounds.seconds = HURRIED
    web = await serve()
    reader, writer = await connected(web)
    dripping = asyncio.create_task(drip(writer))
    try:
        assert await ended(reader) == b""
    finally:
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)
        writer.close()


async def drip(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"X-A: ")
    while True:
        writer.write(b"a")
        await writer.drain()
        await asyncio.sleep(0.02)


async def test_silent_connections_make_room_for_who_asks(serve: Any, bounds: Connections) -> None:
    bounds.limit = 8
    web = await serve()
    silent = [await connected(web) for _ in range(40)]
    for _ in range(3):
        assert await status(web) == 200
    assert [await ended(reader) for reader, _ in silent[:32]] == [b""] * 32, "the oldest went first"
    for _, writer in silent:
        writer.close()


async def test_where_all_are_being_served_there_is_no_room_for_more(serve: Any, bounds: Connections) -> None:
    bounds.limit = 2
    web = await serve()
    async with web.http.stream("GET", "events/stream") as first, web.http.stream("GET", "events/stream") as second:
        assert (first.status_code, second.status_code) == (200, 200)
        assert [await status(web) for _ in range(20)] == [503] * 20
        lines = first.aiter_lines()
        assert await anext(lines) == "retry: 1000"
    async with asyncio.timeout(DEADLINE):
        while await status(web) == 503:
            await asyncio.sleep(0.01)


async def status(web: Any) -> int:
    """What somebody new is told."""
    async with web.stranger(Authorization=f"Bearer {web.token}") as http:
        return int((await http.get("status")).status_code)


async def test_everybody_has_ten_seconds_and_256_connections(monkeypatch: pytest.MonkeyPatch, serve: Any) -> None:
    made: list[Connections] = []

    def note(limit: int, seconds: float) -> Connections:
        made.append(Connections(limit, seconds))
        return made[0]

    monkeypatch.setattr(server, "Connections", note)
    await serve()
    assert [(each.limit, each.seconds) for each in made] == [(256, 10.0)]
