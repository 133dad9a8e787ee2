"""The scheduler over HTTP (extra `api`): a REST router, live events and a dashboard, all clients of the bus."""

from aico_sched.api.app import create_app
from aico_sched.api.lifespan import EmbeddedScheduler
from aico_sched.api.router import create_router
from aico_sched.api.tokens import api_token

__all__ = ["EmbeddedScheduler", "api_token", "create_app", "create_router"]
