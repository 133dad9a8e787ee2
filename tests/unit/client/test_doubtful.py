"""Answers that nobody has signed, on a bus where they should be: anybody can have sent them."""

import asyncio
from typing import Any

import pytest

from aico_sched.client.errors import PermissionDenied
from aico_sched.client.requests import Requests
from aico_sched.topics import names
from aico_sched.topics.codecs import decode
from aico_sched.topics.envelope import Envelope, new_envelope

REFUSAL = {"ok": False, "error": {"code": "permission_denied", "message": "no", "retryable": False, "details": {}}}


class Wire:
    """Takes what is sent."""

    name, joined, linked, problem = "me", True, True, ""

    def __init__(self) -> None:
        self.sent: list[Envelope] = []
        self.stirred = asyncio.Event()

    def send(self, topic: str, body: bytes) -> bool:
        self.sent.append(decode(body))
        self.stirred.set()
        return True


@pytest.fixture
async def wire() -> Wire:
    return Wire()


async def asked(wire: Wire, timeout: float) -> tuple[Requests, "asyncio.Task[dict[str, Any]]", Envelope]:
    requests = Requests(wire, "scheduler.reply.me.1", 10)  # type: ignore[arg-type]
    asking = asyncio.create_task(requests.request(names.HEALTH, {}, timeout, None))
    await wire.stirred.wait()
    return requests, asking, wire.sent[0]


def answer(to: Envelope, payload: dict[str, Any]) -> Envelope:
    return new_envelope("scheduler.reply.me.1", "x", payload, attributes={"correlation_id": to.message_id})


async def test_a_forged_refusal_does_not_stand_in_the_way_of_the_answer(wire: Wire) -> None:
    requests, asking, sent = await asked(wire, 20)
    assert not requests.take(answer(sent, REFUSAL), trusted=False)
    assert not requests.take(answer(sent, {"ok": True, "result": {"forged": True}}), trusted=False)
    assert requests.take(answer(sent, {"ok": True, "result": {"n": 1}}), trusted=True)
    assert await asking == {"n": 1}


async def test_an_unsigned_refusal_is_the_error_when_nothing_else_comes(wire: Wire) -> None:
    requests, asking, sent = await asked(wire, 0.05)
    requests.take(answer(sent, REFUSAL), trusted=False)
    with pytest.raises(PermissionDenied, match="no"):
        await asking
