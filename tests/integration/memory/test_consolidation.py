"""`agency.memory_consolidation` on a real ChromaDB folder with labelled memories."""

import itertools
import json
import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from aico_sched.tasks.agency import extra
from aico_sched.tasks.agency.memory_consolidation import MemoryConsolidation
from aico_sched.tasks.agency.memory_vectors import ORIGINAL
from aico_sched.testing import VirtualClock, run_task
from tests.integration.support.forked import Forked, Stem

COUNT = 2_000 if os.environ.get("AICO_SCHED_LONG") == "1" else 150
MERGE_ONLY = {"promote_from": 1.0, "forget_below": 0.0}
NOW = datetime(2026, 6, 1, tzinfo=UTC)

Pairs = set[frozenset[str]]
Open = Callable[[Path], AbstractAsyncContextManager[Forked]]


@pytest.fixture
def remembered(chroma: Stem) -> Open:
    """Opens a folder with memories."""
    return lambda folder: chroma.open("tests.integration.memory.remembered:Remembered", path=str(folder))


async def consolidate(folder: Path, **config: Any) -> Any:
    run = await run_task(MemoryConsolidation, {"path": str(folder), **config}, VirtualClock(NOW), deadline=600)
    assert run.result is not None, run.error
    return run.result


def pairs(groups: list[list[str]]) -> Pairs:
    return {frozenset(pair) for group in groups for pair in itertools.combinations(group, 2)}


def merged_groups(held: dict[str, dict[str, Any]]) -> list[list[str]]:
    rows = held["working_memory"] | held.get("long_term_memory", {})
    return [[id_, *json.loads(meta["merged_from"])] for id_, meta in rows.items() if meta.get("merged_from")]


def archived_ids(held: dict[str, dict[str, Any]]) -> set[str]:
    """What is in the archive for good; beside it are the former vectors of memories that stay."""
    names = {id_.removeprefix("working_memory/") for id_ in held["memory_archive"]}
    return {id_ for id_ in names if not id_.endswith(ORIGINAL)}


async def test_merges_are_precise_complete_and_cost_no_answer(tmp_path: Path, remembered: Open) -> None:
    async with remembered(tmp_path) as memories:
        fact_of = await memories.call("fill", count=COUNT, seed=4)
        before = await memories.call("answers", count=COUNT, seed=4)
    by_fact: dict[str, list[str]] = {}
    for id_, fact in fact_of.items():
        by_fact.setdefault(fact, []).append(id_)
    truth = pairs(list(by_fact.values()))
    result = await consolidate(tmp_path, **MERGE_ONLY)
    async with remembered(tmp_path) as memories:
        held = await memories.call("held")
        after = await memories.call("answers", count=COUNT, seed=4)
    found = pairs(merged_groups(held))
    precision, recall = len(found & truth) / len(found), len(found & truth) / len(truth)
    print(f"precision {precision:.3f}, recall {recall:.3f} of {len(truth)} pairs; answered {before:.3f} -> {after:.3f}")
    assert precision >= 0.98 and recall >= 0.9
    assert after >= before
    moved = {id_ for id_ in held["memory_archive"] if id_.endswith(ORIGINAL)}
    assert result.data["merge"] == len(held["memory_archive"]) - len(moved) > 0
    assert {f"working_memory/{id_}" for id_ in fact_of if id_ not in held["working_memory"]} == set(
        held["memory_archive"]
    ) - moved
    # Whoever took in others stands in their middle; where it was is kept.
    assert moved == {f"working_memory/{group[0]}{ORIGINAL}" for group in merged_groups(held)}
    assert all(meta["merged_into"] in held["working_memory"] for meta in held["memory_archive"].values())
    again = await consolidate(tmp_path, **MERGE_ONLY)
    assert again.data["merge"] == 0


async def test_important_ones_are_promoted_and_faded_ones_archived_never_lost(tmp_path: Path, remembered: Open) -> None:
    async with remembered(tmp_path) as memories:
        fact_of = await memories.call("fill", count=60, seed=7)
        before = await memories.call("held")
    dry = await consolidate(tmp_path, dry_run=True)
    assert dry.message.startswith("would have") and dry.data["promote"] and dry.data["archive"]
    async with remembered(tmp_path) as memories:
        assert await memories.call("held") == before
    result = await consolidate(tmp_path)
    assert {key: result.data[key] for key in ("merge", "promote", "archive")} == {
        key: dry.data[key] for key in ("merge", "promote", "archive")
    }
    async with remembered(tmp_path) as memories:
        held = await memories.call("held")
    archived = archived_ids(held)
    assert set(held["working_memory"]) | set(held["long_term_memory"]) | archived == set(fact_of)
    assert not set(held["working_memory"]) & archived and not set(held["working_memory"]) & set(
        held["long_term_memory"]
    )
    assert {meta["archived_reason"] for meta in held["memory_archive"].values()} == {"merged", "faded", "moved"}
    assert all(meta["promoted_from"] == "working_memory" for meta in held["long_term_memory"].values())


async def test_killed_between_copy_and_delete_nothing_is_lost_or_counted_twice(
    tmp_path: Path, remembered: Open
) -> None:
    async with remembered(tmp_path) as memories:
        fact_of = await memories.call("fill", count=60, seed=9)
        accesses = sum(meta["access_count"] for meta in (await memories.call("held"))["working_memory"].values())
    for _ in range(3):
        waiting = run_task(MemoryConsolidation, {"path": str(tmp_path), **MERGE_ONLY}, deadline=60)
        await _killed_after_its_first_steps(waiting)
    await consolidate(tmp_path, **MERGE_ONLY)
    async with remembered(tmp_path) as memories:
        held = await memories.call("held")
    working = held["working_memory"]
    archived = archived_ids(held)
    assert set(working) | archived == set(fact_of) and not set(working) & archived
    assert sum(meta["access_count"] for meta in working.values()) == accesses


async def _killed_after_its_first_steps(running: Any) -> None:
    import asyncio

    task = asyncio.create_task(running)
    while not task.done():
        for child in psutil.Process().children():
            # It may end by itself at any moment.
            with suppress(psutil.NoSuchProcess):
                if "aico_sched.worker.serve" in child.cmdline() and child.cpu_times().user > 0.5:
                    await asyncio.sleep(0.3)
                    child.kill()
        await asyncio.sleep(0.01)
    await task


async def test_without_the_extra_it_is_skipped_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extra, "find_spec", lambda module: None)
    result = await consolidate(tmp_path)
    assert result.skipped and "pip install 'aico-sched[agency]'" in result.message
    monkeypatch.undo()
    assert (await consolidate(tmp_path)).message.startswith("there is no ChromaDB")
