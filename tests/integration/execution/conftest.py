"""Services whose task classes are those of `tests.integration.execution.tasks`."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from tests.integration.execution.tasks import Spot
from tests.integration.support.running import Running

FAR = "interval:86400"


@pytest.fixture
def spot(request: pytest.FixtureRequest) -> Iterator[Spot]:
    """A spot under the name `here`; at the end of the test whoever waits there may go."""
    Spot.known.pop("here", None)
    made = Spot.of("here")
    yield made
    made.go.set()


@pytest.fixture
def begin(start: Callable[..., Awaitable[Running]]) -> Callable[..., Awaitable[Running]]:
    """Starts a service; settings as keyword arguments."""

    async def made(**settings: Any) -> Running:
        return await start(**{"scheduler__task_modules": ["tests.integration.execution.tasks"], **settings})

    return made


async def reached(spot: Spot) -> None:
    """Until the task has come to the spot."""
    assert await asyncio.to_thread(spot.reached.wait, 20)
