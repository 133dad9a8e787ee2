"""The scheduler inside a FastAPI program, as AICO's `backend/main.py` starts it. The only part of the API that knows
the service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI

from aico_sched.api.dashboard import create_dashboard
from aico_sched.api.guard import LOOPBACK
from aico_sched.api.router import create_router
from aico_sched.api.tokens import api_token, token_file
from aico_sched.client import SchedulerClient, ServiceUnreachable
from aico_sched.embedding import ConfigManager, TaskScheduler


class EmbeddedScheduler:
    """A scheduler that starts and stops with a FastAPI application, and the routes to it.

    >>> scheduler = EmbeddedScheduler(config_manager, message_bus_host, shared_db_connection)
    ... app = FastAPI(lifespan=scheduler.lifespan)
    ... app.include_router(scheduler.router(), prefix="/api/v1/scheduler")
    ... app.include_router(scheduler.dashboard("/api/v1/scheduler"), prefix="/scheduler")

    The arguments are those of `TaskScheduler`. A program with a lifespan of its own enters this one inside it:
    `async with scheduler.lifespan(app): yield`. With `scheduler.enabled: false` nothing starts, and every route
    answers `unavailable`.
    """

    def __init__(
        self, config_manager: ConfigManager | None = None, message_bus_host: Any = None, db_connection: Any = None
    ) -> None:
        self.scheduler = TaskScheduler(config_manager, message_bus_host, db_connection)
        self.settings = self.scheduler.service.settings
        self._client: SchedulerClient | None = None

    @property
    def client(self) -> SchedulerClient:
        """The connected client. Raises `ServiceUnreachable` while the scheduler does not run."""
        if self._client is None:
            raise ServiceUnreachable("the scheduler of this program does not run")
        return self._client

    def router(self) -> APIRouter:
        """The API's routes. The token is made in the data folder if there is none; hosts are those of `web.hosts`."""
        token = api_token(token_file(self.settings))
        return create_router(lambda: self.client, token, hosts={*LOOPBACK, *self.settings.web.hosts})

    def dashboard(self, api: str) -> APIRouter:
        """The dashboard's pages, for an API whose routes are below the path `api`."""
        return create_dashboard(api)

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Start before the application answers, stop after its last answer. Raises what stands in the way."""
        await self.scheduler.start()
        try:
            if not self.scheduler.service.running:
                yield
                return
            async with SchedulerClient.discover(self.settings.data_dir) as client:
                self._client = client
                try:
                    yield
                finally:
                    self._client = None
        finally:
            await self.scheduler.stop()
