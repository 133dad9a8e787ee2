"""The router and the dashboard in somebody else's FastAPI program, which has no middleware and no handlers of ours."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from aico_sched.api import create_router
from aico_sched.api.dashboard import create_dashboard
from aico_sched.api.operations import OPERATIONS
from aico_sched.client import SchedulerClient, ServiceUnreachable

TOKEN = "a-token-of-some-length"


def no_client() -> SchedulerClient:
    raise ServiceUnreachable("nothing runs here")


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.include_router(create_router(no_client, TOKEN), prefix="/api/v1/scheduler")
    app.include_router(create_dashboard("/api/v1/scheduler"), prefix="/scheduler")

    @app.get("/theirs")
    def theirs() -> str:
        return "theirs"

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8000", trust_env=False) as client:
        yield client


def opened(path: str) -> str:
    return "/api/v1/scheduler" + path.replace("{task_id}", "user.a").replace("{execution_id}", "e1")


async def test_every_route_is_guarded_and_refuses_with_problem_documents(http: httpx.AsyncClient) -> None:
    token = {"Authorization": f"Bearer {TOKEN}"}
    for operation in OPERATIONS:
        address = opened(operation.path)
        for headers, status in (
            ({}, 401),
            ({**token, "Host": "evil.example"}, 403),
            ({**token, "Origin": "http://evil.example"}, 403),
        ):
            answer = await http.request(operation.method, address, headers=headers)
            assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), address
        assert (await http.options(address)).status_code == 401
        wrong = await http.options(address, headers=token)
        assert (wrong.status_code, wrong.headers["content-type"]) == (405, "application/problem+json"), address
        assert wrong.headers["allow"]
        assert wrong.headers["cache-control"] == "no-store"


async def test_a_service_that_is_not_there_is_unavailable(http: httpx.AsyncClient) -> None:
    answer = await http.get(opened("/tasks"), headers={"Authorization": f"Bearer {TOKEN}"})
    assert (answer.status_code, answer.json()["retryable"], answer.headers["retry-after"]) == (503, True, "1")


async def test_nobody_else_can_frame_the_dashboard(http: httpx.AsyncClient) -> None:
    for path in ("/scheduler/", "/scheduler/static/app.js"):
        answer = await http.get(path)
        assert answer.status_code == 200
        assert answer.headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


async def test_what_belongs_to_the_program_is_left_alone(http: httpx.AsyncClient) -> None:
    answer = await http.get("/theirs", headers={"Host": "evil.example"})
    assert (answer.status_code, answer.json()) == (200, "theirs")
    assert "content-security-policy" not in answer.headers
