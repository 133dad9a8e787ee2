"""When a failed attempt is tried again, and the table of an execution's states."""

import re
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aico_sched.execution.retry import next_attempt_in, retry_delay
from aico_sched.execution.states import ACTIVE, FINAL, OUTCOME_EVENTS, TRANSITIONS, status_after
from aico_sched.planning import Defaults
from aico_sched.topics.registry import EVENTS

DEFAULTS = Defaults("UTC", 300.0, 4, 60.0, 3600.0)
POLICY = DEFAULTS.retry({})


def half() -> float:
    return 0.5


def test_the_default_delays_double_up_to_an_hour() -> None:
    delays = [retry_delay(POLICY, attempt, half) for attempt in range(1, 10)]
    assert delays == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]


def test_the_default_is_three_retries() -> None:
    delays = [next_attempt_in(POLICY, attempt, permanent=False, draw=half) for attempt in range(1, 6)]
    assert delays == [60, 120, 240, None, None]
    assert next_attempt_in(POLICY, 1, permanent=True, draw=half) is None


def test_an_option_that_is_absent_or_null_has_the_service_s_default() -> None:
    assert DEFAULTS.retry({"retry": {"delay": 1.0, "max_attempts": None}}) == {**POLICY, "delay": 1.0}
    assert DEFAULTS.retry({"retry": None}) == POLICY
    assert DEFAULTS.timeout_of({"timeout": None}) == 300.0
    assert DEFAULTS.timeout_of({"timeout": 2}) == 2.0


@given(
    delay=st.floats(0, 366 * 86_400),
    longest=st.floats(0, 366 * 86_400),
    multiplier=st.floats(1, 100) | st.integers(1, 100),
    attempt=st.integers(1, 10**6),
    draw=st.floats(0, 1, exclude_max=True),
)
def test_delays_stay_within_their_bounds(
    delay: float, longest: float, multiplier: float, attempt: int, draw: float
) -> None:
    policy = {"delay": delay, "max_delay": longest, "multiplier": multiplier, "jitter": "none"}
    plain = retry_delay(policy, attempt, lambda: draw)
    assert 0 <= plain <= longest
    assert plain <= retry_delay(policy, attempt + 1, lambda: draw)
    full = retry_delay({**policy, "jitter": "full"}, attempt, lambda: draw)
    assert full == pytest.approx(plain * draw)
    assert 0 <= full <= plain


def test_every_state_is_active_or_final_and_can_be_reached() -> None:
    states = ACTIVE | FINAL
    assert not ACTIVE & FINAL
    assert {state for move in TRANSITIONS for state in move} <= states
    # Rows of that kind are made as they are.
    assert states - {new for _, new in TRANSITIONS} == {"missed"}
    assert {old for old, _ in TRANSITIONS} == ACTIVE | {"dead", "interrupted"}


def test_every_outcome_leads_to_a_legal_move_and_has_an_event() -> None:
    for outcome, topic in OUTCOME_EVENTS.items():
        assert topic in EVENTS
        for retry in (False, True):
            for left in (False, True):
                for delivery in ("at_least_once", "at_most_once"):
                    status = status_after(outcome, retry=retry, attempts_left=left, delivery=delivery)
                    assert ("running", status) in TRANSITIONS, (outcome, retry, left, delivery)


@pytest.mark.parametrize(
    ("outcome", "retry", "left", "delivery", "status"),
    [
        ("succeeded", True, True, "at_least_once", "succeeded"),
        ("cancelled", True, True, "at_least_once", "cancelled"),
        ("failed", True, True, "at_most_once", "retrying"),
        ("failed", False, True, "at_least_once", "dead"),
        ("timed_out", True, True, "at_least_once", "retrying"),
        ("timed_out", False, True, "at_least_once", "dead"),
        ("interrupted", False, True, "at_least_once", "queued"),
        ("interrupted", False, False, "at_least_once", "dead"),
        ("interrupted", True, True, "at_most_once", "interrupted"),
    ],
)
def test_where_an_outcome_leads(outcome: str, retry: bool, left: bool, delivery: str, status: str) -> None:
    assert status_after(outcome, retry=retry, attempts_left=left, delivery=delivery) == status


def updates() -> list[tuple[str, str]]:
    """Each named statement that changes an execution's status."""
    folder = files("aico_sched.store") / "queries"
    found = []
    for file in folder.iterdir():
        if not file.name.endswith(".sql"):
            continue
        for part in file.read_text().split("-- name: ")[1:]:
            name, _, statement = part.partition("\n")
            if re.search(r"UPDATE task_executions\s+SET\s.*?\bstatus = .*?WHERE", statement, re.DOTALL):
                found.append((name.strip(), statement))
    return found


GIVEN = {
    # Where the new or the old state is a parameter: what the store passes.
    "finish_execution": ({"running"}, {"succeeded", "dead", "cancelled", "interrupted"}),
    "retry_execution": ({"running"}, {"retrying", "queued"}),
    "revive": ({"dead"}, {"queued"}),
}


@pytest.mark.parametrize(("name", "statement"), updates(), ids=lambda value: value.split("\n")[0][:30])
def test_sql_guards_the_old_state_and_makes_only_legal_moves(name: str, statement: str) -> None:
    setting, _, condition = statement.partition("WHERE")
    assert re.search(r"\bstatus (=|IN)", condition), f"{name} does not name the state it starts from"
    target = re.search(r"\bstatus = (\?|'(\w+)')", setting)
    assert target is not None
    old, new = GIVEN.get(name, (set(), set()))
    literal = re.search(r"\bstatus (?:= '(\w+)'|IN \(([^)]*)\))", condition)
    if literal is not None:
        old = {literal[1]} if literal[1] else set(re.findall(r"'(\w+)'", literal[2]))
    if target[2]:
        new = {target[2]}
    assert old and new, f"{name}: say in GIVEN what its parameters can be"
    for move in ((before, after) for before in old for after in new):
        assert move in TRANSITIONS or move[0] == move[1], f"{name} makes the move {move}"


def test_there_are_statements_to_look_at() -> None:
    assert {"start_waiting", "finish_execution", "retry_execution", "cancel_waiting", "revive"} <= dict(
        updates()
    ).keys()
