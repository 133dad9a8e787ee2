"""The API and the dashboard as an application of their own."""

import asyncio
import json
from collections.abc import Collection
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from aico_sched import __version__
from aico_sched.api.dashboard import create_dashboard
from aico_sched.api.guard import LOOPBACK, SECURITY_HEADERS, Guard, with_headers
from aico_sched.api.problems import problem_of
from aico_sched.api.route import guarded
from aico_sched.api.router import Source, create_router

API: Final = "/api/v1/scheduler"
"""The prefix of the API, as AICO's backend has it."""


class _Front:
    """What holds for every request, the dashboard's files and unknown paths included: the host, the asking page, and
    the headers of the answer. Only the API's routes want the token, for a browser sends none with an address."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app, self._guard = app, guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = with_headers(send, SECURITY_HEADERS)
        refused = self._guard.refusal(scope, with_token=False)
        await (self._app if refused is None else refused.response())(scope, receive, send)


def create_app(client: Source, token: str, *, hosts: Collection[str] | None = LOOPBACK) -> FastAPI:
    """The API below `/api/v1/scheduler`, its OpenAPI document beside it, and the dashboard at `/`; see `create_router`
    for the arguments."""
    # No pages of FastAPI's own: they fetch scripts from outside.
    app = FastAPI(title="aico-sched", version=__version__, openapi_url=None, docs_url=None, redoc_url=None)
    guard = Guard(token, hosts)
    app.include_router(create_router(client, token, hosts=hosts), prefix=API)
    app.router.route_class = guarded(guard)

    made: list[str] = []

    async def document() -> Response:
        if not made:
            # It takes a quarter of a second, and with `run --web` the loop is the scheduler's.
            made.append(await asyncio.to_thread(_document, app))
        return Response(made[0], media_type="application/json")

    app.add_api_route(f"{API}/openapi.json", document, include_in_schema=False)
    app.include_router(create_dashboard(API))

    async def as_problem(request: Request, error: Exception) -> Response:
        return problem_of(error).response(getattr(error, "headers", None))

    app.add_exception_handler(HTTPException, as_problem)
    app.add_middleware(_Front, guard=guard)
    return app


def _document(app: FastAPI) -> str:
    return json.dumps(openapi(app))


def openapi(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of an application that `create_app` made."""
    made = get_openapi(
        title="aico-sched", version=__version__, description="The REST API of AICO's task scheduler.", routes=app.routes
    )
    made.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    made["security"] = [{"token": []}]
    return made
