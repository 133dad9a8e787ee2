"""The same behaviour from AICO's database in its worker process and from the tables in memory that users test with."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from aico_sched.data.database import open_database
from aico_sched.data.source import Change, DataSource, NoSuchTable, SourceError, Table
from aico_sched.testing import MemorySource
from tests.integration.data.conftest import KEY

NOTES = Table("notes", {"word": "TEXT", "body": "BLOB"})
MADE = Table("made_here", {"name": "TEXT NOT NULL", "value": "REAL"})


@pytest.fixture(params=["database", "memory"])
async def source(request: pytest.FixtureRequest, database: Path) -> AsyncIterator[DataSource]:
    if request.param == "memory":
        yield MemorySource(notes=[])
        return
    async with open_database(database, lambda: KEY) as opened:
        yield opened


async def test_rows_come_in_pages_by_id_and_measured_if_wanted(source: DataSource) -> None:
    await source.write([Change(NOTES, [{"word": f"w{i}", "body": None} for i in range(25)])])
    first = await source.page(NOTES, 0, 10)
    assert [row["word"] for row in first] == [f"w{i}" for i in range(10)]
    rest = await source.page(NOTES, first[-1]["id"], 100, measured=True)
    assert len(rest) == 15 and rest[-1]["size"] >= len("w24")
    assert await source.page(NOTES, rest[-1]["id"], 10) == []


async def test_a_key_replaces_and_a_new_table_is_made(source: DataSource) -> None:
    await source.write([Change(MADE, [{"name": "warmth", "value": 0.5}, {"name": "wit", "value": 0.1}], key="name")])
    await source.write([Change(MADE, [{"name": "warmth", "value": 0.6}], key="name")])
    rows = await source.page(MADE, 0, 10)
    assert [(row["name"], row["value"]) for row in rows] == [("warmth", 0.6), ("wit", 0.1)]


async def test_rows_are_deleted_by_id(source: DataSource) -> None:
    await source.write([Change(NOTES, [{"word": "a", "body": None}, {"word": "b", "body": None}])])
    rows = await source.page(NOTES, 0, 10)
    assert await source.delete(NOTES, [rows[0]["id"], 999]) == 1
    assert [row["word"] for row in await source.page(NOTES, 0, 10)] == ["b"]
    assert await source.delete(NOTES, []) == 0


async def test_a_table_that_is_not_there_is_a_typed_error(source: DataSource) -> None:
    with pytest.raises(NoSuchTable):
        await source.page(Table("nowhere"), 0, 1)


async def test_a_transaction_is_whole_or_not_at_all(database: Path) -> None:
    async with open_database(database, lambda: KEY) as source:
        bad = Change(NOTES, [{"word": "second", "no_such_column": 1}])
        with pytest.raises(SourceError, match="no_such_column"):
            await source.write([Change(NOTES, [{"word": "first"}]), bad])
        assert await source.page(NOTES, 0, 10) == []


async def test_what_opens_nothing_says_so(tmp_path: Path, database: Path) -> None:
    with pytest.raises(SourceError, match="missing"):
        async with open_database(tmp_path / "missing.db", lambda: KEY):
            pass
    assert not (tmp_path / "missing.db").exists()
    with pytest.raises(SourceError, match="not a database"):
        async with open_database(database, lambda: "f" * 32):
            pass


async def test_a_database_somebody_writes_to_is_waited_for(database: Path, sql: Callable[..., list[Any]]) -> None:
    async with open_database(database, lambda: KEY) as source:
        sql("BEGIN IMMEDIATE")
        import asyncio

        write = asyncio.create_task(source.write([Change(NOTES, [{"word": "late"}])]))
        done, _ = await asyncio.wait([write], timeout=0.1)
        assert not done
        sql("COMMIT")
        await write
    assert sql("SELECT word FROM notes") == [("late",)]


async def test_a_database_that_was_replaced_is_not_written_to(database: Path) -> None:
    async with open_database(database, lambda: KEY) as source:
        copy = database.with_suffix(".copy")
        copy.write_bytes(database.read_bytes())
        copy.replace(database)
        with pytest.raises(SourceError, match="replaced"):
            await source.write([Change(NOTES, [{"word": "lost"}])])
