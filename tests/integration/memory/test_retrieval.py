"""What consolidation does to retrieval: questions in other words among distractors, against merging by cosine alone."""

import os
from pathlib import Path

from aico_sched.tasks.agency.memory_consolidation import MemoryConsolidation
from aico_sched.worker.worker import Worker

COUNT = 1_500 if os.environ.get("AICO_SCHED_LONG") == "1" else 120
KS = [1, 2, 5]


async def test_more_is_found_than_before_where_cosine_alone_loses_what_was_found(tmp_path: Path) -> None:
    names = {"similarity", "promote_from", "forget_below", "half_life_days", "same_keys"}
    rules = MemoryConsolidation.Config().model_dump(include=names)
    async with Worker.open("tests.integration.memory.asked:Asked", path=str(tmp_path)) as memories:
        fact_of = await memories.call("fill", count=COUNT, seed=21)
        before = await memories.call("recall", count=COUNT, seed=21, ks=KS)
        merged = await memories.call("consolidate", path=str(tmp_path), rules=rules)
        after = await memories.call("recall", count=COUNT, seed=21, ks=KS)
        await memories.call("clear")
        assert await memories.call("fill", count=COUNT, seed=21) == fact_of
        gone = await memories.call("merge_by_cosine", similarity=rules["similarity"])
        baseline = await memories.call("recall", count=COUNT, seed=21, ks=KS)
    print(f"recall@{KS}: before {before}, after {after} ({merged} merged), cosine alone {baseline} ({gone})")
    assert all(0.2 < share < 0.95 for share in before), "nothing is measured where all or nothing is found"
    # Who was said three times wins the first place from a look-alike more often than who is kept once: that evens out.
    assert merged and after[0] >= before[0] - 0.02
    assert after[1] > before[1] and after[2] >= before[2]
    assert after[1] > baseline[1] + 0.05 and after[2] > baseline[2] + 0.05
