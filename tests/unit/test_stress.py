"""When load counts as lasting, and which slots are left out then."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from aico_sched.stress import CRITICAL_PRIORITY, LONGEST_STRETCHED_US, Stress, passed_over

SECOND = 1_000_000


def looked(stress: Stress, *looks: bool) -> list[int]:
    found = []
    for constrained in looks:
        stress.look(constrained)
        found.append(stress.stretch)
    return found


def test_lasting_load_stretches_more_and_more_and_ends_step_by_step() -> None:
    stress = Stress(2, 8)
    assert looked(stress, *[True] * 8) == [1, 2, 2, 4, 4, 8, 8, 8]
    assert looked(stress, *[False] * 7) == [4, 4, 2, 2, 2, 1, 1]


@given(st.integers(2, 10), st.integers(1, 100))
def test_what_comes_and_goes_neither_begins_nor_ends_it(patience: int, rounds: int) -> None:
    calm = Stress(patience, 8)
    assert set(looked(calm, *[True, False] * rounds)) == {1}
    strained = Stress(patience, 8)
    looked(strained, *[True] * (patience + 1))
    assert 1 not in looked(strained, *[False, True] * rounds)


@given(st.lists(st.booleans(), max_size=200), st.integers(1, 10), st.sampled_from([1, 2, 4, 8, 1_024]))
def test_the_stretch_stays_within_its_bounds_and_calm_always_ends_it(
    looks: list[bool], patience: int, most: int
) -> None:
    stress = Stress(patience, most)
    assert all(1 <= stretch <= most for stretch in looked(stress, *looks))
    looked(stress, *[False] * (patience * 11))
    assert (stress.stretch, stress.lasting, stress.points) == (1, False, 0)


@given(
    st.integers(1, LONGEST_STRETCHED_US // SECOND),
    st.integers(0, 10**9),
    st.sampled_from([2, 4, 8]),
    st.integers(0, 500),
)
def test_of_so_many_slots_exactly_one_runs(period: int, anchor: int, stretch: int, first: int) -> None:
    slots = [(anchor + period * (first + number)) * SECOND for number in range(stretch * 5)]
    over = [passed_over(30, period * SECOND, slot, anchor * SECOND, stretch) for slot in slots]
    assert over.count(False) == 5
    runs = [number for number, passed in enumerate(over) if not passed]
    assert {after - before for before, after in pairwise(runs)} == {stretch}


def test_what_is_critical_or_seldom_keeps_its_pace() -> None:
    for slot in range(20):
        at = slot * 60 * SECOND
        assert not passed_over(CRITICAL_PRIORITY, 60 * SECOND, at, 0, 8)
        assert not passed_over(30, 60 * SECOND, at, 0, 1)
        assert not passed_over(30, LONGEST_STRETCHED_US + 1, at, 0, 8)
        assert not passed_over(30, None, at, 0, 8)
