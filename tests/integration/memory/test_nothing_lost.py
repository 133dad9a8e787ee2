"""Nothing is deleted without a copy: a consolidation of a real ChromaDB folder, killed between any two writes."""

import json
import os
from pathlib import Path
from typing import Any

from aico_sched.worker.worker import Worker
from tests.integration.memory.killed import ROWS

ALL = 8
"""Writes of a whole consolidation of `ROWS`."""

WRITES_MADE = range(ALL + 1) if os.environ.get("AICO_SCHED_LONG") == "1" else (1, 2, 4, 6, ALL)
"""After how many it is killed."""

PREFIX = "working_memory/"


def texts(held: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Every memory there is anywhere, by its first id."""
    return {id_.removeprefix(PREFIX): row[0] for rows in held.values() for id_, row in rows.items()}


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
            assert texts(held) == wanted and sum(map(len, held.values())) == len(ROWS), last
            assert ended is None or held == ended, last
            ended = held
    assert ended is not None and sorted(ended["working_memory"]) == ["a1", "d"]
    kept = ended["working_memory"]["a1"][1]
    assert json.loads(kept["merged_from"]) == ["a2", "a3"] and kept["access_count"] == 6
    assert list(ended["long_term_memory"]) == ["b"]
