"""What a message of the service takes to itself and back, on a bus that it joins and where there is none."""

from pathlib import Path

import pytest
import zmq

from aico_sched.bus.address import BusAddress
from aico_sched.bus.endpoint import BusEndpoint, BusUnreachable
from aico_sched.bus.round_trip import round_trip
from aico_sched.service import SchedulerService
from aico_sched.topics import names
from tests.integration.support.aico import AicoBroker, AicoClient
from tests.integration.support.running import settings_for


async def test_it_goes_over_a_joined_bus_in_that_buss_own_codec(tmp_path: Path) -> None:
    with AicoBroker() as broker:
        settings = settings_for(
            tmp_path, bus__connect=broker.address, bus__server_key=broker.public, bus__unsigned_role="operator"
        )
        async with (
            SchedulerService(settings) as service,
            AicoClient(broker, "listener", "scheduler.reply.aico-sched.") as listener,
        ):
            # An answer proves that the listener listens.
            await listener.ask(names.HEALTH, {})
            seconds = await service._bus.round_trip(20)
            assert seconds is not None and 0 < seconds < 20

            def heard(part: str) -> bool:
                return any(topic.startswith(f"scheduler.reply.aico-sched.{part}.") for topic, _ in listener.heard)

            assert await listener.until(lambda: heard("there") and heard("back"))
            assert listener.undecodable == 0


async def test_where_nobody_listens_it_says_so_in_time() -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    address = BusAddress.of("tcp://127.0.0.1:1", "tcp://127.0.0.1:1")
    with pytest.raises((BusUnreachable, TimeoutError)):
        await round_trip(BusEndpoint(context, address, "nobody"), "msgpack", 0.2)
    context.term()
