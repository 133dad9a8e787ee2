"""Places under limits: what is parked comes back in its order, and nothing is lost or left lying."""

from hypothesis import given, settings
from hypothesis import strategies as st

from aico_sched.horizon import Horizon
from aico_sched.places import Places, keys_of
from aico_sched.topics.internal import DueTask

LIMITS = {"a": 1, "b": 3}
tasks = st.lists(
    st.tuples(st.sampled_from(["", "a", "b"]), st.sampled_from([0, 1, 2]), st.integers(0, 9), st.integers(0, 50)),
    max_size=40,
)


def begin(horizon: Horizon, places: Places, running: list[list[str]]) -> None:
    """Start what may start, as the scheduler does."""
    while (item := horizon.next_ready()) is not None:
        keys = item.places
        full = next((key for key in keys if places.free(key, item.max_instances) <= 0), None)
        if full is None:
            places.take(keys)
            running.append(keys)
            continue
        horizon.park(item, full)
        for key in keys:
            if key != full and (waiting := horizon.first_parked(key)) is not None:
                horizon.unpark(key, places.free(key, waiting.max_instances))


@settings(deadline=None)
@given(tasks, st.randoms(use_true_random=False))
def test_limits_hold_and_everybody_runs_once(wanted: list[tuple[str, int, int, int]], draw) -> None:  # type: ignore[no-untyped-def]
    horizon, places = Horizon(1_000, 1), Places(LIMITS)
    horizon.until_us = 1_000
    for number, (group, instances, priority, due) in enumerate(wanted):
        options = {name: value for name, value in (("group", group), ("max_instances", instances)) if value}
        horizon.put_task(DueTask(f"t{number}", 1, due, "interval:5", "UTC", 0, priority, options, 0))
    horizon.advance(100)
    running: list[list[str]] = []
    begin(horizon, places, running)
    ran = len(running)
    while running:
        for name, limit in LIMITS.items():
            assert sum(f"g/{name}" in keys for keys in running) <= limit
        ended = running.pop(draw.randrange(len(running)))
        places.give_back(dict.fromkeys(ended, 1))
        for key in ended:
            if (waiting := horizon.first_parked(key)) is not None:
                horizon.unpark(key, places.free(key, waiting.max_instances))
        before = len(running)
        begin(horizon, places, running)
        ran += len(running) - before
    assert ran == len(wanted)
    assert (len(horizon), horizon.held, horizon.ready, horizon.parked_places) == (0, 0, 0, [])


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 50)), min_size=1, max_size=30))
def test_who_waits_for_a_place_gets_it_in_the_order_of_all(wanted: list[tuple[int, int]]) -> None:
    horizon = Horizon(1_000, 3)
    horizon.until_us = 1_000
    for number, (priority, due) in enumerate(wanted):
        horizon.put_task(DueTask(f"t{number}", 1, due, "interval:5", "UTC", 0, priority, {"group": "a"}, 0))
    horizon.advance(100)
    order = []
    while (item := horizon.next_ready()) is not None:
        order.append(item.key)
        horizon.park(item, "g/a")
    found = []
    while (first := horizon.first_parked("g/a")) is not None:
        horizon.unpark("g/a", 1)
        again = horizon.next_ready()
        assert again == first
        found.append(first.key)
    assert found == order


def test_the_keys_of_a_task_s_limits() -> None:
    assert keys_of("user.x", {}) == []
    assert keys_of("user.x", {"group": "a", "max_instances": 2}) == ["g/a", "t/user.x"]
    places = Places({})
    places.take(["g/gone"])
    assert places.free("g/gone", 0) == float("inf")
    places.give_back({"g/gone": 5})
    places.recount({"t/x": 2}, {"t/x": 1})
    assert places.free("t/x", 4) == 1


def test_parking_again_and_again_does_not_grow_the_heaps() -> None:
    horizon = Horizon(1_000, 1)
    horizon.until_us = 10**9
    for revision in range(5_000):
        horizon.put_task(DueTask("t", revision, 1 + revision % 7, "interval:5", "UTC", 0, 1, {"group": "a"}, 0))
        horizon.advance(100)
        item = horizon.next_ready()
        assert item is not None
        horizon.park(item, "g/a")
    assert sum(len(heap) for heap in horizon._parked.values()) < 200
