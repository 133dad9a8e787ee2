"""A real service in virtual time."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from aico_sched.testing import Simulation

Simulate = Callable[..., AbstractAsyncContextManager[Simulation]]


@pytest.fixture
def simulate(tmp_path: Path) -> Simulate:
    """Makes simulations on the test's own folder; takes what `Simulation` takes."""

    def make(**options: Any) -> Simulation:
        return Simulation(tmp_path / "data", **options)

    return make


@pytest.fixture
async def simulation(simulate: Simulate) -> AsyncIterator[Simulation]:
    """One that runs already, since 2026-01-01 00:00 UTC (a Thursday)."""
    async with simulate() as running:
        yield running
