"""A place of which every test gets copies."""

import asyncio

import pytest

from tests.integration.interrupted.place import Place, make_place
from tests.integration.support.forked import Stem


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory, chroma: Stem) -> Place:
    """Only ever copied."""
    with asyncio.Runner() as runner:
        return runner.run(make_place(tmp_path_factory.mktemp("original"), chroma))
