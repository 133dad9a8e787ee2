"""Every command of the contract is a method of both clients, and builds the payload it says."""

import inspect

import pytest

from aico_sched.client import InvalidMessage, SchedulerClient, SyncSchedulerClient, calls
from aico_sched.topics import names
from aico_sched.topics.registry import COMMANDS

RETRY = {"max_attempts": 2, "delay": 1, "max_delay": 2}
METHODS = {
    "create": lambda: calls.create("user.a", "interval:60", config={"x": 1}, tags=["b", "a"], retry=RETRY),
    "update": lambda: calls.update("user.a", timezone=None, priority=3),
    "delete": lambda: calls.delete("user.a", remove_code=True),
    "enable": lambda: calls.enable("user.a"),
    "disable": lambda: calls.disable("user.a"),
    "pause": lambda: calls.pause("user.a", note="why"),
    "resume": lambda: calls.resume("user.a"),
    "trigger": lambda: calls.trigger("user.a"),
    "backfill": lambda: calls.backfill("user.a", "2025-01-01T00:00:00Z", "2025-01-02T00:00:00Z"),
    "status": lambda: calls.status("user.a", history=3),
    "list": lambda: calls.list_tasks(prefix="user.", state="active"),
    "executions": lambda: calls.executions(task_id="user.a", attempts=True),
    "cancel": lambda: calls.cancel("e1", reason="why"),
    "dead_list": lambda: calls.dead_list(limit=3),
    "dead_requeue": lambda: calls.dead_requeue("e1"),
    "dead_discard": lambda: calls.dead_discard("e1"),
    "explain": lambda: calls.explain("@daily", count=2),
    "registry": calls.registry,
    "reload": calls.reload,
    "event_list": lambda: calls.event_list(names.TASK_CREATED, after_seq=4),
    "audit": lambda: calls.audit(outcome="ok", order="oldest"),
    "store_vacuum": calls.store_vacuum,
    "store_check": calls.store_check,
    "store_backup": lambda: calls.store_backup("/tmp/x.backup"),
    "store_rekey": calls.store_rekey,
    "stats": calls.stats,
    "stats_history": calls.stats_history,
    "health": calls.health,
}


def test_every_command_has_a_method() -> None:
    assert {make().topic for make in METHODS.values()} == set(COMMANDS)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_call_fits_the_contract(name: str) -> None:
    call = METHODS[name]()
    command = COMMANDS[call.topic]
    assert call.result is command.result
    assert command.payload.model_validate(call.payload).model_dump(mode="json", exclude_unset=True) == call.payload
    for client in (SchedulerClient, SyncSchedulerClient):
        assert inspect.getdoc(inspect.getattr_static(client, name)), "documented"


def test_what_is_left_out_is_not_sent() -> None:
    assert calls.create("user.a", "@daily").payload == {"task_id": "user.a", "schedule": "@daily", "enabled": True}
    assert calls.update("user.a", timezone=None).payload == {"task_id": "user.a", "timezone": None}


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: calls.create("a b", "@daily"), "task_id"),
        (lambda: calls.create("a", ""), "schedule"),
        (lambda: calls.create("a", "@daily", priority=101), "priority"),
        (lambda: calls.create("a", "@daily", prioritty=1), "prioritty"),
        (lambda: calls.create("a", "@daily", start_at="2025-01-01T00:00:00"), "start_at"),
        (lambda: calls.executions(limit=0), "limit"),
        (lambda: calls.checked("scheduler.nonsense", {}), "topic"),
    ],
)
def test_bad_arguments_name_the_field(make, field: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        make()
    assert caught.value.details["field"] == field
