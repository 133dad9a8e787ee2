"""A service on AICO's own bus: only AICO's protobuf is on it, and AICO's strict clients can do everything."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from aico_sched.client import SchedulerClient
from aico_sched.client.discovery import locate
from aico_sched.client.errors import PermissionDenied
from aico_sched.security.signing_keys import SigningRing, load_signer
from aico_sched.service import SchedulerService
from aico_sched.topics import names
from aico_sched.topics.codecs import write
from aico_sched.topics.envelope import encode, new_envelope
from tests.integration.support.aico import AicoBroker, AicoClient
from tests.integration.support.running import settings_for

FAR = "0 3 1 1 *"
PUBLISHED_KEY = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"


@pytest.fixture
def broker() -> Iterator[AicoBroker]:
    with AicoBroker() as made:
        yield made


def settings_on(broker: AicoBroker, folder: Path, **more: Any) -> Any:
    return settings_for(folder, bus__connect=broker.address, bus__server_key=broker.public, **more)


@pytest.fixture
async def service(broker: AicoBroker, tmp_path: Path) -> AsyncIterator[SchedulerService]:
    """One that lets in who does not sign, as AICO's clients do not."""
    settings = settings_on(broker, tmp_path / "data", bus__unsigned_role="operator")
    async with SchedulerService(settings) as running:
        yield running


async def test_create_status_events_and_errors_in_aicos_own_codec(
    broker: AicoBroker, service: SchedulerService
) -> None:
    async with AicoClient(broker, "backend", "scheduler.event.") as aico:
        task = {"task_id": "user.a", "schedule": FAR, "task_class": "demo.echo", "config": {"n": 3}, "priority": 7}
        created = await aico.ask(names.TASK_CREATE, task)
        assert created["ok"] is True
        assert created["result"]["options"]["priority"] == 7
        status = await aico.ask(names.TASK_STATUS, {"task_id": "user.a", "history": 5})
        assert status["result"]["task"]["config"] == {"n": 3}
        assert (await aico.ask(names.TASK_TRIGGER, {"task_id": "user.a"}))["ok"] is True
        assert await aico.until(lambda: aico.of("scheduler.event.execution.succeeded"))
        assert await aico.until(lambda: aico.of(names.TASK_CREATED))
        refused = await aico.ask(names.TASK_CREATE, {**task, "schedule": "61 * * * *", "task_id": "user.b"})
        assert refused["error"]["code"] == "invalid_schedule"
        wrong = await aico.ask(names.TASK_CREATE, {**task, "task_id": "user.b", "priority": 1.5})
        assert (wrong["error"]["code"], wrong["error"]["details"]["field"]) == ("invalid_message", "priority")
        missing = await aico.ask(names.TASK_STATUS, {"task_id": "user.none"})
        assert missing["error"]["code"] == "task_not_found"
        listed = await aico.ask(names.EVENT_LIST, {"topic": names.TASK_CREATED, "limit": 10})
        assert listed["result"]["events"][0]["seq"] == 1
        # What AICO's operator may not do, by config/access.yaml, which the broker there does not know.
        assert (await aico.ask(names.REGISTRY_RELOAD, {}))["error"]["code"] == "permission_denied"
        assert aico.undecodable == 0
        (row,) = [row for row in listed["result"]["events"] if row["payload"]["task_id"] == "user.a"]
        (event,) = [message for _, message in aico.heard if message.metadata.message_id == row["message_id"]]
        assert event.metadata.attributes["seq"] == str(int(row["seq"]))
        assert event.metadata.version == "1.0"


async def test_nothing_else_than_protobuf_is_ever_on_the_bus(broker: AicoBroker, service: SchedulerService) -> None:
    """A msgpack command is refused, and in protobuf: a subscriber to everything of ours never has to pause."""
    async with AicoClient(broker, "backend", "") as everything, AicoClient(broker, "other") as sender:
        await everything.ask(names.HEALTH, {})
        reply_to = "scheduler.reply.other.1"
        attributes = {"reply_to": reply_to, "correlation_id": "c"}
        for body in (encode(new_envelope(names.HEALTH, "other", {}, attributes=attributes)), b"\xc1", b"\n\xff\xff"):
            await sender.publish(names.HEALTH, body)
        ours = SchedulerClient(
            service.address, None, broker.public, name="ours", codec="aico", timeout=20.0
        )  # fmt: skip
        async with ours:
            assert (await ours.create("user.a", FAR, task_class="demo.echo")).task_id == "user.a"
            execution = await ours.wait((await ours.trigger("user.a")).execution_id, 20)
            assert execution.status == "succeeded"
        assert await everything.until(lambda: everything.of(reply_to))
        (answer,) = everything.of(reply_to)
        assert answer["error"]["code"] == "invalid_message"

        def said() -> int:
            return [message.metadata.source for _, message in everything.heard].count("aico-sched")

        assert await everything.until(lambda: said() > 5)
        # The three bodies above are the sender's own; what the service said of them could be read.
        assert everything.undecodable <= 3


async def test_by_default_nobody_is_believed_without_a_signature(broker: AicoBroker, tmp_path: Path) -> None:
    async with SchedulerService(settings_on(broker, tmp_path / "data")) as service:
        async with AicoClient(broker, "backend") as aico:
            refused = await aico.ask(names.TASK_LIST, {})
            assert refused["error"]["code"] == "permission_denied"
            assert "signed" in refused["error"]["message"]
        # Whoever can read the data folder has the admin's keys, as on the hosted bus.
        async with SchedulerClient.discover(tmp_path / "data") as admin:
            await admin.create("user.a", FAR, task_class="demo.echo")
            page = await admin.audit(outcome="permission_denied")
            assert {line.source for line in page.lines} == {"backend"}
            assert service.address is not None


async def test_a_signing_key_by_name_and_role_made_and_revoked_while_it_runs(
    broker: AicoBroker, tmp_path: Path
) -> None:
    async with SchedulerService(settings_on(broker, tmp_path / "data")) as service:
        ring = SigningRing(tmp_path / "data" / "keys" / "signing")
        secret = ring.create("mod", "module")
        signer, key = load_signer(secret), ring.public("aico-sched")
        module = SchedulerClient(
            service.address, None, broker.public, name="mod", codec="aico", signer=signer, service_key=key, timeout=3.0
        )
        async with module, module.events() as events:
            async with asyncio.timeout(20):
                while True:
                    try:
                        await module.create("user.a", FAR, task_class="demo.echo")
                        break
                    except PermissionDenied:
                        continue
            async for event in events:
                if event.topic == names.TASK_CREATED:
                    break
            with pytest.raises(PermissionDenied, match="may not give the command"):
                await module.pause("user.a")
            assert module.unproven == 0
            ring.revoke("mod")
            async with asyncio.timeout(20):
                while True:
                    try:
                        await module.list()
                    except PermissionDenied:
                        break
            assert module.unproven == 0


async def test_an_event_that_the_service_has_not_signed_is_not_believed(broker: AicoBroker, tmp_path: Path) -> None:
    service = SchedulerService(settings_on(broker, tmp_path / "data"))
    async with (
        service,
        SchedulerClient.discover(tmp_path / "data") as admin,
        AicoClient(broker, "aico-sched") as forger,
    ):
        events = admin.events(names.TASK_EVENTS)
        await admin.health()
        forged = {"task_id": "user.forged", "at": "", "by": "x", "revision": 1, "state": "active", "next_run": None}
        async with asyncio.timeout(20):
            while not admin.unproven:
                await forger.publish(names.TASK_CREATED, forger.body(names.TASK_CREATED, forged, seq="1")[1])
                await admin.health()
        await admin.create("user.true", FAR, task_class="demo.echo")
        async for event in events:
            assert event.payload["task_id"] == "user.true"
            break


async def test_a_flood_of_unsigned_commands_is_counted_but_neither_answered_nor_written_down_whole(
    broker: AicoBroker, tmp_path: Path
) -> None:
    service = SchedulerService(settings_on(broker, tmp_path / "data"))
    async with service, SchedulerClient.discover(tmp_path / "data") as admin, AicoClient(broker, "mallory") as mallory:
        _, body = mallory.body(names.TASK_LIST, {}, reply_to=mallory.reply_topic)
        async with asyncio.timeout(30):
            while (figures := (await admin.stats()).actors["bridge"])["unreported"] < 300:
                for _ in range(100):
                    await mallory.publish(names.TASK_LIST, body)
        page = await admin.audit(source="mallory", limit=1_000)
        assert len(page.lines) < figures["refused"]
        assert (await admin.create("user.a", FAR, task_class="demo.echo")).task_id == "user.a"


async def test_the_window_and_the_folder_of_the_keys_are_settings(broker: AicoBroker, tmp_path: Path) -> None:
    """A sender whose clock is two seconds off: within the usual window, beyond one of a second."""
    folder = tmp_path / "elsewhere"
    for window, accepted in ((60, True), (1, False)):
        more = {"bus__signing_keys": str(folder), "bus__signature_window": window}
        service = SchedulerService(settings_on(broker, tmp_path / f"data{window}", **more))
        async with service, AicoClient(broker, "admin") as aico:
            signer = SigningRing(folder).signer("admin")
            late = datetime.now(UTC) - timedelta(seconds=2)
            stamp = late.isoformat(timespec="microseconds").replace("+00:00", "Z")
            # Sent again until the connection stands: a copy is refused without a word, so each is of its own.
            for number in range(100):
                attributes = {"reply_to": aico.reply_topic, "correlation_id": str(number)}
                message = new_envelope(names.TASK_LIST, "admin", {}, attributes=attributes)
                body = write(names.TASK_LIST, message._replace(timestamp=stamp), "aico", sign=signer)
                await aico.publish(names.TASK_LIST, body)
                if await aico.until(lambda: aico.of(aico.reply_topic), 0.2):
                    break
            answer = aico.of(aico.reply_topic)[0]
            assert answer["ok"] is accepted
            assert accepted or "is a clock wrong" in answer["error"]["message"]


async def test_msgpack_is_spoken_on_a_joined_bus_where_the_settings_say_so(broker: AicoBroker, tmp_path: Path) -> None:
    service = SchedulerService(settings_on(broker, tmp_path / "data", bus__codec="msgpack"))
    async with service, SchedulerClient.discover(tmp_path / "data") as admin:
        await admin.create("user.a", FAR, task_class="demo.echo", config={"blob": "x" * 60_000})
        assert (await admin.status("user.a")).task.config["blob"] == "x" * 60_000


def test_aicos_published_key_is_a_setting(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, bus__connect="tcp://127.0.0.1:5555,5556", bus__server_key=PUBLISHED_KEY)
    assert settings.bus.server_key == PUBLISHED_KEY
    assert settings.bus.spoken == "aico"


async def test_a_hosted_bus_carries_both_codecs_and_a_reply_is_in_its_requests(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "data", bus__codec="aico")
    async with SchedulerService(settings), SchedulerClient.discover(tmp_path / "data") as plain:
        location = locate(tmp_path / "data")._replace(codec="aico")
        async with SchedulerClient(**location._asdict()) as aico, aico.events() as events:
            # Only a request of the client that listens waits until its subscription is live.
            await aico.health()
            await plain.create("user.a", FAR, task_class="demo.echo")
            assert (await aico.status("user.a")).task.task_id == "user.a"
            async for event in events:
                if event.topic == names.TASK_CREATED:
                    assert event.payload["task_id"] == "user.a"
                    break
