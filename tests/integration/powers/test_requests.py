"""A task asks another module over the hosted bus, and is answered by it and by nobody who may not."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from aico_sched.bus.access import AccessRules
from aico_sched.security.keys import SERVICE
from aico_sched.topics import names
from tests.integration.support.running import Running
from tests.integration.support.wire import Wire

ANSWERS = names.TASK_REPLY


async def test_another_module_answers_a_task(
    start: Any, wire_to: Callable[..., Awaitable[Wire]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run: Running = await start(
        bus__name="elsewhere",
        roles={"someone": "module", "watcher": "observer"},
        scheduler__task_modules=["tests.integration.powers.asking_tasks"],
    )
    module, watcher = await wire_to(run, "someone"), await wire_to(run, "watcher")
    await module.subscribe("double.ask")
    await run.client.create("maintenance.asks", "interval:86400")
    running = asyncio.create_task(run.ran("maintenance.asks"))
    asked = await module.hear("double.ask")
    attributes = {"correlation_id": asked["attributes"]["correlation_id"]}
    reply_to = asked["attributes"]["reply_to"]
    assert reply_to.startswith(ANSWERS)
    # Refused by the broker: the answer that counts is the module's.
    await watcher.send(reply_to, {"n": "forged"}, attributes=attributes)
    await watcher.barrier()
    await module.send(reply_to, {"n": 2 * asked["payload"]["n"]}, attributes=attributes)
    done = await running
    assert (done.status, done.result["data"]) == ("succeeded", {"n": 42})


@pytest.mark.parametrize("role", ["admin", "operator", "module", "observer"])
def test_who_may_answer_a_task_and_who_hears_it(role: str) -> None:
    rules = AccessRules.load()
    assert rules.may_publish(role, "me", f"{ANSWERS}x") == (role != "observer")
    assert not rules.may_publish(role, "me", f"{names.REPLY}{SERVICE}.there.x")
    assert not rules.may_publish(role, "me", f"{names.REPLY}admin.x")
    for prefix in (ANSWERS, names.REPLY, f"{ANSWERS}x"):
        assert not rules.may_subscribe(role, "me", prefix)
