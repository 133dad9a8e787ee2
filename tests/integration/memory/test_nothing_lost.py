"""Nothing is deleted without a copy: a consolidation of a real ChromaDB folder, killed between any two writes."""

import json
import os
from pathlib import Path
from typing import Any

from aico_sched.tasks.agency.memory_vectors import ORIGINAL
from aico_sched.worker.worker import Worker
from tests.integration.memory.killed import ROWS

ALL = 10
"""Writes of a whole consolidation of `ROWS`."""

WRITES_MADE = range(ALL + 1) if os.environ.get("AICO_SCHED_LONG") == "1" else (1, 2, 4, 6, 9, ALL)
"""After how many it is killed."""

PREFIX = "working_memory/"


def texts(held: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Every memory there is anywhere, by its first id."""
    found = {id_.removeprefix(PREFIX): row[0] for rows in held.values() for id_, row in rows.items()}
    return {id_: text for id_, text in found.items() if not id_.endswith(ORIGINAL)}


async def test_killed_between_any_two_writes_every_memory_is_there_and_the_next_run_ends_alike(tmp_path: Path) -> None:
    wanted = {row[0]: row[2] for row in ROWS}
    async with Worker.open("tests.integration.memory.killed:Lives") as lives:
        ended: dict[str, dict[str, Any]] | None = None
        for last in WRITES_MADE:
            path = str(tmp_path / f"killed{last}")
            await lives.call("fill", path=path)
            assert await lives.call("live", path=path, last=last) == (last == ALL)
            assert texts(await lives.call("held", path=path)) == wanted, last
            assert await lives.call("live", path=path, last=1_000)
            held = await lives.call("held", path=path)
            assert texts(held) == wanted and sum(map(len, held.values())) == len(ROWS) + 1, last
            assert ended is None or held == ended, last
            ended = held
    assert ended is not None and sorted(ended["working_memory"]) == ["a1", "d"]
    kept = ended["working_memory"]["a1"][1]
    assert json.loads(kept["merged_from"]) == ["a2", "a3"] and kept["access_count"] == 6
    assert PREFIX + "a1" + ORIGINAL in ended["memory_archive"]
    assert list(ended["long_term_memory"]) == ["b"]


async def test_a_memory_with_the_id_of_an_archived_one_takes_nothing_from_it(tmp_path: Path) -> None:
    """Some programs make ids of what they store."""
    path = str(tmp_path / "again")
    async with Worker.open("tests.integration.memory.killed:Lives") as lives:
        await lives.call("fill", path=path)
        assert await lives.call("live", path=path, last=1_000)
        await lives.call("say_again", path=path, id="c", text="It rained on another day")
        await lives.call("say_again", path=path, id="b", text="The door code changed again")
        assert await lives.call("live", path=path, last=1_000)
        held = await lives.call("held", path=path)
    archive, kept = held["memory_archive"], held["long_term_memory"]
    assert archive[PREFIX + "c"][0] == "It rained"
    assert [row[0] for id_, row in archive.items() if id_.startswith(PREFIX + "c@")] == ["It rained on another day"]
    assert kept["b"][0] == "The door code changed"
    assert sorted(row[0] for row in kept.values()) == ["The door code changed", "The door code changed again"]
