"""What a merged memory is, and what odd memories do to the rest."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aico_sched.tasks.agency.consolidation import Memory, Rules, duplicates, merged, merged_from, merged_vector
from aico_sched.tasks.agency.memory_consolidation import MemoryConsolidation
from aico_sched.tasks.agency.memory_vectors import _clusters
from aico_sched.tasks.configuration import bind_config
from aico_sched.tasks.errors import InvalidTaskConfig

RULES = Rules(0.95, 0.75, 0.05, 14.0, ("who",))


def memory(id_: str, text: str = "tea", **metadata: Any) -> Memory:
    return Memory(id_, text, metadata)


def near(seed: int, count: int) -> Any:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=16) + 0.05 * rng.normal(size=(count, 16))).astype("f4")


@given(st.integers(0, 1_000), st.integers(2, 6), st.integers(1, 5))
def test_it_stands_in_the_middle_however_many_runs_that_took(seed: int, count: int, first: int) -> None:
    vectors, first = near(seed, count), min(first, count - 1)
    all_ = [memory(f"m{number}") for number in range(count)]
    kept, at = all_[0], vectors[0]
    for part in (range(1, first + 1), range(first + 1, count)):
        others = [(all_[number], vectors[number]) for number in part]
        moved = merged_vector(kept, at, others, 0.9)
        kept = Memory(kept.id, kept.text, merged(kept.metadata, [other for other, _ in others]))
        # A run that was killed before it deleted what it took in finds it again.
        assert merged_vector(kept, moved, others, 0.9) is moved
        at = moved
    assert np.allclose(at, vectors.mean(axis=0), atol=1e-4)
    assert merged_from(kept.metadata) == sorted(other.id for other in all_[1:])


def test_it_does_not_move_out_of_reach_of_what_it_took_in() -> None:
    kept = np.array([1.0, 0.0, 0.0], "f4")
    around = [np.array([1.0, 0.3, 0.0], "f4")] * 5 + [np.array([1.0, -0.3, 0.0], "f4")]
    others = [(memory(f"m{number}"), vector) for number, vector in enumerate(around)]
    assert merged_vector(memory("kept"), kept, others, 0.95) is kept


@pytest.mark.parametrize("damaged", ["", "no list", "7", '{"a": 1}', 7, json.dumps([7, None])])
def test_somebody_elses_words_under_our_key_are_no_origins(damaged: Any) -> None:
    assert merged_from({"merged_from": damaged}) == []
    taken_in = merged({"merged_from": damaged}, [memory("m1", last_accessed=7), memory("m2", last_accessed="soon")])
    assert merged_from(taken_in) == ["m1", "m2"] and "last_accessed" not in taken_in


@pytest.mark.parametrize("count", [0, 1, 2, 8])
@pytest.mark.parametrize("odd", [np.nan, np.inf, 0.0])
def test_vectors_without_a_direction_are_like_no_other_and_keep_none_from_being_merged(count: int, odd: float) -> None:
    vectors = np.concatenate([np.full((3, 16), odd, "f4"), np.repeat(near(1, 1), count, axis=0)])
    memories = [memory(f"m{number}") for number in range(len(vectors))]
    groups = duplicates(memories, vectors, _clusters(vectors), RULES)
    assert [len(group) for group in groups] == ([count] if count > 1 else [])
    assert all(at >= 3 for group in groups for at in group)


@pytest.mark.parametrize(
    "wrong",
    [
        {"long_term": "working_memory"},
        {"archive": "long_term_memory"},
        {"archive": "aico-sched.new.x"},
        {"working": "ab"},
        {"working": "../x"},
        {"similarity": 0.2},
        {"half_life_days": 0},
        {"half_life_days": float("inf")},
        {"nonsense": 1},
    ],
)
def test_a_configuration_that_would_lose_memories_or_means_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidTaskConfig):
        bind_config(MemoryConsolidation, wrong)
