"""`maintenance.vector_optimization` on a real ChromaDB folder: what it mends, what it leaves, and what a kill costs."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import psutil
import pytest

from aico_sched.tasks.maintenance.vector_optimization import VectorOptimization
from aico_sched.testing import run_task
from tests.integration.support.forked import Forked, Stem

INDEX = "aico_sched.tasks.maintenance.vector_index:VectorIndex"
COUNT = 50_000 if os.environ.get("AICO_SCHED_LONG") == "1" else 1_800
LAG = 0.02
Open = Callable[[Path], AbstractAsyncContextManager[Forked]]


@pytest.fixture
def shelf(chroma: Stem) -> Open:
    """Opens a folder with collections."""
    return lambda folder: chroma.open("tests.integration.vectors.shelf:Shelf", path=str(folder))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "chroma"


class LagProbe:
    """Watches how late the loop comes round while something else runs on it; processor time of others left out as far
    as a median over many looks can."""

    def __init__(self) -> None:
        self.lags: list[float] = []

    async def watch(self) -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.005)
            self.lags.append(time.perf_counter() - before - 0.005)

    def percentile(self, share: float) -> float:
        return sorted(self.lags)[int(share * (len(self.lags) - 1))]


async def test_a_fragmented_index_is_rebuilt_and_a_good_one_left(folder: Path, shelf: Open) -> None:
    async with shelf(folder) as made:
        await made.call("fill", name="holes", count=COUNT, delete=COUNT // 2, space="cosine")
        await made.call("fill", name="good", count=1_050, seed=2)
        before = await made.call("look", name="holes")
    probe = LagProbe()
    watching = asyncio.create_task(probe.watch())
    run = await run_task(VectorOptimization, {"path": str(folder)}, deadline=1_800)
    watching.cancel()
    assert run.result is not None and run.result.success, run.error
    holes, good = (next(c for c in run.result.data["collections"] if c["name"] == name) for name in ("holes", "good"))
    assert holes["reasons"] == ["fragmentation"] and holes["fragmentation"] > 0.3 and holes["rebuilt"]
    assert holes["recall_after"] >= holes["recall_before"] - 0.01 and holes["recall_after"] > 0.9
    assert good["reasons"] == [] and "rebuilt" not in good
    async with shelf(folder) as made:
        assert await made.call("names") == ["good", "holes"]
        after = await made.call("look", name="holes")
    assert after["rows"].keys() == before["rows"].keys()
    assert (after["metadata"], after["space"]) == (before["metadata"], before["space"])
    for id_, (total, *texts) in before["rows"].items():
        # A cosine index keeps directions and lengths apart, which costs the last bit of a number.
        assert after["rows"][id_][1:] == texts and abs(after["rows"][id_][0] - total) < 0.002
    again = await run_task(VectorOptimization, {"path": str(folder), "dry_run": True}, deadline=600)
    assert again.result is not None and again.result.message == "would rebuild 0 of 2 collections"
    assert probe.percentile(0.99 if COUNT > 10_000 else 0.9) < LAG
    assert run.progress[-1]["fraction"] == 1.0


async def test_an_index_with_low_recall_is_rebuilt_finer(folder: Path, shelf: Open) -> None:
    async with shelf(folder) as made:
        await made.call("fill", name="dull", count=2_000, ef_construction=2, ef_search=2, max_neighbors=2)
    run = await run_task(VectorOptimization, {"path": str(folder), "vacuum": False}, deadline=300)
    assert run.result is not None, run.error
    dull = run.result.data["collections"][0]
    assert dull["reasons"] == ["recall"] and dull["recall_before"] < 0.9
    assert dull["rebuilt"] and dull["recall_after"] > dull["recall_before"]


async def test_dry_run_and_missing_and_used_folders_change_nothing(folder: Path, tmp_path: Path, shelf: Open) -> None:
    run = await run_task(VectorOptimization, {"path": str(tmp_path / "none")})
    assert run.result is not None and run.result.skipped and "no ChromaDB" in run.result.message
    async with shelf(folder) as made:
        await made.call("fill", name="holes", count=1_500, delete=1_000)
        used = await run_task(VectorOptimization, {"path": str(folder)})
        assert used.error is not None and "is open in" in str(used.error)
        before = await made.call("look", name="holes")
    dry = await run_task(VectorOptimization, {"path": str(folder), "dry_run": True})
    assert dry.result is not None and dry.result.message == "would rebuild 1 of 1 collections"
    async with shelf(folder) as made:
        assert await made.call("look", name="holes") == before


async def test_killed_anywhere_nothing_is_lost_and_the_next_run_goes_on(folder: Path, shelf: Open) -> None:
    async with shelf(folder) as made:
        await made.call("fill", name="holes", count=2_500, delete=1_000)
        before = await made.call("look", name="holes")

    def workers() -> list[psutil.Process]:
        return [
            child for child in psutil.Process().children() if "aico_sched.worker.serve" in " ".join(child.cmdline())
        ]

    async def run_until(reported: str) -> Any:
        seen = asyncio.Event()

        class Cut(VectorOptimization):
            name = VectorOptimization.name

            async def execute(self, context: Any) -> Any:
                tell = context.progress

                async def progress(fraction: float | None, message: str = "", **data: Any) -> None:
                    await tell(fraction, message, **data)
                    if message.startswith(reported):
                        seen.set()
                        await asyncio.sleep(0)

                watched = type("Watched", (), {"__getattr__": lambda _, name: getattr(context, name)})()
                watched.progress = progress
                return await super().execute(watched)

        running = asyncio.create_task(run_task(Cut, {"path": str(folder)}, deadline=120))
        waiting = asyncio.create_task(seen.wait())
        await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
        for child in workers():
            os.kill(child.pid, signal.SIGKILL)
        waiting.cancel()
        return await running

    for moment in ("measuring", "holes: copied 1000", "holes: checked"):
        cut = await run_until(moment)
        assert cut.error is not None
    # Killed between the two renames, and again before the old one was dropped.
    async with shelf(folder) as made:
        assert await made.call("look", name="holes") == before
        await made.call("rename", name="holes", to="aico-sched.old.holes")
    run = await run_task(VectorOptimization, {"path": str(folder), "vacuum": False}, deadline=120)
    assert run.result is not None and run.result.data["mended"] == ["holes"]
    async with shelf(folder) as made:
        assert await made.call("look", name="holes") == before
        assert await made.call("names") == ["holes"]
