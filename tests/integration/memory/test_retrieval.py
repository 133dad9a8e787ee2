"""What consolidation does to retrieval: questions in other words among distractors, against merging by cosine alone."""

import os
from pathlib import Path

from aico_sched.tasks.agency.memory_consolidation import MemoryConsolidation
from aico_sched.worker.worker import Worker

LONG = os.environ.get("AICO_SCHED_LONG") == "1"
COUNT = 1_500 if LONG else 120
MEASURES = ("recall@1", "recall@2", "recall@5", "MRR")
RULES = MemoryConsolidation.Config().model_dump(
    include={"similarity", "promote_from", "forget_below", "half_life_days", "same_keys"}
)


async def test_no_measure_of_retrieval_is_worse_than_before_where_cosine_alone_loses_what_was_found(
    tmp_path: Path,
) -> None:
    async with Worker.open("tests.integration.memory.asked:Asked", path=str(tmp_path)) as memories:
        fact_of = await memories.call("fill", count=COUNT, seed=21)
        before = await memories.call("quality", count=COUNT, seed=21)
        merged = await memories.call("consolidate", path=str(tmp_path), rules=RULES)
        after = await memories.call("quality", count=COUNT, seed=21)
        await memories.call("clear")
        assert await memories.call("fill", count=COUNT, seed=21) == fact_of
        gone = await memories.call("merge_by_cosine", similarity=RULES["similarity"])
        baseline = await memories.call("quality", count=COUNT, seed=21)
    print(f"before {before}, after {after} ({merged} merged), cosine alone {baseline} ({gone})")
    assert all(0.2 < before[name] < 0.95 for name in MEASURES), "nothing is measured where all or nothing is found"
    assert merged and all(after[name] >= before[name] for name in MEASURES)
    assert after["recall@2"] > before["recall@2"]
    assert after["recall@2"] > baseline["recall@2"] + 0.05 and after["recall@5"] > baseline["recall@5"] + 0.05


async def test_that_is_no_luck_of_one_set_and_comes_of_the_middle(tmp_path: Path) -> None:
    """One set has some 600 questions, of which five more or less come first by chance; here are twelve sets."""
    seeds = list(range(1, 41 if LONG else 13))
    async with Worker.open("tests.integration.memory.asked:Asked", path=str(tmp_path)) as memories:
        found = await memories.call("over", count=120, seeds=seeds, rules=RULES)
    print(found)
    assert all(found["merged"][name] >= found["before"][name] for name in MEASURES)
    assert found["merged"]["recall@1"] > found["kept"]["recall@1"]
