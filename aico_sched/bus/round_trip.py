"""How long a message takes to the service and back, seen from outside: through the broker, the bridge, the broker."""

import asyncio
import secrets
from time import perf_counter

from aico_sched.bus.endpoint import BusEndpoint
from aico_sched.topics.codecs import Codec, write
from aico_sched.topics.envelope import new_envelope
from aico_sched.topics.names import REPLY


def there(name: str) -> str:
    """The topic below which the service `name` sends back what comes: of its own replies, so that nobody else may
    publish there on a bus with keys."""
    return f"{REPLY}{name}.there."


def back(topic: str, name: str) -> str:
    """Where the answer to a message on `topic`, which begins with `there(name)`, goes."""
    return f"{REPLY}{name}.back.{topic.removeprefix(there(name))}"


async def round_trip(endpoint: BusEndpoint, codec: Codec, timeout: float) -> float:
    """Seconds from sending until the answer is here; connecting is not counted, but is done here, and the endpoint is
    closed. Raises TimeoutError when that takes more than `timeout` seconds, BusUnreachable when there is no broker."""
    topic = there(endpoint.name) + secrets.token_hex(16)
    wanted = back(topic, endpoint.name)
    endpoint.connect()
    try:
        async with asyncio.timeout(timeout):
            endpoint.subscribe(wanted)
            await endpoint.ready(timeout)
            body = write(topic, new_envelope(topic, endpoint.name, {}), codec)
            began = perf_counter()
            while not endpoint.send(topic, body):
                await endpoint.wait_sendable()
            while wanted not in [heard for heard, _ in endpoint.receive()]:
                await endpoint.wait_readable()
            return perf_counter() - began
    finally:
        endpoint.close()
