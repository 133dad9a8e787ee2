"""The horizon against a plain list that is sorted whenever somebody asks."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aico_sched.horizon import _SLACK, Horizon, Item
from aico_sched.planning import jitter_offset
from aico_sched.topics.internal import DueRun, DueTask

UNTIL = 1_000
LIMIT = 40
AGING = 3
names = st.sampled_from([f"t{number}" for number in range(8)])
times = st.integers(1, UNTIL + 200)
priorities = st.sampled_from([10, 50, 90])


def task(name: str, due: int, revision: int, priority: int, jitter: float = 0.0) -> DueTask:
    return DueTask(name, revision, due, "interval:5", "UTC", 0, priority, {"jitter": jitter} if jitter else {}, 0)


@dataclass
class Model:
    """What is known, by key: (item, is ready, is held)."""

    items: dict[str, Item] = field(default_factory=dict)
    ready: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)

    def put(self, item: Item) -> None:
        self.drop(item.key)
        if item.due_us <= UNTIL:
            self.items[item.key] = item

    def drop(self, key: str) -> None:
        self.items.pop(key, None)
        self.ready.discard(key)
        self.held.discard(key)

    def waiting(self) -> list[Item]:
        return [item for key, item in self.items.items() if key not in self.ready | self.held]


class HorizonMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.horizon, self.model = Horizon(LIMIT, AGING), Model()
        self.horizon.until_us = UNTIL
        self.now = 0

    @rule(name=names, due=times, revision=st.integers(1, 3), priority=priorities, jitter=st.sampled_from([0.0, 1e-4]))
    def put_task(self, name: str, due: int, revision: int, priority: int, jitter: float) -> None:
        new = task(name, due, revision, priority, jitter)
        self.horizon.put_task(new)
        known = self.model.items.get(f"t/{name}")
        if known is not None and known.task is not None:
            older = (revision, due) < (known.task.revision, known.task.next_run_us)
            if older or known.task == new:
                return
        self.model.put(Item(f"t/{name}", due + jitter_offset(name, new.options), new, None))

    @rule(name=names, due=times, priority=priorities)
    def put_run(self, name: str, due: int, priority: int) -> None:
        run = DueRun(name, "t", due, priority, False)
        self.horizon.put_run(run)
        known = self.model.items.get(f"r/{name}")
        if known is None or known.run != run:
            self.model.put(Item(f"r/{name}", due, None, run))

    @rule(name=names, revision=st.integers(1, 3))
    def drop_task(self, name: str, revision: int) -> None:
        self.horizon.drop_task(name, revision)
        known = self.model.items.get(f"t/{name}")
        if known is not None and known.task is not None and known.task.revision <= revision:
            self.model.drop(known.key)

    @rule(step=st.integers(0, 300))
    def advance(self, step: int) -> None:
        self.now += step
        self.horizon.advance(self.now)
        self.model.ready |= {item.key for item in self.model.waiting() if item.due_us <= self.now}

    def expected(self) -> Item | None:
        ready = [self.model.items[key] for key in self.model.ready]
        return min(ready, key=lambda item: (item.due_us - AGING * item.priority, item.key), default=None)

    @rule(hold=st.booleans())
    def next_ready(self, hold: bool) -> None:
        expected = self.expected()
        item = self.horizon.next_ready()
        assert item == expected
        if item is None:
            return
        self.model.drop(item.key)
        if hold:
            self.horizon.hold(item)
            self.model.items[item.key] = item
            self.model.held.add(item.key)

    @precondition(lambda self: self.model.held)
    @rule()
    def release(self) -> None:
        self.horizon.release()
        self.model.ready |= self.model.held
        self.model.held.clear()

    @rule()
    def clear(self) -> None:
        self.horizon.clear()
        self.horizon.until_us = UNTIL
        self.model = Model()

    @rule()
    def look(self) -> None:
        due = min((item.due_us for item in self.model.waiting()), default=None)
        assert self.horizon.next_due_us() == due

    @invariant()
    def agrees(self) -> None:
        assert len(self.horizon) == len(self.model.items)
        assert self.horizon.ready == len(self.model.ready)
        assert self.horizon.held == len(self.model.held)


TestHorizon = HorizonMachine.TestCase
TestHorizon.settings = settings(deadline=None, max_examples=150, stateful_step_count=60)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 100), st.integers(1, 200)), max_size=200))
def test_trimming_keeps_what_is_due_first_and_says_from_when_on_to_ask(puts: list[tuple[int, int]]) -> None:
    horizon = Horizon(10, AGING)
    horizon.until_us = 1_000
    known: dict[str, int] = {}
    for revision, (name, due) in enumerate(puts):
        if due <= horizon.until_us:
            known[f"{name}"] = due
        else:
            known.pop(f"{name}", None)
        horizon.put_task(task(f"{name}", due, revision, 50))
        horizon.trim()
        kept = {key: item.due_us for key, item in horizon._items.items()}
        assert len(kept) <= 10
        known = {key: due for key, due in known.items() if f"t/{key}" in kept or due <= horizon.until_us}
        assert {f"t/{key}": due for key, due in known.items()} == kept, "nothing due up to `until_us` is forgotten"


def test_the_heaps_do_not_grow_with_the_number_of_changes() -> None:
    horizon = Horizon(1_000, AGING)
    horizon.until_us = 10**9
    for revision in range(5_000):
        for name in ("a", "b"):
            horizon.put_task(task(name, 1 + revision % 7, revision, revision % 3))
        horizon.advance(100)
        horizon.next_due_us()
    for revision in range(5_000, 10_000):
        horizon.put_task(task("c", 1_000 + revision % 7, revision, 5))
    assert len(horizon) == 3
    assert len(horizon._heap) <= 2 * len(horizon) + _SLACK + 1
    assert len(horizon._ready) <= 2 * len(horizon) + _SLACK + 1
