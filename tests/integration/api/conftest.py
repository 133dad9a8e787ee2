"""A real service with the API in front of it, served by uvicorn on a free port."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import httpx
import pytest

from aico_sched.api.app import API
from aico_sched.api.server import bound, serving
from aico_sched.api.tokens import api_token, token_file
from aico_sched.client import SchedulerClient
from tests.integration.support.running import Running


class Web(NamedTuple):
    """`http` sends the token; `address` is the dashboard's."""

    run: Running
    http: httpx.AsyncClient
    address: str
    token: str

    def stranger(self, **headers: str) -> httpx.AsyncClient:
        """Somebody without a token."""
        return httpx.AsyncClient(base_url=self.address + API.lstrip("/") + "/", headers=headers, trust_env=False)


ServeWeb = Callable[..., Awaitable[Web]]


@pytest.fixture
async def serve(start: Any) -> AsyncIterator[ServeWeb]:
    """Starts a service with its API; `name` is whose key the API uses, `patience` how long it waits
    for the service, the rest is for `start`."""
    async with AsyncExitStack() as stack:

        async def begin(name: str = "admin", patience: float = 10.0, **options: Any) -> Web:
            run: Running = await start(**options)
            client = await stack.enter_async_context(
                SchedulerClient.discover(run.settings.data_dir, name, timeout=patience)
            )
            listen = bound("127.0.0.1", 0)
            stack.callback(listen.close)
            address = await stack.enter_async_context(serving(run.settings, client, listen=listen))
            stack.callback(client.end_streams)
            token = api_token(token_file(run.settings))
            http = httpx.AsyncClient(
                base_url=address + API.lstrip("/") + "/",
                headers={"Authorization": f"Bearer {token}"},
                trust_env=False,
                timeout=20,
            )
            return Web(run, await stack.enter_async_context(http), address, token)

        yield begin


@pytest.fixture
async def web(serve: ServeWeb) -> Web:
    """A service with its API and nothing special about either."""
    return await serve()
