from collections.abc import AsyncIterator
from typing import Any, Protocol

import pytest

from tests.support.actors import Bench


class MakeBench(Protocol):
    def __call__(self, **given: Any) -> Bench: ...


@pytest.fixture
async def make_bench() -> AsyncIterator[MakeBench]:
    """Makes benches and closes them after the test."""
    benches: list[Bench] = []

    def make(**given: Any) -> Bench:
        benches.append(Bench(**given))
        return benches[-1]

    yield make
    for bench in benches:
        await bench.close()


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    return make_bench()
