"""Who is to blame for a blocked loop, and what becomes of tasks that are, again and again."""

import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aico_sched.execution.stalls import (
    Sighting,
    callback_of,
    dumped_stack,
    innermost,
    is_at_fault,
    stack_text,
    waited_for_processor,
)
from aico_sched.execution.strikes import SECOND, StrikeRules, better_place, count_strike, verdict

SEEN = Sighting("key", 0.05, 10.0, "f (x.py:1)", "stack")


@pytest.mark.parametrize(
    ("seconds", "cpu", "seen", "waited", "guilty"),
    [
        (0.3, 0.29, None, 0.0, True),  # it computed
        (0.3, 0.11, None, 0.0, True),  # long enough, on a machine with others on it
        (0.3, 0.0, SEEN, 10.0, True),  # it slept, another thread saw it
        (0.3, 0.0, None, 0.0, False),  # no thread could run: somebody held the interpreter, in an fsync perhaps
        (0.3, 0.05, SEEN, 10.24, False),  # it waited for a processor
        (0.3, 0.05, SEEN, 10.05, True),  # hardly
        (0.3, 0.0, SEEN._replace(at=0.29), 10.0, False),  # seen only when it let go of the interpreter
        (0.11, 0.02, SEEN, 10.05, False),  # without that it would not have been long
    ],
)
def test_a_step_is_at_fault_only_by_its_own_doing(
    seconds: float, cpu: float, seen: Sighting | None, waited: float, guilty: bool
) -> None:
    assert is_at_fault(0.0, seconds, cpu, 0.1, seen, waited) is guilty


def test_a_thread_that_waits_for_nothing_has_not_waited_for_a_processor() -> None:
    before = waited_for_processor(threading.get_native_id())
    assert before >= 0
    assert waited_for_processor(2**31 - 1) == 0.0


def test_frames_are_told_as_a_traceback_and_as_a_place() -> None:
    frame = sys._getframe()
    assert innermost(frame).startswith("test_frames_are_told_as_a_traceback_and_as_a_place (test_stalls.py:")
    assert "test_frames_are_told" in stack_text(frame)
    assert (innermost(None), stack_text(None), callback_of(None)) == ("", "", None)


def test_of_a_dump_only_the_thread_asked_for_is_shown_outermost_first() -> None:
    text = (
        "Timeout (0:00:00.750000)!\nThread 0x00007f0000000001 (most recent call first):\n"
        '  File "a.py", line 1 in inner\n  File "a.py", line 2 in outer\n\n'
        'Thread 0x00007f0000000002 (most recent call first):\n  File "b.py", line 9 in other\n'
    )
    shown = dumped_stack(text, 0x7F0000000001)
    assert shown == '  File "a.py", line 2 in outer\n  File "a.py", line 1 in inner'
    assert dumped_stack(text, 0x7F0000000003) == ""
    assert dumped_stack("", 1) == ""


RULES = StrikeRules(move=3, disable=5, window=100.0)


def test_strikes_add_up_within_the_window_only() -> None:
    assert count_strike(RULES, 2, 0, 100 * SECOND) == 3
    assert count_strike(RULES, 2, 0, 100 * SECOND + 1) == 1
    assert count_strike(RULES, 0, 0, 1) == 1


@given(st.integers(0, 20), st.booleans(), st.integers(0, 9), st.integers(0, 9))
def test_every_number_of_strikes_has_one_consequence(strikes: int, movable: bool, move: int, disable: int) -> None:
    rules = StrikeRules(move, disable, 1.0)
    said = verdict(rules, strikes, movable=movable)
    assert (said == "move") == (movable and bool(move) and strikes >= move)
    assert said != "disable" or (disable and strikes >= disable)
    assert said == "warn" or strikes >= min(limit for limit in (move, disable) if limit)


@pytest.mark.parametrize(
    ("cpu", "has_process", "trusted", "place"),
    [
        (0.2, True, False, "process"),
        (0.2, False, False, "thread"),
        (0.2, True, True, "thread"),
        (0.01, True, False, "thread"),
    ],
)
def test_who_computes_gets_a_process_and_who_waits_a_thread(
    cpu: float, has_process: bool, trusted: bool, place: str
) -> None:
    assert better_place(0.3, cpu, has_process=has_process, trusted=trusted) == place
