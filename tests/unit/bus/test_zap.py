"""Admission: no request and no exception ends it."""

import asyncio
from collections.abc import Callable, Iterator

import pytest
import zmq
import zmq.asyncio

from aico_sched.bus.sockets import Context
from aico_sched.bus.zap import ENDPOINT, ZapGate, ZapInUse

KEY = bytes(range(32))


@pytest.fixture
def context() -> Iterator[Context]:
    made: Context = zmq.Context()
    yield made
    made.destroy(linger=0)


async def ask(context: Context, *frames: bytes) -> list[bytes]:
    """One ZAP request by a fresh peer, as ZeroMQ makes them; its answer without the empty delimiter."""
    with zmq.asyncio.Context.shadow(context).socket(zmq.DEALER) as peer:
        peer.setsockopt(zmq.LINGER, 0)
        peer.connect(ENDPOINT)
        await peer.send_multipart([b"", *frames])
        async with asyncio.timeout(5):
            answer: list[bytes] = (await peer.recv_multipart())[1:]
        return answer


def request(domain: bytes = b"d", mechanism: bytes = b"CURVE", *credentials: bytes) -> list[bytes]:
    return [b"1.0", b"7", domain, b"127.0.0.1", b"", mechanism, *(credentials or (KEY,))]


async def test_the_name_of_the_key_becomes_the_user_id(context: Context) -> None:
    gate = ZapGate(context, "d", lambda public, address: "bob" if len(public) == 40 else None)
    assert await ask(context, *request()) == [b"1.0", b"7", b"200", b"OK", b"bob", b""]
    gate.close()


@pytest.mark.parametrize(
    "frames",
    [
        request(b"other"),
        request(b"d", b"PLAIN", b"user", b"password"),
        request(b"d", b"NULL"),
        request(b"d", b"CURVE", b"short"),
        request(b"d", b"CURVE", KEY, KEY),
        [b"2.0", *request()[1:]],
        [b"1.0", b"7"],
    ],
)
async def test_anything_else_is_refused(context: Context, frames: list[bytes]) -> None:
    gate = ZapGate(context, "d", lambda public, address: "bob")
    answer = await ask(context, *frames)
    assert answer[1:3] == [b"7", b"400"]
    assert answer[4] == b""
    gate.close()


async def test_an_exception_refuses_its_own_request_only(context: Context) -> None:
    outcomes: list[Callable[[], str | None]] = [lambda: 1 // 0, lambda: "bob", lambda: None, lambda: "rob"]  # type: ignore[return-value,list-item]
    gate = ZapGate(context, "d", lambda public, address: outcomes.pop(0)())
    statuses = [(await ask(context, *request()))[2] for _ in range(4)]
    assert statuses == [b"300", b"200", b"400", b"200"]
    assert gate.failures == 1
    gate.close()


async def test_a_request_that_cannot_be_answered_is_skipped(context: Context) -> None:
    gate = ZapGate(context, "d", lambda public, address: "bob")
    with context.socket(zmq.DEALER) as peer:
        peer.setsockopt(zmq.LINGER, 0)
        peer.connect(ENDPOINT)
        peer.send(b"")
        assert (await ask(context, *request()))[2] == b"200"
    assert gate.failures == 1
    gate.close()


async def test_a_second_authenticator_in_one_context_is_a_clear_error(context: Context) -> None:
    gate = ZapGate(context, "d", lambda public, address: None)
    with pytest.raises(ZapInUse, match=r"zmq\.Context of its own"):
        ZapGate(context, "e", lambda public, address: None)
    gate.close()
