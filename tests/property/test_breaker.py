"""The circuit breaker whatever happens to it: what it never admits, and that it always comes back."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aico_sched.execution.breaker import Breaker, BreakerRules

RULES = st.builds(
    BreakerRules,
    stalls=st.integers(1, 4),
    window=st.floats(0.5, 20),
    open_time=st.floats(0.5, 20),
    trials=st.integers(1, 5),
    head_start=st.floats(0.1, 3),
    settle=st.floats(0.1, 3),
)


def drive(breaker: Breaker, now: float, until: float) -> float:
    """Let time pass from moment to moment, as the scheduler does."""
    while breaker.wake_at() <= until:
        now = max(now, breaker.wake_at())
        before = (breaker.state, breaker.wake_at())
        breaker.advance(now)
        assert (breaker.state, breaker.wake_at()) != before, "it would be woken for nothing, for ever"
    return until


@given(RULES, st.booleans())
def test_opens_at_so_many_stalls_within_the_window(rules: BreakerRules, inside: bool) -> None:
    breaker = Breaker(rules)
    step = rules.window / max(1, rules.stalls - 1) * (0.9 if inside else 1.1)
    opened = [breaker.stalled(number * step) for number in range(rules.stalls)]
    assert opened[:-1] == [False] * (rules.stalls - 1)
    assert opened[-1] is (inside or rules.stalls == 1)


@given(RULES)
def test_a_rested_loop_closes_it_again(rules: BreakerRules) -> None:
    breaker = Breaker(rules)
    for _ in range(rules.stalls):
        breaker.stalled(0.0)
    assert breaker.state == "open"
    assert not breaker.admits(0.0, critical=True)
    assert not breaker.advance(rules.open_time * 0.99)
    now = drive(breaker, 0.0, rules.open_time + rules.head_start)
    assert breaker.state == "half_open"
    for _ in range(rules.trials):
        assert breaker.admits(now, critical=False)
    assert not breaker.admits(now, critical=True)
    drive(breaker, now, now + rules.settle)
    assert breaker.state == "closed"
    assert breaker.admits(now, critical=False)


@given(RULES)
def test_it_closes_again_when_nobody_wants_to_start(rules: BreakerRules) -> None:
    breaker = Breaker(rules)
    for _ in range(rules.stalls):
        breaker.stalled(0.0)
    calm = rules.open_time + rules.head_start + rules.open_time
    drive(breaker, 0.0, calm * 0.99)
    assert breaker.state == "half_open"
    drive(breaker, calm * 0.99, calm * 1.01)
    assert breaker.state == "closed"


@given(RULES)
def test_critical_tasks_pass_first(rules: BreakerRules) -> None:
    breaker = Breaker(rules)
    for _ in range(rules.stalls):
        breaker.stalled(0.0)
    breaker.advance(rules.open_time)
    assert not breaker.admits(rules.open_time, critical=False)
    assert breaker.admits(rules.open_time, critical=True)
    assert breaker.admits(rules.open_time, critical=False) is (rules.trials > 1)


@given(RULES)
def test_a_stall_while_half_open_opens_it_at_once(rules: BreakerRules) -> None:
    breaker = Breaker(rules)
    for _ in range(rules.stalls):
        breaker.stalled(0.0)
    breaker.advance(rules.open_time)
    later = rules.open_time + rules.window * 2
    assert breaker.stalled(later)
    assert breaker.state == "open"
    assert breaker.wake_at() == later + rules.open_time


class AnyLife(RuleBasedStateMachine):
    """Stalls, starts and time in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.rules = BreakerRules(stalls=2, trials=2)
        self.breaker = Breaker(self.rules)
        self.now = 0.0
        self.passed = 0

    @rule(seconds=st.floats(0.01, 12))
    def wait(self, seconds: float) -> None:
        self.now = drive(self.breaker, self.now, self.now + seconds)

    @rule()
    def stall(self) -> None:
        before = self.breaker.state
        opened = self.breaker.stalled(self.now)
        assert opened is (self.breaker.state == "open" and before != "open")
        assert before == "closed" or self.breaker.state == "open"
        self.passed = 0

    @rule(critical=st.booleans())
    def ask(self, critical: bool) -> None:
        state = self.breaker.state
        admitted = self.breaker.admits(self.now, critical=critical)
        assert admitted or state != "closed"
        assert not admitted or state != "open"
        self.passed = self.passed + admitted if state == "half_open" else 0

    @precondition(lambda self: self.breaker.state == "half_open")
    @rule()
    def somebody_passes_in_the_end(self) -> None:
        self.now = drive(self.breaker, self.now, self.now + self.rules.head_start + self.rules.settle)
        admitted = self.breaker.admits(self.now, critical=False)
        assert admitted
        self.passed = self.passed + 1 if self.breaker.state == "half_open" else 0

    @invariant()
    def no_more_pass_than_the_trials(self) -> None:
        assert self.breaker.state != "half_open" or self.passed <= self.rules.trials


TestAnyLife = AnyLife.TestCase
