"""The audit trail: who did what, every decision, and that nobody can change it unnoticed."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import zmq

from aico_sched.audit_chain import Line, Link, Verifier
from aico_sched.bus.sockets import make_client, open_socket
from aico_sched.client import SchedulerClient
from aico_sched.client.errors import PermissionDenied, SchedulerError
from aico_sched.security.database_key import database_key
from aico_sched.security.keys import KeyRing
from aico_sched.store.audit import TRIM_CHUNK, AuditTrail
from aico_sched.store.connection import Database
from aico_sched.topics import names
from tests.integration.support.process import command
from tests.integration.support.running import Running

Start = Callable[..., Awaitable[Running]]


async def whole_trail(client: SchedulerClient) -> list[Any]:
    """Every line, the chain checked on the way."""
    lines: list[Any] = []
    cursor, verifier = None, None
    while True:
        page = await client.audit(order="oldest", limit=7, cursor=cursor)
        verifier = verifier or Verifier(Link(page.anchor.id, page.anchor.hash))
        rows = [(each.id, Line(*(getattr(each, name) for name in Line._fields)), each.hash) for each in page.lines]
        assert verifier.check(rows) is None
        lines += page.lines
        cursor = page.next_cursor
        if cursor is None:
            assert verifier.finish(Link(page.head.id, page.head.hash)) is None
            return lines


async def test_every_command_and_every_decision_has_its_line(start: Start) -> None:
    run = await start(roles={"mod": "module", "eye": "observer"})
    address = run.service.address
    assert address is not None
    async with (
        SchedulerClient.discover(run.settings.data_dir, "mod") as module,
        SchedulerClient.discover(run.settings.data_dir, "eye") as observer,
    ):
        await module.create("user.mine", "@daily", task_class="demo.echo")
        with pytest.raises(PermissionDenied):
            await module.create("maintenance.mine", "@daily", task_class="demo.echo")
        with pytest.raises(PermissionDenied):
            await observer.delete("user.mine")
        await observer.list()
        await run.ran("user.mine")
        with pytest.raises(PermissionDenied):
            await module.audit()
    found = [(each.source, each.role, each.action, each.target, each.outcome) for each in await whole_trail(run.client)]
    for expected in (
        ("mod", "module", names.TASK_CREATE, "user.mine", "ok"),
        ("mod", "module", names.TASK_CREATE, "maintenance.mine", "permission_denied"),
        ("eye", "observer", names.TASK_DELETE, "", "permission_denied"),
        ("eye", "observer", names.TASK_LIST, "", "ok"),
        ("admin", "admin", names.TASK_TRIGGER, "user.mine", "ok"),
        ("mod", "module", "task.execute", "user.mine", "ok"),
        ("mod", "module", names.AUDIT_LIST, "", "permission_denied"),
    ):
        assert found.count(expected) == 1, expected


async def test_a_task_whose_creator_may_not_is_refused_at_its_run_and_written_down(start: Start) -> None:
    run = await start()
    await run.client.create("maintenance.mine", "@daily", task_class="demo.echo")
    await run.service.stop()
    database = Database.open(run.settings.database_path, key_of(run))
    database._raw("UPDATE scheduled_tasks SET created_role = 'module' WHERE task_id = 'maintenance.mine'")
    database.close()
    again = await start()
    execution = await again.ran("maintenance.mine")
    assert execution.status == "dead"
    page = await again.client.audit(action="task.execute", target="maintenance.mine")
    (line,) = page.lines
    assert (line.outcome, line.role) == ("permission_denied", "module")
    assert "may not run" in line.detail


async def test_what_the_broker_refuses_is_written_down_and_counted(start: Start) -> None:
    run = await start(roles={"eye": "observer"})
    ring, address = KeyRing(run.settings.data_dir / "keys"), run.service.address
    ring.reload()
    assert address is not None
    context: zmq.Context[Any] = zmq.Context()
    spy, stranger = open_socket(context, zmq.SUB), open_socket(context, zmq.XPUB)
    make_client(spy, ring.server().public, ring.client("eye"))
    spy.connect(address.subscribe)
    spy.setsockopt(zmq.SUBSCRIBE, b"scheduler.reply.admin")
    make_client(stranger, ring.server().public, None)
    stranger.connect(address.publish)
    wanted = {("eye", "observer", "bus.subscribe", "scheduler.reply.admin", "permission_denied")}
    wanted.add(("127.0.0.1", "none", "bus.connect", "", "permission_denied"))
    async with asyncio.timeout(20):
        while True:
            page = await run.client.audit(outcome="permission_denied")
            if wanted <= {(each.source, each.role, each.action, each.target, each.outcome) for each in page.lines}:
                break
    counted = (await run.client.stats()).actors["bridge"]["broker"]["refused"]
    assert counted["forbidden"] == 1
    assert counted["unknown_key"] >= 1
    spy.close()
    stranger.close()
    context.term()


async def test_filters_pages_and_both_orders(run: Running) -> None:
    for number in range(5):
        await run.client.create(f"user.t{number}", "@daily", task_class="demo.echo")
    newest = await run.client.audit(action=names.TASK_CREATE, limit=2)
    assert [each.target for each in newest.lines] == ["user.t4", "user.t3"]
    further = await run.client.audit(action=names.TASK_CREATE, limit=2, cursor=newest.next_cursor)
    assert [each.target for each in further.lines] == ["user.t2", "user.t1"]
    since = await run.client.audit(since=further.lines[0].at, action=names.TASK_CREATE, order="oldest")
    assert [each.target for each in since.lines] == ["user.t2", "user.t3", "user.t4"]
    assert (await run.client.audit(target="user.t3", outcome="ok")).lines[0].action == names.TASK_CREATE
    assert (await run.client.audit(since="2100-01-01T00:00:00Z")).lines == []
    with pytest.raises(SchedulerError, match="cursor"):
        await run.client.audit(cursor="x")


def key_of(run: Running) -> str:
    return database_key(run.settings.data_dir / "keys" / "database.key", {})


async def test_the_command_line_names_the_first_broken_line(start: Start, tmp_path: Path) -> None:
    run = await start()
    for number in range(3):
        await run.client.create(f"user.t{number}", "@daily", task_class="demo.echo")
    shown = await command(tmp_path, "audit", "--json", "--data-dir", str(run.settings.data_dir), "-n", "1000")
    lines = shown.json["lines"]
    assert [each["target"] for each in lines if each["action"] == names.TASK_CREATE] == [
        "user.t0",
        "user.t1",
        "user.t2",
    ]
    whole = await command(tmp_path, "audit", "--verify", "--json", "--data-dir", str(run.settings.data_dir))
    assert whole.code == 0
    assert whole.json["whole"] is True
    assert whole.json["lines"] == whole.json["head"]["id"] >= len(lines)
    (forged,) = [each["id"] for each in lines if each["target"] == "user.t1"]
    await run.service.stop()
    database = Database.open(run.settings.database_path, key_of(run))
    database._raw("UPDATE scheduler_audit SET source = 'somebody' WHERE id = ?", (forged,))
    database.close()
    again = await start()
    broken = await command(tmp_path, "audit", "--verify", "--json", "--data-dir", str(again.settings.data_dir))
    assert broken.code == 1
    assert broken.json["broken"]["id"] == forged
    words = await command(tmp_path, "audit", "--verify", "--data-dir", str(again.settings.data_dir))
    assert f"broken at line {forged}" in words.output


def line(number: int, text: str = "") -> Line:
    return Line(f"2026-01-01T00:00:{number % 60:02}Z", "bob", "module", "a", str(number), "ok", text)


def trail_in(folder: Path) -> tuple[Database, AuditTrail]:
    database = Database.open(folder / "s.db", database_key(folder / "key", {}))
    return database, AuditTrail(database)


def verified(trail: AuditTrail) -> int:
    """How many lines there are, the chain being whole."""
    verifier, cursor = Verifier(trail.anchor), None
    while True:
        page = trail.page({"order": "oldest", "limit": 400, "cursor": cursor}, "")
        rows = [(row["id"], Line(*(row[name] for name in Line._fields)), row["hash"]) for row in page["lines"]]
        assert verifier.check(rows) is None
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert verifier.finish(trail.head) is None
    return verifier.last.id - trail.anchor.id


def test_retention_keeps_the_chain_verifiable_and_a_restart_goes_on(tmp_path: Path) -> None:
    database, trail = trail_in(tmp_path)
    for turn in range(4):
        database.begin()
        for number in range(TRIM_CHUNK):
            trail.add(line(turn * TRIM_CHUNK + number))
        trail.seal()
        database.commit()
        trail.settle()
    assert verified(trail) == 4 * TRIM_CHUNK
    database.begin()
    while trail.trim(100, "2026-01-01T00:00:00Z"):
        pass
    trail.seal()
    database.commit()
    trail.settle()
    left = verified(trail)
    assert 100 <= left < 100 + TRIM_CHUNK + 5
    head = trail.head
    database.close()
    database, trail = trail_in(tmp_path)
    assert trail.head == head
    database.begin()
    trail.add(line(1))
    trail.seal()
    database.commit()
    trail.settle()
    assert verified(trail) == left + 1
    database.close()


def test_a_turn_that_is_rolled_back_leaves_the_chain_and_what_waited(tmp_path: Path) -> None:
    database, trail = trail_in(tmp_path)
    trail.defer(line(1))
    trail.settle()
    assert trail.waiting == 1
    database.begin()
    trail.add(line(2))
    trail.defer(line(3))
    trail.seal()
    assert trail.waiting == 0
    database.rollback()
    trail.undo()
    assert trail.waiting == 1
    database.begin()
    trail.add(line(4))
    trail.seal()
    database.commit()
    trail.settle()
    page = trail.page({"order": "oldest"}, "")
    assert [row["target"] for row in page["lines"]] == ["1", "4"]
    assert verified(trail) == 2
    database.close()


@pytest.mark.parametrize("text", ["a\0b", "half a pair \udc80", "x" * 5_000, "ünï"])
def test_texts_the_database_would_change_are_changed_before_they_are_hashed(tmp_path: Path, text: str) -> None:
    database, trail = trail_in(tmp_path)
    database.begin()
    trail.add(line(1, text))
    trail.seal()
    database.commit()
    trail.settle()
    assert verified(trail) == 1
    database.close()
