"""The breaker and what does not run on the loop."""

from aico_sched.execution.breaker import Breaker, BreakerRules

RULES = BreakerRules(open_time=5.0, trials=1, head_start=1.0, settle=1.0)


def half_open() -> Breaker:
    breaker = Breaker(RULES)
    breaker.stalled(0.0)
    assert not breaker.admits(1.0, critical=True, on_loop=False), "an open one holds everything"
    breaker.advance(5.0)
    assert breaker.state == "half_open"
    return breaker


def test_what_runs_elsewhere_passes_a_half_open_breaker_without_using_up_a_trial() -> None:
    breaker = half_open()
    assert not breaker.admits(5.1, critical=False, on_loop=False), "critical tasks go first"
    assert all(breaker.admits(5.2, critical=True, on_loop=False) for _ in range(10))
    assert breaker.admits(5.3, critical=True)
    assert not breaker.admits(5.4, critical=True)
    assert all(breaker.admits(5.5, critical=False, on_loop=False) for _ in range(10))
    assert breaker.wake_at() == 5.3 + RULES.settle
    breaker.advance(6.3)
    assert breaker.state == "closed"


def test_a_breaker_that_only_sees_other_processes_start_closes_in_its_time() -> None:
    breaker = half_open()
    breaker.advance(6.0)
    assert all(breaker.admits(6.0 + each, critical=False, on_loop=False) for each in range(4))
    breaker.advance(breaker.wake_at())
    assert breaker.state == "closed"
