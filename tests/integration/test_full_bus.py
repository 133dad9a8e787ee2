"""Events that wait for a bus which takes nothing are not noted as published, so that a crash does not lose them."""

import pytest

from aico_sched.bus.local import LocalEndpoint
from aico_sched.topics import names
from tests.integration.conftest import Start


async def test_what_waited_for_the_bus_is_sent_by_the_next_bridge(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await start()
    send = LocalEndpoint.send
    tries: list[bytes] = []

    def full_then_broken(self: LocalEndpoint, topic: str, body: bytes) -> bool:
        if topic != names.TASK_CREATED or len(tries) == 2:
            return send(self, topic, body)
        tries.append(body)
        if len(tries) == 2:
            raise RuntimeError("the bus broke while the event waited")
        return False

    monkeypatch.setattr(LocalEndpoint, "send", full_then_broken)
    # The first answer is lost with the bridge; the client asks again and gets the same one.
    await run.client.create("user.x", "interval:3600", task_class="demo.echo")
    await run.events.first(names.TASK_CREATED, task_id="user.x")
    assert len(tries) == 2
    assert (await run.client.stats()).actors["bridge"]["restarts"] == 1
