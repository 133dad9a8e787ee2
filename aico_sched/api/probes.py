"""What monitoring asks: whether the service is well, and its figures."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Response

from aico_sched import metrics
from aico_sched.api.problems import documented
from aico_sched.client import SchedulerClient
from aico_sched.topics import names
from aico_sched.topics.views import HealthView


def add_probes(router: APIRouter, client: Callable[[], SchedulerClient]) -> None:
    """Add `GET /health` and `GET /metrics` to `router`."""

    async def health() -> Response:
        """As `GET /status`, with the status a probe looks at: 503 when the service is critical or not ready."""
        found = await client().health()
        well = found.status != "critical" and found.live and found.ready
        return Response(found.model_dump_json(), 200 if well else 503, media_type="application/json")

    async def figures() -> Response:
        """The figures of `GET /stats` and `GET /status` for Prometheus and its kin."""
        asked = client()
        text = metrics.render(await asked.request(names.STATS), await asked.request(names.HEALTH))
        return Response(text, media_type=metrics.CONTENT_TYPE)

    unwell: dict[int | str, dict[str, Any]] = {503: {"description": "Not well, or no answer", "model": HealthView}}
    router.add_api_route(
        "/health",
        health,
        methods=["GET"],
        response_model=HealthView,
        responses={**documented(), **unwell},
        summary="Whether the service is well",
        tags=["service"],
        operation_id="get_health",
    )
    media_type = metrics.CONTENT_TYPE.partition(";")[0]
    router.add_api_route(
        "/metrics",
        figures,
        methods=["GET"],
        response_class=Response,
        responses={**documented(), 200: {"description": "OpenMetrics text", "content": {media_type: {}}}},
        summary="Figures as OpenMetrics",
        tags=["service"],
        operation_id="get_metrics",
    )
